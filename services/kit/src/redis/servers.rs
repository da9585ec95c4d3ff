//! The servers that a Redis URL names, and which of them is written to.
//!
//! A URL names one server, the sentinels that watch a master and its replicas, or nodes of a cluster. All that is ours lives on
//! one server at a time, the *primary*: on a cluster every key begins with the same hash tag, so that each script finds all
//! of its keys in one place.
//!
//! Who the primary is, is what more than half of those say who decide on it: the sentinels that the URL names, or the
//! masters of the cluster. A promotion becomes known to each of them once and for ever, so of two servers that are
//! called primary at different times the later one is the right one: whoever saw more than half of them call a server so
//! knows that, when that was asked, nobody had been told of a later one. That is what lets a reader trust a server that may have been
//! replaced while it was cut off from the others: [`Servers::agree`] asks again and again.

mod tls;
mod url;
mod votes;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisConnectionInfo,
    RedisError, RedisResult, aio::MultiplexedConnection,
};

use self::{
    url::{Kind, Several},
    votes::{Count, View, Vote, slot},
};
use super::{CONNECT, RESPONSE};

/// How long one of those who decide may take to say who the primary is.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a primary is asked after that nobody has to be sure of.
const LOOK: Duration = Duration::from_millis(500);
/// How the URLs of several servers begin, and whether they are spoken with by TLS.
const SEVERAL: [(&str, Kind, bool); 4] = [
    ("redis-sentinel", Kind::Sentinels, false),
    ("rediss-sentinel", Kind::Sentinels, true),
    ("redis-cluster", Kind::Cluster, false),
    ("rediss-cluster", Kind::Cluster, true),
];

/// Where a server is.
type Address = (String, u16);

/// The servers of one store; cheap to clone.
#[derive(Clone)]
pub struct Servers(Arc<Inner>);

struct Inner {
    way: Way,
    /// What stands before every key.
    prefix: String,
    database: i64,
    /// Connections to those who decide.
    open: Mutex<HashMap<Address, MultiplexedConnection>>,
}

enum Way {
    One(Client),
    Sentinels {
        sentinels: Vec<ConnectionInfo>,
        master: String,
        /// How the servers that they watch are spoken with.
        manner: ConnectionInfo,
    },
    Cluster {
        /// How its nodes are spoken with.
        manner: ConnectionInfo,
        slot: u16,
        /// Those named, and those that they named.
        nodes: Mutex<BTreeSet<Address>>,
    },
}

/// Why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    #[error("{0}")]
    Redis(RedisError),
    #[error("a host is missing")]
    EmptyHost,
    #[error(
        "it does not say which master the sentinels watch: `redis-sentinel://one,two,three#mymaster` does"
    )]
    NoMaster,
    #[error("a cluster has database 0 only")]
    Database,
    #[error(
        "`{0}` is not known here; there are sentinelMasterId, sentinelPassword, ssl_ca_certs, ssl_certfile and ssl_keyfile"
    )]
    Parameter(String),
    #[error("`{0}` is for servers that are spoken with by TLS: `rediss` at its beginning says so")]
    Clear(&'static str),
    #[error("ssl_certfile and ssl_keyfile are given together or not at all")]
    HalfACertificate,
    #[error(
        "a server whose certificate nobody looks at may be anyone: name whom to believe with `?ssl_ca_certs=FILE` in place of `#insecure`"
    )]
    Insecure,
    #[error(transparent)]
    Files(#[from] crate::Error),
}

impl From<Flaw> for RedisError {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Redis(error) => error,
            flaw => Self::from((
                ErrorKind::InvalidClientConfig,
                "the URL cannot be used",
                flaw.to_string(),
            )),
        }
    }
}

/// The server that is written to.
#[derive(Clone, Debug)]
pub struct Primary {
    client: Client,
    address: Option<Address>,
}

impl Primary {
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A connection for commands that many tasks may share.
    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        self.connect_with(RESPONSE).await
    }

    /// The replicas that follow it at the moment.
    pub async fn replicas(&self, connection: &mut MultiplexedConnection) -> RedisResult<Vec<Self>> {
        let report: String = redis::cmd("INFO")
            .arg("replication")
            .query_async(connection)
            .await?;
        let manner = self.client.get_connection_info();
        replicas(&report)
            .into_iter()
            .map(|address| {
                Ok(Self {
                    client: client(&address, manner)?,
                    address: Some(address),
                })
            })
            .collect()
    }

    /// The same with another time that a command may take.
    pub async fn connect_with(&self, response: Duration) -> RedisResult<MultiplexedConnection> {
        connect(&self.client, response).await
    }
}

