//! From a request to the key and variant its answer is cached under: a pure decision.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use kit::caching::LONGEST_WINDOW;

use crate::{
    flaw::Flaw,
    matching::Parameters,
    pattern::{Pattern, Piece},
    table::{CacheInfo, Shape},
};

/// The cache service takes no longer keys and variants, in bytes.
const LIMIT: usize = 512;

/// A compiled [`CacheInfo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    key: Vec<Part>,
    variant: Vec<String>,
    pub ttl_seconds: u32,
    pub swr_seconds: Option<u32>,
    pub sie_seconds: Option<u32>,
    pub negative_ttl_seconds: Option<u32>,
    pub shape: Shape,
    pattern: Arc<Pattern>,
    /// The keys of other routes, which free text in ours must not make.
    foreign: Vec<Arc<Pattern>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The path parameter at this position.
    Path(usize),
    Query {
        name: String,
        default: Option<String>,
    },
}

/// Where an answer is cached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub key: String,
    pub variant: String,
}

impl CacheRule {
    /// Fails with everything that is wrong; `parameters` are those of the path.
    pub fn compile(info: &CacheInfo, parameters: &[&str]) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        for (field, value, allowed) in [
            (
                "cache.ttl_seconds",
                Some(info.ttl_seconds),
                1..=LONGEST_WINDOW,
            ),
            ("cache.swr_seconds", info.swr_seconds, 0..=LONGEST_WINDOW),
            ("cache.sie_seconds", info.sie_seconds, 0..=LONGEST_WINDOW),
            (
                "cache.negative_ttl_seconds",
                info.negative_ttl_seconds,
                1..=3600,
            ),
        ] {
            if let Some(value) = value.filter(|value| !allowed.contains(value)) {
                let (from, to) = (allowed.start(), allowed.end());
                flaws.push(Flaw::of(field, format!("{value} is not {from} to {to}")));
            }
        }
        if let Shape::Wrapped(member) = &info.shape
            && (member.is_empty()
                || !member
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        {
            flaws.push(Flaw::of(
                "cache.shape",
                format!("{member:?} is no member name"),
            ));
        }
        for (number, name) in info.variant.iter().enumerate() {
            if name.is_empty() || info.variant[..number].contains(name) {
                flaws.push(Flaw::of(
                    "cache.variant",
                    format!("{name:?} is empty or there twice"),
                ));
            }
        }
        let key = parts(&info.key, parameters)
            .map_err(|reason| flaws.push(Flaw::of("cache.key", reason)))
            .unwrap_or_default();
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let pattern = Pattern::new(key.iter().map(|part| match part {
            Part::Text(text) => Piece::Text(text),
            Part::Path(_) => Piece::Number,
            Part::Query { .. } => Piece::Anything,
        }));
        Ok(Self {
            key,
            variant: info.variant.clone(),
            ttl_seconds: info.ttl_seconds,
            swr_seconds: info.swr_seconds,
            sie_seconds: info.sie_seconds,
            negative_ttl_seconds: info.negative_ttl_seconds,
            shape: info.shape.clone(),
            pattern: Arc::new(pattern),
            foreign: Vec::new(),
        })
    }

    /// Which keys this rule makes.
    #[must_use]
    pub fn pattern(&self) -> Arc<Pattern> {
        self.pattern.clone()
    }

    /// Whether two rules make exactly the same keys.
    #[must_use]
    pub fn has_pattern_of(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }

