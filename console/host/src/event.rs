//! What happens in a lab, for whoever shows it: the command line prints these, tests wait for them.

use std::{path::PathBuf, sync::Arc, time::Duration};

/// One thing that happened while a lab came up, ran, or went down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpEvent {
    /// A server program was found.
    Found {
        what: &'static str,
        path: PathBuf,
        version: String,
    },
    /// A package manager's command is being run.
    Installing { command: String },
    /// Something an earlier, killed lab left running was stopped.
    LeftoverStopped { name: String },
    /// A new cluster was made.
    ClusterCreated { path: PathBuf, took: Duration },
    /// A store takes connections.
    StoreReady {
        kind: &'static str,
        address: String,
        managed: bool,
        took: Duration,
    },
    /// The schema is as this build needs it.
    Migrated { took: Duration },
    /// The city is being written: rows so far and in all.
    Seeding {
        stage: String,
        done: u64,
        total: u64,
    },
    /// The database was empty and is not any more.
    Seeded { took: Duration },
    /// It held a city already.
    AlreadySeeded,
    /// One more instance is ready; counted while the lab comes up.
    InstanceReady {
        name: String,
        address: String,
        ready: usize,
        of: usize,
    },
    /// A process ended that should not have; it is started again after the wait.
    Exited {
        name: String,
        how: String,
        ran: Duration,
        wait: Duration,
    },
    /// It is ready again.
    Recovered { name: String, restarts: u32 },
    /// A role has another number of instances.
    Scaled {
        role: String,
        from: usize,
        to: usize,
    },
    /// One instance was restarted on the operator's word.
    Restarted { name: String, took: Duration },
    /// Everything is ready.
    Ready { public_url: String, took: Duration },
    /// A stop was asked for.
    Stopping,
    /// One process has ended as asked.
    Stopped { name: String },
    /// Nothing is running any more.
    Down { took: Duration },
    /// Not what was hoped for, but the lab goes on.
    Warning(String),
}

/// Where events go; cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(UpEvent) + Send + Sync>);

impl Events {
    pub fn new(sink: impl Fn(UpEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// For callers that do not look.
    #[must_use]
    pub fn ignore() -> Self {
        Self::new(|_| {})
    }

    pub fn send(&self, event: UpEvent) {
        (self.0)(event);
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Events")
    }
}
