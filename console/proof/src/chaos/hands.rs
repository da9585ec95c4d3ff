//! Carries faults out, and lifts each within its bound, whatever happens meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use host::{
    Supervisor,
    store::{Replicated, Watched},
};
use kit::postgres::Servers;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::{
    client::{Client, Request},
    plan::{Fault, Round, Timed},
};
use crate::wire::{Board, Toxics};

/// How long the database may take to name its processes.
const ASK: Duration = Duration::from_secs(2);
/// On a cluster queue and cache may have servers of their own.
const TAGS: [&str; 2] = [kit::messaging::TAG, kit::caching::first_level::TAG];
/// The most events that are sent again at once.
const EVENTS: i64 = 5;

/// What holds the tools; cheap to clone.
#[derive(Clone, Debug)]
pub struct Hands {
    pub supervisor: Supervisor,
    pub board: Board,
    pub database_url: String,
    pub replicated: Option<Arc<Replicated>>,
    pub watched: Option<Arc<Watched>>,
    pub client: Client,
    pub seed: u64,
    frozen: Frozen,
}

impl Hands {
    pub fn new(
        supervisor: Supervisor,
        board: Board,
        database_url: String,
        replicated: Option<Arc<Replicated>>,
        watched: Option<Arc<Watched>>,
        client: Client,
        seed: u64,
    ) -> Self {
        Self {
            supervisor,
            board,
            database_url,
            replicated,
            watched,
            client,
            seed,
            frozen: Frozen::default(),
        }
    }

    /// Carries a round out, to the end of its last fault; what could not be done, in words.
    pub async fn carry_out(&self, round: &Round) -> Vec<String> {
        let mut tasks = tokio::task::JoinSet::new();
        for (index, timed) in round.faults.iter().enumerate() {
            let (hands, timed) = (self.clone(), timed.clone());
            let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
            chance.set_stream(u64::from(round.number) * 16 + index as u64);
            tasks.spawn(async move {
                let done = hands.one(&timed, &mut chance).await;
                done.map_err(|why| format!("{}: {why}", timed.fault))
            });
        }
        let mut trouble = Vec::new();
        while let Some(done) = tasks.join_next().await {
            if let Ok(Err(why)) = done {
                trouble.push(why);
            }
        }
        self.lift_all();
        trouble
    }

    /// Wakes everything and mends every connection.
    pub fn lift_all(&self) {
        self.frozen.wake_all();
        self.board.clear();
    }

