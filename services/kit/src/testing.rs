//! Help for tests on real stores: where they are, and a corner of them for each test.

pub mod deaths;
pub mod toll;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use crate::{
    Error, Listeners, Shutdown,
    safeguards::{self, Safeguard},
};

/// The operator's token of every [`Process`].
pub const OPERATOR_TOKEN: &str = "operator-token-for-tests";

/// A Redis URL whose logical database no other test uses.
///
/// # Panics
/// When `RECARGA_TEST_REDIS_URL` is not set or its server does not answer: `cargo recarga test` provides it.
pub async fn redis_url() -> String {
    let base = std::env::var("RECARGA_TEST_REDIS_URL")
        .expect("RECARGA_TEST_REDIS_URL is not set: run the tests with `cargo recarga test`");
    let client = redis::Client::open(base.as_str()).expect("RECARGA_TEST_REDIS_URL is a Redis URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("the test Redis answers");
    let number: i64 = redis::cmd("INCR")
        .arg("recarga:test:databases")
        .query_async(&mut connection)
        .await
        .expect("the test Redis counts");
    // Database 0 holds the counter; the test server is started with 20,000 databases.
    let url = format!("{}/{}", base.trim_end_matches('/'), 1 + number % 19_998);
    let client = redis::Client::open(url.as_str()).expect("a Redis URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("the test Redis answers");
    redis::cmd("FLUSHDB")
        .query_async::<()>(&mut connection)
        .await
        .expect("the test database is emptied");
    url
}

/// A safeguard that is off in this process until this is dropped, for tests that have the process for themselves.
#[must_use = "it is on again when this is dropped"]
pub struct Without(Safeguard);

impl Without {
    pub fn new(safeguard: Safeguard) -> Self {
        safeguards::switch(safeguard, false);
        Self(safeguard)
    }
}

impl Drop for Without {
    fn drop(&mut self) {
        safeguards::switch(self.0, true);
    }
}

/// A loopback address that nobody listens on, below the ports that the kernel gives to connections and to listeners that
/// ask for any: nobody else takes it before it is used, nor while its process is being started again.
///
/// # Panics
/// When no port is free.
#[must_use]
pub fn free_address() -> SocketAddr {
    const PORTS: Range<u16> = 12_000..19_000;
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(rand::random_range(PORTS)));
    for _ in PORTS {
        let port = PORTS.start + next.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no loopback port from {PORTS:?} is free");
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within half a minute; `what` says what was waited for.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited half a minute in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The URL of the database that `#[sqlx::test]` made for a test.
///
/// # Panics
/// When `DATABASE_URL` is not set: `cargo recarga test` provides it.
#[must_use]
pub fn database_url(pool: &sqlx::PgPool) -> String {
    let base = std::env::var("DATABASE_URL")
        .expect("DATABASE_URL is not set: run the tests with `cargo recarga test`");
    // A pool does not give its password away, the URL it was made from has it.
    let mut url = url::Url::parse(&base).expect("DATABASE_URL is a URL");
    url.set_path(pool.connect_options().get_database().unwrap_or("postgres"));
    url.into()
}

/// A service on a runtime of its own, so that it can be killed like a process: all its tasks vanish where they stand.
pub struct Process {
    pub public: SocketAddr,
    pub admin: SocketAddr,
    shutdown: Shutdown,
    runtime: Option<tokio::runtime::Runtime>,
    ended: tokio::sync::oneshot::Receiver<()>,
}

impl Process {
    /// Starts a service on free ports, with the flags a command line would give it.
    ///
    /// # Panics
    /// When the flags are not the service's, or no port is free.
    pub fn start<C, F>(
        instance: &str,
        flags: &[&str],
        run: impl FnOnce(Listeners, C, Shutdown) -> F + Send + 'static,
    ) -> Self
    where
        C: clap::Args + Send + 'static,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let common = [
            "test",
            "--instance",
            instance,
            "--operator-token",
            OPERATOR_TOKEN,
            "--drain-notice-ms",
            "0",
        ];
        let command = C::augment_args(clap::Command::new("test"));
        let matches = command
            .try_get_matches_from(common.iter().chain(flags))
            .expect("the flags are the service's");
        let config = C::from_arg_matches(&matches).expect("the flags make a configuration");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let bind = || {
            let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
            listener
                .set_nonblocking(true)
                .expect("a listener that does not block");
            listener
        };
        let (public, admin) = (bind(), bind());
        let addresses = (
            public.local_addr().expect("an address"),
            admin.local_addr().expect("an address"),
        );
        let shutdown = Shutdown::new();
        let (end, ended) = tokio::sync::oneshot::channel();
        let stop = shutdown.clone();
        runtime.spawn(async move {
            let listeners = Listeners {
                public: public.try_into().expect("a listener"),
                admin: admin.try_into().expect("a listener"),
            };
            run(listeners, config, stop)
                .await
                .expect("the service runs");
            let _ = end.send(());
        });
        Self {
            public: addresses.0,
            admin: addresses.1,
            shutdown,
            runtime: Some(runtime),
            ended,
        }
    }

    /// Ends it at once, in the middle of everything. Its ports close.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// When it does not within half a minute.
    pub async fn stop(mut self) {
        self.shutdown.request();
        tokio::time::timeout(Duration::from_secs(30), &mut self.ended)
            .await
            .expect("the service stops in time")
            .expect("the service ran to its end");
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
