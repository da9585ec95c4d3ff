//! What the console is told at its start, and what it finds out about the terminal.

use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;

use crate::{
    net::{Rights, topology::TopologySource},
    view::{
        Look,
        theme::{Depth, Theme},
    },
};

/// Where the secrets of a lab are.
#[derive(Clone, Default)]
pub enum Secrets {
    /// There are none: a demo token must do.
    #[default]
    None,
    /// The lab's `secrets.json`. A missing file is as good as none.
    File(PathBuf),
    /// The operator's password itself.
    OperatorPassword(String),
}

/// Everything [`crate::run`] needs.
#[derive(Clone)]
pub struct Options {
    pub topology: TopologySource,
    pub secrets: Secrets,
    /// Whether traffic may go to another machine. Container networks need it.
    pub allow_remote: bool,
    /// Draw in ASCII; `None` decides by the locale.
    pub ascii: Option<bool>,
    /// Use colours; `None` decides by `NO_COLOR` and `TERM`.
    pub colour: Option<bool>,
    /// Frames per second at most.
    pub frames: u32,
}

impl Options {
    /// A console for this lab, all else by the environment.
    #[must_use]
    pub fn new(topology: TopologySource) -> Self {
        let allow_remote = matches!(topology, TopologySource::Dns(_));
        Self {
            topology,
            secrets: Secrets::None,
            allow_remote,
            ascii: None,
            colour: None,
            frames: 4,
        }
    }

    pub(crate) fn look(&self, environment: impl Fn(&str) -> Option<String>) -> Look {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let colour = self
            .colour
            .unwrap_or_else(|| set("NO_COLOR").is_none() && term != "dumb");
        let depth = if !colour {
            Depth::Monochrome
        } else if set("COLORTERM").is_some_and(|value| value == "truecolor" || value == "24bit") {
            Depth::True
        } else if term.contains("256") || term.contains("kitty") || term.contains("direct") {
            Depth::Indexed
        } else {
            Depth::Sixteen
        };
        let unicode = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(set)
            .is_some_and(|locale| {
                let locale = locale.to_ascii_lowercase();
                locale.contains("utf-8") || locale.contains("utf8")
            });
        Look {
            theme: Theme::new(depth),
            ascii: self.ascii.unwrap_or(!unicode),
        }
    }

    pub(crate) fn rights(&self) -> anyhow::Result<Rights> {
        #[derive(Deserialize)]
        struct File {
            operator_password: Option<String>,
        }
        let operator_password = match &self.secrets {
            Secrets::None => None,
            Secrets::OperatorPassword(password) => Some(password.clone()),
            Secrets::File(path) => match std::fs::read(path) {
                Ok(text) => {
                    let file: File = serde_json::from_slice(&text)
                        .with_context(|| format!("{} is not a secrets file", path.display()))?;
                    file.operator_password
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
            },
        };
        Ok(Rights {
            operator_password,
            allow_remote: self.allow_remote,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_decides_the_look() {
        let options = Options::new(TopologySource::dns());
        let look = |variables: &[(&str, &str)]| {
            options.look(|name| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(look(&[]).ascii);
        assert!(!look(&[("LANG", "es_CO.UTF-8")]).ascii);
        assert!(look(&[("LC_ALL", "C"), ("LANG", "es_CO.UTF-8")]).ascii);
        let colour = |variables: &[(&str, &str)]| look(variables).theme.good.fg;
        let modern = [("TERM", "xterm-256color"), ("COLORTERM", "truecolor")];
        assert!(colour(&modern).is_some());
        assert_eq!(colour(&[modern[0], modern[1], ("NO_COLOR", "1")]), None);
        assert_eq!(colour(&[("TERM", "dumb")]), None);
        // An empty NO_COLOR means nothing, by its own convention.
        assert!(colour(&[modern[0], ("NO_COLOR", "")]).is_some());
    }
}
