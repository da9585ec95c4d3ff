//! Finds the route of a request: compiled once, checked before it is used, in time that does not grow with the routes.

use std::{collections::HashMap, time::Duration};

use http::{Method, uri::PathAndQuery};

use crate::{
    flaw::{Flaw, Flaws},
    limit::Limit,
    rule::CacheRule,
    table::{Level, LimitBy, RouteInfo, TIMEOUT_LIMIT_MS, Upstream},
};

/// The most `{name}` segments in a path.
pub const MOST_PARAMETERS: usize = 8;
/// The most segments in a path.
const MOST_SEGMENTS: usize = 32;
/// What a route may be called with.
const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];
/// What the gateway answers itself.
const OWN: [(Method, &str); 2] = [(Method::POST, "/token"), (Method::GET, "/token")];

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
    pub limit: Option<Limit>,
    pub adds_gateway_id: bool,
}

/// All routes: a tree whose every level is one path segment, so that a look-up costs one hash per segment however many
/// routes there are.
#[derive(Debug, Default)]
pub struct Table {
    routes: Vec<Route>,
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    fixed: HashMap<Box<str>, Node>,
    parameter: Option<Box<Node>>,
    /// Positions in the table.
    routes: Vec<usize>,
}

/// Where in a path its parameters are, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    spans: [(u32, u32); MOST_PARAMETERS],
    count: usize,
}

impl Parameters {
    /// A parameter as it was sent, from the path it was found in.
    #[must_use]
    pub fn get<'a>(&self, position: usize, path: &'a str) -> Option<&'a str> {
        let (from, to) = *self.spans[..self.count].get(position)?;
        path.get(from as usize..to as usize)
    }

    /// One parameter that is all of a path.
    #[cfg(test)]
    pub fn whole(path: &str) -> Self {
        let mut parameters = Self::default();
        parameters.push(0, path.len());
        parameters
    }

    fn push(&mut self, from: usize, to: usize) {
        // The table has no more of them in a path.
        if let Some(span) = self.spans.get_mut(self.count) {
            *span = (from as u32, to as u32);
            self.count += 1;
        }
    }
}

/// What a request's path and method lead to.
#[derive(Debug)]
pub enum Found<'a> {
    Route(&'a Route, Parameters),
    /// The path is there, for other methods; and its pattern.
    OtherMethods(&'a str, Vec<&'a Method>),
    Nothing,
}

impl Table {
    /// Compiles routes, or says everything that is wrong with them.
    pub fn compile(infos: &[RouteInfo]) -> Result<Self, Flaws> {
        let mut table = Self::default();
        let mut flaws = Vec::new();
        // Of each compiled route, its position among the given ones.
        let mut positions = Vec::with_capacity(infos.len());
        let place = |position: usize, flaw: Flaw| Flaw {
            route: Some(infos[position].name()),
            position: Some(position),
            ..flaw
        };
        for (position, info) in infos.iter().enumerate() {
            match table.add(info) {
                Ok(()) => positions.push(position),
                Err(wrong) => flaws.extend(wrong.into_iter().map(|flaw| place(position, flaw))),
            }
        }
        for (number, flaw) in table.share_keys() {
            flaws.push(place(positions[number], flaw));
        }
        if flaws.is_empty() {
            Ok(table)
        } else {
            flaws.sort_by_key(|flaw| flaw.position);
            Err(Flaws(flaws))
        }
    }

