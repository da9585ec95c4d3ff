//! The routes that a gateway has when it is given no others, in the order of the contract.

use crate::table::{CacheInfo, Level, RouteInfo, Shape, Upstream};

const READ_MS: u64 = 5_000;
const WRITE_MS: u64 = 8_000;
const SLOW_MS: u64 = 20_000;

/// Every built-in route.
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
            limit: None,
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
            negative_ttl_seconds: None,
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
