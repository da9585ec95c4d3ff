//! The routes as data: what is called how, by whom, how often, answered by which service, cached under which key.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Anybody, whatever token comes along, also under `--auth strict`.
    Public,
    /// Anybody; but a token that is sent must be valid. Under `--auth strict` the same as `User`.
    Open,
    /// Whoever has a valid token.
    User,
    /// Whoever has a valid token with the role operator.
    Operator,
}

impl Level {
    /// As documents spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Open => "open",
            Self::User => "user",
            Self::Operator => "operator",
        }
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Upstream {
    /// The gateway itself.
    Gateway,
    Travel,
    Search,
    Booking,
    Worker,
    Exercise,
}

impl Upstream {
    /// Those that are reached over the network.
    pub const POOLS: [Self; 5] = [
        Self::Travel,
        Self::Search,
        Self::Booking,
        Self::Worker,
        Self::Exercise,
    ];

    /// As documents spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Travel => "travel",
            Self::Search => "search",
            Self::Booking => "booking",
            Self::Worker => "worker",
            Self::Exercise => "exercise",
        }
    }
}

/// What of the service's answer is cached, and what the client gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The whole answer, as it is.
    #[default]
    Plain,
    /// One member of it; the client gets `{"cached": …, MEMBER: …, "gateway_id": …}`.
    Wrapped(String),
}

/// How the answers of a route are cached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheInfo {
    /// The key: `{id}` stands for a path parameter, a positive number; `{?subject}` for a query parameter that must be
    /// there, `{?key=my_data}` for one with a default.
    #[schema(min_length = 1, max_length = 512)]
    pub key: String,
    /// The query parameters that make variants under the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variant: Vec<String>,
    /// Seconds that an answer is fresh.
    #[schema(minimum = 1, maximum = 86_400)]
    pub ttl_seconds: u32,
    /// Seconds after its freshness in which an answer is still given at once, while it is fetched anew behind the scenes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 86_400)]
    pub swr_seconds: Option<u32>,
    /// Seconds after its freshness in which an answer stands in while the service fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 86_400)]
    pub sie_seconds: Option<u32>,
    /// Seconds that "there is none" (404) is remembered; not at all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3600)]
    pub negative_ttl_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "is_plain")]
    pub shape: Shape,
}

fn is_plain(shape: &Shape) -> bool {
    *shape == Shape::Plain
}

/// The time that a limit is counted over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Second,
    Minute,
}

impl Period {
    #[must_use]
    pub fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
        }
    }

    /// As documents spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
        }
    }
}

/// Who shares a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitBy {
    /// Everybody who calls from one address (of IPv6, one /64 network).
    Address,
    /// Everybody who calls with one user's tokens; without a token, from one address.
    User,
    /// All callers together.
    All,
}

impl LimitBy {
    /// As documents spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::User => "user",
            Self::All => "all",
        }
    }
}

/// How often a route may be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitInfo {
    /// So many requests a second or minute, evenly spread: one more each PERIOD / REQUESTS, to the microsecond.
    #[schema(minimum = 1, maximum = 100_000)]
    pub requests: u32,
    pub per: Period,
    /// So many at once, after a rest; as many as `requests` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub burst: Option<u32>,
    pub by: LimitBy,
    /// Whether all gateways count together, in Redis; otherwise each counts its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteInfo {
    /// `HEAD` is answered where `GET` is.
    #[schema(pattern = "^(GET|POST|PUT|PATCH|DELETE)$")]
    pub method: String,
    /// `{name}` stands for one segment.
    #[schema(pattern = "^/")]
    pub path: String,
    pub level: Level,
    pub upstream: Upstream,
    /// The path at the service, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_path: Option<String>,
    /// Within this the service must have answered, in milliseconds.
    #[schema(minimum = 1, maximum = 25_000)]
    pub timeout_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitInfo>,
    /// Whether `gateway_id` is added to the service's answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adds_gateway_id: bool,
}

impl RouteInfo {
    /// The method and path, as messages name a route.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// The balancer gives up after 29 seconds: whatever is behind it must do so earlier.
pub const TIMEOUT_LIMIT_MS: u64 = 25_000;