    fn add(&mut self, info: &RouteInfo) -> Result<(), Vec<Flaw>> {
        let mut flaws = Vec::new();
        let parameters = parameters(&info.path)
            .map_err(|reason| flaws.push(Flaw::of("path", reason)))
            .unwrap_or_default();
        let method = METHODS
            .iter()
            .find(|method| method.as_str() == info.method)
            .cloned();
        if method.is_none() {
            flaws.push(Flaw::of(
                "method",
                format!("{:?} is not GET, POST, PUT, PATCH or DELETE", info.method),
            ));
        }
        if !(1..=TIMEOUT_LIMIT_MS).contains(&info.timeout_ms) {
            flaws.push(Flaw::of(
                "timeout_ms",
                format!("{} is not 1 to {TIMEOUT_LIMIT_MS}", info.timeout_ms),
            ));
        }
        if info.upstream == Upstream::Gateway
            && !OWN
                .iter()
                .any(|(method, path)| method.as_str() == info.method && *path == info.path)
        {
            flaws.push(Flaw::of(
                "upstream",
                "the gateway itself answers POST /token and GET /token only",
            ));
        }
        let upstream_path = fixed_path(info.upstream_path.as_deref())
            .map_err(|reason| flaws.push(Flaw::of("upstream_path", reason)))
            .unwrap_or_default();
        let limit = info.limit.as_ref().and_then(|limit| {
            if limit.by == LimitBy::User && info.level == Level::Public {
                flaws.push(Flaw::of("limit.by", "a public route knows no users"));
            }
            Limit::compile(limit, &info.name())
                .map_err(|wrong| flaws.extend(wrong))
                .ok()
        });
        let cache = info.cache.as_ref().and_then(|cache| {
            if info.method != "GET" {
                flaws.push(Flaw::of("cache", "only GET is cached"));
            } else if info.upstream == Upstream::Gateway {
                flaws.push(Flaw::of(
                    "cache",
                    "the gateway's own answers are not cached",
                ));
            }
            CacheRule::compile(cache, &parameters)
                .map_err(|wrong| flaws.extend(wrong))
                .ok()
        });
        let Some(method) = method.filter(|_| flaws.is_empty()) else {
            return Err(flaws);
        };
        let node = self.root.at(&info.path);
        if let Some(other) = node
            .routes
            .iter()
            .map(|&position| &self.routes[position])
            .find(|other| other.method == method)
        {
            return Err(vec![Flaw::of(
                "path",
                if other.path == info.path {
                    "there are two of it".to_owned()
                } else {
                    format!("the same as {} {}, which is there too", method, other.path)
                },
            )]);
        }
        node.routes.push(self.routes.len());
        self.routes.push(Route {
            method,
            path: info.path.clone(),
            level: info.level,
            upstream: info.upstream,
            upstream_path,
            timeout: Duration::from_millis(info.timeout_ms),
            cache,
            limit,
            adds_gateway_id: info.adds_gateway_id,
        });
        Ok(())
    }

    /// Sees to it that one cached value has one meaning: two routes with one key must ask the same thing, and a route whose
    /// key holds free text leaves alone what is another's.
    fn share_keys(&mut self) -> Vec<(usize, Flaw)> {
        let mut flaws = Vec::new();
        let cached: Vec<usize> = (0..self.routes.len())
            .filter(|&number| self.routes[number].cache.is_some())
            .collect();
        for (count, &second) in cached.iter().enumerate() {
            for &first in &cached[..count] {
                let (a, b) = (&self.routes[first], &self.routes[second]);
                let (Some(rule_a), Some(rule_b)) = (&a.cache, &b.cache) else {
                    continue;
                };
                let flaw = |reason: &str| {
                    let name = format!("{} {}", a.method, a.path);
                    (second, Flaw::of("cache.key", format!("{name} {reason}")))
                };
                if rule_a.has_pattern_of(rule_b) {
                    if a.asks() != b.asks() || !rule_a.agrees_with(rule_b) {
                        flaws.push(flaw(
                            "has the same key; then upstream, path there, parameters, variant, shape and times must be the same as well",
                        ));
                    }
                } else if rule_a.overlaps(rule_b) {
                    let (a_is_narrower, b_is_narrower) =
                        (rule_a.is_narrower(rule_b), rule_b.is_narrower(rule_a));
                    let (wide, narrow) = match (a_is_narrower, b_is_narrower) {
                        (true, _) => (second, first),
                        (_, true) => (first, second),
                        _ => {
                            flaws.push(flaw("may make the same key; give one of them a prefix"));
                            continue;
                        }
                    };
                    let pattern = self.routes[narrow].cache.as_ref().map(CacheRule::pattern);
                    if let (Some(rule), Some(pattern)) = (&mut self.routes[wide].cache, pattern) {
                        rule.leave_alone(pattern);
                    }
                }
            }
        }
        flaws
    }

