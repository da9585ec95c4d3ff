//! Names to addresses: the hosts file, then DNS, with the time for which the answer may be believed.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::{Query, ResponseCode},
        rr::{Name, RecordType},
    },
};

/// How long one name server may take for one question.
const QUESTION_LIMIT: Duration = Duration::from_secs(1);
/// How long a look-up may take with all its questions, repeats and search domains.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(4);
/// For what does not come from DNS: ask again as late as is allowed.
const STATIC: Duration = Duration::MAX;
/// Where name servers listen.
const DNS_PORT: u16 = 53;

/// `NAME:PORT`, or `NAME:PORT@SERVER` to ask one name server instead of the system's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName {
    host: String,
    port: u16,
    /// Asked for the name as it stands: no hosts file, no search domains.
    server: Option<SocketAddr>,
}

impl FromStr for DnsName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, server) = match text.split_once('@') {
            Some((name, server)) => (name, Some(name_server(server).ok_or(())?)),
            None => (text, None),
        };
        let (host, port) = name.rsplit_once(':').ok_or(())?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(())?;
        if host.is_empty() || (literal(host).is_none() && Name::from_str_relaxed(host).is_err()) {
            return Err(());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            server,
        })
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)?;
        match self.server {
            Some(server) => write!(formatter, "@{server}"),
            None => Ok(()),
        }
    }
}

/// What a name stands for, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Sorted, because the order of answers means nothing; never empty.
    pub found: Vec<SocketAddr>,
    pub ttl: Duration,
}

/// A name that could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the name does not exist, or has no address")]
    NoAddress,
    #[error("no name server answers")]
    TimedOut,
    #[error("the name server answers {0}")]
    Refused(ResponseCode),
    #[error(transparent)]
    Other(NetError),
    #[error("the look-up was cut short: {0}")]
    CutShort(#[from] tokio::task::JoinError),
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(NoRecords { .. })) => Self::NoAddress,
            NetError::Dns(DnsError::ResponseCode(code)) => Self::Refused(code),
            NetError::Timeout => Self::TimedOut,
            error => Self::Other(error),
        }
    }
}

impl DnsName {
    /// The IPv4 addresses of the name, or the IPv6 ones when it has no others: an instance that has both is one instance.
    pub async fn look_up(&self) -> Result<Addresses, Failure> {
        let found = if let Some(address) = literal(&self.host) {
            (vec![address], STATIC)
        } else {
            tokio::time::timeout(LOOK_UP_LIMIT, self.ask())
                .await
                .map_err(|_| Failure::TimedOut)??
        };
        let (mut addresses, ttl) = found;
        addresses.sort_unstable();
        addresses.dedup();
        Ok(Addresses {
            found: addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, self.port))
                .collect(),
            ttl,
        })
    }

    async fn ask(&self) -> Result<(Vec<IpAddr>, Duration), Failure> {
        let name =
            Name::from_str_relaxed(&self.host).map_err(|error| Failure::Other(error.into()))?;
        if let Some(server) = self.server {
            let mut name = name;
            name.set_fqdn(true);
            let config = ResolverConfig::from_name_servers(vec![name_server_config(server)]);
            return addresses(&resolver(config, ResolverOpts::default())?, &name).await;
        }
        // The files are read each time: both change while a container or a laptop runs.
        let host = name.clone();
        let (known, system) = tokio::task::spawn_blocking(move || {
            (
                Hosts::from_system()
                    .ok()
                    .and_then(|hosts| in_hosts(&hosts, &host)),
                hickory_resolver::system_conf::read_system_conf(),
            )
        })
        .await?;
        if let Some(known) = known {
            return Ok((known, STATIC));
        }
        let (config, options) = system?;
        addresses(&resolver(config, options)?, &name).await
    }
}

/// An address instead of a name, IPv6 in brackets.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

fn name_server(text: &str) -> Option<SocketAddr> {
    text.parse()
        .ok()
        .or_else(|| Some(SocketAddr::new(literal(text)?, DNS_PORT)))
        .filter(|server| server.port() > 0)
}

