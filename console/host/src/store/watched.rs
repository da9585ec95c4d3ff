//! Several Redis servers, and what has a replica take the place of a master: sentinels, or the cluster itself.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::Utc;
use kit::redis::{Primary, Servers};
use redis::{FromRedisValue, aio::MultiplexedConnection};
use rustix::process::Signal;
use tokio::sync::Mutex;

use super::{
    Fsync, Launch, Server, own_folder,
    redis::{Part, parameters},
};
use crate::{
    account::Account,
    certificates,
    error::{Error, Result},
    find,
    layout::Layout,
    ports::{Ports, Wanted},
    processes,
    scratch::{Guarded, guarded, stop, wait},
};

/// How long everybody may take to agree on something.
const AGREE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);
/// After so long without an answer a master counts as gone.
const GONE: Duration = Duration::from_secs(1);
const MASTER: &str = "lab";
const SLOTS: u16 = 16_384;

/// Who decides which server is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Three sentinels over a master and two replicas.
    Sentinel,
    /// Three masters with a replica each.
    Cluster,
}

impl fmt::Display for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sentinel => "a master, two replicas and three sentinels",
            Self::Cluster => "a cluster of six",
        })
    }
}

/// The servers; whoever asks for one that is written to finds it by the URL.
#[derive(Debug)]
pub struct Watched {
    program: PathBuf,
    layout: Layout,
    watch: Watch,
    url: String,
    nodes: Mutex<Vec<Node>>,
    sentinels: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    server: Server,
    guarded: Guarded,
}

impl Watched {
    /// Starts all of them in a folder that the stores' account may enter. `program` is the `recarga` binary. With `tls` they, their
    /// clients and whoever decides know each other by certificates.
    pub async fn start(program: &Path, folder: &Path, watch: Watch, tls: bool) -> Result<Self> {
        let layout = Layout::open(folder)?;
        let mut ports = Ports::load(
            &layout,
            Wanted {
                free: true,
                ..Wanted::default()
            },
        );
        let password = hex::encode(rand::random::<[u8; 16]>());
        let tool = find::both()?.1;
        let account = Account::for_store("redis")?;
        let tls = if tls {
            let folder = layout.root().join("certificates");
            own_folder(&folder, account)?;
            Some(certificates::of_a_store(&folder, account, Utc::now())?)
        } else {
            None
        };
        let mut server = |name: String, part: fn(u16) -> Part| -> Result<Server> {
            Ok(Server {
                name: "redis",
                tool: tool.clone(),
                folder: layout.root().join(&name),
                port: ports.any(&name, None)?,
                account,
                password: password.clone(),
                databases: 1,
                durable: true,
                fsync: Fsync::Always,
                part: part(ports.any(&format!("{name}-bus"), None)?),
                tls: tls.clone(),
            })
        };
        let (count, part): (_, fn(u16) -> Part) = match watch {
            Watch::Sentinel => (3, |_| Part::Watched { of: None }),
            Watch::Cluster => (6, |bus| Part::Cluster { bus }),
        };
        let mut nodes = Vec::with_capacity(count);
        for number in 1..=count {
            let mut server = server(format!("node-{number}"), part)?;
            if let (Watch::Sentinel, Some(master)) = (watch, nodes.first()) {
                let Node { server: master, .. } = master;
                server.part = Part::Watched {
                    of: Some(master.port),
                };
            }
            nodes.push(run(program, &layout, server).await?);
        }
        let mut sentinels = Vec::new();
        if watch == Watch::Sentinel {
            let master = nodes[0].server.port;
            for number in 1..=3 {
                let mut server = server(format!("sentinel-{number}"), |_| Part::One)?;
                server.part = Part::Sentinel {
                    name: MASTER,
                    of: master,
                    gone: GONE,
                };
                sentinels.push(run(program, &layout, server).await?);
            }
        }
        let named: Vec<String> = if watch == Watch::Sentinel {
            &sentinels
        } else {
            &nodes
        }
        .iter()
        .map(|node| node.server.address())
        .collect();
        let named = named.join(",");
        let (letter, parameters) = match &tls {
            Some(folder) => ("s", format!("?{}", parameters(folder))),
            None => ("", String::new()),
        };
        let url = match watch {
            Watch::Sentinel => {
                format!("redis{letter}-sentinel://:{password}@{named}{parameters}#{MASTER}")
            }
            Watch::Cluster => format!("redis{letter}-cluster://:{password}@{named}{parameters}"),
        };
        let watched = Self {
            program: program.to_owned(),
            layout,
            watch,
            url,
            nodes: Mutex::new(nodes),
            sentinels,
        };
        if watch == Watch::Cluster {
            watched.join().await?;
        }
        watched.settled().await?;
        Ok(watched)
    }

    /// Names all who decide.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    #[must_use]
    pub fn watch(&self) -> Watch {
        self.watch
    }

    /// The process of the one that is written to under a tag.
    pub async fn primary_pid(&self, tag: &str) -> Option<u32> {
        let primary = self.servers(tag).ok()?.primary().await.ok()?;
        let nodes = self.nodes.lock().await;
        let node = nodes.iter().find(|node| is(&node.server, &primary))?;
        node.server.pid()
    }