    /// The route of a request. `HEAD` is answered where `GET` is.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let mut parameters = Parameters::default();
        let Some(node) = path
            .starts_with('/')
            .then(|| descend(&self.root, path, 1, &mut parameters))
            .flatten()
        else {
            return Found::Nothing;
        };
        let wanted = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let mut here = node.routes.iter().map(|&position| &self.routes[position]);
        match here.clone().find(|route| route.method == *wanted) {
            Some(route) => Found::Route(route, parameters),
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

    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

impl Route {
    /// What a service is asked for, apart from parameters: two routes that ask the same may share what is cached.
    fn asks(&self) -> (Upstream, &str) {
        let path = self
            .upstream_path
            .as_ref()
            .map_or(&*self.path, |path| path.path());
        (self.upstream, path)
    }
}

impl Node {
    /// The node of a checked path.
    fn at(&mut self, path: &str) -> &mut Self {
        let mut node = self;
        for segment in path.split('/').skip(1) {
            node = if name(segment).is_some() {
                node.parameter.get_or_insert_default()
            } else {
                node.fixed.entry(segment.into()).or_default()
            };
        }
        node
    }
}

/// What stands in the braces of a parameter.
fn name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The names of a path's parameters; fails with what is wrong with the path.
fn parameters(path: &str) -> Result<Vec<&str>, String> {
    let rest = path.strip_prefix('/').ok_or("a path begins with one /")?;
    if path == "/health" {
        return Err("/health is every instance's own".to_owned());
    }
    if rest.split('/').count() > MOST_SEGMENTS {
        return Err(format!("a path has at most {MOST_SEGMENTS} segments"));
    }
    let mut names = Vec::new();
    for segment in rest.split('/') {
        let Some(name) = name(segment) else {
            let plain = segment
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'{' | b'}' | b'?' | b'#' | b'\\'));
            if !plain || matches!(segment, "" | "." | "..") {
                return Err(format!("{segment:?} is no path segment"));
            }
            continue;
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("{segment:?} is no parameter"));
        }
        if names.contains(&name) {
            return Err(format!("{segment} is there twice"));
        }
        names.push(name);
    }
    if names.len() > MOST_PARAMETERS {
        return Err(format!("a path has at most {MOST_PARAMETERS} parameters"));
    }
    Ok(names)
}

fn fixed_path(path: Option<&str>) -> Result<Option<PathAndQuery>, String> {
    let Some(path) = path else {
        return Ok(None);
    };
    if !path.starts_with('/') || path.contains(['{', '?', '#']) {
        return Err(format!("{path:?} is no fixed path"));
    }
    path.parse()
        .map(Some)
        .map_err(|_| format!("{path:?} is no path"))
}

