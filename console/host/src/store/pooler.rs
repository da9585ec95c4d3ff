//! A PgBouncer before a PostgreSQL: many connections of services over few of its own, each lent for a transaction.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Launch, own_folder, postgres};
use crate::{
    account::Account,
    error::{Error, Result},
    guard::StopSignal,
    layout::{Layout, write_private},
    processes,
    scratch::{Guarded, guarded, stop, wait},
};

/// The running pooler.
#[derive(Debug)]
pub(super) struct Pooler {
    place: Place,
    guarded: Guarded,
}

/// Where it is, and whom it lets in.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    port: u16,
    account: Option<Account>,
    password: String,
}

impl Pooler {
    /// Starts one that goes to the server on a port of this machine. `program` is the `recarga` binary, `tool` PgBouncer's.
    pub async fn start(
        program: &Path,
        tool: &Path,
        layout: &Layout,
        port: u16,
        password: &str,
        server: u16,
    ) -> Result<Self> {
        let place = Place {
            folder: layout.root().join("pgbouncer"),
            port,
            account: Account::for_store("postgres")?,
            password: password.to_owned(),
        };
        own_folder(&place.folder, place.account)?;
        place.go_to(server)?;
        let launch = Launch {
            command: vec![tool.into(), place.configuration().into()],
            account: place.account,
            signal: StopSignal::Int,
        };
        let guarded = guarded(program, &launch, layout.output("pgbouncer"))?;
        wait("PgBouncer", &guarded.log, || place.answers()).await?;
        Ok(Self { place, guarded })
    }

    /// Where services find the database.
    pub fn url(&self) -> String {
        let Place { port, password, .. } = &self.place;
        let (user, database) = (postgres::USER, postgres::DATABASE);
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
    }

    /// From now on it goes to another server, as whoever promotes one tells it.
    pub fn go_to(&self, server: u16) -> Result<()> {
        self.place.go_to(server)?;
        let path = self.place.pid_path();
        let text = fs::read_to_string(&path).map_err(|source| Error::on_path(&path, source))?;
        let pid = text.trim().parse().map_err(|_| {
            let reason = format!("{}: {text:?} is no process", path.display());
            Error::Invalid(reason)
        })?;
        processes::signal(pid, Signal::HUP);
        Ok(())
    }

    pub async fn stop(mut self) {
        stop([&mut self.guarded]).await;
    }
}

impl Place {
    fn configuration(&self) -> PathBuf {
        self.folder.join("pgbouncer.ini")
    }

    fn pid_path(&self) -> PathBuf {
        self.folder.join("pgbouncer.pid")
    }

    fn go_to(&self, server: u16) -> Result<()> {
        let users = self.folder.join("users.txt");
        let (user, database) = (postgres::USER, postgres::DATABASE);
        let settings = format!(
            "[databases]\n\
             {database} = host=127.0.0.1 port={server}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = scram-sha-256\n\
             auth_file = {users}\n\
             pidfile = {pid}\n\
             pool_mode = transaction\n\
             max_prepared_statements = 200\n\
             ignore_startup_parameters = options,extra_float_digits\n\
             max_client_conn = 1000\n\
             default_pool_size = 60\n\
             server_login_retry = 0.2\n\
             query_wait_timeout = 5\n",
            port = self.port,
            users = users.display(),
            pid = self.pid_path().display(),
        );
        let known = format!("\"{user}\" \"{}\"\n", self.password);
        for (path, text) in [(users, known), (self.configuration(), settings)] {
            write_private(&path, text.as_bytes())?;
            if let Some(account) = self.account {
                account.own(&path)?;
            }
        }
        Ok(())
    }

    async fn answers(&self) -> bool {
        let options = postgres::options(self.port, &self.password, postgres::DATABASE);
        match options.connect().await {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_) => false,
        }
    }
}