/// Where the replicas are that follow, as `INFO replication` tells it.
fn replicas(report: &str) -> Vec<Address> {
    let replica = |line: &str| {
        let (name, facts) = line.trim_end().split_once(':')?;
        let fact = |name: &str| {
            let mut pairs = facts.split(',').filter_map(|fact| fact.split_once('='));
            pairs.find_map(|(known, value)| (known == name).then_some(value))
        };
        let number = name.strip_prefix("slave")?;
        let is_one = number.parse::<u32>().is_ok() && fact("state") == Some("online");
        is_one.then_some((fact("ip")?.to_owned(), fact("port")?.parse().ok()?))
    };
    report.lines().filter_map(replica).collect()
}

impl fmt::Display for Primary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some((host, port)) => write!(formatter, "{host}:{port}"),
            None => write!(formatter, "{}", self.client.get_connection_info().addr()),
        }
    }
}

/// Where they are, as far as it was said.
impl fmt::Display for Servers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Way::One(client) = &self.0.way {
            return write!(formatter, "{}", client.get_connection_info().addr());
        }
        let deciders = self.deciders();
        let places = deciders.iter().map(|(host, port)| format!("{host}:{port}"));
        formatter.write_str(&places.collect::<Vec<_>>().join(","))
    }
}

/// Says nothing of passwords.
impl fmt::Debug for Servers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.way {
            Way::One(_) => "one server",
            Way::Sentinels { .. } => "sentinels",
            Way::Cluster { .. } => "a cluster",
        };
        write!(formatter, "Servers({kind})")
    }
}

impl Servers {
    /// Reads a URL: `redis://host:6379/0`, `redis-sentinel://one:26379,two,three/0#mymaster` or
    /// `redis-cluster://one:6379,two,three`, each with `user:password@` before the hosts where the servers ask for it. What
    /// sentinels ask for themselves is `?sentinelPassword=`. `rediss` in place of `redis` is TLS, with `ssl_ca_certs`, `ssl_certfile`
    /// and `ssl_keyfile` among the parameters. The tag is what keeps our keys together on a cluster.
    pub fn parse(url: &str, tag: &str) -> Result<Self, Flaw> {
        let several = url.split_once("://").and_then(|(scheme, rest)| {
            let known = SEVERAL.into_iter().find(|(name, ..)| *name == scheme)?;
            Some((known.1, known.2, rest))
        });
        let Some((kind, encrypted, rest)) = several else {
            return tls::client(url).map(Self::one);
        };
        let named = Several::parse(kind, encrypted, rest)?;
        let manner = named.hosts.first().cloned().ok_or(Flaw::EmptyHost)?;
        if kind == Kind::Cluster {
            if manner.redis_settings().db() != 0 {
                return Err(Flaw::Database);
            }
            let way = Way::Cluster {
                manner,
                slot: slot(tag),
                nodes: Mutex::new(named.hosts.iter().filter_map(address).collect()),
            };
            return Ok(Self::new(way, format!("{{{tag}}}")));
        }
        let mut own = RedisConnectionInfo::default();
        if let Some(password) = named.sentinel_password {
            own = own.set_password(password);
        }
        let sentinels = named.hosts.into_iter();
        let way = Way::Sentinels {
            sentinels: sentinels
                .map(|host| host.set_redis_settings(own.clone()))
                .collect(),
            master: named.master.ok_or(Flaw::NoMaster)?,
            manner,
        };
        Ok(Self::new(way, String::new()))
    }

    fn new(way: Way, prefix: String) -> Self {
        let database = match &way {
            Way::One(client) => client.get_connection_info().redis_settings().db(),
            Way::Sentinels { manner, .. } => manner.redis_settings().db(),
            Way::Cluster { .. } => 0,
        };
        Self(Arc::new(Inner {
            way,
            prefix,
            database,
            open: Mutex::default(),
        }))
    }

    /// The one server of a client.
    #[must_use]
    pub fn one(client: Client) -> Self {
        Self::new(Way::One(client), String::new())
    }

