//! The routes as data: what is called how, by whom, answered by which service, cached under which key.

use serde::{Deserialize, Serialize};

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The whole answer, as it is.
    Plain,
    /// One member of it; the client gets `{"cached": …, MEMBER: …, "gateway_id": …}`.
    Wrapped(String),
}

/// How the answers of a route are cached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheInfo {
    /// The key: `{id}` stands for a path parameter, a positive number; `{?subject}` for a query parameter that must be
    /// there, `{?key=my_data}` for one with a default.
    pub key: String,
    /// The query parameters that make variants under the key.
    pub variant: Vec<String>,
    /// Seconds.
    pub ttl_seconds: u32,
    /// Seconds after that in which it is served while one reader rebuilds it; the cache service's default without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swr_seconds: Option<u32>,
    /// Seconds after it in which it stands in when its service fails; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sie_seconds: Option<u32>,
    pub shape: Shape,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteInfo {
    pub method: String,
    /// `{name}` stands for one segment.
    pub path: String,
    pub level: Level,
    pub upstream: Upstream,
    /// The path at the service, where it is another one.
    pub upstream_path: Option<String>,
    /// Within this the service must have answered, in milliseconds.
    pub timeout_ms: u64,
    pub cache: Option<CacheInfo>,
    /// Whether `gateway_id` is added to the service's answer.
    pub adds_gateway_id: bool,
}

impl RouteInfo {
    fn new(method: &str, path: &str, level: Level, upstream: Upstream, timeout_ms: u64) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            level,
            upstream,
            upstream_path: None,
            timeout_ms,
            cache: None,
            adds_gateway_id: false,
        }
    }

    fn get(path: &str, level: Level, upstream: Upstream) -> Self {
        Self::new("GET", path, level, upstream, READ_MS)
    }

    fn post(path: &str, level: Level, upstream: Upstream) -> Self {
        Self::new("POST", path, level, upstream, WRITE_MS)
    }

    fn cached(mut self, key: &str, ttl_seconds: u32) -> Self {
        self.cache = Some(CacheInfo {
            key: key.to_owned(),
            variant: Vec::new(),
            ttl_seconds,
            swr_seconds: None,
            sie_seconds: None,
            shape: Shape::Plain,
        });
        self
    }

    fn variant(mut self, parameters: &[&str]) -> Self {
        if let Some(cache) = &mut self.cache {
            cache.variant = parameters.iter().map(|&name| name.to_owned()).collect();
        }
        self
    }

    fn wrapped(mut self, member: &str) -> Self {
        if let Some(cache) = &mut self.cache {
            cache.shape = Shape::Wrapped(member.to_owned());
        }
        self
    }

    fn with_gateway_id(mut self) -> Self {
        self.adds_gateway_id = true;
        self
    }

    fn at(mut self, path: &str) -> Self {
        self.upstream_path = Some(path.to_owned());
        self
    }

    /// For answers that are slow on purpose, by a delay that the operator sets.
    fn slow(mut self) -> Self {
        self.timeout_ms = SLOW_MS;
        self
    }
}

const READ_MS: u64 = 5_000;
const WRITE_MS: u64 = 8_000;
const SLOW_MS: u64 = 20_000;
/// The balancer gives up after 29 seconds: whatever is behind it must do so earlier.
pub const TIMEOUT_LIMIT_MS: u64 = 25_000;

/// Every route of the gateways, in the order of the contract.
#[must_use]
pub fn routes() -> Vec<RouteInfo> {
    use Level::{Open, Public, User};
    use Upstream::{Booking, Exercise, Gateway, Search, Travel, Worker};
    let page = ["limit", "cursor"];
    vec![
        RouteInfo::post("/token", Public, Gateway),
        RouteInfo::get("/token", Public, Gateway),
        RouteInfo::get("/search", User, Search)
            .cached("search:{?subject}", 300)
            .wrapped("data"),
        RouteInfo::post("/book", User, Booking),
        RouteInfo::get("/bookings/{id}", User, Booking),
        RouteInfo::get("/data", Open, Exercise)
            .cached("{?key=my_data}", 300)
            .wrapped("data")
            .slow(),
        RouteInfo::get("/process", Open, Exercise)
            .with_gateway_id()
            .slow(),
        RouteInfo::post("/longtask", Open, Worker)
            .at("/task")
            .with_gateway_id(),
        RouteInfo::get("/task/{id}", Open, Worker),
        RouteInfo::post("/recharges", User, Travel),
        RouteInfo::get("/recharges/{id}", User, Travel),
        RouteInfo::get("/cards/{id}/balance", User, Travel).cached("card:{id}:balance", 300),
        RouteInfo::get("/cards/{id}/history", User, Travel)
            .cached("card:{id}:history", 300)
            .variant(&page),
        RouteInfo::get("/users/{id}/recharges", User, Travel)
            .cached("user:{id}:recharges", 300)
            .variant(&page),
        RouteInfo::post("/trips", User, Travel),
        RouteInfo::post("/trips/{id}/end", User, Travel),
        RouteInfo::get("/trips/{id}", Open, Travel).cached("trip:{id}", 300),
        RouteInfo::get("/trips/total", Open, Travel).cached("trips:total", 300),
        RouteInfo::get("/trips/total/localities", Open, Travel)
            .cached("trips:total:localities", 300),
        RouteInfo::get("/finance/revenue", Open, Travel).cached("finance:revenue", 300),
        RouteInfo::get("/trips/finance/revenue", Open, Travel)
            .at("/finance/revenue")
            .cached("finance:revenue", 300),
        RouteInfo::get("/finance/revenue/localities", Open, Travel)
            .cached("finance:revenue:localities", 300),
        RouteInfo::get("/users/count", Open, Travel),
        RouteInfo::get("/users/active/count", Open, Travel),
        RouteInfo::get("/users/latest", Open, Travel),
        RouteInfo::get("/stations", Open, Travel)
            .cached("stations", 60)
            .variant(&["locality", "limit", "cursor"]),
        RouteInfo::get("/stations/{id}/arrivals", Open, Travel).cached("station:{id}:arrivals", 60),
    ]
}
