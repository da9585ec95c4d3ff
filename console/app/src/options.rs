//! What the console is told at its start, and what it finds out about the terminal.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use serde::Deserialize;

use actions::Rights;

use crate::{
    keys::Keymap,
    net::topology::TopologySource,
    view::{
        Look,
        theme::{Depth, Scheme},
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
    /// The operator's secrets themselves.
    Operator {
        password: Option<String>,
        token: Option<String>,
    },
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
    /// Act on nothing: no token is read, and what would change anything is refused.
    pub read_only: bool,
    /// How labs are run from here, where they can be.
    pub labs: Option<labs::field::Setup>,
    /// Write down what is shown, in a new file.
    pub record: Option<PathBuf>,
    /// The operator's own keys and theme, see [`Options::settings`].
    pub settings: Settings,
}

/// The operator's file, such as `~/.config/recarga/console.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Keys by the name that the help and the palette use: `burst = ["B", "Ctrl-b"]`.
    pub keys: BTreeMap<String, Vec<String>>,
    /// One of the themes' names.
    pub theme: Option<String>,
    pub mouse: bool,
    /// Where the clock of the charts begins: `30s` to `15m`.
    pub window: Option<String>,
}

impl Options {
    /// A console for this lab, all else by the environment.
    #[must_use]
    pub fn new(topology: TopologySource) -> Self {
        let allow_remote = !matches!(topology, TopologySource::Path(_));
        Self {
            topology,
            secrets: Secrets::None,
            allow_remote,
            ascii: None,
            colour: None,
            frames: 4,
            read_only: false,
            labs: None,
            record: None,
            settings: Settings::default(),
        }
    }

    /// The key table with the operator's changes.
    pub(crate) fn keymap(&self) -> anyhow::Result<Keymap> {
        let mut keymap = Keymap::default();
        for (name, keys) in &self.settings.keys {
            keymap
                .rebind(name, keys)
                .map_err(|why| anyhow::anyhow!("keys.{name}: {why}"))?;
        }
        Ok(keymap)
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
        // `foreground;background`, where a terminal says so: 7 and 15 are white.
        let light = set("COLORFGBG")
            .and_then(|value| {
                value
                    .rsplit(';')
                    .next()
                    .and_then(|last| last.parse::<u8>().ok())
            })
            .is_some_and(|background| matches!(background, 7 | 15));
        let own = if light { Scheme::Light } else { Scheme::Dark };
        let chosen = self.settings.theme.as_deref().and_then(Scheme::named);
        let scheme = if colour {
            chosen.unwrap_or(own)
        } else {
            Scheme::Mono
        };
        Look::new(scheme, depth, self.ascii.unwrap_or(!unicode))
    }

    /// Whether the operator's settings make sense; says what does not.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if let Some(name) = &self.settings.theme {
            let names: Vec<_> = Scheme::ALL.iter().map(|scheme| scheme.name()).collect();
            anyhow::ensure!(
                Scheme::named(name).is_some(),
                "theme: there is no {name:?}; there are {}",
                names.join(", ")
            );
        }
        if let Some(name) = &self.settings.window {
            let mut sight = crate::state::lens::Sight::default();
            anyhow::ensure!(
                sight.choose(name),
                "window: one of 30s, 1m, 2m, 5m, 10m, 15m, not {name:?}"
            );
        }
        Ok(())
    }

    pub(crate) fn rights(&self) -> anyhow::Result<Rights> {
        #[derive(Default, Deserialize)]
        struct File {
            operator_password: Option<String>,
            operator_token: Option<String>,
        }
        // Who only looks has nothing to act with.
        let secrets = if self.read_only {
            &Secrets::None
        } else {
            &self.secrets
        };
        let file = match secrets {
            Secrets::None => File::default(),
            Secrets::Operator { password, token } => File {
                operator_password: password.clone(),
                operator_token: token.clone(),
            },
            Secrets::File(path) => match std::fs::read(path) {
                Ok(text) => serde_json::from_slice(&text)
                    .with_context(|| format!("{} is not a secrets file", path.display()))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => File::default(),
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
            },
        };
        Ok(Rights {
            operator_token: file.operator_token,
            operator_password: file.operator_password,
            allow_remote: self.allow_remote,
            read_only: self.read_only,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_decides_the_look() {
        let options = Options::new(TopologySource::dns(None));
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
