//! Names paths by the documented route they belong to, so that metrics have few series however many ids there are.

use std::{collections::BTreeMap, sync::Arc};

use kit::record::{Recorder, Route};

/// The documented paths, with the counters of each.
#[derive(Clone, Debug)]
pub(crate) struct Routes(Arc<Known>);

/// Routes by a name, in its order.
type ByName<T> = Box<[(String, T)]>;

#[derive(Debug)]
struct Known {
    /// Those without placeholders: spelled out, they win.
    plain: ByName<Arc<Route>>,
    /// The others by their first segment, which is spelled out in all of them but those under the empty name.
    patterns: ByName<Vec<(String, Arc<Route>)>>,
    other: Arc<Route>,
}

impl Routes {
    /// Takes the path templates of the API's description, such as `/cards/{id}/balance`.
    pub fn new<'a>(templates: impl IntoIterator<Item = &'a String>, recorder: &Recorder) -> Self {
        let mut plain = BTreeMap::new();
        let mut patterns: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for template in templates {
            let route = recorder.route(template);
            if template.contains('{') {
                let first = first_segment(template);
                let first = if first.starts_with('{') { "" } else { first };
                patterns
                    .entry(first.to_owned())
                    .or_default()
                    .push((template.clone(), route));
            } else {
                plain.insert(template.clone(), route);
            }
        }
        for patterns in patterns.values_mut() {
            // Fewer placeholders first.
            patterns.sort_by_key(|(template, _)| (template.matches('{').count(), template.clone()));
        }
        Self(Arc::new(Known {
            plain: plain.into_iter().collect(),
            patterns: patterns.into_iter().collect(),
            other: recorder.route("other"),
        }))
    }

    /// The route a path belongs to, or `other`.
    pub fn of(&self, path: &str) -> Arc<Route> {
        let known = &self.0;
        let found = look_up(&known.plain, path).or_else(|| {
            [first_segment(path), ""]
                .into_iter()
                .filter_map(|first| look_up(&known.patterns, first))
                .flatten()
                .find(|(template, _)| matches(template, path))
                .map(|(_, route)| route)
        });
        Arc::clone(found.unwrap_or(&known.other))
    }
}

/// Quicker than hashing, for as few names as an API has.
fn look_up<'a, T>(ordered: &'a [(String, T)], name: &str) -> Option<&'a T> {
    let position = ordered
        .binary_search_by(|(known, _)| known.as_str().cmp(name))
        .ok()?;
    Some(&ordered[position].1)
}

fn first_segment(path: &str) -> &str {
    let rest = path.strip_prefix('/').unwrap_or(path);
    rest.split_once('/').map_or(rest, |(first, _)| first)
}

fn matches(template: &str, path: &str) -> bool {
    let mut wanted = template.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given))
                if wanted == given || (wanted.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_take_whole_segments() {
        for (template, path, expected) in [
            ("/cards/{id}/balance", "/cards/7/balance", true),
            ("/cards/{id}/balance", "/cards//balance", false),
            ("/cards/{id}/balance", "/cards/7", false),
            ("/cards/{id}/balance", "/cards/7/balance/", false),
            ("/trips/{id}", "/trips/9", true),
            ("/trips/{id}", "/trips/", false),
            ("/{any}", "/x", true),
            ("/data", "/data", true),
            ("/data", "*", false),
        ] {
            assert_eq!(matches(template, path), expected, "{template} {path}");
        }
        for (path, first) in [
            ("/cards/7", "cards"),
            ("/data", "data"),
            ("/", ""),
            ("*", "*"),
        ] {
            assert_eq!(first_segment(path), first);
        }
    }
}
