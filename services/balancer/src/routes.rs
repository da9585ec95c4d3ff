//! Names paths by the documented route they belong to, so that metrics have few series however many ids there are.

use std::borrow::Cow;
use std::sync::Arc;

/// The documented paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    templates: Arc<[String]>,
}

impl Routes {
    /// Takes the path templates of the API's description, such as `/cards/{id}/balance`.
    pub fn new<'a>(templates: impl IntoIterator<Item = &'a String>) -> Self {
        let mut templates: Vec<String> = templates.into_iter().cloned().collect();
        // Fewer placeholders first: what is spelled out wins.
        templates.sort_by_key(|template| (template.matches('{').count(), template.clone()));
        Self {
            templates: templates.into(),
        }
    }

    /// The template a path belongs to, or `other`.
    pub fn label(&self, path: &str) -> Cow<'static, str> {
        self.templates
            .iter()
            .find(|template| matches(template, path))
            .map_or(Cow::Borrowed("other"), |template| {
                Cow::Owned(template.clone())
            })
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
        ]
        .map(str::to_owned);
        let routes = Routes::new(&templates);
        for (path, label) in [
            ("/cards/7/balance", "/cards/{id}/balance"),
            ("/trips/9", "/trips/{id}"),
            ("/trips/total", "/trips/total"),
            ("/data", "/data"),
            ("/trips/", "other"),
            ("/cards/7", "other"),
            ("/data/x", "other"),
            ("*", "other"),
        ] {
            assert_eq!(routes.label(path), label, "{path}");
        }
    }
}
