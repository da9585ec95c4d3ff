//! How often one may call: by our own count first, and where a limit is shared, by that of all gateways.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    bounded::Bounded,
    flaw::Flaw,
    gcra::{Rate, Standing},
    shared::Shared,
    table::{LimitBy, LimitInfo, Period},
};

/// Drafts of the IETF's httpapi group: what the limit is, and what is left of it.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// A rest longer than this, until the whole burst is there again, is no rate any more.
const LONGEST_RESET_SECONDS: u64 = 86_400;

/// A compiled [`LimitInfo`].
#[derive(Clone, Debug)]
pub struct Limit {
    /// What its cells in Redis are called, before the caller.
    name: String,
    rate: Rate,
    pub by: LimitBy,
    pub shared: bool,
    policy: HeaderValue,
}

/// Whose request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject<'a> {
    Address(IpAddr),
    User(&'a str),
    All,
}

impl Subject<'_> {
    /// Of IPv6 a /64 is one caller: whoever has one address there has all of them.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Self::Address(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            address @ IpAddr::V4(_) => Self::Address(address),
        }
    }
}

impl std::fmt::Display for Subject<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(formatter, "address:{address}"),
            Self::User(user) => write!(formatter, "user:{user}"),
            Self::All => formatter.write_str("all"),
        }
    }
}

