//! The wire: keeps a reader on every instance of the lab and sends what they find as updates. Knows no screen.

mod act;
mod details;
mod lab;
mod line;
mod logs;
mod prometheus;
mod scrape;
mod sse;
mod stream;
pub mod topology;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use act::Desk;
use lab::Theatre;
use logs::Sink;
use topology::{Lab, Resolved, TopologySource};

use actions::Rights;

use crate::state::{Command, Update, details::Topic, logs::Line};

/// Updates that may wait for the model.
const UPDATES: usize = 256;

/// Log lines that may wait for the model; more are dropped and counted.
const LINES: usize = 16_384;

/// How often the topology file is read, and names are resolved.
const FILE_EVERY: Duration = Duration::from_secs(1);
const NAMES_EVERY: Duration = Duration::from_secs(3);

/// How long a lab has to take everything back when the console is left.
pub const BASELINE: Duration = Duration::from_secs(12);

/// The model's side of the wire.
pub struct Wire {
    pub updates: mpsc::Receiver<Update>,
    pub lines: mpsc::Receiver<Line>,
    /// Log lines dropped since it was last taken.
    pub dropped: Arc<AtomicU64>,
    pub commands: mpsc::Sender<Command>,
    /// What is asked for because somebody looks at it.
    pub wanted: watch::Sender<BTreeSet<Topic>>,
    tasks: TaskTracker,
    /// Labs that are being run.
    runs: TaskTracker,
    stop: CancellationToken,
}

impl Wire {
    /// Starts all readers; they end with `stop`.
    pub fn start(
        source: TopologySource,
        rights: Rights,
        labs: Option<labs::field::Setup>,
        stop: CancellationToken,
    ) -> Result<Self, reqwest::Error> {
        let (updates, updates_received) = mpsc::channel(UPDATES);
        let (lines, lines_received) = mpsc::channel(LINES);
        let (commands, commands_received) = mpsc::channel(32);
        let (lab, lab_seen) = watch::channel(None);
        let dropped = Arc::new(AtomicU64::new(0));
        let tasks = TaskTracker::new();
        let runs = TaskTracker::new();
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_millis(2_500))
            .pool_max_idle_per_host(1)
            .build()?;
        let readers = Readers {
            started: Instant::now(),
            updates: updates.clone(),
            sink: Sink::new(lines, Arc::clone(&dropped)),
            tasks: tasks.clone(),
            stop: stop.clone(),
            running: HashMap::new(),
        };
        let watching = watch_topology(source, http.clone(), readers, lab);
        tasks.spawn(until(stop.clone(), watching));
        let (wanted, wanted_seen) = watch::channel(BTreeSet::new());
        let asking = details::watch(http.clone(), lab_seen.clone(), wanted_seen, updates.clone());
        tasks.spawn(until(stop.clone(), asking));
        let desk = Desk {
            http,
            lab: lab_seen,
            rights,
            updates: updates.clone(),
            tasks: tasks.clone(),
            levers: None,
            traffic: None,
            theatre: Theatre {
                setup: labs,
                updates: updates.clone(),
                runs: runs.clone(),
                stop: stop.clone(),
                keys: None,
            },
        };
        tasks.spawn(until(stop.clone(), desk.run(commands_received)));
        Ok(Self {
            updates: updates_received,
            lines: lines_received,
            dropped,
            commands,
            wanted,
            tasks,
            runs,
            stop,
        })
    }

    /// Whether a lab is being run, whose baseline [`Self::close`] waits for.
    pub fn runs_a_lab(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Ends everything, traffic included; waits a moment for what is under way.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        drop((self.updates, self.lines, self.commands));
        let _ = tokio::time::timeout(Duration::from_millis(250), self.tasks.wait()).await;
        // A lab that is being run is put back to its baseline first; the next run does it otherwise.
        self.runs.close();
        let _ = tokio::time::timeout(BASELINE, self.runs.wait()).await;
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// One reader of metrics and one of logs per admin address.
struct Readers {
    /// What the beats of all log streams are counted from.
    started: Instant,
    updates: mpsc::Sender<Update>,
    sink: Sink,
    tasks: TaskTracker,
    stop: CancellationToken,
    running: HashMap<String, CancellationToken>,
}

impl Readers {
    fn follow(&mut self, lab: &Lab) {
        self.running.retain(|admin, stop| {
            let stays = lab.places.iter().any(|place| place.admin == *admin);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for place in &lab.places {
            if self.running.contains_key(&place.admin) {
                continue;
            }
            let stop = self.stop.child_token();
            self.running.insert(place.admin.clone(), stop.clone());
            let look = Arc::new(Notify::new());
            let (admin, updates) = (place.admin.clone(), self.updates.clone());
            let watching = scrape::watch(admin, updates, Arc::clone(&look));
            self.tasks.spawn(until(stop.clone(), watching));
            let following =
                logs::follow(place.admin.clone(), self.sink.clone(), self.started, look);
            self.tasks.spawn(until(stop, following));
        }
    }
}

async fn watch_topology(
    source: TopologySource,
    http: reqwest::Client,
    mut readers: Readers,
    lab: watch::Sender<Option<Lab>>,
) {
    let mut resolved = Resolved::default();
    let mut ticks = tokio::time::interval(match source {
        TopologySource::Path(_) | TopologySource::Url { .. } => FILE_EVERY,
        TopologySource::Dns(_) => NAMES_EVERY,
    });
    let mut problem = None;
    loop {
        ticks.tick().await;
        let found = topology::find(&source, &http, &mut resolved).await;
        let update = match found {
            Ok(found) => {
                let changed = lab.borrow().as_ref() != Some(&found);
                if !changed && problem.take().is_none() {
                    continue;
                }
                problem = None;
                readers.follow(&found);
                let update = Update::Topology {
                    public_url: found.levers.public_url.clone(),
                    places: found.places.clone(),
                    read_only: found.read_only,
                };
                lab.send_replace(Some(found));
                update
            }
            Err(why) if problem.as_ref() == Some(&why) => continue,
            Err(why) => {
                problem = Some(why.clone());
                Update::TopologyLost(why)
            }
        };
        if readers.updates.send(update).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
