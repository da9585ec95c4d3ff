//! Finds the route of a request: compiled once, checked at the start, in time that does not grow with the routes.

use std::{collections::HashMap, time::Duration};

use http::{Method, uri::PathAndQuery};

use crate::{
    rule::CacheRule,
    table::{Level, RouteInfo, TIMEOUT_LIMIT_MS, Upstream},
};

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    pub path: String,
    pub level: Level,
    pub upstream: Upstream,
    pub upstream_path: Option<PathAndQuery>,
    pub timeout: Duration,
    pub cache: Option<CacheRule>,
    pub adds_gateway_id: bool,
}

/// All routes.
#[derive(Debug, Default)]
pub struct Table {
    routes: Vec<Route>,
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    fixed: HashMap<String, Node>,
    parameter: Option<(String, Box<Node>)>,
    /// Positions in the table.
    routes: Vec<usize>,
}

/// A route that cannot be used, and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{method} {path}: {reason}")]
pub struct InvalidRoute {
    method: String,
    path: String,
    reason: String,
}

/// The path's parameters, by name, as they were sent.
#[derive(Debug, Default)]
pub struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl Parameters<'_> {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }
}

#[cfg(test)]
impl<'a> Parameters<'a> {
    pub fn for_tests(pairs: &[(&'a str, &'a str)]) -> Self {
        Self(pairs.to_vec())
    }
}

/// What a request's path and method lead to.
#[derive(Debug)]
pub enum Found<'a> {
    Route(&'a Route, Parameters<'a>),
    /// The path is there, for other methods; and its pattern.
    OtherMethods(&'a str, Vec<&'a Method>),
    Nothing,
}

impl Table {
    /// Compiles routes, or says which one is wrong.
    pub fn compile(infos: &[RouteInfo]) -> Result<Self, InvalidRoute> {
        let mut table = Self::default();
        for info in infos {
            table.add(info).map_err(|reason| InvalidRoute {
                method: info.method.clone(),
                path: info.path.clone(),
                reason,
            })?;
        }
        Ok(table)
    }

    fn add(&mut self, info: &RouteInfo) -> Result<(), String> {
        let method: Method = info
            .method
            .parse()
            .map_err(|_| "this is no method".to_owned())?;
        let segments = segments(&info.path).ok_or("a path begins with one /")?;
        let mut parameters = Vec::new();
        let mut node = &mut self.root;
        for segment in segments {
            let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) else {
                if segment.is_empty() || segment.contains(['{', '}', '?', '#']) {
                    return Err(format!("{segment:?} is no path segment"));
                }
                node = node.fixed.entry(segment.to_owned()).or_default();
                continue;
            };
            parameters.push(name);
            let (known, next) = node
                .parameter
                .get_or_insert_with(|| (name.to_owned(), Box::default()));
            if known != name {
                return Err(format!("another route calls {{{name}}} {{{known}}}"));
            }
            node = next;
        }
        if node
            .routes
            .iter()
            .any(|&position| self.routes[position].method == method)
        {
            return Err("there are two of it".to_owned());
        }
        if !(1..=TIMEOUT_LIMIT_MS).contains(&info.timeout_ms) {
            return Err(format!("timeout_ms: must be 1 to {TIMEOUT_LIMIT_MS}"));
        }
        let cache = match &info.cache {
            Some(_) if method != Method::GET => return Err("only GET is cached".to_owned()),
            Some(_) if info.upstream == Upstream::Gateway => {
                return Err("the gateway's own answers are not cached".to_owned());
            }
            Some(cache) => Some(CacheRule::compile(cache, &parameters)?),
            None => None,
        };
        let upstream_path = match &info.upstream_path {
            Some(path) if path.starts_with('/') && !path.contains(['{', '?']) => Some(
                path.parse()
                    .map_err(|_| format!("upstream_path: {path:?} is no path"))?,
            ),
            Some(path) => return Err(format!("upstream_path: {path:?} is no fixed path")),
            None => None,
        };
        node.routes.push(self.routes.len());
        self.routes.push(Route {
            method,
            path: info.path.clone(),
            level: info.level,
            upstream: info.upstream,
            upstream_path,
            timeout: Duration::from_millis(info.timeout_ms),
            cache,
            adds_gateway_id: info.adds_gateway_id,
        });
        Ok(())
    }

    /// The route of a request. `HEAD` is answered where `GET` is.
    #[must_use]
    pub fn find<'a>(&'a self, method: &Method, path: &'a str) -> Found<'a> {
        let Some(segments) = segments(path) else {
            return Found::Nothing;
        };
        let segments: Vec<&str> = segments.collect();
        let mut parameters = Vec::new();
        let Some(node) = descend(&self.root, &segments, &mut parameters) else {
            return Found::Nothing;
        };
        let wanted = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let mut here = node.routes.iter().map(|&position| &self.routes[position]);
        match here.clone().find(|route| route.method == *wanted) {
            Some(route) => Found::Route(route, Parameters(parameters)),
            None => match here.next() {
                Some(first) => Found::OtherMethods(
                    &first.path,
                    std::iter::once(first)
                        .chain(here)
                        .map(|route| &route.method)
                        .collect(),
                ),
                None => Found::Nothing,
            },
        }
    }
}

