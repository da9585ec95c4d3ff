//! What a URL of several servers says.

use redis::{ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};

use super::{CLUSTER, Flaw};

const SENTINEL_PORT: u16 = 26_379;

/// The parts of it.
pub(super) struct Several {
    pub is_cluster: bool,
    pub hosts: Vec<ConnectionInfo>,
    pub login: RedisConnectionInfo,
    pub master: Option<String>,
    pub sentinel_password: Option<String>,
}

impl Several {
    pub(super) fn parse(scheme: &str, rest: &str) -> Result<Self, Flaw> {
        let (rest, fragment) = rest
            .split_once('#')
            .map_or((rest, None), |(rest, master)| (rest, Some(master)));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut master = fragment.filter(|name| !name.is_empty()).map(str::to_owned);
        let mut sentinel_password = None;
        for (name, value) in ::url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sentinelMasterId" => master = Some(value.into_owned()),
                "sentinelPassword" => sentinel_password = Some(value.into_owned()),
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
        let is_cluster = scheme == CLUSTER;
        let hosts = named.split(',').map(|host| {
            if host.is_empty() {
                return Err(Flaw::EmptyHost);
            }
            // What is behind the last bracket of an IPv6 address, or the only colon.
            let has_port = host
                .rsplit(']')
                .next()
                .is_some_and(|tail| tail.contains(':'));
            let port = if has_port || is_cluster {
                String::new()
            } else {
                format!(":{SENTINEL_PORT}")
            };
            format!("redis://{user}{host}{port}{path}")
                .into_connection_info()
                .map_err(Flaw::Redis)
        });
        let hosts: Vec<ConnectionInfo> = hosts.collect::<Result<_, _>>()?;
        let login = hosts
            .first()
            .map(|host| host.redis_settings().clone())
            .unwrap_or_default();
        Ok(Self {
            is_cluster,
            hosts,
            login,
            master,
            sentinel_password,
        })
    }
}