    /// Whether some key may be made by both rules.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.pattern.overlaps(&other.pattern)
    }

    /// Whether a key that both rules may make is rather this rule's.
    #[must_use]
    pub fn is_narrower(&self, other: &Self) -> bool {
        self.pattern.is_narrower(&other.pattern)
    }

    /// Whether two rules with the same keys are the same in everything else.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let theirs = Self {
            foreign: self.foreign.clone(),
            ..other.clone()
        };
        *self == theirs
    }

    /// From now on makes no key of another route.
    pub fn leave_alone(&mut self, pattern: Arc<Pattern>) {
        self.foreign.push(pattern);
    }

    /// Where the answer to a request belongs; none when the request is too odd to be cached (the service may refuse it, or
    /// understand it in another way than we do). `parameters` are where they are in `path`.
    #[must_use]
    pub fn place(&self, parameters: &Parameters, path: &str, query: Option<&str>) -> Option<Place> {
        let query = Query::parse(query.unwrap_or(""));
        let mut key = String::with_capacity(32);
        for part in &self.key {
            match part {
                Part::Text(text) => key.push_str(text),
                // Ids have many spellings and one number: a write invalidates the number.
                Part::Path(position) => {
                    let number: i64 = parameters.get(*position, path)?.parse().ok()?;
                    if number <= 0 {
                        return None;
                    }
                    // Writing into a String cannot fail.
                    let _ = write!(key, "{number}");
                }
                Part::Query { name, default } => match query.single(name).ok()? {
                    Some(value) if !value.is_empty() => key.push_str(&value),
                    Some(_) => return None,
                    None => key.push_str(default.as_deref()?),
                },
            }
        }
        let mut variant = String::new();
        for name in &self.variant {
            if let Some(value) = query.single(name).ok()? {
                if !variant.is_empty() {
                    variant.push('&');
                }
                variant.push_str(name);
                variant.push('=');
                // Encoded, so that no value can pass for two parameters.
                variant.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
            }
        }
        let usable = key.len() <= LIMIT
            && variant.len() <= LIMIT
            && !key.chars().any(char::is_control)
            && !self.foreign.iter().any(|pattern| pattern.makes(&key));
        usable.then_some(Place { key, variant })
    }
}

/// Takes a key apart; `parameters` are those of the path.
fn parts(text: &str, parameters: &[&str]) -> Result<Vec<Part>, String> {
    let mut key = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        if !before.is_empty() {
            key.push(Part::Text(before.to_owned()));
        }
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("{text:?} has a brace that is not closed"))?;
        key.push(if let Some(query) = name.strip_prefix('?') {
            let (name, default) = match query.split_once('=') {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (query, None),
            };
            if name.is_empty() || default.as_deref() == Some("") {
                return Err(format!("{{?{query}}} lacks a name or a default"));
            }
            Part::Query {
                name: name.to_owned(),
                default,
            }
        } else {
            let position = parameters.iter().position(|known| *known == name);
            Part::Path(position.ok_or_else(|| format!("the path has no {{{name}}}"))?)
        });
        rest = after;
    }
    if !rest.is_empty() {
        key.push(Part::Text(rest.to_owned()));
    }
    if key.is_empty() || text.len() > LIMIT {
        return Err(format!("must have 1 to {LIMIT} bytes"));
    }
    Ok(key)
}

struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

struct Repeated;

impl<'a> Query<'a> {
    fn parse(text: &'a str) -> Self {
        Self(url::form_urlencoded::parse(text.as_bytes()).collect())
    }

