//! Where the instances of a role are: a fixed list, DNS, or a lab's topology file, watched for changes.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use tokio::sync::watch;

use crate::{Shutdown, Topology, topology::State};

/// How often DNS is asked.
const DNS_INTERVAL: Duration = Duration::from_secs(2);
/// How often the topology file is looked at.
const FILE_INTERVAL: Duration = Duration::from_millis(250);

/// One instance that may be called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its name, when the source knows it; its `/health` tells it otherwise.
    pub name: Option<String>,
    pub address: SocketAddr,
}

/// A way to find instances, parsed from a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `127.0.0.1:8101,127.0.0.1:8102`, with or without `http://`; host names are resolved once a round.
    List(Vec<String>),
    /// `dns:gateway:8080`: every address the name resolves to.
    Dns(String),
    /// `topology:PATH#ROLE`.
    Topology { path: PathBuf, role: String },
}

/// A source that cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither HOST:PORT[,HOST:PORT…], dns:NAME:PORT nor topology:PATH#ROLE")]
pub struct InvalidSource(String);

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        let invalid = || InvalidSource(text.to_owned());
        let has_port = |address: &str| {
            address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        if let Some(name) = text.strip_prefix("dns:") {
            return has_port(name)
                .then(|| Self::Dns(name.to_owned()))
                .ok_or_else(invalid);
        }
        if let Some(rest) = text.strip_prefix("topology:") {
            let (path, role) = rest.rsplit_once('#').ok_or_else(invalid)?;
            if path.is_empty() || role.is_empty() {
                return Err(invalid());
            }
            return Ok(Self::Topology {
                path: path.into(),
                role: role.to_owned(),
            });
        }
        let list: Vec<String> = text
            .split(',')
            .map(|entry| {
                entry
                    .trim()
                    .trim_start_matches("http://")
                    .trim_end_matches('/')
                    .to_owned()
            })
            .filter(|entry| !entry.is_empty())
            .collect();
        if list.is_empty() || !list.iter().all(|entry| has_port(entry)) {
            return Err(invalid());
        }
        Ok(Self::List(list))
    }
}

impl Source {
    /// The endpoints as they are now and as they change, until the shutdown. The last good set is kept when a look-up
    /// fails.
    pub async fn watch(self, shutdown: Shutdown) -> watch::Receiver<Vec<Endpoint>> {
        let first = self.look_up().await.unwrap_or_default();
        let (sender, receiver) = watch::channel(first);
        tokio::spawn(async move {
            let interval = match self {
                Self::Topology { .. } => FILE_INTERVAL,
                Self::List(_) | Self::Dns(_) => DNS_INTERVAL,
            };
            loop {
                tokio::select! {
                    () = tokio::time::sleep(interval) => {}
                    () = shutdown.requested() => break,
                    () = sender.closed() => break,
                }
                match self.look_up().await {
                    Ok(found) => {
                        sender.send_if_modified(|known| {
                            let changed = *known != found;
                            if changed {
                                tracing::info!(source = ?self, before = known.len(), now = found.len(), "the known instances changed");
                                *known = found;
                            }
                            changed
                        });
                    }
                    Err(error) => {
                        tracing::debug!(source = ?self, error = %error, "discovery failed; the last known set stays");
                    }
                }
            }
        });
        receiver
    }

    /// One look at the source.
    async fn look_up(&self) -> Result<Vec<Endpoint>, Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::List(entries) => {
                let mut endpoints = Vec::with_capacity(entries.len());
                for entry in entries {
                    endpoints.extend(tokio::net::lookup_host(entry).await?.next().map(|address| {
                        Endpoint {
                            name: None,
                            address,
                        }
                    }));
                }
                Ok(endpoints)
            }
            Self::Dns(name) => {
                // Sorted, because the order of answers means nothing.
                let addresses: BTreeSet<SocketAddr> = tokio::net::lookup_host(name)
                    .await?
                    .filter(SocketAddr::is_ipv4)
                    .collect();
                if addresses.is_empty() {
                    return Err(format!("{name} resolves to nothing").into());
                }
                Ok(addresses
                    .into_iter()
                    .map(|address| Endpoint {
                        name: None,
                        address,
                    })
                    .collect())
            }
            Self::Topology { path, role } => {
                let path = path.clone();
                let topology = tokio::task::spawn_blocking(move || Topology::load(&path)).await??;
                Ok(topology
                    .of_role(role)
                    .filter(|instance| instance.state != State::Stopped)
                    .map(|instance| Endpoint {
                        name: Some(instance.name.clone()),
                        address: instance.listen,
                    })
                    .collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_parsed_by_form() {
        assert_eq!(
            "http://a:1/, b:2".parse(),
            Ok(Source::List(vec!["a:1".into(), "b:2".into()]))
        );
        assert_eq!(
            "dns:gateway:8080".parse(),
            Ok(Source::Dns("gateway:8080".into()))
        );
        assert_eq!(
            "topology:/x/t.json#gateway".parse(),
            Ok(Source::Topology {
                path: "/x/t.json".into(),
                role: "gateway".into()
            })
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "gateway",
            "dns:gateway",
            "topology:/x",
            "topology:#gateway",
            "a:0",
            "a:99999",
            ",",
            ":80",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
