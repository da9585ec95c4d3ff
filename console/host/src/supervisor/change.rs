//! Changes while everything runs: more or fewer instances, and restarts one after the other, so that no caller notices.

use std::time::{Duration, Instant};

use kit::topology::State;
use tokio::sync::{MutexGuard, mpsc::UnboundedSender};

use super::{Supervisor, callers, find, join_all, place_of};
use crate::{
    error::{Error, Result},
    event::UpEvent,
    job::Job,
    keeper::Keeper,
    roles::{self, Role, Target},
};

/// How long callers get at the least to notice that an instance wants no new work: they look four times a second.
const DRAIN_NOTICE: Duration = Duration::from_millis(600);
/// How long they may take to get their last answers from it.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// How long they may take to send to it again once it is ready.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

impl Supervisor {
    /// Gives a role another number of instances, and waits until the new ones are ready or the old ones gone.
    pub async fn scale(&self, role: Role, count: usize) -> Result<()> {
        roles::check(role, count).map_err(Error::Invalid)?;
        let _changing = self.changing().await?;
        let mut numbers = self.numbers(role);
        let from = numbers.len();
        if from < count {
            let missing: Vec<usize> = (1..)
                .filter(|number| !numbers.contains(number))
                .take(count - from)
                .collect();
            let mut names = Vec::new();
            for number in missing {
                let name = self.plan_one(role, number)?;
                self.start_instance(&name).await?;
                names.push(name);
            }
            self.ports().save()?;
            for name in names {
                self.ready(&name).await?;
            }
        } else {
            let surplus = numbers.split_off(count);
            let retiring = surplus
                .into_iter()
                .map(|number| self.retire(format!("{role}-{number}")));
            join_all(retiring).await;
        }
        self.inner.events.send(UpEvent::Scaled {
            role: role.name().to_owned(),
            from,
            to: count,
        });
        Ok(())
    }

    /// Restarts a role's instances one after the other: no new work, then no more callers, then its end; the next one only when
    /// this one is ready and its callers are back. `steps` is told of each; when nobody listens to it any more, the rest stays
    /// as it is.
    pub async fn restart(&self, target: Target, steps: &UnboundedSender<String>) -> Result<()> {
        let _changing = self.changing().await?;
        let present = self.numbers(target.role);
        let numbers: Vec<usize> = match target.number {
            Some(number) => present.iter().copied().filter(|&n| n == number).collect(),
            None => present,
        };
        if numbers.is_empty() {
            return Err(Error::Invalid(format!(
                "no {target} is running; `recarga status` shows what is"
            )));
        }
        for (index, number) in numbers.iter().enumerate() {
            let name = format!("{}-{number}", target.role);
            let began = Instant::now();
            self.restart_one(&name).await?;
            let took = began.elapsed();
            let step = format!(
                "{name} was restarted in {:.1} s ({} of {})",
                took.as_secs_f64(),
                index + 1,
                numbers.len()
            );
            self.inner.events.send(UpEvent::Restarted { name, took });
            if steps.send(step).is_err() {
                return Err(Error::Interrupted);
            }
        }
        Ok(())
    }

    async fn restart_one(&self, name: &str) -> Result<()> {
        let Some(keeper) = self.inner.keepers.lock().await.remove(name) else {
            return Err(Error::Invalid(format!("{name} is not running")));
        };
        self.take_out(&keeper).await;
        let job = keeper.job.clone();
        keeper.stop().await;
        self.start(job).await?;
        self.ready(name).await?;
        self.within(BACK_WITHIN, self.callers_come_back(name)).await;
        Ok(())
    }

    /// Takes one instance out for good.
    async fn retire(&self, name: String) {
        let Some(keeper) = self.inner.keepers.lock().await.remove(&name) else {
            return;
        };
        self.take_out(&keeper).await;
        let ports = match &keeper.job {
            Job::Service { listen, admin, .. } => vec![listen.port(), admin.port()],
            Job::Postgres(_) | Job::Redis(_) => Vec::new(),
        };
        keeper.stop().await;
        self.ports().release(ports);
        self.inner
            .change(|topology| topology.instances.retain(|instance| instance.name != name));
    }

    /// Lets an instance's callers leave: it says that it wants no new work, discovery drops it, and they get their last answers.
    async fn take_out(&self, keeper: &Keeper) {
        let Job::Service { name, admin, .. } = &keeper.job else {
            return;
        };
        let drained = self
            .inner
            .http
            .post(format!("http://{admin}/admin/drain"))
            .bearer_auth(&self.inner.secrets.operator_token)
            .send()
            .await;
        if let Err(error) = drained {
            self.inner.events.send(UpEvent::Warning(format!(
                "{name} could not be drained before its end: {error}"
            )));
        }
        self.inner.change(|topology| {
            if let Some(instance) = find(topology, &keeper.job) {
                instance.state = State::Stopped;
            }
        });
        self.within(DRAIN_NOTICE, std::future::pending()).await;
        self.within(LEAVE_WITHIN, self.callers_leave(name)).await;
    }

    /// Waits at most so long, and not at all when everything is being stopped.
    async fn within(&self, limit: Duration, wait: impl Future<Output = ()>) {
        tokio::select! {
            _ = tokio::time::timeout(limit, wait) => {}
            () = self.inner.closing.cancelled() => {}
        }
    }

    /// Until no caller has anything to do with the instance.
    async fn callers_leave(&self, name: &str) {
        while !callers::have_left(&self.inner.http, &self.topology(), name).await {
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Until all callers send to the instance.
    async fn callers_come_back(&self, name: &str) {
        while !callers::are_back(&self.inner.http, &self.topology(), name).await {
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Waits for the change that is on its way.
    async fn changing(&self) -> Result<MutexGuard<'_, ()>> {
        let guard = self.inner.changing.lock().await;
        if self.inner.closing.is_cancelled() {
            return Err(Error::Interrupted);
        }
        Ok(guard)
    }

    /// The numbers of a role's instances, ascending.
    fn numbers(&self, role: Role) -> Vec<usize> {
        let topology = self.topology();
        let mut numbers: Vec<usize> = topology
            .of_role(role.name())
            .map(|instance| place_of(&instance.name).1)
            .collect();
        numbers.sort_unstable();
        numbers
    }
}