    /// A parameter's value, if it is there; one that is there twice means different things to different readers.
    fn single(&self, name: &str) -> Result<Option<Cow<'a, str>>, Repeated> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        let first = values.next().map(|(_, value)| value.clone());
        if values.next().is_some() {
            return Err(Repeated);
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(key: &str, variant: &[&str]) -> CacheInfo {
        CacheInfo {
            key: key.to_owned(),
            variant: variant.iter().map(|&name| name.to_owned()).collect(),
            ttl_seconds: 60,
            swr_seconds: None,
            sie_seconds: None,
            negative_ttl_seconds: None,
            shape: Shape::Plain,
        }
    }

    #[test]
    fn places_of_requests() {
        let long = "x".repeat(513);
        let long = long.as_str();
        for (key, variant, id, query, expected) in [
            ("trips:total", &[][..], "", "", Some(("trips:total", ""))),
            (
                "trips:total",
                &[],
                "",
                "any=thing",
                Some(("trips:total", "")),
            ),
            (
                "card:{id}:balance",
                &[],
                "7",
                "",
                Some(("card:7:balance", "")),
            ),
            (
                "card:{id}:balance",
                &[],
                "007",
                "",
                Some(("card:7:balance", "")),
            ),
            (
                "card:{id}:balance",
                &[],
                "+7",
                "",
                Some(("card:7:balance", "")),
            ),
            ("card:{id}:balance", &[], "0", "", None),
            ("card:{id}:balance", &[], "-7", "", None),
            ("card:{id}:balance", &[], "7%20", "", None),
            ("card:{id}:balance", &[], "99999999999999999999", "", None),
            ("{?key=my_data}", &[], "", "", Some(("my_data", ""))),
            (
                "{?key=my_data}",
                &[],
                "",
                "key=a%2Fb+c",
                Some(("a/b c", "")),
            ),
            ("{?key=my_data}", &[], "", "key=", None),
            ("{?key=my_data}", &[], "", "key=a&key=b", None),
            ("{?key=my_data}", &[], "", "key=a%00", None),
            ("{?key=my_data}", &[], "", "key=a%0A", None),
            (
                "search:{?subject}",
                &[],
                "",
                "subject=Math",
                Some(("search:Math", "")),
            ),
            ("search:{?subject}", &[], "", "", None),
            ("h:{id}", &["limit", "cursor"], "7", "", Some(("h:7", ""))),
            (
                "h:{id}",
                &["limit", "cursor"],
                "7",
                "cursor=x&limit=5&z=1",
                Some(("h:7", "limit=5&cursor=x")),
            ),
            (
                "h:{id}",
                &["limit", "cursor"],
                "7",
                "cursor=1%26limit%3D2",
                Some(("h:7", "cursor=1%26limit%3D2")),
            ),
            ("h:{id}", &["limit", "cursor"], "7", "limit=1&limit=2", None),
            (
                "h:{id}",
                &["limit", "cursor"],
                "7",
                &format!("cursor={long}"),
                None,
            ),
            ("{?key=my_data}", &[], "", &format!("key={long}"), None),
        ] {
            let rule = CacheRule::compile(&info(key, variant), &["id"]).expect(key);
            let place = rule.place(&Parameters::whole(id), id, Some(query));
            let found = place
                .as_ref()
                .map(|place| (place.key.as_str(), place.variant.as_str()));
            assert_eq!(found, expected, "{key} {id} {query}");
        }
    }

    #[test]
    fn bad_rules_are_refused() {
        for (key, part) in [
            ("", "1 to 512"),
            ("a{id", "not closed"),
            ("a{card}", "no {card}"),
            ("a{?}", "lacks"),
            ("a{?b=}", "lacks"),
        ] {
            let flaws = CacheRule::compile(&info(key, &[]), &["id"]).expect_err(key);
            assert_eq!(flaws.len(), 1, "{flaws:?}");
            assert_eq!(flaws[0].field.as_deref(), Some("cache.key"));
            assert!(flaws[0].reason.contains(part), "{flaws:?}");
        }
        let bad = CacheInfo {
            ttl_seconds: 0,
            swr_seconds: Some(90_000),
            sie_seconds: Some(90_000),
            negative_ttl_seconds: Some(0),
            shape: Shape::Wrapped("\"".to_owned()),
            ..info("a", &["b", "b", ""])
        };
        let flaws = CacheRule::compile(&bad, &[]).expect_err("bad in every way");
        assert_eq!(flaws.len(), 7, "{flaws:?}");
    }

    #[test]
    fn free_text_makes_no_key_of_another_route() {
        let compile = |key| CacheRule::compile(&info(key, &[]), &["id"]).expect(key);
        let mut free = compile("{?key=my_data}");
        for key in ["card:{id}:balance", "search:{?subject}", "trips:total"] {
            free.leave_alone(compile(key).pattern());
        }
        for (query, usable) in [
            ("", true),
            ("key=other", true),
            ("key=card:7", true),
            ("key=card:7:balance", false),
            ("key=card%3A07%3Abalance", false),
            ("key=card:x:balance", true),
            ("key=search:", true),
            ("key=search:Math", false),
            ("key=trips:total", false),
            ("key=trips:total:x", true),
        ] {
            let place = free.place(&Parameters::default(), "/data", Some(query));
            assert_eq!(place.is_some(), usable, "{query}");
        }
    }
}
