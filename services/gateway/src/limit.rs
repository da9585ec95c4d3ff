//! How often one may try to log in: by user name and by address, in this process.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use http::HeaderMap;

type Keyed<K, C> =
    RateLimiter<K, DefaultKeyedStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The two limits on log-ins.
pub struct LoginLimits<C: Clock = DefaultClock> {
    users: Keyed<String, C>,
    addresses: Keyed<IpAddr, C>,
    clock: C,
}

impl<C: Clock + Clone> LoginLimits<C> {
    /// Both limits are per minute, and may be used up at once.
    #[must_use]
    pub fn new(per_user: NonZeroU32, per_address: NonZeroU32, clock: C) -> Self {
        let (users, addresses) = (Quota::per_minute(per_user), Quota::per_minute(per_address));
        Self {
            users: RateLimiter::new(users, DefaultKeyedStateStore::default(), clock.clone()),
            addresses: RateLimiter::new(
                addresses,
                DefaultKeyedStateStore::default(),
                clock.clone(),
            ),
            clock,
        }
    }

    /// Counts a try from an address; fails with the time to wait when there were too many.
    pub fn address(&self, address: IpAddr) -> Result<(), Duration> {
        self.addresses
            .check_key(&address)
            .map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Counts a try as a user; fails with the time to wait when there were too many.
    pub fn user(&self, name: &str) -> Result<(), Duration> {
        self.users
            .check_key(&name.to_owned())
            .map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Forgets those who have not tried for long.
    pub fn tidy(&self) {
        self.users.retain_recent();
        self.users.shrink_to_fit();
        self.addresses.retain_recent();
        self.addresses.shrink_to_fit();
    }
}

/// Where a request came from: what the balancer says, if it is one of ours that says it.
#[must_use]
pub fn client_address(peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
    let claimed = || {
        let last = headers.get_all("x-forwarded-for").iter().next_back()?;
        // The nearest hop wrote the last entry; those before it are hearsay.
        last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
    };
    let direct = peer.ip().to_canonical();
    if is_near(direct) {
        claimed().unwrap_or(direct)
    } else {
        direct
    }
}

/// Whether an address is this machine's or a private network's, so that a hop of ours may be there.
#[must_use]
pub fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn number(value: u32) -> NonZeroU32 {
        NonZeroU32::new(value).expect("not zero")
    }

    #[test]
    fn tries_are_counted_by_user_and_by_address() {
        let clock = FakeRelativeClock::default();
        let limits = LoginLimits::new(number(2), number(3), clock.clone());
        let home = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(limits.user("a"), Ok(()));
        assert_eq!(limits.user("a"), Ok(()));
        let wait = limits.user("a").expect_err("the third");
        assert!(
            wait > Duration::from_secs(29) && wait <= Duration::from_secs(30),
            "{wait:?}"
        );
        assert_eq!(limits.user("b"), Ok(()));
        for _ in 0..3 {
            assert_eq!(limits.address(home), Ok(()));
        }
        assert!(limits.address(home).is_err());
        assert_eq!(limits.address(IpAddr::from([192, 0, 2, 2])), Ok(()));
        clock.advance(Duration::from_secs(31));
        assert_eq!(limits.user("a"), Ok(()));
        clock.advance(Duration::from_mins(10));
        limits.tidy();
        assert!(limits.users.is_empty() && limits.addresses.is_empty());
    }

    #[test]
    fn only_our_own_hops_are_believed() {
        for (peer, forwarded, expected) in [
            ("127.0.0.1:9", &[][..], "127.0.0.1"),
            ("127.0.0.1:9", &["198.51.100.7"], "198.51.100.7"),
            ("10.1.2.3:9", &["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
            ("10.1.2.3:9", &["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
            ("[fd00::1]:9", &["2001:db8::1"], "2001:db8::1"),
            ("[::ffff:127.0.0.1]:9", &["198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1:9", &["nonsense"], "127.0.0.1"),
            ("203.0.113.5:9", &["198.51.100.7"], "203.0.113.5"),
            ("[2001:db8::5]:9", &["198.51.100.7"], "2001:db8::5"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().expect("a header"));
            }
            let found = client_address(peer.parse().expect("an address"), &headers);
            assert_eq!(found.to_string(), expected, "{peer} {forwarded:?}");
        }
    }
}
