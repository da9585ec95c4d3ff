//! Where a request came from.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

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
    use super::*;

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
