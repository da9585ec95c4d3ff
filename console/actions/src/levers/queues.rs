//! Queues: paused, resumed, emptied, their dead letters sent again.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Done, Levers, http::segment};
use crate::{Action, Failure, number::counted};

const WHO: &str = "the queue service";

impl Levers {
    pub(super) async fn switch_queue(&self, queue: &str, pause: bool) -> Result<Done, Failure> {
        let was = self.queue(queue).await?["paused"]
            .as_bool()
            .unwrap_or_default();
        let verb = if pause { "pause" } else { "resume" };
        self.queue_call(Method::POST, &format!("{}/{verb}", segment(queue)), None)
            .await?;
        let undo = (was != pause).then(|| {
            if pause {
                Action::ResumeQueue(queue.to_owned())
            } else {
                Action::PauseQueue(queue.to_owned())
            }
        });
        let text = match (pause, was) {
            (true, false) => "is paused; what is sent waits",
            (true, true) => "was paused already",
            (false, true) => "gives messages again",
            (false, false) => "was not paused",
        };
        Ok(Done::new(format!("{queue} {text}")).undone_by(undo))
    }

    pub(super) async fn redrive(
        &self,
        queue: &str,
        ids: &[String],
        rate: Option<f64>,
        limit: Option<u32>,
    ) -> Result<Done, Failure> {
        let answer = self.try_redrive(queue, ids, rate, limit, false).await?;
        Ok(Done::new(redriven(&answer, "sent again")))
    }

    /// What a redrive answers, done or only counted.
    pub(super) async fn try_redrive(
        &self,
        queue: &str,
        ids: &[String],
        rate: Option<f64>,
        limit: Option<u32>,
        dry_run: bool,
    ) -> Result<Value, Failure> {
        self.queue(queue).await?;
        let mut request = json!({"dry_run": dry_run});
        if let Some(rate) = rate {
            request["per_second"] = json!(rate);
        }
        if let Some(limit) = limit {
            request["limit"] = json!(limit);
        }
        if !ids.is_empty() {
            request["positions"] = json!(ids);
        }
        let path = format!("{}/dead/redrive", segment(queue));
        self.queue_call(Method::POST, &path, Some(&request)).await
    }

    pub(super) async fn purge_dead(&self, queue: &str, ids: &[String]) -> Result<Done, Failure> {
        self.queue(queue).await?;
        let mut path = format!("{}/dead", segment(queue));
        if !ids.is_empty() {
            // Those that came since they were looked at are not meant.
            let positions: Vec<String> = ids.iter().map(|id| segment(id)).collect();
            path = format!("{path}?positions={}", positions.join(","));
        }
        let answer = self.queue_call(Method::DELETE, &path, None).await?;
        let count = answer["count"].as_u64().unwrap_or_default();
        Ok(Done::new(format!(
            "{queue}: {} ended",
            counted(count, "dead letter", "dead letters")
        )))
    }

    pub(super) async fn purge_queue(&self, queue: &str) -> Result<Done, Failure> {
        self.queue(queue).await?;
        let path = format!("{}/messages", segment(queue));
        let answer = self.queue_call(Method::DELETE, &path, None).await?;
        let count = answer["count"].as_u64().unwrap_or_default();
        Ok(Done::new(format!(
            "{queue}: {} ended",
            counted(count, "message", "messages")
        )))
    }

    /// A queue's figures; a queue that there is not is not made by asking.
    pub(super) async fn queue(&self, queue: &str) -> Result<Value, Failure> {
        match self.queue_call(Method::GET, &segment(queue), None).await {
            Err(Failure::Refused { status: 404, .. }) => {
                let all = self.queue_call(Method::GET, "", None).await?;
                let queues = all["queues"].as_array().into_iter().flatten();
                Err(Failure::Unknown {
                    what: "queue",
                    name: queue.to_owned(),
                    known: queues
                        .filter_map(|queue| queue["name"].as_str())
                        .map(str::to_owned)
                        .collect(),
                })
            }
            answer => answer,
        }
    }

    async fn queue_call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let slash = if path.is_empty() { "" } else { "/" };
        let url = format!("{}/queues{slash}{path}", self.lab.queue_url);
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.json(WHO, request).await
    }
}

/// The answer to a redrive in words.
pub(super) fn redriven(answer: &Value, verb: &str) -> String {
    let count = answer["count"].as_u64().unwrap_or_default();
    let takes = answer["takes_seconds"].as_f64().unwrap_or_default();
    let over = if takes > 0.0 {
        format!(" over {takes:.0} s")
    } else {
        String::new()
    };
    let stay = answer["remaining"].as_u64().unwrap_or_default();
    format!(
        "{} {verb}{over}; {stay} stay",
        counted(count, "dead letter", "dead letters")
    )
}