    async fn one(&self, timed: &Timed, chance: &mut ChaCha8Rng) -> Result<(), String> {
        tokio::time::sleep(timed.after).await;
        self.client.recorder.note(timed.to_string());
        match &timed.fault {
            Fault::Kill(name) => kill(self.instance(name)?),
            Fault::KillStore(kind) => kill(self.store(kind)?),
            Fault::KillPostgres => kill(self.store("postgres")?),
            Fault::FailOver => {
                let replicated = self.replicated.as_ref().ok_or("there is no standby")?;
                replicated
                    .fail_over()
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Fault::Promote => {
                let watched = self.watched.as_ref().ok_or("there is no replica")?;
                let tag = TAGS[chance.random_range(0..TAGS.len())];
                watched
                    .fail_over(tag)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Fault::KillBackend => kill(self.backend(chance).await?),
            Fault::Freeze(name) => self.frozen.hold(&[self.instance(name)?], timed.lasts).await,
            Fault::FreezeStore(kind) => {
                let pid = match &self.watched {
                    Some(watched) => {
                        let tag = TAGS[chance.random_range(0..TAGS.len())];
                        watched.primary_pid(tag).await.ok_or("it is away")?
                    }
                    None => self.store(kind)?,
                };
                self.frozen.hold(&[pid], timed.lasts).await;
            }
            Fault::FreezeBackend => {
                let backend = self.backend(chance).await?;
                self.frozen.hold(&[backend], timed.lasts).await;
            }
            Fault::FreezePostgres => {
                let primary = match &self.replicated {
                    Some(replicated) => replicated.primary_pid().await.ok_or("it is away")?,
                    None => self.store("postgres")?,
                };
                let mut pids = vec![primary];
                pids.extend(self.backends(false).await?);
                self.frozen.hold(&pids, timed.lasts).await;
            }
            Fault::Wire(pair, toxics) => {
                if !self.board.set(pair, *toxics) {
                    return Err("there is no such connection".to_owned());
                }
                tokio::time::sleep(timed.lasts).await;
                // It may be gone by now, with its instance.
                let _ = self.board.set(pair, Toxics::default());
            }
            Fault::Redeliver(queue) => self.redeliver(queue).await?,
        }
        Ok(())
    }

    fn instance(&self, name: &str) -> Result<u32, String> {
        let topology = self.supervisor.topology();
        let instance = topology.instances.iter().find(|known| known.name == name);
        instance
            .and_then(|instance| instance.pid)
            .ok_or_else(|| "it is not running".to_owned())
    }

    fn store(&self, kind: &str) -> Result<u32, String> {
        let topology = self.supervisor.topology();
        let store = topology.stores.iter().find(|known| known.kind == kind);
        store
            .and_then(|store| store.pid)
            .ok_or_else(|| "it is not running".to_owned())
    }

    async fn backend(&self, chance: &mut ChaCha8Rng) -> Result<u32, String> {
        let backends = self.backends(true).await?;
        if backends.is_empty() {
            return Err("nobody is connected".to_owned());
        }
        Ok(backends[chance.random_range(0..backends.len())])
    }

    /// PostgreSQL's processes but the postmaster; those of the services' connections only, or all.
    async fn backends(&self, of_clients: bool) -> Result<Vec<u32>, String> {
        let ask = async {
            let mut connection = Servers::connect(&self.database_url).await?;
            let pids: Vec<i32> = sqlx::query_scalar(
                "select pid from pg_stat_activity where pid <> pg_backend_pid()
                 and (not $1 or backend_type = 'client backend') order by pid",
            )
            .bind(of_clients)
            .fetch_all(&mut connection)
            .await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(pids)
        };
        let pids = tokio::time::timeout(ASK, ask)
            .await
            .map_err(|_| "the database does not name its processes".to_owned())?
            .map_err(|error| error.to_string())?;
        Ok(pids
            .into_iter()
            .filter_map(|pid| u32::try_from(pid).ok())
            .collect())
    }

    /// Sends events that were delivered to their queue again.
    pub async fn redeliver(&self, queue: &str) -> Result<(), String> {
        let schema = match queue {
            "bookings" => "tutoring",
            "recharges" => "travel",
            _ => "worker",
        };
        let ask = async {
            let mut connection = Servers::connect(&self.database_url).await?;
            let statement = format!(
                "select payload || jsonb_build_object('event_id', event_id) from {schema}.outbox
                 where state = 'delivered' order by id desc limit {EVENTS}"
            );
            let events: Vec<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_all(&mut connection)
                .await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(events)
        };
        let events = tokio::time::timeout(ASK, ask)
            .await
            .map_err(|_| "the database does not answer".to_owned())?
            .map_err(|error| error.to_string())?;
        if events.is_empty() {
            return Err("there are no events yet".to_owned());
        }
        let messages: Vec<Value> = events.iter().map(|event| json!({"body": event})).collect();
        let topology = self.supervisor.topology();
        let instance = topology
            .of_role("queue")
            .next()
            .ok_or("there is no queue")?;
        let to = format!(
            "{}://{}/queues/{queue}/messages",
            super::scheme(&topology),
            instance.listen
        );
        let reply = self
            .client
            .send(&Request::post(to, None, json!({"messages": messages})))
            .await?;
        if reply.status.is_success() {
            Ok(())
        } else {
            Err(format!("the queue answered {}", reply.status))
        }
    }
}

/// Ends a process at once.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// The processes that are stopped, each of which is woken when this goes at the latest.
#[derive(Clone, Debug, Default)]
pub struct Frozen(Arc<Stopped>);

#[derive(Debug, Default)]
struct Stopped(Mutex<BTreeMap<u32, u32>>);

impl Frozen {
    /// Stops processes for so long.
    pub async fn hold(&self, pids: &[u32], lasts: Duration) {
        for pid in pids {
            self.stop(*pid);
        }
        tokio::time::sleep(lasts).await;
        for pid in pids {
            self.wake(*pid);
        }
    }

    fn stop(&self, pid: u32) {
        *self.0.lock().entry(pid).or_default() += 1;
        signal(pid, Signal::STOP);
    }

    fn wake(&self, pid: u32) {
        let mut stopped = self.0.lock();
        let left = stopped.get(&pid).map_or(0, |times| times.saturating_sub(1));
        if left == 0 {
            stopped.remove(&pid);
            signal(pid, Signal::CONT);
        } else {
            stopped.insert(pid, left);
        }
    }

    fn wake_all(&self) {
        self.0.wake_all();
    }
}

impl Stopped {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_all(&self) {
        for pid in std::mem::take(&mut *self.lock()).into_keys() {
            signal(pid, Signal::CONT);
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.wake_all();
    }
}

/// A process that is gone already is no failure.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
