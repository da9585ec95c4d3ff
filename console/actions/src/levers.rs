//! Carries actions out, and says before what they would do.

mod balancing;
mod cache;
mod calls;
mod faults;
mod http;
mod impact;
mod instances;
mod queues;
mod safeguards;
mod switches;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Action, Answer, Failure, FlushScope, Lab, Place, Rights, names::nearest};

/// How long anything may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(2_500);

/// Hears of the steps of an action that takes its time.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// What became of an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// What happened, in a sentence or two without the last stop.
    pub text: String,
    /// What puts back what was before; none where there is nothing to put back, or no way.
    pub undo: Option<Action>,
    /// The answer to a call.
    pub detail: Option<Answer>,
}

impl Done {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            undo: None,
            detail: None,
        }
    }

    pub(crate) fn undone_by(self, undo: Option<Action>) -> Self {
        Self { undo, ..self }
    }
}

/// The levers of one lab. Cheap to clone.
#[derive(Clone)]
pub struct Levers {
    http: reqwest::Client,
    lab: Arc<Lab>,
    rights: Rights,
    tell: Progress,
    memory: Arc<Memory>,
}

/// What is kept between two actions.
#[derive(Default)]
struct Memory {
    /// For whose front door, and since when.
    token: Mutex<Option<(String, String, Instant)>>,
    client: Mutex<Option<(String, Arc<load::Client>)>>,
}

impl std::fmt::Debug for Levers {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Levers")
            .field("lab", &self.lab)
            .field("rights", &self.rights)
            .finish_non_exhaustive()
    }
}

impl Levers {
    /// A client as levers need it: no proxy, for everything is nearby, and no redirects, for answers are shown as they are.
    pub fn client() -> Result<reqwest::Client, reqwest::Error> {
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
    }

    /// `http` is best made by [`Levers::client`].
    #[must_use]
    pub fn new(http: reqwest::Client, lab: Lab, rights: Rights) -> Self {
        Self {
            http,
            lab: Arc::new(lab),
            rights,
            tell: Arc::new(|_| {}),
            memory: Arc::default(),
        }
    }

    /// Tells of the steps of what takes its time.
    #[must_use]
    pub fn telling(self, tell: Progress) -> Self {
        Self { tell, ..self }
    }

    /// The same levers on the lab as it is now.
    #[must_use]
    pub fn with_lab(&self, lab: Lab) -> Self {
        Self {
            lab: Arc::new(lab),
            ..self.clone()
        }
    }

    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Carries an action out. Of several, the first that fails ends it.
    ///
    /// Steady traffic is not for this: whoever asks for it runs it. Of [`Action::StopEverything`], this clears the faults and
    /// switches the safeguards on, and the traffic is for the caller to stop.
    pub async fn perform(&self, action: &Action) -> Result<Done, Failure> {
        if self.rights.read_only && action.changes() {
            return Err(Failure::ReadOnly);
        }
        let actions = action.all();
        if let [single] = actions.as_slice() {
            return self.one(single).await;
        }
        let mut done = Vec::new();
        for action in actions {
            match self.one(action).await {
                Ok(one) => done.push(one),
                Err(failed) if done.is_empty() => return Err(failed),
                Err(failed) => {
                    let texts: Vec<String> = done.into_iter().map(|one: Done| one.text).collect();
                    return Err(Failure::Partly {
                        done: texts.join("; "),
                        failed: failed.to_string(),
                    });
                }
            }
        }
        let texts: Vec<&str> = done.iter().map(|one| one.text.as_str()).collect();
        Ok(Done {
            text: texts.join("; "),
            detail: done.iter().rev().find_map(|one| one.detail.clone()),
            undo: Action::several(done.into_iter().rev().filter_map(|one| one.undo).collect()),
        })
    }