    /// What a key is called on these servers.
    #[must_use]
    pub fn key<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.0.prefix.is_empty() {
            Cow::Borrowed(name)
        } else {
            Cow::Owned(format!("{}{name}", self.0.prefix))
        }
    }

    /// The number of the logical database.
    #[must_use]
    pub fn database(&self) -> i64 {
        self.0.database
    }

    /// Whether there is anything to choose between.
    #[must_use]
    pub fn are_several(&self) -> bool {
        !matches!(self.0.way, Way::One(_))
    }

    /// The one that is written to now.
    pub async fn primary(&self) -> RedisResult<Primary> {
        let manner = match &self.0.way {
            Way::One(client) => {
                return Ok(Primary {
                    client: client.clone(),
                    address: None,
                });
            }
            Way::Sentinels { manner, .. } | Way::Cluster { manner, .. } => manner,
        };
        let address = self.elected().await.ok_or_else(nobody)?;
        Ok(Primary {
            client: client(&address, manner)?,
            address: Some(address),
        })
    }

    /// Whether more than half of those who decide call this one the primary, at some moment after the call began.
    pub async fn agree(&self, on: &Primary) -> bool {
        match &on.address {
            Some(address) => self.elected().await.as_ref() == Some(address),
            None => true,
        }
    }

    /// Returns when another one is the primary. That nobody can say who it is is no reason to leave it.
    pub async fn replaced(&self, primary: &Primary) {
        let Some(address) = &primary.address else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(LOOK).await;
            if self.elected().await.is_some_and(|now| now != *address) {
                return;
            }
        }
    }

    /// A connection to the primary, for commands.
    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        self.primary().await?.connect().await
    }

    /// What more than half say.
    async fn elected(&self) -> Option<Address> {
        let asked = self.deciders();
        let first = self.poll(&asked).await;
        if first.is_some() || matches!(self.0.way, Way::Sentinels { .. }) {
            return first;
        }
        // Whoever has answered has named others.
        let now = self.deciders();
        if now == asked {
            None
        } else {
            self.poll(&now).await
        }
    }

    fn deciders(&self) -> Vec<Address> {
        match &self.0.way {
            Way::One(_) => Vec::new(),
            Way::Sentinels { sentinels, .. } => sentinels.iter().filter_map(address).collect(),
            Way::Cluster { nodes, .. } => locked(nodes).iter().cloned().collect(),
        }
    }

    async fn poll(&self, asked: &[Address]) -> Option<Address> {
        let mut answers: FuturesUnordered<_> = asked.iter().map(|who| self.ask(who)).collect();
        let mut count = Count::default();
        while let Some(answer) = answers.next().await {
            let winner = answer.and_then(|vote| count.add(vote));
            if winner.is_some() {
                return winner;
            }
        }
        None
    }

    async fn ask(&self, who: &Address) -> Option<Vote> {
        let asked = async {
            let mut connection = self.open(who).await?;
            match &self.0.way {
                Way::One(_) => Ok(None),
                Way::Sentinels {
                    master, sentinels, ..
                } => {
                    let named: Option<(String, String)> = redis::cmd("SENTINEL")
                        .arg("GET-MASTER-ADDR-BY-NAME")
                        .arg(master)
                        .query_async(&mut connection)
                        .await?;
                    Ok(named.and_then(|(host, port)| {
                        Some(Vote {
                            elect: (host, port.parse().ok()?),
                            of: sentinels.len(),
                        })
                    }))
                }
                Way::Cluster { slot, nodes, .. } => {
                    let text: String = redis::cmd("CLUSTER")
                        .arg("NODES")
                        .query_async(&mut connection)
                        .await?;
                    let view = View::read(&text, who, *slot);
                    locked(nodes).extend(view.nodes);
                    Ok(view.vote)
                }
            }
        };
        let answer: Result<RedisResult<_>, _> = tokio::time::timeout(PATIENCE, asked).await;
        if let Ok(Ok(vote)) = answer {
            vote
        } else {
            locked(&self.0.open).remove(who);
            None
        }
    }

    /// The connection to one of those who decide.
    async fn open(&self, who: &Address) -> RedisResult<MultiplexedConnection> {
        if let Some(known) = locked(&self.0.open).get(who) {
            return Ok(known.clone());
        }
        let client = match &self.0.way {
            Way::One(client) => client.clone(),
            Way::Sentinels { sentinels, .. } => {
                let info = sentinels
                    .iter()
                    .find(|it| address(it).as_ref() == Some(who));
                Client::open(info.cloned().ok_or_else(nobody)?)?
            }
            Way::Cluster { manner, .. } => client(who, manner)?,
        };
        let connection = connect(&client, PATIENCE).await?;
        locked(&self.0.open).insert(who.clone(), connection.clone());
        Ok(connection)
    }
}