fn name_server_config(server: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .into_iter()
        .map(|mut connection| {
            connection.port = server.port();
            connection
        })
        .collect();
    NameServerConfig::new(server.ip(), true, connections)
}

fn in_hosts(hosts: &Hosts, name: &Name) -> Option<Vec<IpAddr>> {
    [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .map(|lookup| {
            lookup
                .answers()
                .iter()
                .filter_map(|record| record.data.ip_addr())
                .collect::<Vec<_>>()
        })
        .find(|found| !found.is_empty())
}

/// A resolver without a memory: when to ask again is decided elsewhere.
fn resolver(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, NetError> {
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = options.timeout.min(QUESTION_LIMIT);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
}

/// Asks for IPv4, and for IPv6 only when the name is known to have no IPv4 address; with the smallest time to live on the way.
async fn addresses(
    resolver: &TokioResolver,
    name: &Name,
) -> Result<(Vec<IpAddr>, Duration), Failure> {
    for kind in [RecordType::A, RecordType::AAAA] {
        let lookup = match resolver
            .lookup(name.clone(), kind)
            .await
            .map_err(Failure::from)
        {
            Ok(lookup) => lookup,
            Err(Failure::NoAddress) => continue,
            Err(failure) => return Err(failure),
        };
        let found: Vec<IpAddr> = lookup
            .answers()
            .iter()
            .filter_map(|record| record.data.ip_addr())
            .collect();
        let ttl = lookup.answers().iter().map(|record| record.ttl).min();
        if let (false, Some(ttl)) = (found.is_empty(), ttl) {
            return Ok((found, Duration::from_secs(u64::from(ttl))));
        }
    }
    Err(Failure::NoAddress)
}

#[cfg(test)]
mod tests {
    use super::{
        super::name_server::{NameServer, Reply, ipv4},
        *,
    };

    /// The names that are asked for, in order, when none exists.
    async fn asked(name: &str, search: &[&str], ndots: usize) -> Vec<String> {
        let server = NameServer::start(Reply::NoSuchName).await;
        let search = search
            .iter()
            .map(|domain| Name::from_ascii(domain).unwrap())
            .collect();
        let servers = vec![name_server_config(server.address)];
        let mut options = ResolverOpts::default();
        options.ndots = ndots;
        let resolver =
            resolver(ResolverConfig::from_parts(None, search, servers), options).unwrap();
        let name = Name::from_str_relaxed(name).unwrap();
        let failure = addresses(&resolver, &name).await.unwrap_err();
        assert!(matches!(failure, Failure::NoAddress), "{failure}");
        let questions = server.questions();
        questions
            .into_iter()
            .filter(|question| !question.ipv6)
            .map(|question| question.name)
            .collect()
    }

    #[tokio::test]
    async fn search_domains_and_dots_are_honoured() {
        let search = ["lab.test.", "test."];
        let short = ["gateway.lab.test", "gateway.test", "gateway"];
        assert_eq!(asked("gateway", &search, 1).await, short);
        // As Docker writes it.
        let whole_first = ["gateway", "gateway.lab.test", "gateway.test"];
        assert_eq!(asked("gateway", &search, 0).await, whole_first);
        assert_eq!(asked("gateway.", &search, 1).await, ["gateway"]);
    }

    #[test]
    fn the_hosts_file_is_read_for_both_kinds() {
        let mut hosts = Hosts::default();
        let file = "10.0.0.9 both one\n10.0.0.8 both\nfd00::1 both six\n";
        hosts.read_hosts_conf(file.as_bytes()).unwrap();
        let look = |name: &str| in_hosts(&hosts, &Name::from_str_relaxed(name).unwrap());
        let mut both = look("both").unwrap();
        both.sort_unstable();
        assert_eq!(both, ipv4(&[8, 9]));
        assert_eq!(look("six"), Some(vec!["fd00::1".parse().unwrap()]));
        assert_eq!(look("other"), None);
    }
}
