//! Services as processes of their own, so that they can be stopped, killed and started again where they were: this test
//! program, run once more.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child as Process, Command, Stdio},
};

use clap::FromArgMatches;
use kit::{
    Error, Listeners, Shutdown,
    lifecycle::EXIT_WITH_PARENT,
    testing::{eventually, free_address},
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// Names the service that this program is to be.
const ROLE: &str = "RECARGA_TEST_ROLE";
/// Its flags, one a line.
const FLAGS: &str = "RECARGA_TEST_FLAGS";

/// Not a test: what a child runs. Without a role it has nothing to do.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let flags = std::env::var(FLAGS).expect("flags");
    many_files();
    match role.as_str() {
        "cache" => serve(&flags, cache::run),
        "gateway" => serve(&flags, gateway::run),
        other => panic!("{other} is no role of a child"),
    }
}

fn serve<C, F>(flags: &str, run: impl FnOnce(Listeners, C, Shutdown) -> F)
where
    C: clap::Args,
    F: Future<Output = Result<(), Error>>,
    C: Common,
{
    let command = C::augment_args(clap::Command::new("child").no_binary_name(true));
    let matches = command
        .try_get_matches_from(flags.lines())
        .expect("the flags are the service's");
    let config = C::from_arg_matches(&matches).expect("the flags make a configuration");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listeners = Listeners::bind(config.common()).await.expect("its ports");
        let shutdown = Shutdown::on_signals().expect("signals");
        run(listeners, config, shutdown).await.expect("it serves");
    });
}

/// What configurations have in common.
trait Common: FromArgMatches {
    fn common(&self) -> &kit::Common;
}

impl Common for cache::Config {
    fn common(&self) -> &kit::Common {
        &self.common
    }
}

impl Common for gateway::Config {
    fn common(&self) -> &kit::Common {
        &self.common
    }
}

/// Takes as many file handles as this process may have; how many that is.
pub fn many_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, most);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A service in a process of its own.
pub struct Child {
    role: &'static str,
    flags: Vec<String>,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    process: Process,
}

impl Child {
    /// Starts a service on free ports.
    pub fn start(role: &'static str, instance: &str, flags: &[&str]) -> Self {
        let (public, admin) = (free_address(), free_address());
        let mut all = vec![
            "--instance".to_owned(),
            instance.to_owned(),
            "--listen".to_owned(),
            public.to_string(),
            "--admin-listen".to_owned(),
            admin.to_string(),
            "--operator-token".to_owned(),
            kit::testing::OPERATOR_TOKEN.to_owned(),
            "--drain-notice-ms".to_owned(),
            "0".to_owned(),
        ];
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        let process = spawn(role, &all);
        Self {
            role,
            flags: all,
            public,
            admin,
            process,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.public)
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        let url = format!("http://{}/readyz", self.admin);
        eventually("a child is ready", || async {
            reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.admin);
        let answer = reqwest::get(url).await.expect("an answer");
        answer.text().await.expect("a whole body")
    }

    /// Ends it where it stands.
    pub fn kill(&mut self) {
        self.process.kill().expect("it was running");
        self.process.wait().expect("it ends");
    }

    /// Starts it again, where it was.
    pub fn restart(&mut self) {
        self.process = spawn(self.role, &self.flags);
    }

    /// Stops it from running, until [`Self::go_on`].
    pub fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).expect("it runs");
    }

    pub fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).expect("it was stopped");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(role: &str, flags: &[String]) -> Process {
    Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "children::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, role)
        .env(FLAGS, flags.join("\n"))
        .env(EXIT_WITH_PARENT, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program runs once more")
}

/// A Redis of the test's own, with an append-only file, as a lab has it.
pub struct Redis {
    port: u16,
    folder: PathBuf,
    process: Process,
}

impl Redis {
    pub async fn start(folder: &Path) -> Self {
        let port = free_address().port();
        let redis = Self {
            port,
            folder: folder.to_owned(),
            process: Self::spawn(folder, port),
        };
        redis.answers().await;
        redis
    }

    fn spawn(folder: &Path, port: u16) -> Process {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--appendonly", "yes", "--appendfsync", "everysec"])
            .args(["--save", "", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed")
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn answers(&self) {
        let client = redis::Client::open(self.url()).expect("a URL");
        eventually("Redis answers", || async {
            let Ok(mut connection) = client.get_multiplexed_async_connection().await else {
                return false;
            };
            redis::cmd("PING")
                .query_async::<()>(&mut connection)
                .await
                .is_ok()
        })
        .await;
    }

    pub fn kill(&mut self) {
        self.process.kill().expect("it was running");
        self.process.wait().expect("it ends");
    }

    pub async fn restart(&mut self) {
        self.process = Self::spawn(&self.folder, self.port);
        self.answers().await;
    }

    pub fn freeze(&self) {
        kill_process(Pid::from_child(&self.process), Signal::STOP).expect("it runs");
    }

    pub fn go_on(&self) {
        kill_process(Pid::from_child(&self.process), Signal::CONT).expect("it was stopped");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Three gateways, a cache service and a Redis, each a process of its own.
pub struct Fleet {
    pub cache: Child,
    pub gateways: Vec<Child>,
    pub redis: Redis,
    _folder: tempfile::TempDir,
}

impl Fleet {
    /// Starts them around one service, which answers for all others.
    pub async fn start(service: SocketAddr, cache_flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let redis = Redis::start(folder.path()).await;
        let url = redis.url();
        let mut flags = vec!["--redis-url", url.as_str()];
        flags.extend(cache_flags);
        let cache = Child::start("cache", "cache-1", &flags);
        let (service, cache_at) = (service.to_string(), cache.public.to_string());
        let mut flags = vec![
            "--cache",
            &cache_at,
            "--redis-url",
            &url,
            "--signing-key",
            crate::support::KEY,
        ];
        for role in [
            "--travel",
            "--search",
            "--booking",
            "--worker",
            "--exercise",
        ] {
            flags.extend([role, service.as_str()]);
        }
        let gateways: Vec<_> = (1..=3)
            .map(|number| Child::start("gateway", &format!("gateway-{number}"), &flags))
            .collect();
        cache.ready().await;
        for gateway in &gateways {
            gateway.ready().await;
            eventually("the gateway holds its lease", || async {
                let metrics = gateway.metrics().await;
                crate::support::gauge(&metrics, "recarga_first_level_lease") == Some(1)
            })
            .await;
        }
        Self {
            cache,
            gateways,
            redis,
            _folder: folder,
        }
    }
}
