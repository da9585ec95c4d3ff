//! From a request to the key and variant its answer is cached under: a pure decision.

use std::borrow::Cow;

use crate::{
    matching::Parameters,
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
    pub shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Path(String),
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
    /// Fails with what is wrong; `parameters` are those of the path.
    pub fn compile(info: &CacheInfo, parameters: &[&str]) -> Result<Self, String> {
        if !(1..=86_400).contains(&info.ttl_seconds) {
            return Err(format!(
                "ttl_seconds: {} is not 1 to 86400",
                info.ttl_seconds
            ));
        }
        for (name, window) in [
            ("swr_seconds", info.swr_seconds),
            ("sie_seconds", info.sie_seconds),
        ] {
            if let Some(seconds) = window.filter(|seconds| *seconds > 86_400) {
                return Err(format!("{name}: {seconds} is more than 86400"));
            }
        }
        if let Shape::Wrapped(member) = &info.shape
            && (member.is_empty()
                || !member
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        {
            return Err(format!("shape: {member:?} is no member name"));
        }
        let mut key = Vec::new();
        let mut rest = info.key.as_str();
        while let Some((text, after)) = rest.split_once('{') {
            if !text.is_empty() {
                key.push(Part::Text(text.to_owned()));
            }
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| format!("key: {:?} has a brace that is not closed", info.key))?;
            key.push(match name.strip_prefix('?') {
                Some(query) => match query.split_once('=') {
                    Some((name, default)) => Part::Query {
                        name: name.to_owned(),
                        default: Some(default.to_owned()),
                    },
                    None => Part::Query {
                        name: query.to_owned(),
                        default: None,
                    },
                },
                None if parameters.contains(&name) => Part::Path(name.to_owned()),
                None => return Err(format!("key: the path has no {{{name}}}")),
            });
            rest = after;
        }
        if !rest.is_empty() {
            key.push(Part::Text(rest.to_owned()));
        }
        if key.is_empty() {
            return Err("key: must not be empty".to_owned());
        }
        Ok(Self {
            key,
            variant: info.variant.clone(),
            ttl_seconds: info.ttl_seconds,
            swr_seconds: info.swr_seconds,
            sie_seconds: info.sie_seconds,
            shape: info.shape.clone(),
        })
    }

    /// Where the answer to a request belongs; none when the request is too odd to be cached (the service may refuse it, or
    /// understand it in another way than we do).
    #[must_use]
    pub fn place(&self, path: &Parameters<'_>, query: Option<&str>) -> Option<Place> {
        let query = Query::parse(query.unwrap_or(""));
        let mut key = String::new();
        for part in &self.key {
            match part {
                Part::Text(text) => key.push_str(text),
                // Ids have many spellings and one number: a write invalidates the number.
                Part::Path(name) => {
                    let number: i64 = path.get(name)?.parse().ok().filter(|number| *number > 0)?;
                    key.push_str(&number.to_string());
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
        let usable =
            key.len() <= LIMIT && variant.len() <= LIMIT && !key.chars().any(char::is_control);
        usable.then_some(Place { key, variant })
    }
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
            let place = rule.place(&Parameters::for_tests(&[("id", id)]), Some(query));
            let found = place
                .as_ref()
                .map(|place| (place.key.as_str(), place.variant.as_str()));
            assert_eq!(found, expected, "{key} {id} {query}");
        }
    }

    #[test]
    fn bad_rules_are_refused() {
        for (key, part) in [
            ("", "empty"),
            ("a{id", "not closed"),
            ("a{card}", "no {card}"),
        ] {
            let error = CacheRule::compile(&info(key, &[]), &["id"]).expect_err(key);
            assert!(error.contains(part), "{error}");
        }
        let mut eternal = info("a", &[]);
        eternal.ttl_seconds = 0;
        assert!(CacheRule::compile(&eternal, &[]).is_err());
        let mut stale = info("a", &[]);
        stale.sie_seconds = Some(86_401);
        assert!(CacheRule::compile(&stale, &[]).is_err());
        let mut unnamed = info("a", &[]);
        unnamed.shape = Shape::Wrapped("\"".to_owned());
        assert!(CacheRule::compile(&unnamed, &[]).is_err());
    }
}