impl Limit {
    /// Fails with everything that is wrong; `name` is the route's.
    pub fn compile(info: &LimitInfo, name: &str) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        let burst = info.burst.unwrap_or(info.requests);
        for (field, value) in [("limit.requests", info.requests), ("limit.burst", burst)] {
            // A burst that was not given is wrong only together with the requests.
            let given = field == "limit.requests" || info.burst.is_some();
            if given && !(1..=100_000).contains(&value) {
                flaws.push(Flaw::of(field, format!("{value} is not 1 to 100000")));
            }
        }
        let limit = Self::new(name, info.requests, info.per, burst, info.by, info.shared);
        if flaws.is_empty() && limit.rate.tolerance() > LONGEST_RESET_SECONDS * 1_000_000 {
            flaws.push(Flaw::of(
                "limit.burst",
                "comes back in more than a day; make it smaller",
            ));
        }
        if flaws.is_empty() {
            Ok(limit)
        } else {
            Err(flaws)
        }
    }

    /// So many requests in a period, `burst` of them at once.
    #[must_use]
    pub fn new(
        name: &str,
        requests: u32,
        per: Period,
        burst: u32,
        by: LimitBy,
        shared: bool,
    ) -> Self {
        let policy = format!("\"{}\";q={requests};w={}", by.name(), per.seconds());
        Self {
            name: name.to_owned(),
            rate: Rate::new(requests, per, burst),
            by,
            shared,
            policy: HeaderValue::try_from(policy)
                .unwrap_or_else(|_| HeaderValue::from_static("\"limit\"")),
        }
    }

    /// Tells the client of the limit and of where it stands.
    pub fn tell(&self, standing: Standing, headers: &mut HeaderMap) {
        let state = format!(
            "\"{}\";r={};t={}",
            self.by.name(),
            standing.left,
            whole_seconds(standing.reset)
        );
        headers.insert(RATELIMIT_POLICY, self.policy.clone());
        if let Ok(state) = HeaderValue::try_from(state) {
            headers.insert(RATELIMIT, state);
        }
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// One count: a limit, and whose it is.
pub type Count<'a> = (&'a Limit, Subject<'a>);

/// Everybody's cells, and the way to the shared ones.
pub struct Limits {
    started: Instant,
    hasher: RandomState,
    /// By hash of limit and subject: 64 bits under a key of this process, so that nobody can aim at somebody else's.
    cells: Bounded<u64, u64>,
    capacity: usize,
    shared: Option<Shared>,
}

impl Limits {
    /// For at most so many cells of our own. A flood of callers pushes out those who are not coming back.
    #[must_use]
    pub fn new(capacity: usize, shared: Option<Shared>) -> Self {
        Self {
            started: Instant::now(),
            hasher: RandomState::new(),
            cells: Bounded::new(capacity),
            capacity,
            shared,
        }
    }

    #[must_use]
    pub fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    /// How many callers are remembered in this process, each once for each of its limits.
    #[must_use]
    pub fn callers(&self) -> usize {
        self.cells.len()
    }

    /// The most that are.
    #[must_use]
    pub fn most_callers(&self) -> usize {
        self.capacity
    }

    /// Counts one request: by our own count, and if that admits it and the limit is shared, by that of all gateways.
    pub async fn take(&self, count: Count<'_>) -> Standing {
        let own = self.take_here(count);
        if !own.admitted || !count.0.shared {
            return own;
        }
        match self.take_shared(&[count]).await.as_deref() {
            Some([standing]) => *standing,
            _ => own,
        }
    }

    /// Counts one request in this process only.
    pub fn take_here(&self, count: Count<'_>) -> Standing {
        self.take_at(count, self.now())
    }

    fn take_at(&self, (limit, subject): Count<'_>, now: u64) -> Standing {
        self.cells.update(self.key(limit, subject), |cell| {
            let (standing, cell) = limit.rate.decide(cell, now);
            (cell, standing)
        })
    }

    /// Counts one request over all gateways, at all of these limits in one trip; those that are not shared are left out. None
    /// when there is none to ask, or it cannot be asked now: our own count has to do.
    pub async fn take_shared(&self, counts: &[Count<'_>]) -> Option<Vec<Standing>> {
        let shared = self.shared.as_ref()?;
        let counts: Vec<_> = counts.iter().filter(|(limit, _)| limit.shared).collect();
        if counts.is_empty() {
            return None;
        }
        let cells: Vec<_> = counts
            .iter()
            .map(|(limit, subject)| (format!("limit:{}:{subject}", limit.name), limit.rate))
            .collect();
        let answers = shared.take(&cells).await?;
        let standings = counts
            .iter()
            .zip(answers)
            .map(|((limit, subject), answer)| {
                let (admitted, ahead) = answer;
                self.learn(limit, *subject, ahead);
                limit.rate.standing(admitted, ahead)
            });
        Some(standings.collect())
    }

    /// Brings our own cell up to the shared one: what all gateways have refused, this one refuses by itself until the wait is
    /// over, and an attack costs Redis next to nothing.
    fn learn(&self, limit: &Limit, subject: Subject<'_>, ahead: u64) {
        let told = self.now() + ahead;
        self.cells.update(self.key(limit, subject), |cell| {
            (cell.map_or(told, |cell| cell.max(told)), ())
        });
    }

    fn key(&self, limit: &Limit, subject: Subject<'_>) -> u64 {
        // With the rate: after a change of the table, a route's new limit does not begin with the old one's cells.
        self.hasher.hash_one((&limit.name, limit.rate, subject))
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// Forgets those who have rested.
    pub fn tidy(&self) {
        self.tidy_at(self.now());
    }

    fn tidy_at(&self, now: u64) {
        self.cells.retain(|cell| *cell > now);
    }
}

/// The two limits on log-ins.
pub struct LoginLimits {
    pub address: Limit,
    pub user: Limit,
}

impl LoginLimits {
    /// Both are per minute, may be used up at once, and count over all gateways.
    #[must_use]
    pub fn new(per_user: u32, per_address: u32) -> Self {
        let limit =
            |requests, by| Limit::new("log-in", requests, Period::Minute, requests, by, true);
        Self {
            address: limit(per_address, LimitBy::Address),
            user: limit(per_user, LimitBy::User),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Subject<'static> {
        Subject::address(IpAddr::from([192, 0, 2, 1]))
    }

    #[test]
    fn tries_are_counted_by_user_and_by_address() {
        let limits = Limits::new(1000, None);
        let logins = LoginLimits::new(2, 3);
        let user = |name, now| limits.take_at((&logins.user, Subject::User(name)), now);
        assert!(user("a", 0).admitted && user("a", 0).admitted);
        let third = user("a", 0);
        assert_eq!(
            (third.admitted, third.wait),
            (false, Duration::from_secs(30))
        );
        assert!(user("b", 0).admitted);
        let address = |subject, now| limits.take_at((&logins.address, subject), now);
        for left in [2, 1, 0] {
            assert_eq!(address(home(), 0).left, left);
        }
        assert!(!address(home(), 0).admitted);
        let other = Subject::address(IpAddr::from([192, 0, 2, 2]));
        assert!(address(other, 0).admitted);
        assert!(user("a", 31_000_000).admitted);
        assert_eq!(limits.callers(), 4);
    }

    #[test]
    fn those_who_have_rested_are_forgotten() {
        let limits = Limits::new(1000, None);
        let fast = Limit::new("x", 100_000, Period::Second, 1, LimitBy::All, false);
        let slow = Limit::new("x", 1, Period::Minute, 1, LimitBy::All, false);
        assert!(limits.take_at((&fast, Subject::All), 5).admitted);
        assert!(limits.take_at((&slow, Subject::All), 5).admitted);
        limits.tidy_at(14);
        assert_eq!(limits.callers(), 2);
        limits.tidy_at(15);
        assert_eq!(limits.callers(), 1);
    }

    #[test]
    fn a_flood_of_callers_takes_no_more_room_and_does_not_free_who_goes_on() {
        let limits = Limits::new(1000, None);
        let limit = Limit::new("x", 1, Period::Minute, 1, LimitBy::Address, false);
        assert!(limits.take_at((&limit, home()), 0).admitted);
        for number in 0..20_000_u32 {
            let stranger = Subject::address(IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
            limits.take_at((&limit, stranger), 0);
            assert!(!limits.take_at((&limit, home()), 0).admitted);
            assert!(limits.callers() <= 1000);
        }
    }

    #[test]
    fn what_the_shared_count_says_is_remembered() {
        let limits = Limits::new(1000, None);
        let limit = Limit::new("x", 60, Period::Minute, 2, LimitBy::All, true);
        limits.learn(&limit, Subject::All, 2_000_000);
        let refused = limits.take_here((&limit, Subject::All));
        assert!(!refused.admitted && refused.wait <= Duration::from_secs(1));
    }

    #[test]
    fn a_network_is_one_caller() {
        let subject = |address: &str| Subject::address(address.parse().expect("an address"));
        assert_eq!(subject("2001:db8:0:1::5"), subject("2001:db8:0:1:ffff::1"));
        assert_ne!(subject("2001:db8:0:1::5"), subject("2001:db8:0:2::5"));
        assert_eq!(subject("::ffff:192.0.2.1"), home());
        assert_eq!(subject("2001:db8::7").to_string(), "address:2001:db8::");
    }

    #[test]
    fn clients_are_told() {
        let limits = Limits::new(1000, None);
        let limit = Limit::new("x", 120, Period::Minute, 10, LimitBy::User, false);
        let standing = limits.take_here((&limit, Subject::User("a")));
        let mut headers = HeaderMap::new();
        limit.tell(standing, &mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"user\";q=120;w=60");
        assert_eq!(headers["ratelimit"], "\"user\";r=9;t=1");
    }

    #[test]
    fn bad_limits_are_refused() {
        let info = |requests, burst| LimitInfo {
            requests,
            per: Period::Minute,
            burst,
            by: LimitBy::All,
            shared: false,
        };
        for (bad, fields) in [
            (info(0, None), &["limit.requests"][..]),
            (info(0, Some(0)), &["limit.requests", "limit.burst"]),
            (info(200_000, Some(1)), &["limit.requests"]),
            (info(1, Some(50_000)), &["limit.burst"]),
        ] {
            let flaws = Limit::compile(&bad, "GET /x").expect_err("bad");
            let found: Vec<_> = flaws
                .iter()
                .filter_map(|flaw| flaw.field.as_deref())
                .collect();
            assert_eq!(found, fields);
        }
    }
}
