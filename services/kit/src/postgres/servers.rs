//! The servers that a database's URL names, and which of them a session may use.
//!
//! As libpq has it: several hosts with commas between, tried in their order, and `target_session_attrs` for what a session
//! needs. What libpq asks once for each connection is asked here once for all of them, and again when the server in use is gone.

use std::{fmt, str::FromStr, time::Duration};

use futures::future::join_all;
use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgConnectOptions};

/// How long one server may take to say what it is.
const PROBE: Duration = Duration::from_secs(1);
const WANTED: &str = "target_session_attrs";

/// What a session needs of its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "any" => Self::Any,
            "read-write" => Self::ReadWrite,
            "read-only" => Self::ReadOnly,
            "primary" => Self::Primary,
            "standby" => Self::Standby,
            "prefer-standby" => Self::PreferStandby,
            _ => {
                return Err(format!(
                    "{WANTED} is `{text}`; it may be any, read-write, read-only, primary, standby or prefer-standby"
                ));
            }
        })
    }
}

/// What a server is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub is_standby: bool,
    pub is_read_only: bool,
    /// The history that a primary writes: each promotion begins one, with the next number. 0 for a standby.
    pub timeline: i64,
}

impl Standing {
    /// Asks the server at the other end.
    pub async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        // In one message: what is prepared for one transaction may be gone in the next behind a pooler.
        let row = sqlx::raw_sql(
            "select pg_is_in_recovery(), current_setting('transaction_read_only')::boolean,
                 case when pg_is_in_recovery() then 0
                 else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint end",
        )
        .fetch_one(connection)
        .await?;
        Ok(Self {
            is_standby: row.try_get(0)?,
            is_read_only: row.try_get(1)?,
            timeline: row.try_get(2)?,
        })
    }

    #[must_use]
    pub const fn fits(self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Any | Wanted::PreferStandby => true,
            Wanted::ReadWrite => !self.is_read_only,
            Wanted::ReadOnly => self.is_read_only,
            Wanted::Primary => !self.is_standby,
            Wanted::Standby => self.is_standby,
        }
    }
}

/// The servers of one database.
#[derive(Clone, Debug)]
pub struct Servers {
    options: Vec<PgConnectOptions>,
    wanted: Wanted,
}

impl Servers {
    /// Reads a URL such as `postgres://user:password@one:5432,two:5432/database?target_session_attrs=read-write`.
    pub fn parse(url: &str) -> Result<Self, Flaw> {
        let (scheme, rest) = url.split_once("://").ok_or(Flaw::NoUrl)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (user, hosts) = authority
            .rsplit_once('@')
            .map_or((String::new(), authority), |(user, hosts)| {
                (format!("{user}@"), hosts)
            });
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let mut wanted = Wanted::Any;
        let mut others = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some((WANTED, value)) => wanted = value.parse().map_err(Flaw::Wanted)?,
                _ => others.push(parameter),
            }
        }
        let query = others.join("&");
        let options = hosts
            .split(',')
            .map(|host| {
                if host.is_empty() && hosts.contains(',') {
                    return Err(Flaw::EmptyHost);
                }
                let url = format!("{scheme}://{user}{host}{path}?{query}");
                PgConnectOptions::from_str(&url).map_err(Flaw::Options)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { options, wanted })
    }

    /// Where a program should connect to that does one thing and ends: to what is found now, or else to what is named first.
    pub async fn reach(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
        let servers =
            Self::parse(url).map_err(|flaw| sqlx::Error::Configuration(Box::new(flaw)))?;
        if servers.are_several()
            && let Some((found, _)) = servers.find().await
        {
            return Ok(found.clone());
        }
        Ok(servers.first().clone())
    }

    /// One connection to it.
    pub async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&Self::reach(url).await?).await
    }

    /// The same servers, told something more.
    #[must_use]
    pub fn with(mut self, change: impl Fn(PgConnectOptions) -> PgConnectOptions) -> Self {
        self.options = self.options.into_iter().map(change).collect();
        self
    }

    /// The one that is named first.
    #[must_use]
    pub fn first(&self) -> &PgConnectOptions {
        &self.options[0]
    }

    #[must_use]
    pub const fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// Whether there is anything to choose between.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.options.len() > 1
    }

    /// The first server, in the order of the URL, that answers and is what is wanted.
    pub async fn find(&self) -> Option<(&PgConnectOptions, Standing)> {
        let standings = join_all(self.options.iter().map(ask)).await;
        let index = choose(&standings, self.wanted)?;
        Some((self.options.get(index)?, standings[index]?))
    }
}

/// The first that fits. Of several that write, the one that was promoted last: the others do not know yet that they are none.
fn choose(standings: &[Option<Standing>], wanted: Wanted) -> Option<usize> {
    let fitting = || {
        let known = standings.iter().enumerate();
        known.filter_map(|(index, standing)| {
            let standing = (*standing).filter(|standing| standing.fits(wanted))?;
            Some((index, standing))
        })
    };
    match wanted {
        Wanted::PreferStandby => fitting()
            .find(|(_, standing)| standing.is_standby)
            .or_else(|| fitting().next()),
        Wanted::ReadWrite | Wanted::Primary => {
            let newest = fitting().map(|(_, standing)| standing.timeline).max()?;
            fitting().find(|(_, standing)| standing.timeline == newest)
        }
        Wanted::Any | Wanted::ReadOnly | Wanted::Standby => fitting().next(),
    }
    .map(|(index, _)| index)
}