/// For another server that is spoken with in the same manner.
fn client((host, port): &Address, manner: &ConnectionInfo) -> RedisResult<Client> {
    let (host, port) = (host.clone(), *port);
    let there = match manner.addr().clone() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure,
            tls_params,
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    Client::open(manner.clone().set_addr(there))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(client: &Client, response: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(response));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

fn nobody() -> RedisError {
    RedisError::from((
        ErrorKind::Io,
        "less than half of those who decide say who the primary is",
    ))
}

fn address(info: &ConnectionInfo) -> Option<Address> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        (host.to_owned(), port)
    }

    fn flaw(url: &str) -> String {
        Servers::parse(url, "tag").unwrap_err().to_string()
    }

    #[test]
    fn a_url_names_one_server_sentinels_or_a_cluster() {
        let one = Servers::parse("redis://:secret@127.0.0.1:7/3", "tag").unwrap();
        assert!(!one.are_several());
        assert_eq!((one.key("a").as_ref(), one.database()), ("a", 3));

        let url = "redis-sentinel://me:s%40cret@one,two:5,[::1]/2?sentinelPassword=x%20y#mymaster";
        let watched = Servers::parse(url, "tag").unwrap();
        assert!(watched.are_several());
        assert_eq!((watched.key("a").as_ref(), watched.database()), ("a", 2));
        let Way::Sentinels {
            sentinels,
            master,
            manner,
        } = &watched.0.way
        else {
            panic!("not sentinels");
        };
        let places: Vec<_> = sentinels.iter().filter_map(address).collect();
        assert_eq!(places, [at("one", 26_379), at("two", 5), at("::1", 26_379)]);
        assert_eq!(master, "mymaster");
        let login = manner.redis_settings();
        assert_eq!(
            (login.username(), login.password()),
            (Some("me"), Some("s@cret"))
        );
        let own = sentinels[0].redis_settings();
        assert_eq!((own.password(), own.db()), (Some("x y"), 0));

        let encrypted = Servers::parse("rediss://:secret@one/3?protocol=3", "tag").unwrap();
        let Way::One(client) = &encrypted.0.way else {
            panic!("not one");
        };
        assert!(matches!(
            client.get_connection_info().addr(),
            ConnectionAddr::TcpTls {
                insecure: false,
                ..
            }
        ));
        assert_eq!(encrypted.database(), 3);

        let cluster = Servers::parse("redis-cluster://:secret@one:7000,two", "tag").unwrap();
        assert_eq!(cluster.key("a:{b}"), "{tag}a:{b}");
        assert_eq!(cluster.deciders(), [at("one", 7_000), at("two", 6_379)]);
        assert!(!format!("{cluster:?}{watched:?}").contains("cret"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (url, part) in [
            ("redis-sentinel://one,two", "which master"),
            ("redis-sentinel://one,,two#m", "host is missing"),
            ("redis-sentinel://one?timeout=3#m", "`timeout` is not known"),
            ("redis-cluster://one/4", "database 0"),
            ("redis-cluster://", "host is missing"),
            ("redis-cluster://one:x", ""),
            (
                "rediss-sentinel://one?ssl_cert_reqs=none#m",
                "`ssl_cert_reqs` is not known",
            ),
            (
                "rediss://one?ssl_ca_certs=/nowhere.pem",
                "ssl_ca_certs: /nowhere.pem",
            ),
            (
                "rediss-cluster://one?ssl_ca_certs=/dev/null",
                "no certificate in it",
            ),
            (
                "rediss://one?ssl_certfile=/dev/null",
                "ssl_certfile and ssl_keyfile",
            ),
            (
                "redis://one?ssl_ca_certs=/dev/null",
                "`rediss` at its beginning",
            ),
            (
                "rediss://one?ssl_certfile=/nowhere.pem&ssl_keyfile=/dev/null",
                "ssl_certfile: /nowhere.pem",
            ),
            ("rediss://one#insecure", "?ssl_ca_certs=FILE"),
            ("http://one", ""),
            ("", ""),
        ] {
            assert!(flaw(url).contains(part), "{url}: {}", flaw(url));
        }
    }

    #[test]
    fn replicas_that_follow_are_known_from_those_that_do_not() {
        let report = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
            slave0:ip=10.0.0.2,port=7004,state=online,offset=1,lag=0\r\n\
            slave1:ip=10.0.0.3,port=7005,state=wait_bgsave,offset=0,lag=0\r\n\
            slave_repl_offset:1\r\nslave2:nonsense\r\n";
        assert_eq!(replicas(report), [at("10.0.0.2", 7_004)]);
    }
}