    /// Ends the one that is written to under a tag at once, waits until another one has taken its place, and starts it again
    /// to follow that one. Before that all replicas are waited for: one alone has nobody to take its place.
    pub async fn fail_over(&self, tag: &str) -> Result<()> {
        self.settled().await?;
        let servers = self.servers(tag)?;
        let before = servers.primary().await?;
        let mut nodes = self.nodes.lock().await;
        let place = nodes
            .iter()
            .position(|node| is(&node.server, &before))
            .ok_or_else(|| Error::Invalid(format!("{before} is none of ours")))?;
        if let Some(pid) = nodes[place].server.pid() {
            processes::signal(pid, Signal::KILL);
        }
        stop([&mut nodes[place].guarded]).await;
        let after = until("a replica takes its place", || async {
            let now = servers.primary().await.ok()?;
            (now.to_string() != before.to_string()).then_some(now)
        })
        .await?;
        let mut server = nodes[place].server.clone();
        if self.watch == Watch::Sentinel {
            let master = nodes.iter().find(|node| is(&node.server, &after));
            server.part = Part::Watched {
                of: master.map(|node| node.server.port),
            };
        }
        nodes[place] = run(&self.program, &self.layout, server).await?;
        drop(nodes);
        self.settled().await
    }

    pub async fn stop(self) {
        let mut nodes = self.nodes.into_inner();
        nodes.extend(self.sentinels);
        stop(nodes.iter_mut().map(|node| &mut node.guarded)).await;
    }

    fn servers(&self, tag: &str) -> Result<Servers> {
        Ok(Servers::parse(&self.url, tag).map_err(redis::RedisError::from)?)
    }

    /// Makes one cluster of all nodes: the first half has the slots, each of the others follows one of them.
    async fn join(&self) -> Result<()> {
        let nodes = self.nodes.lock().await;
        let masters = nodes.len() / 2;
        let share = usize::from(SLOTS).div_ceil(masters);
        let mut ids = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            let mut connection = node.server.connect().await?;
            if number < masters {
                let (first, end) = (number * share, usize::from(SLOTS).min((number + 1) * share));
                let slots = ["ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()];
                cluster::<()>(&mut connection, &slots).await?;
            }
            // Votes are counted by epochs, which must differ from the start.
            let epoch = (number + 1).to_string();
            cluster::<()>(&mut connection, &["SET-CONFIG-EPOCH", &epoch]).await?;
            ids.push(cluster::<String>(&mut connection, &["MYID"]).await?);
            if let (Some(first), Part::Cluster { bus }) =
                (nodes.first().filter(|_| number > 0), &nodes[0].server.part)
            {
                let (port, bus) = (first.server.port.to_string(), bus.to_string());
                cluster::<()>(&mut connection, &["MEET", "127.0.0.1", &port, &bus]).await?;
            }
        }
        for (number, node) in nodes.iter().enumerate().skip(masters) {
            let master = &ids[number - masters];
            until("a node knows the one it is to follow", || async {
                let mut connection = node.server.connect().await.ok()?;
                cluster::<()>(&mut connection, &["REPLICATE", master])
                    .await
                    .ok()
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until every master has its replicas and everybody agrees on it.
    async fn settled(&self) -> Result<()> {
        let nodes = self.nodes.lock().await;
        let servers: Vec<&Server> = nodes.iter().map(|node| &node.server).collect();
        let following = match self.watch {
            Watch::Sentinel => 2,
            Watch::Cluster => 3,
        };
        until("every master has its replicas", || async {
            let (mut masters, mut replicas) = (0, 0);
            for server in &servers {
                let mut connection = server.connect().await.ok()?;
                let report: String = redis::cmd("INFO")
                    .arg("replication")
                    .query_async(&mut connection)
                    .await
                    .ok()?;
                if report.contains("role:master") {
                    masters += 1;
                } else if report.contains("master_link_status:up") {
                    replicas += 1;
                }
                if self.watch == Watch::Cluster {
                    let state: String = cluster(&mut connection, &["INFO"]).await.ok()?;
                    let nodes: String = cluster(&mut connection, &["NODES"]).await.ok()?;
                    if !state.contains("cluster_state:ok") || nodes.contains("fail") {
                        return None;
                    }
                }
            }
            for sentinel in &self.sentinels {
                let mut connection = sentinel.server.connect().await.ok()?;
                let seen: std::collections::HashMap<String, String> = redis::cmd("SENTINEL")
                    .arg("MASTER")
                    .arg(MASTER)
                    .query_async(&mut connection)
                    .await
                    .ok()?;
                let is = |name: &str, value: &str| seen.get(name).is_some_and(|it| it == value);
                if !is("flags", "master")
                    || !is("num-other-sentinels", "2")
                    || !is("num-slaves", "2")
                {
                    return None;
                }
            }
            (replicas == following && masters + replicas == servers.len()).then_some(())
        })
        .await
    }
}

fn is(server: &Server, primary: &Primary) -> bool {
    server.address() == primary.to_string()
}

async fn run(program: &Path, layout: &Layout, server: Server) -> Result<Node> {
    server.initialise()?;
    let log = layout.output(&format!("redis-{}", server.port));
    let launch: Launch = server.launch();
    let guarded = guarded(program, &launch, log)?;
    wait("Redis", &guarded.log, || server.answers()).await?;
    Ok(Node { server, guarded })
}

async fn cluster<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> Result<T> {
    redis::cmd("CLUSTER")
        .arg(words)
        .query_async(connection)
        .await
        .map_err(Error::Redis)
}

/// Waits for something that others decide on.
async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(AGREE, looking)
        .await
        .map_err(|_| Error::Invalid(format!("within {AGREE:?} this did not come: {what}")))
}
