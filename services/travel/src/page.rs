//! Pages of lists: how many rows, and where to go on.
//!
//! A cursor names the last row of a page by what the list is ordered by, so that rows added meanwhile neither repeat nor
//! hide others. Its text means nothing to clients.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Error;

const DEFAULT_LIMIT: i64 = 20;
const MAXIMUM_LIMIT: i64 = 100;
/// The last microsecond of the year 9999: later times do not fit everywhere.
const LATEST: i64 = 253_402_300_799_999_999;

/// `limit` and `cursor` of a query string.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many rows to give.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    #[param(minimum = 1, maximum = 100, default = 20, example = 20)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before; nothing for the first page.
    #[serde(default)]
    cursor: Option<String>,
}

impl PageQuery {
    /// Reads both, the cursor as the list's own kind.
    pub fn page<C: Cursor>(&self) -> Result<Page<C>, Error> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAXIMUM_LIMIT).contains(&limit) {
            return Err(Error::InvalidLimit);
        }
        let after = match self.cursor.as_deref() {
            None | Some("") => None,
            Some(text) => Some(decode(text).ok_or(Error::InvalidCursor)?),
        };
        Ok(Page { limit, after })
    }
}

/// A page that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page<C> {
    pub limit: i64,
    pub after: Option<C>,
}

impl<C: Cursor> Page<C> {
    /// How many rows to fetch: one more than wanted tells whether there is another page.
    #[must_use]
    pub fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// Cuts the fetched rows to the page, and makes the cursor of the next one if there is one.
    pub fn cut<T>(&self, rows: &mut Vec<T>, last: impl FnOnce(&T) -> C) -> Option<String> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if rows.len() <= limit {
            return None;
        }
        rows.truncate(limit);
        rows.last().map(|row| encode(&last(row)))
    }
}

/// A place in an ordered list.
pub trait Cursor: Sized {
    /// Sets the lists apart, so that a cursor of one is refused by another.
    const LIST: char;
    fn parts(&self) -> Vec<String>;
    fn from_parts(parts: &[&str]) -> Option<Self>;
}

/// In a card's history: both kinds of movement have ids of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryCursor {
    pub at: DateTime<Utc>,
    pub kind: Kind,
    pub id: i64,
}

/// What happened on a card.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Kind {
    Recharge,
    Trip,
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recharge => "recharge",
            Self::Trip => "trip",
        }
    }
}

impl Cursor for HistoryCursor {
    const LIST: char = 'h';

    fn parts(&self) -> Vec<String> {
        vec![
            micros(self.at),
            self.kind.as_str().to_owned(),
            self.id.to_string(),
        ]
    }

    fn from_parts(parts: &[&str]) -> Option<Self> {
        let [at, kind, id] = parts else { return None };
        let kind = match *kind {
            "recharge" => Kind::Recharge,
            "trip" => Kind::Trip,
            _ => return None,
        };
        Some(Self {
            at: time(at)?,
            kind,
            id: positive(id)?,
        })
    }
}

/// In a user's recharges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RechargeCursor {
    pub at: DateTime<Utc>,
    pub id: i64,
}

impl Cursor for RechargeCursor {
    const LIST: char = 'r';

    fn parts(&self) -> Vec<String> {
        vec![micros(self.at), self.id.to_string()]
    }

    fn from_parts(parts: &[&str]) -> Option<Self> {
        let [at, id] = parts else { return None };
        Some(Self {
            at: time(at)?,
            id: positive(id)?,
        })
    }
}

/// In the stations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StationCursor {
    pub id: i64,
}

impl Cursor for StationCursor {
    const LIST: char = 's';

    fn parts(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }

    fn from_parts(parts: &[&str]) -> Option<Self> {
        let [id] = parts else { return None };
        Some(Self { id: positive(id)? })
    }
}

fn encode<C: Cursor>(cursor: &C) -> String {
    hex::encode(format!("{}:{}", C::LIST, cursor.parts().join(":")))
}

fn decode<C: Cursor>(text: &str) -> Option<C> {
    let text = String::from_utf8(hex::decode(text).ok()?).ok()?;
    let rest = text.strip_prefix(C::LIST)?.strip_prefix(':')?;
    C::from_parts(&rest.split(':').collect::<Vec<_>>())
}

fn micros(at: DateTime<Utc>) -> String {
    at.timestamp_micros().to_string()
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    let micros = text
        .parse()
        .ok()
        .filter(|micros| (0..=LATEST).contains(micros))?;
    DateTime::from_timestamp_micros(micros)
}

/// Later than anything that happens: where a list that is read backwards begins.
#[must_use]
pub fn latest() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(LATEST).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn positive(text: &str) -> Option<i64> {
    text.parse().ok().filter(|id| *id > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: Option<i64>, cursor: Option<&str>) -> PageQuery {
        PageQuery {
            limit,
            cursor: cursor.map(str::to_owned),
        }
    }

    #[test]
    fn limits_have_bounds_and_a_default() {
        let limit = |limit| {
            query(limit, None)
                .page::<StationCursor>()
                .map(|page| page.limit)
                .ok()
        };
        assert_eq!(limit(None), Some(20));
        assert_eq!(limit(Some(1)), Some(1));
        assert_eq!(limit(Some(100)), Some(100));
        assert_eq!(limit(Some(0)), None);
        assert_eq!(limit(Some(101)), None);
        assert_eq!(limit(Some(-1)), None);
    }

    #[test]
    fn cursors_come_back_as_they_were() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("in range");
        let history = HistoryCursor {
            at,
            kind: Kind::Trip,
            id: 9,
        };
        assert_eq!(decode(&encode(&history)), Some(history));
        let recharge = RechargeCursor { at, id: i64::MAX };
        assert_eq!(decode(&encode(&recharge)), Some(recharge));
        let station = StationCursor { id: 1 };
        assert_eq!(decode(&encode(&station)), Some(station));
    }

    #[test]
    fn forged_cursors_are_refused() {
        for text in [
            "x",
            "zz",
            "00",
            "ff",
            &hex::encode("h:"),
            &hex::encode("h:1:trip"),
            &hex::encode("h:1:trip:0"),
            &hex::encode("h:-1:trip:1"),
            &hex::encode("h:253402300800000000:trip:1"),
            &hex::encode("h:1:bus:1"),
            &hex::encode("h:1:trip:1:1"),
            &hex::encode("r:1:1"),
            &hex::encode("é:1:trip:1"),
        ] {
            let refused = query(None, Some(text)).page::<HistoryCursor>();
            assert!(matches!(refused, Err(Error::InvalidCursor)), "{text}");
        }
        let first = query(None, Some(""))
            .page::<HistoryCursor>()
            .expect("the first page");
        assert_eq!(first.after, None);
    }

    #[test]
    fn a_page_says_whether_there_is_another() {
        let page = query(Some(2), None).page::<StationCursor>().expect("valid");
        let mut rows = vec![1, 2];
        assert_eq!(page.cut(&mut rows, |id| StationCursor { id: *id }), None);
        let mut rows = vec![1, 2, 3];
        let next = page
            .cut(&mut rows, |id| StationCursor { id: *id })
            .expect("another");
        assert_eq!(
            (rows, decode(&next)),
            (vec![1, 2], Some(StationCursor { id: 2 }))
        );
    }
}
