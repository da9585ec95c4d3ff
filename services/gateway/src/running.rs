//! The routes that are in force: replaced as a whole, one step back, and what is known of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    document::{self, Changes},
    flaw::Flaws,
    matching::Table,
    metrics::RouteMetrics,
    table::RouteInfo,
};

/// Where routes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    BuiltIn,
    File,
    Operator,
}

impl Origin {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built_in",
            Self::File => "file",
            Self::Operator => "operator",
        }
    }
}

/// One table and what it was made from. A request holds one from its beginning to its end.
#[derive(Debug)]
pub struct Snapshot {
    pub table: Arc<Table>,
    pub routes: Arc<[RouteInfo]>,
    /// Counts the changes in this process, from one.
    pub version: u64,
    /// The same for the same routes, in every process.
    pub hash: String,
    pub origin: Origin,
    pub since: DateTime<Utc>,
}

/// Somebody else has changed the routes meanwhile, or never saw these: the hash of those in force.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict(pub String);

/// What is known besides the routes in force.
#[derive(Clone, Debug, Default)]
struct Change {
    previous: Option<Arc<Snapshot>>,
    /// What is wrong with the routes file as it is now.
    flaws: Option<Flaws>,
}

pub struct Running {
    current: ArcSwap<Snapshot>,
    /// Held while the routes change, so that changes are one after another.
    change: Mutex<Change>,
    metrics: RouteMetrics,
}

impl Running {
    #[must_use]
    pub fn new(
        routes: Vec<RouteInfo>,
        table: Table,
        origin: Origin,
        now: DateTime<Utc>,
        metrics: RouteMetrics,
    ) -> Self {
        let snapshot = Snapshot {
            table: Arc::new(table),
            hash: document::hash(&routes),
            routes: routes.into(),
            version: 1,
            origin,
            since: now,
        };
        metrics.show(&snapshot);
        Self {
            current: ArcSwap::from_pointee(snapshot),
            change: Mutex::default(),
            metrics,
        }
    }

    /// The routes in force.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts checked routes in force. The same ones again change nothing, so that a repeated call does not lose the way
    /// back. `expected` is the hash of the routes that the caller meant to replace.
    pub fn replace(
        &self,
        routes: Vec<RouteInfo>,
        table: Table,
        origin: Origin,
        expected: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(Arc<Snapshot>, Changes), Conflict> {
        let mut change = self.change();
        let before = self.current();
        if expected.is_some_and(|expected| expected != before.hash) {
            return Err(Conflict(before.hash.clone()));
        }
        let changes = Changes::between(&before.routes, &routes);
        let hash = document::hash(&routes);
        if hash == before.hash {
            return Ok((before, changes));
        }
        let after = self.install(Snapshot {
            table: Arc::new(table),
            routes: routes.into(),
            version: before.version + 1,
            hash,
            origin,
            since: now,
        });
        change.previous = Some(before);
        Ok((after, changes))
    }

    /// Puts the routes before the last change in force again; none when there are none. It does not go further back, and
    /// not forward again.
    pub fn roll_back(&self, now: DateTime<Utc>) -> Option<(Arc<Snapshot>, Changes)> {
        let mut change = self.change();
        let previous = change.previous.take()?;
        let before = self.current();
        let changes = Changes::between(&before.routes, &previous.routes);
        let after = self.install(Snapshot {
            table: previous.table.clone(),
            routes: previous.routes.clone(),
            version: before.version + 1,
            hash: previous.hash.clone(),
            origin: previous.origin,
            since: now,
        });
        Some((after, changes))
    }

    fn install(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        tracing::warn!(
            version = snapshot.version,
            hash = snapshot.hash,
            origin = snapshot.origin.name(),
            routes = snapshot.routes.len(),
            "the routes were changed"
        );
        self.metrics.show(&snapshot);
        let snapshot = Arc::new(snapshot);
        self.current.store(snapshot.clone());
        snapshot
    }

    /// What a roll-back would bring.
    #[must_use]
    pub fn previous(&self) -> Option<Arc<Snapshot>> {
        self.change().previous.clone()
    }

    /// What is wrong with the routes file, if anything is.
    #[must_use]
    pub fn flaws(&self) -> Option<Flaws> {
        self.change().flaws.clone()
    }

    /// Notes what is wrong with the routes file, or that nothing is any more.
    pub fn note(&self, flaws: Option<Flaws>) {
        self.metrics.file_is_bad.set(i64::from(flaws.is_some()));
        self.change().flaws = flaws;
    }

    fn change(&self) -> MutexGuard<'_, Change> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::builtin::routes;

    fn running() -> Running {
        let table = Table::compile(&routes()).expect("our own routes");
        let metrics = RouteMetrics::register(&mut Registry::default());
        Running::new(routes(), table, Origin::BuiltIn, Utc::now(), metrics)
    }

    fn slower(timeout_ms: u64) -> (Vec<RouteInfo>, Table) {
        let mut routes = routes();
        routes[5].timeout_ms = timeout_ms;
        let table = Table::compile(&routes).expect("good routes");
        (routes, table)
    }

    #[test]
    fn one_step_back_and_no_further() {
        let running = running();
        let first = running.current().hash.clone();
        assert!(running.roll_back(Utc::now()).is_none());
        for timeout_ms in [1, 2] {
            let (routes, table) = slower(timeout_ms);
            let (_, changes) = running
                .replace(routes, table, Origin::Operator, None, Utc::now())
                .expect("nothing was expected");
            assert_eq!(changes.changed.len(), 1);
        }
        assert_eq!(running.current().version, 3);
        let (back, changes) = running.roll_back(Utc::now()).expect("one step");
        assert_eq!((back.version, back.routes[5].timeout_ms), (4, 1));
        assert_eq!(changes.changed[0].fields, ["timeout_ms"]);
        assert_ne!(back.hash, first);
        assert!(running.roll_back(Utc::now()).is_none());
    }

    #[test]
    fn the_same_routes_again_change_nothing() {
        let running = running();
        for _ in 0..2 {
            let (routes, table) = slower(7);
            let (after, _) = running
                .replace(routes, table, Origin::File, None, Utc::now())
                .expect("nothing was expected");
            assert_eq!(after.version, 2);
        }
        assert_eq!(running.previous().expect("the built-in ones").version, 1);
    }

    #[test]
    fn a_change_of_other_routes_than_expected_is_refused() {
        let running = running();
        let first = running.current().hash.clone();
        let replace = |timeout_ms, expected: &str| {
            let (routes, table) = slower(timeout_ms);
            running.replace(routes, table, Origin::Operator, Some(expected), Utc::now())
        };
        let (second, _) = replace(7, &first).expect("as expected");
        assert_eq!(
            replace(8, &first).expect_err("changed meanwhile"),
            Conflict(second.hash.clone())
        );
        assert_eq!(running.current().version, 2);
    }

    #[test]
    fn who_holds_a_snapshot_keeps_it() {
        let running = running();
        let held = running.current();
        let (routes, table) = slower(7);
        let _ = running.replace(routes, table, Origin::File, None, Utc::now());
        assert_eq!(held.routes[5].timeout_ms, 20_000);
        assert_eq!(held.version, 1);
    }
}