    async fn one(&self, action: &Action) -> Result<Done, Failure> {
        match action {
            Action::Recharge { card, amount } => self.recharge(*card, *amount).await,
            Action::Burst { requests } => self.burst(*requests).await,
            Action::Call {
                method,
                target,
                body,
                token,
            } => self.call(*method, target, body.as_deref(), *token).await,
            Action::Traffic(_)
            | Action::TrafficRate(_)
            | Action::TrafficMix(_)
            | Action::StopTraffic => Err(Failure::OwnTraffic),
            Action::Flush(scope) => self.flush(scope).await,
            Action::CacheSwitch { instance, on } => {
                self.switch_cache(instance.as_deref(), *on).await
            }
            Action::Drain(name) => self.drain(name).await,
            Action::Restore(name) => self.restore(name).await,
            Action::Kill(name) => self.kill(name).await,
            Action::Restart(target) => self.restart(target).await,
            Action::Scale { role, count } => self.scale(role, *count).await,
            Action::Fault { instance, fault } => self.add_fault(instance, fault).await,
            Action::ClearFaults { instance } => self.clear_faults(instance.as_deref()).await,
            Action::Safeguard { safeguard, off } => self.set_safeguard(*safeguard, *off).await,
            Action::Policy { policy, pool } => self.set_policy(policy, pool.as_deref()).await,
            Action::Weight { instance, weight } => self.set_weight(instance, *weight).await,
            Action::Balancing { pool, settings } => {
                self.set_balancing(pool.as_deref(), settings).await
            }
            Action::Delay { of, lasts } => self.set_delay(*of, *lasts).await,
            Action::Capacity(places) => self.set_capacity(*places).await,
            Action::PauseQueue(queue) => self.switch_queue(queue, true).await,
            Action::ResumeQueue(queue) => self.switch_queue(queue, false).await,
            Action::PauseConsumers { target } => {
                self.switch_consumers(target.as_deref(), true).await
            }
            Action::ResumeConsumers { target } => {
                self.switch_consumers(target.as_deref(), false).await
            }
            Action::Redrive {
                queue,
                ids,
                rate,
                limit,
            } => self.redrive(queue, ids, *rate, *limit).await,
            Action::PurgeDead { queue, ids } => self.purge_dead(queue, ids).await,
            Action::PurgeQueue(queue) => self.purge_queue(queue).await,
            Action::LogLevel { instance, level } => {
                self.set_log_level(instance.as_deref(), level).await
            }
            Action::StopEverything => self.clear_everything().await,
            // `all` gives single actions only.
            Action::Several(_) => Ok(Done::new("nothing")),
        }
    }

    /// The instance of a name.
    fn place(&self, name: &str) -> Result<&Place, Failure> {
        let found = self.lab.instances.iter().find(|place| place.name == name);
        found.ok_or_else(|| self.unknown("instance", name, |place| place.name.clone()))
    }

    /// The instances of a role that run; at least one.
    fn running(&self, role: &'static str) -> Result<Vec<&Place>, Failure> {
        let places: Vec<&Place> = self
            .lab
            .of_role(role)
            .filter(|place| place.running)
            .collect();
        if places.is_empty() {
            return Err(Failure::None { what: role });
        }
        Ok(places)
    }

    fn unknown(&self, what: &'static str, name: &str, of: impl Fn(&Place) -> String) -> Failure {
        let mut known: Vec<String> = self.lab.instances.iter().map(of).collect();
        known.sort();
        known.dedup();
        if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
            known = vec![near.to_owned()];
        }
        Failure::Unknown {
            what,
            name: name.to_owned(),
            known,
        }
    }

    fn say(&self, step: &str) {
        (self.tell)(step);
    }
}

impl Memory {
    fn lock<T>(slot: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is flushed, in words.
fn scope(scope: &FlushScope) -> String {
    match scope {
        FlushScope::Key(key) => key.clone(),
        FlushScope::Prefix(prefix) => format!("{prefix}…"),
        FlushScope::All => "the whole cache".to_owned(),
    }
}
