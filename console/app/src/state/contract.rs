//! The calls of the contract with examples that work in every seeded city: what the palette offers after `call`.

use actions::{Action, Door, Method, Target};

use super::palette::Proposal;

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    pub method: Method,
    /// `cache:`, `queue:` or `worker:` before it where it goes to one of their ports.
    pub path: &'static str,
    pub body: Option<&'static str>,
    pub meaning: &'static str,
}

const fn get(path: &'static str, meaning: &'static str) -> Example {
    Example {
        method: Method::Get,
        path,
        body: None,
        meaning,
    }
}

const fn post(path: &'static str, body: &'static str, meaning: &'static str) -> Example {
    Example {
        method: Method::Post,
        path,
        body: Some(body),
        meaning,
    }
}

pub const CALLS: [Example; 41] = [
    get("/cards/7/balance", "a card's balance, cached for 300 s"),
    get(
        "/cards/7/history",
        "a card's recharges and trips, the newest first",
    ),
    get("/users/7/recharges", "a user's recharges, the newest first"),
    get(
        "/data?key=my_data",
        "the classic slow read, behind the cache",
    ),
    get("/search?subject=Math", "tutors of a subject"),
    get(
        "/process",
        "100 ms of pretended logic by one of several instances",
    ),
    get("/trips/total", "how many trips there are, cached"),
    get("/trips/total/localities", "the same by locality, cached"),
    get("/trips/1", "one trip, cached"),
    get("/finance/revenue", "all money taken, cached"),
    get(
        "/finance/revenue/localities",
        "the same by locality, cached",
    ),
    get("/users/count", "never cached: the control group"),
    get("/users/active/count", "never cached"),
    get("/users/latest", "never cached"),
    get("/stations?limit=20", "stations, cached for 60 s"),
    get(
        "/stations/1/arrivals",
        "arrivals at a station, cached for 60 s",
    ),
    get("/bookings/1", "a booking and its notification's state"),
    get("/task/1", "how a long task is"),
    get("/token", "a demo token"),
    get("/health", "the balancer's word on its gateways"),
    get("/metrics", "the balancer's Prometheus text"),
    get("/openapi.json", "the description of the interface"),
    post(
        "/recharges",
        r#"{"card_id":7,"amount":20000}"#,
        "recharge a card: 1,000 to 200,000 in steps of 50",
    ),
    post(
        "/trips",
        r#"{"card_id":7,"route_id":1,"station_id":1}"#,
        "board: the fare is charged",
    ),
    post("/trips/1/end", r#"{"station_id":1}"#, "end a trip"),
    post(
        "/book",
        r#"{"student_id":1,"tutor_id":3}"#,
        "book a tutor's next free time",
    ),
    post(
        "/longtask",
        r#"{"task":"from the console"}"#,
        "5 s of pretended work in the background",
    ),
    get("cache:/cache/stats", "what the cache says of itself"),
    get("cache:/cache/my_data", "one key of the cache"),
    post(
        "cache:/cache/mine",
        r#"{"value":"hello","ttl":60}"#,
        "put a key into the cache",
    ),
    Example {
        method: Method::Delete,
        path: "cache:/cache/mine",
        body: None,
        meaning: "take a key out of the cache",
    },
    Example {
        method: Method::Delete,
        path: "cache:/cache?prefix=card:",
        body: None,
        meaning: "take all keys with a prefix out of the cache",
    },
    Example {
        method: Method::Post,
        path: "cache:/cache/flush",
        body: None,
        meaning: "empty the cache",
    },
    get("cache:/health", "the cache service's word"),
    get(
        "queue:/queues",
        "all queues: depth, in flight, oldest age, rates",
    ),
    post(
        "queue:/enqueue",
        r#"{"task_type":"demo","payload":{"n":1}}"#,
        "the classic way to send a task",
    ),
    get(
        "queue:/dequeue",
        "the classic way to receive one: it is gone then",
    ),
    get("queue:/health", "the queue service's word"),
    get("worker:/tasks", "the worker's tasks"),
    get("worker:/task/1", "one task of the worker's"),
    get("worker:/health", "the worker's word"),
];

impl Example {
    /// The action that makes the call.
    pub fn action(&self) -> Action {
        let doors = [
            ("cache:", Door::Cache),
            ("queue:", Door::Queue),
            ("worker:", Door::Worker),
        ];
        let behind = doors
            .into_iter()
            .find_map(|(word, door)| Some((door, self.path.strip_prefix(word)?)));
        let (door, path) = behind.unwrap_or((Door::Public, self.path));
        Action::Call {
            method: self.method,
            target: Target {
                door,
                path: path.to_owned(),
            },
            body: self.body.map(str::to_owned),
            token: true,
        }
    }
}

/// Paths on the public port, without their queries.
pub fn paths() -> Vec<String> {
    let mut paths: Vec<String> = CALLS
        .iter()
        .filter(|call| call.path.starts_with('/'))
        .filter_map(|call| call.path.split('?').next())
        .map(str::to_owned)
        .collect();
    paths.dedup();
    paths
}

/// The calls that a line which begins with `call` may become.
pub fn proposals(line: &str) -> impl Iterator<Item = Proposal> {
    CALLS
        .iter()
        .filter(move |_| line.starts_with("call "))
        .map(|call| Proposal {
            line: call.action().to_string(),
            meaning: call.meaning.to_owned(),
        })
        .filter(move |proposal| proposal.line.starts_with(line) && proposal.line != line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_can_be_typed() {
        for call in CALLS {
            let line = call.action().to_string();
            assert_eq!(Action::parse(&line).as_ref(), Ok(&call.action()), "{line}");
            if let Some(body) = call.body {
                let body: Result<serde_json::Value, _> = serde_json::from_str(body);
                assert!(body.is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn a_line_is_completed_with_its_body() {
        let found = |line: &str| proposals(line).map(|found| found.line).collect::<Vec<_>>();
        assert_eq!(found("call GET /").len(), 22);
        assert_eq!(found("call POST /rech").len(), 1);
        assert!(found("call POST /rech")[0].contains("card_id"));
        assert!(found("drain ").is_empty() && found("call").is_empty());
        assert!(paths().contains(&"/data".to_owned()));
    }
}