fn segments(path: &str) -> Option<std::str::Split<'_, char>> {
    Some(path.strip_prefix('/')?.split('/'))
}

/// Fixed segments come before parameters, at every step.
fn descend<'a>(
    node: &'a Node,
    segments: &[&'a str],
    parameters: &mut Vec<(&'a str, &'a str)>,
) -> Option<&'a Node> {
    let Some((&segment, rest)) = segments.split_first() else {
        return (!node.routes.is_empty()).then_some(node);
    };
    if let Some(next) = node.fixed.get(segment)
        && let Some(found) = descend(next, rest, parameters)
    {
        return Some(found);
    }
    let (name, next) = node.parameter.as_ref()?;
    // Dots would lead elsewhere at a service that tidies paths up.
    if matches!(segment, "" | "." | "..") {
        return None;
    }
    parameters.push((name, segment));
    let found = descend(next, rest, parameters);
    if found.is_none() {
        parameters.pop();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::routes;

    fn table() -> Table {
        Table::compile(&routes()).expect("our own routes")
    }

    #[test]
    fn requests_find_their_routes() {
        let table = table();
        for (method, path, expected) in [
            ("GET", "/data", "/data"),
            ("HEAD", "/data", "/data"),
            ("POST", "/token", "/token"),
            ("GET", "/trips/17", "/trips/{id}"),
            ("GET", "/trips/total", "/trips/total"),
            ("GET", "/trips/total/localities", "/trips/total/localities"),
            ("GET", "/trips/finance/revenue", "/trips/finance/revenue"),
            ("POST", "/trips/total/end", "/trips/{id}/end"),
            ("GET", "/users/count", "/users/count"),
            ("GET", "/users/9/recharges", "/users/{id}/recharges"),
            ("GET", "/users/count/recharges", "/users/{id}/recharges"),
            ("GET", "/cards/%31/balance", "/cards/{id}/balance"),
        ] {
            let method = method.parse().expect("a method");
            match table.find(&method, path) {
                Found::Route(route, _) => assert_eq!(route.path, expected),
                other => panic!("{method} {path}: {other:?}"),
            }
        }
        match table.find(&Method::GET, "/cards/12/history") {
            Found::Route(_, parameters) => assert_eq!(parameters.get("id"), Some("12")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn other_paths_are_nothing() {
        let table = table();
        for path in [
            "",
            "/",
            "*",
            "data",
            "//data",
            "/data/",
            "/Data",
            "/cards",
            "/cards//balance",
            "/cards/../balance",
            "/trips/.",
            "/trips/1/2",
            "/internal/login",
            "/trips/total/x",
            "/users",
            "/metrics",
            "/health",
        ] {
            assert!(
                matches!(table.find(&Method::GET, path), Found::Nothing),
                "{path}"
            );
        }
    }

    #[test]
    fn other_methods_are_named() {
        let table = table();
        for (method, path, allowed) in [
            (Method::DELETE, "/data", &["GET"][..]),
            (Method::PUT, "/token", &["POST", "GET"]),
            (Method::GET, "/trips", &["POST"]),
            (Method::POST, "/trips/total", &["GET"]),
        ] {
            match table.find(&method, path) {
                Found::OtherMethods(_, methods) => {
                    let names: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
                    assert_eq!(names, allowed, "{method} {path}");
                }
                other => panic!("{method} {path}: {other:?}"),
            }
        }
    }

    #[test]
    fn bad_tables_are_refused() {
        let base = || routes().remove(5);
        let with = |change: &dyn Fn(&mut RouteInfo)| {
            let mut route = base();
            change(&mut route);
            route
        };
        for (bad, part) in [
            (with(&|route| route.path = "data".into()), "begins with"),
            (
                with(&|route| route.path = "/a//b".into()),
                "no path segment",
            ),
            (
                with(&|route| route.path = "/a{id}".into()),
                "no path segment",
            ),
            (with(&|route| route.method = "GE T".into()), "no method"),
            (with(&|route| route.method = "POST".into()), "only GET"),
            (with(&|route| route.timeout_ms = 0), "timeout_ms"),
            (with(&|route| route.timeout_ms = 60_000), "timeout_ms"),
            (
                with(&|route| route.upstream = Upstream::Gateway),
                "own answers",
            ),
            (
                with(&|route| route.upstream_path = Some("/a/{id}".into())),
                "fixed",
            ),
            (
                with(&|route| route.path = "/b/{card}".into()),
                "calls {card} {id}",
            ),
            (with(&|route| route.path = "/b/{id}".into()), "two of it"),
        ] {
            let mut other = base();
            other.path = "/b/{id}".into();
            let error = Table::compile(&[other, bad]).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
