//! What a run has measured: a snapshot while it goes, a report when it is over. All latencies in microseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Kind, Mode, Profile};

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for its first token.
    Starting,
    Running,
    /// Nothing new starts; the requests in flight are waited for.
    Stopping,
    Finished,
}

/// The state of a run at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub state: State,
    pub target: String,
    pub elapsed_seconds: f64,
    /// What is asked for now: the rate and the connections as last set.
    pub mode: Mode,
    /// Requests sent and not yet answered.
    pub in_flight: u32,
    /// Since the start.
    pub totals: Totals,
    /// Since the start, all calls.
    pub latency: Latencies,
    /// The last full seconds, up to ten.
    pub window: Window,
    /// Answers by the `X-Gateway` that gave them, since the start.
    pub gateways: BTreeMap<String, u64>,
    /// Answers by their `X-Cache`, since the start, with their service time.
    pub cache: Vec<CacheCount>,
    /// By kind of call, since the start.
    pub calls: Vec<CallCount>,
    pub generator: Generator,
    /// Why the last request without an answer had none.
    pub last_error: Option<String>,
}

/// The whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub target: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub elapsed_seconds: f64,
    pub mode: Mode,
    /// How the rate of an open loop changed over the run, and the version of what that name means.
    pub profile: Profile,
    pub profile_version: u32,
    pub seed: u64,
    pub totals: Totals,
    /// Answered requests per second, over the whole run.
    pub rate: f64,
    pub latency: Latencies,
    pub calls: Vec<CallReport>,
    pub gateways: BTreeMap<String, u64>,
    pub cache: Vec<CacheCount>,
    pub generator: Generator,
    /// Second by second; of a run longer than an hour, the last hour.
    pub seconds: Vec<Second>,
    pub last_error: Option<String>,
    /// Why the numbers should be doubted; empty when they need not be.
    pub warnings: Vec<String>,
}

impl Report {
    /// Whether the generator kept its own schedule, so that the numbers speak of the system.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.warnings.is_empty()
    }
}

/// Requests by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Sent, answered or not.
    pub started: u64,
    /// Answered, whatever the status.
    pub answered: u64,
    pub statuses: Statuses,
    /// Answered 429, also counted in `statuses.client_error`.
    pub limited: u64,
    /// No connection, or one that broke before the answer.
    pub failed: u64,
    pub timed_out: u64,
    /// Still in flight when the run ended.
    pub abandoned: u64,
    /// Sent again after a failure, each of them also counted in `started`.
    #[serde(default)]
    pub retried: u64,
    /// Not sent again because the retry budget was used up.
    #[serde(default)]
    pub retries_denied: u64,
    /// Open loop: started later than they should have because every connection was busy.
    pub late: u64,
    /// Open loop: never started, because every connection was busy for longer than the patience.
    pub dropped: u64,
    /// Bytes of bodies received.
    pub bytes: u64,
}

impl Totals {
    /// Requests that failed through no fault of their own: server errors, failures and time-outs.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.statuses.server_error + self.failed + self.timed_out
    }
}

/// Answers by class of status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statuses {
    pub success: u64,
    pub redirect: u64,
    pub client_error: u64,
    pub server_error: u64,
}

/// The same answers, measured twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// From the moment the request should have started. In a closed loop there is no such moment but the
    /// start itself, and the two are equal.
    pub corrected: Latency,
    /// From the moment the request did start.
    pub service: Latency,
}

/// A distribution in microseconds; all zero when `count` is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p95: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// One kind of call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallReport {
    pub kind: Kind,
    /// The route, as the contract writes it.
    pub route: String,
    pub totals: Totals,
    /// Answers by exact status.
    pub statuses: BTreeMap<u16, u64>,
    pub latency: Latencies,
}

/// One kind of call while the run goes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CallCount {
    pub kind: Kind,
    pub totals: Totals,
    /// Corrected, in microseconds; zero before the first answer.
    pub p95: u64,
}

/// Answers with one value of `X-Cache`; `NONE` stands for answers without it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CacheCount {
    pub result: String,
    pub count: u64,
    pub service: Latency,
}

/// The last few full seconds taken together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    /// How many seconds it covers; zero in the first second of a run.
    pub seconds: u32,
    /// Requests started per second.
    pub started_per_second: f64,
    /// Answers per second.
    pub answered_per_second: f64,
    /// Server errors, failures and time-outs per second.
    pub errors_per_second: f64,
    pub totals: Totals,
    pub latency: Latencies,
    /// Answers with `X-Cache: HIT` in these seconds.
    pub hits: u64,
}

/// How well the generator kept its own schedule.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Generator {
    /// Open loop: how much after its due time a request started although a connection was free.
    pub lag: Latency,
    /// Open loop: requests due and waiting for a connection now.
    pub waiting: u64,
    /// Connections opened since the start.
    pub connects: u64,
    /// Tokens fetched since the start.
    pub tokens: u64,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Counted from the start of the run.
    pub second: u32,
    /// Requests per second asked for; zero in a closed loop.
    pub rate: f64,
    pub started: u64,
    pub answered: u64,
    /// Answered with success.
    #[serde(default)]
    pub succeeded: u64,
    pub errors: u64,
    pub dropped: u64,
    /// Corrected, in microseconds.
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
    pub max: u64,
}
