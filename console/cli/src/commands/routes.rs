//! `recarga routes`: the gateway's built-in route table, and other tables checked and compared with it.

use std::path::Path;

use anyhow::{Context as _, Result};
use gateway::{CacheInfo, LimitInfo, RouteInfo, document};

use crate::{
    arguments::Routes,
    exit,
    terminal::{say, tell},
};

pub fn run(arguments: &Routes) -> Result<u8> {
    if arguments.json {
        say(document::write(&gateway::routes()).trim_end());
    } else if arguments.schema {
        say(serde_json::to_string_pretty(&document::schema())?);
    } else if let Some(path) = &arguments.check {
        return check(path);
    } else if let Some(path) = &arguments.diff {
        return diff(path);
    } else {
        table(&gateway::routes());
    }
    Ok(exit::SUCCESS)
}

fn table(routes: &[RouteInfo]) {
    say(format_args!(
        "{:6} {:28} {:8} {:9} {:>8}  {:33}  LIMIT",
        "METHOD", "PATH", "AUTH", "SERVICE", "TIME-OUT", "CACHED AS"
    ));
    let none = || "–".to_owned();
    for route in routes {
        say(format_args!(
            "{:6} {:28} {:8} {:9} {:>5} ms  {:33}  {}",
            route.method,
            route.path,
            route.level.name(),
            route.upstream.name(),
            route.timeout_ms,
            route.cache.as_ref().map_or_else(none, cached),
            route.limit.as_ref().map_or_else(none, limited),
        ));
    }
}

fn cached(cache: &CacheInfo) -> String {
    let mut text = format!("{}, {} s", cache.key, cache.ttl_seconds);
    for (what, seconds) in [
        ("while refreshed", cache.swr_seconds),
        ("on failure", cache.sie_seconds),
        ("404", cache.negative_ttl_seconds),
    ] {
        if let Some(seconds) = seconds {
            text = format!("{text}, {what} {seconds} s");
        }
    }
    text
}

fn limited(limit: &LimitInfo) -> String {
    let mut text = format!(
        "{} a {} by {}",
        limit.requests,
        limit.per.name(),
        limit.by.name()
    );
    if let Some(burst) = limit.burst {
        text = format!("{text}, {burst} at once");
    }
    if limit.shared {
        text.push_str(", all gateways together");
    }
    text
}

fn read(path: &Path) -> Result<Result<Vec<RouteInfo>, gateway::Flaws>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(document::read(&text).map(|(routes, _)| routes))
}

fn check(path: &Path) -> Result<u8> {
    match read(path)? {
        Ok(routes) => {
            say(format_args!(
                "{}: {} routes, hash {}",
                path.display(),
                routes.len(),
                document::hash(&routes)
            ));
            Ok(exit::SUCCESS)
        }
        Err(flaws) => {
            for flaw in &flaws.0 {
                tell(format_args!("{}: {flaw}", path.display()));
            }
            Ok(exit::FAILURE)
        }
    }
}

fn diff(path: &Path) -> Result<u8> {
    let routes = read(path)?.with_context(|| path.display().to_string())?;
    let changes = document::Changes::between(&gateway::routes(), &routes);
    for route in &changes.removed {
        say(format_args!("- {route}"));
    }
    for route in &changes.added {
        say(format_args!("+ {route}"));
    }
    for change in &changes.changed {
        say(format_args!(
            "~ {}: {}",
            change.route,
            change.fields.join(", ")
        ));
    }
    if changes.is_empty() {
        say("The same routes as the built-in ones.");
    }
    Ok(exit::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_exit_code_says_whether_a_document_is_good() {
        let good = written(&document::write(&gateway::routes()));
        let bad = written(r#"{"routes": [{}]}"#);
        assert_eq!(check(good.path()).unwrap(), exit::SUCCESS);
        assert_eq!(diff(good.path()).unwrap(), exit::SUCCESS);
        assert_eq!(check(bad.path()).unwrap(), exit::FAILURE);
        assert!(diff(bad.path()).is_err());
        assert!(check(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn what_is_cached_and_limited_is_put_in_words() {
        let mut routes = gateway::routes();
        let cache = routes[5].cache.as_mut().unwrap();
        cache.swr_seconds = Some(5);
        cache.negative_ttl_seconds = Some(9);
        assert_eq!(
            cached(cache),
            "{?key=my_data}, 300 s, while refreshed 5 s, 404 9 s"
        );
        let limit = serde_json::json!({"requests": 9, "per": "minute", "burst": 2, "by": "all", "shared": true});
        assert_eq!(
            limited(&serde_json::from_value(limit).unwrap()),
            "9 a minute by all, 2 at once, all gateways together"
        );
    }
}