/// Fixed segments come before parameters, at every step. `from` is where the next segment begins, or one past the end.
fn descend<'a>(
    node: &'a Node,
    path: &str,
    from: usize,
    parameters: &mut Parameters,
) -> Option<&'a Node> {
    let Some(rest) = path.get(from..) else {
        return (!node.routes.is_empty()).then_some(node);
    };
    let to = rest.find('/').map_or(path.len(), |at| from + at);
    let segment = &path[from..to];
    if let Some(next) = node.fixed.get(segment)
        && let Some(found) = descend(next, path, to + 1, parameters)
    {
        return Some(found);
    }
    let next = node.parameter.as_ref()?;
    // Dots would lead elsewhere at a service that tidies paths up.
    if matches!(segment, "" | "." | "..") {
        return None;
    }
    let before = parameters.count;
    parameters.push(from, to);
    let found = descend(next, path, to + 1, parameters);
    if found.is_none() {
        parameters.count = before;
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin::routes;

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
        let path = "/cards/12/history";
        match table.find(&Method::GET, path) {
            Found::Route(_, parameters) => {
                assert_eq!(parameters.get(0, path), Some("12"));
                assert_eq!(parameters.get(1, path), None);
            }
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

    /// A route that caches nothing.
    fn plain(path: &str) -> RouteInfo {
        let mut all = routes().into_iter();
        let mut route = all
            .find(|route| route.path == "/users/count")
            .expect("it is there");
        route.path = path.to_owned();
        route
    }

    fn refusal(routes: &[RouteInfo]) -> Vec<String> {
        match Table::compile(routes) {
            Ok(_) => Vec::new(),
            Err(Flaws(flaws)) => flaws.iter().map(ToString::to_string).collect(),
        }
    }

    type Change<'a> = &'a dyn Fn(&mut RouteInfo);

    #[test]
    fn bad_routes_are_refused() {
        // A cached one, and changes that spoil it.
        let base = routes().remove(11);
        let deep = "/a".repeat(33);
        let many = "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}";
        let cases: &[(Change<'_>, &str)] = &[
            (
                &|route| route.path = "data".into(),
                "path: a path begins with",
            ),
            (
                &|route| route.path = "/a//b".into(),
                "path: \"\" is no path segment",
            ),
            (
                &|route| route.path = "/a/../b".into(),
                "path: \"..\" is no path segment",
            ),
            (
                &|route| route.path = "/a{id}".into(),
                "path: \"a{id}\" is no path segment",
            ),
            (
                &|route| route.path = "/ñ/{id}".into(),
                "path: \"ñ\" is no path segment",
            ),
            (
                &|route| route.path = "/{}".into(),
                "path: \"{}\" is no parameter",
            ),
            (
                &|route| route.path = "/{id}/{id}".into(),
                "path: {id} is there twice",
            ),
            (&|route| route.path = "/health".into(), "path: /health is"),
            (
                &|route| route.path.clone_from(&deep),
                "path: a path has at most 32",
            ),
            (
                &|route| route.path = many.into(),
                "path: a path has at most 8",
            ),
            (
                &|route| route.path = "/b".into(),
                "cache.key: the path has no {id}",
            ),
            (
                &|route| route.method = "GE T".into(),
                "method: \"GE T\" is not",
            ),
            (
                &|route| route.method = "HEAD".into(),
                "method: \"HEAD\" is not",
            ),
            (&|route| route.method = "POST".into(), "cache: only GET"),
            (
                &|route| route.timeout_ms = 0,
                "timeout_ms: 0 is not 1 to 25000",
            ),
            (
                &|route| route.timeout_ms = 25_001,
                "timeout_ms: 25001 is not",
            ),
            (
                &|route| route.upstream = Upstream::Gateway,
                "upstream: the gateway itself",
            ),
            (
                &|route| route.upstream_path = Some("/a/{id}".into()),
                "upstream_path: ",
            ),
            (
                &|route| route.upstream_path = Some("a".into()),
                "upstream_path: ",
            ),
        ];
        for (change, expected) in cases {
            let mut route = base.clone();
            change(&mut route);
            let found = refusal(std::slice::from_ref(&route));
            let expected = format!("{}: {expected}", route.name());
            assert!(
                found.iter().any(|flaw| flaw.starts_with(&expected)),
                "{expected}: {found:?}"
            );
        }
        assert_eq!(refusal(&[base]), [""; 0]);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let mut bad = plain("/a");
        bad.method = "BREW".to_owned();
        bad.timeout_ms = 0;
        let found = refusal(&[bad, plain("/b"), plain("c")]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[2].starts_with("GET c: path: "), "{found:?}");
    }

    #[test]
    fn two_of_a_route_are_refused() {
        assert_eq!(
            refusal(&[plain("/b/{id}"), plain("/b/{card}"), plain("/b/{id}")]),
            [
                "GET /b/{card}: path: the same as GET /b/{id}, which is there too",
                "GET /b/{id}: path: there are two of it"
            ]
        );
        let mut other = plain("/b/{card}");
        other.method = "POST".to_owned();
        assert_eq!(
            refusal(&[plain("/b/{id}"), other, plain("/b/{x}/c")]),
            [""; 0]
        );
    }

    #[test]
    fn one_key_has_one_meaning() {
        let cached = |path: &str, key: &str| {
            let mut route = routes().remove(11);
            route.path = path.to_owned();
            if let Some(cache) = &mut route.cache {
                cache.key = key.to_owned();
            }
            route
        };
        let at = |mut route: RouteInfo, path: &str| {
            route.upstream_path = Some(path.to_owned());
            route
        };
        let same = "has the same key; then";
        let may = "may make the same key";
        for (first, second, expected) in [
            // The documented kind of alias: another name of one thing.
            (cached("/a", "k"), at(cached("/b", "k"), "/a"), None),
            (cached("/a", "k"), cached("/b", "k"), Some(same)),
            (
                cached("/a/{x}", "k:{x}"),
                cached("/b/{y}", "k:{y}"),
                Some(same),
            ),
            (
                cached("/a", "k:{?x}"),
                at(cached("/b", "k:{?y}"), "/a"),
                Some(same),
            ),
            (cached("/a/{x}", "k:{x}"), cached("/b/{y}", "l:{y}"), None),
            (
                cached("/a/{x}", "k:{x}:a"),
                cached("/b/{y}", "k:{y}:b"),
                None,
            ),
            // Free text leaves alone what is another's.
            (cached("/a", "{?x}"), cached("/b", "k"), None),
            (cached("/a", "{?x}k"), cached("/b", "k{?x}"), Some(may)),
        ] {
            let name = format!("{:?} {:?}", first.name(), second.name());
            let found = refusal(&[first, second]);
            match expected {
                None => assert_eq!(found, [""; 0], "{name}"),
                Some(part) => assert!(
                    found.len() == 1 && found[0].contains(part),
                    "{name}: {found:?}"
                ),
            }
        }
        let mut other = at(cached("/b", "k"), "/a");
        if let Some(cache) = &mut other.cache {
            cache.ttl_seconds += 1;
        }
        assert_eq!(refusal(&[cached("/a", "k"), other]).len(), 1);
        let wide = Table::compile(&[cached("/b", "k"), cached("/a", "{?x}")]).expect("good");
        let rule = wide.routes[1].cache.as_ref().expect("it is cached");
        let place = |query| rule.place(&Parameters::default(), "/a", Some(query));
        assert!(place("x=k").is_none() && place("x=kk").is_some());
    }

    #[test]
    fn a_public_route_has_no_users_to_limit() {
        let mut route = plain("/a");
        route.level = Level::Public;
        route.limit = Some(crate::table::LimitInfo {
            requests: 0,
            per: crate::table::Period::Second,
            burst: None,
            by: LimitBy::User,
            shared: false,
        });
        let found = refusal(&[route]);
        assert!(found[0].contains("limit.by: ") && found[1].contains("limit.requests: "));
    }

    #[test]
    fn our_own_free_text_leaves_the_others_alone() {
        let table = table();
        let Found::Route(route, _) = table.find(&Method::GET, "/data") else {
            panic!("no /data");
        };
        let rule = route.cache.as_ref().expect("it is cached");
        for (query, usable) in [
            ("key=anything", true),
            ("key=card:1:balance", false),
            ("key=search:Math", false),
            ("key=stations", false),
        ] {
            let place = rule.place(&Parameters::default(), "/data", Some(query));
            assert_eq!(place.is_some(), usable, "{query}");
        }
    }

    /// The meaning of a look-up without any cleverness: of all routes whose segments fit, the one that is fixed where the others
    /// have parameters, seen from the left; then its method.
    fn naive(routes: &[RouteInfo], method: &str, path: &str) -> Option<(usize, Vec<String>)> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let fits = |route: &RouteInfo| {
            let own: Vec<&str> = route.path.split('/').skip(1).collect();
            own.len() == segments.len()
                && own.iter().zip(&segments).all(|(own, segment)| {
                    own == segment || (name(own).is_some() && !matches!(*segment, "" | "." | ".."))
                })
        };
        let rank = |route: &RouteInfo| -> Vec<bool> {
            let own = route.path.split('/').skip(1);
            own.map(|segment| name(segment).is_some()).collect()
        };
        let best = routes.iter().filter(|route| fits(route)).map(rank).min()?;
        let method = if method == "HEAD" { "GET" } else { method };
        let (position, route) = routes
            .iter()
            .enumerate()
            .find(|(_, route)| fits(route) && rank(route) == best && route.method == method)?;
        let values = route.path.split('/').skip(1).zip(&segments);
        let values = values.filter(|(own, _)| name(own).is_some());
        Some((
            position,
            values.map(|(_, value)| (*value).to_owned()).collect(),
        ))
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_a_search_finds(
            given in proptest::collection::vec(
                ("(/(a|b|c|\\{x\\})){1,4}", prop::sample::select(vec!["GET", "POST", "DELETE"])),
                1..60,
            ),
            asked in proptest::collection::vec(
                ("(/(a|b|c|d|\\.|%61|)){0,5}", prop::sample::select(vec!["GET", "HEAD", "POST", "PUT"])),
                1..60,
            ),
        ) {
            let mut routes: Vec<RouteInfo> = Vec::new();
            for (path, method) in given {
                // Names of its own, by position.
                let mut route = plain(&path);
                let mut number = 0;
                while let Some(at) = route.path.find("{x}") {
                    number += 1;
                    route.path.replace_range(at..at + 3, &format!("{{p{number}}}"));
                }
                route.method = method.to_owned();
                if !routes.iter().any(|other| other.name() == route.name()) {
                    routes.push(route);
                }
            }
            let table = Table::compile(&routes).expect("good routes");
            for (path, method) in asked {
                let found = match table.find(&method.parse().expect("a method"), &path) {
                    Found::Route(route, parameters) => Some((
                        routes
                            .iter()
                            .position(|info| info.method == route.method.as_str() && info.path == route.path)
                            .expect("one of them"),
                        (0..MOST_PARAMETERS)
                            .map_while(|position| parameters.get(position, &path))
                            .map(str::to_owned)
                            .collect(),
                    )),
                    _ => None,
                };
                prop_assert_eq!(found, naive(&routes, method, &path), "{} {}", method, path);
            }
        }
    }
}
