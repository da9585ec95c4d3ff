//! Does what the operator asked: actions through the lab's levers, steady traffic in this process. All through public ports.

use std::{sync::Arc, time::Duration};

use actions::{Action, Levers};
use load::Credentials;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use super::{lab::Theatre, topology::Lab};
use crate::state::{
    Command, Finished, Update,
    traffic::{Seen, SeenCall},
};

/// How often running traffic is asked how it does.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Takes commands until there are no more.
pub struct Desk {
    pub http: reqwest::Client,
    pub lab: watch::Receiver<Option<Lab>>,
    pub rights: actions::Rights,
    pub updates: mpsc::Sender<Update>,
    pub tasks: TaskTracker,
    pub levers: Option<Levers>,
    pub traffic: Option<Running>,
    pub theatre: Theatre,
}

/// Traffic that runs, and for how long it may.
pub struct Running {
    handle: load::Handle,
    seconds: u64,
}

impl Desk {
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Do { number, action }) => self.act(number, action).await,
                    Some(Command::Weigh(action)) => self.weigh(action),
                    Some(Command::Lab(command)) => {
                        if let Err(why) = self.theatre.command(command) {
                            self.tell(Update::Lab(Err(why))).await;
                        }
                    }
                    Some(_) => {}
                    None => return,
                },
                _ = looks.tick(), if self.traffic.is_some() => self.look().await,
            }
        }
    }

    async fn tell(&self, update: Update) {
        // A closed channel means that the console is closing.
        let _ = self.updates.send(update).await;
    }

    /// The levers of the lab as it is now.
    fn levers(&mut self) -> Result<Levers, String> {
        let lab = self.lab.borrow().clone();
        let lab = lab.ok_or("where the lab is, is not known yet")?;
        let levers = match &self.levers {
            Some(levers) if *levers.lab() == lab.levers => levers.clone(),
            Some(levers) => levers.with_lab(lab.levers),
            None => {
                let updates = self.updates.clone();
                let tell: actions::Progress = Arc::new(move |text: &str| {
                    // Progress is news for a moment: what finds no room is left out.
                    let _ = updates.try_send(Update::Progress(text.to_owned()));
                });
                let levers = Levers::new(self.http.clone(), lab.levers, self.rights.clone());
                levers.telling(tell)
            }
        };
        self.levers = Some(levers.clone());
        Ok(levers)
    }

    fn weigh(&mut self, action: Action) {
        let levers = self.levers();
        let updates = self.updates.clone();
        self.tasks.spawn(async move {
            let impact = match levers {
                Ok(levers) => levers
                    .impact(&action)
                    .await
                    .map_err(|failure| failure.to_string()),
                Err(why) => Err(why),
            };
            let _ = updates.send(Update::Impact { action, impact }).await;
        });
    }

    async fn act(&mut self, number: u64, action: Action) {
        if matches!(action, Action::StopEverything) {
            self.traffic = None;
        }
        if action.is_traffic() {
            let result = self.traffic(&action).await.map(|text| Finished {
                text,
                undo: None,
                answer: None,
            });
            self.tell(Update::Finished { number, result }).await;
            return;
        }
        let levers = self.levers();
        let updates = self.updates.clone();
        self.tasks.spawn(async move {
            let result = match levers {
                Ok(levers) => levers
                    .perform(&action)
                    .await
                    .map_err(|failure| failure.to_string()),
                Err(why) => Err(why),
            };
            let result = result.map(|done| Finished {
                text: done.text,
                undo: done.undo,
                answer: done.detail.map(Box::new),
            });
            let _ = updates.send(Update::Finished { number, result }).await;
        });
    }

    /// Starts, changes or ends the traffic of this process; what there is to say about it.
    async fn traffic(&mut self, action: &Action) -> Result<String, String> {
        match action {
            Action::Traffic(plan) => {
                let lab = self.lab.borrow().clone();
                let lab = lab.ok_or("where the lab is, is not known yet")?;
                let credentials = self.credentials(&lab.levers.public_url).await;
                let options = plan
                    .options(
                        &lab.levers.public_url,
                        credentials,
                        self.rights.allow_remote,
                    )
                    .map_err(|error| error.to_string())?;
                let handle = load::Traffic::start(options).map_err(|error| error.to_string())?;
                self.traffic = Some(Running {
                    handle,
                    seconds: plan.seconds,
                });
                Ok(format!(
                    "{} traffic at {}/s to {} for up to {} s",
                    plan.profile.name(),
                    plan.rate,
                    lab.levers.public_url,
                    plan.seconds
                ))
            }
            Action::StopTraffic => {
                // Dropping the handle ends the traffic.
                self.traffic = None;
                Ok("traffic stopped".to_owned())
            }
            Action::TrafficRate(rate) => {
                let running = self.traffic.as_ref().ok_or("no traffic runs")?;
                running.handle.set_rate(*rate);
                Ok(format!("traffic at {rate}/s"))
            }
            Action::TrafficMix(mix) => {
                let running = self.traffic.as_ref().ok_or("no traffic runs")?;
                running
                    .handle
                    .set_mix(mix.clone())
                    .map_err(|error| error.to_string())?;
                Ok(format!("traffic of {mix}"))
            }
            _ => Err("this is not about traffic".to_owned()),
        }
    }

    async fn credentials(&self, public_url: &str) -> Credentials {
        let Some(password) = &self.rights.operator_password else {
            return Credentials::Demo;
        };
        let demo = self.http.get(format!("{public_url}/token")).send().await;
        match demo {
            Ok(answer) if !answer.status().is_success() => Credentials::Password {
                username: "operator".into(),
                password: password.clone(),
            },
            _ => Credentials::Demo,
        }
    }

    async fn look(&mut self) {
        let Some(running) = &self.traffic else { return };
        let snapshot = running.handle.snapshot();
        let finished = snapshot.state == load::State::Finished;
        let window = &snapshot.window;
        let seconds =
            |latency: &load::Latency| (latency.count > 0).then(|| latency.p95 as f64 / 1e6);
        let asked = match snapshot.mode {
            load::Mode::Open { rate, .. } => Some(rate),
            load::Mode::Closed { .. } => None,
        };
        let seen = Seen {
            asked,
            rate: (window.seconds > 0).then_some(window.answered_per_second),
            answered: snapshot.totals.answered,
            errors: snapshot.totals.errors(),
            p95: seconds(&window.latency.corrected),
            raw_p95: seconds(&window.latency.service),
            left: Some((running.seconds as f64 - snapshot.elapsed_seconds).max(0.0)),
            error_rate: (window.seconds > 0).then_some(window.errors_per_second),
            skipped: snapshot.totals.dropped,
            calls: snapshot
                .calls
                .iter()
                .map(|call| SeenCall {
                    kind: call.kind,
                    sent: call.totals.started,
                    failed: call.totals.errors(),
                    p95: (call.p95 > 0).then(|| call.p95 as f64 / 1e6),
                })
                .collect(),
            finished,
            last_error: snapshot.last_error,
        };
        self.tell(Update::Traffic(Some(seen))).await;
        if finished {
            self.traffic = None;
        }
    }
}
