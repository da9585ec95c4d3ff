//! What a URL of several servers says.

use redis::{Client, ConnectionInfo, IntoConnectionInfo as _};

use super::{Flaw, tls::Files};

const SENTINEL_PORT: u16 = 26_379;

/// What the servers are to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sentinels,
    Cluster,
}

/// The parts of it.
pub(super) struct Several {
    pub hosts: Vec<ConnectionInfo>,
    pub master: Option<String>,
    pub sentinel_password: Option<String>,
}

impl Several {
    pub(super) fn parse(kind: Kind, encrypted: bool, rest: &str) -> Result<Self, Flaw> {
        let (rest, fragment) = rest
            .split_once('#')
            .map_or((rest, None), |(rest, master)| (rest, Some(master)));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut master = fragment.filter(|name| !name.is_empty()).map(str::to_owned);
        let mut sentinel_password = None;
        let mut files = Files::default();
        for (name, value) in ::url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sentinelMasterId" => master = Some(value.into_owned()),
                "sentinelPassword" => sentinel_password = Some(value.into_owned()),
                other if files.take(other, &value) => {}
                other => return Err(Flaw::Parameter(other.to_owned())),
            }
        }
        let (authority, path) = rest
            .find('/')
            .map_or((rest, ""), |slash| rest.split_at(slash));
        let (user, named) = authority
            .rsplit_once('@')
            .map_or((String::new(), authority), |(user, hosts)| {
                (format!("{user}@"), hosts)
            });
        let certificates = files.read(encrypted)?;
        let hosts = named.split(',').map(|host| {
            if host.is_empty() {
                return Err(Flaw::EmptyHost);
            }
            // What is behind the last bracket of an IPv6 address, or the only colon.
            let has_port = host
                .rsplit(']')
                .next()
                .is_some_and(|tail| tail.contains(':'));
            let port = if has_port || kind == Kind::Cluster {
                String::new()
            } else {
                format!(":{SENTINEL_PORT}")
            };
            let rest = format!("{user}{host}{port}{path}");
            match certificates.clone() {
                None => format!("redis://{rest}").into_connection_info(),
                Some(certificates) => {
                    Client::build_with_tls(format!("rediss://{rest}"), certificates)
                        .map(|client| client.get_connection_info().clone())
                }
            }
            .map_err(Flaw::Redis)
        });
        let hosts: Vec<ConnectionInfo> = hosts.collect::<Result<_, _>>()?;
        Ok(Self {
            hosts,
            master,
            sentinel_password,
        })
    }
}