async fn ask(options: &PgConnectOptions) -> Option<Standing> {
    let asked = async {
        let mut connection = PgConnection::connect_with(options).await?;
        let standing = Standing::of(&mut connection).await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(standing)
    };
    tokio::time::timeout(PROBE, asked).await.ok()?.ok()
}

/// What is wrong with a URL.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    #[error("it is no URL, such as postgres://user:password@127.0.0.1:5432/recarga")]
    NoUrl,
    #[error("there is a comma too many between its hosts")]
    EmptyHost,
    #[error("{0}")]
    Wanted(String),
    #[error(transparent)]
    Options(sqlx::Error),
}

/// Where a session goes, without anything secret.
pub struct Place<'a>(pub &'a PgConnectOptions);

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.0.get_host(), self.0.get_port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(url: &str) -> Vec<String> {
        let servers = Servers::parse(url).unwrap();
        let places = servers.options.iter().map(Place);
        places.map(|place| place.to_string()).collect()
    }

    #[test]
    fn hosts_are_read_in_their_order() {
        assert_eq!(places("postgres://u:p@one/db"), ["one:5432"]);
        assert_eq!(
            places("postgres://u:p@one,two:6000,10.0.0.3:6001/db?sslmode=disable"),
            ["one:5432", "two:6000", "10.0.0.3:6001"]
        );
        assert_eq!(
            places("postgresql://u:a%2Cb%40c@[::1]:1,two?application_name=x"),
            ["[::1]:1", "two:5432"]
        );
        let servers = Servers::parse("postgres://u:p@one,two/db").unwrap();
        assert!(servers.are_several());
        for options in &servers.options {
            assert_eq!(
                (options.get_username(), options.get_database()),
                ("u", Some("db"))
            );
        }
    }

    #[test]
    fn what_is_wanted_is_read_and_taken_out() {
        for (text, wanted) in [
            ("any", Wanted::Any),
            ("read-write", Wanted::ReadWrite),
            ("read-only", Wanted::ReadOnly),
            ("primary", Wanted::Primary),
            ("standby", Wanted::Standby),
            ("prefer-standby", Wanted::PreferStandby),
        ] {
            let url =
                format!("postgres://u@one,two/db?sslmode=disable&target_session_attrs={text}");
            assert_eq!(Servers::parse(&url).unwrap().wanted(), wanted);
        }
        assert_eq!(
            Servers::parse("postgres://u@one/db").unwrap().wanted(),
            Wanted::Any
        );
    }

    #[test]
    fn what_is_no_url_is_told() {
        for (url, told) in [
            ("one,two", "it is no URL"),
            ("postgres://u@one,,two/db", "a comma too many"),
            ("postgres://u@,one/db", "a comma too many"),
            (
                "postgres://u@one/db?target_session_attrs=master",
                "`master`; it may be any, read-write",
            ),
            ("postgres://u@one:port/db", "port"),
        ] {
            let flaw = Servers::parse(url).unwrap_err().to_string();
            assert!(flaw.contains(told), "{url}: {flaw}");
        }
    }

    #[test]
    fn a_standing_fits_what_is_wanted() {
        let standing = |is_standby, is_read_only| Standing {
            is_standby,
            is_read_only,
            timeline: 1,
        };
        let (primary, standby, closed) = (
            standing(false, false),
            standing(true, true),
            standing(false, true),
        );
        for (wanted, fit) in [
            (Wanted::Any, [true, true, true]),
            (Wanted::ReadWrite, [true, false, false]),
            (Wanted::ReadOnly, [false, true, true]),
            (Wanted::Primary, [true, false, true]),
            (Wanted::Standby, [false, true, false]),
            (Wanted::PreferStandby, [true, true, true]),
        ] {
            let fits = [primary, standby, closed].map(|standing| standing.fits(wanted));
            assert_eq!(fits, fit, "{wanted:?}");
        }
    }

    #[test]
    fn of_two_that_write_the_one_promoted_last_is_taken() {
        let primary = |timeline| {
            Some(Standing {
                is_standby: false,
                is_read_only: false,
                timeline,
            })
        };
        let standby = Some(Standing {
            is_standby: true,
            is_read_only: true,
            timeline: 0,
        });
        for (standings, wanted, chosen) in [
            (vec![primary(1), standby], Wanted::ReadWrite, Some(0)),
            (vec![standby, primary(1)], Wanted::ReadWrite, Some(1)),
            // The old primary came back, and nobody told it.
            (vec![primary(1), primary(2)], Wanted::ReadWrite, Some(1)),
            (vec![primary(1), primary(2)], Wanted::Primary, Some(1)),
            (vec![primary(2), primary(2)], Wanted::ReadWrite, Some(0)),
            (vec![None, standby], Wanted::ReadWrite, None),
            (vec![None, standby], Wanted::Any, Some(1)),
            (vec![primary(3), standby], Wanted::PreferStandby, Some(1)),
            (vec![primary(3), None], Wanted::PreferStandby, Some(0)),
            (vec![primary(3), standby, standby], Wanted::Standby, Some(1)),
        ] {
            assert_eq!(
                choose(&standings, wanted),
                chosen,
                "{standings:?} {wanted:?}"
            );
        }
    }
}
