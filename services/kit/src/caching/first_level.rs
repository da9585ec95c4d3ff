//! What the cache service, the first-level caches of the gateways and the writers agree on: times, names and messages.
//!
//! After a write's 2xx no read through any gateway may return the value from before it. Values live in Redis, where the
//! cache service deletes them, and copies live in the memory of gateways, where only the gateways can. So a gateway
//! serves a copy only while it holds a *lease*, and whoever deletes waits until each holder has said that it forgot the
//! copy, or its lease is over:
//!
//! - **Lease.** A gateway writes itself into the table of holders and pings itself over its subscription to the
//!   invalidations. When the ping arrives, every invalidation that was published before it has been processed, and the
//!   lease is valid until [`LEASE`] (less [`MARGIN`]) after the moment the renewal was *begun*, by the gateway's own
//!   monotonic clock. Losing the lease or the subscription empties the first level.
//! - **Deletion.** One script deletes, draws the next sequence number, publishes both, and answers who is in the table.
//!   The cache service confirms when each of those has acknowledged that number or a later one, or [`LEASE`] has passed
//!   since the script ran: whoever has not acknowledged by then had no renewal confirmed after the script, for the
//!   confirmation comes over the same subscription behind the invalidation.
//! - **Heartbeat.** A renewal needs a sign of life of a cache service that is not older than [`BEAT_LIFE`]. So when no
//!   cache service can delete, no copy is served any more after [`BEAT_LIFE`] and [`LEASE`].
//! - **Fence.** A cache service that lost Redis, or was not running for longer than [`GAP`], purges Redis and tells all
//!   gateways to empty themselves before its next heartbeat and before it serves anything. So a writer that got no answer
//!   from it for [`OVER`] may go on: whatever wakes up later does not remember.
//!
//! Where one of several servers of Redis is written to, whoever uses a connection also makes sure again and again that more than
//! half of those who decide still call it the primary ([`Servers::agree`]): a gateway's renewal counts from when it began to ask,
//! a cache service believes no answer without such a word from within [`PROOF`], and purges a new primary no earlier
//! than [`SUCCESSION`] after it was agreed on. So there is never a moment at which two are believed.
//!
//! Clocks are compared with themselves only. The one exception is the end of a heartbeat, which Redis keeps by its own
//! clock: a Redis whose clock is set back lets leases be renewed longer by as much.

use std::time::Duration;

use crate::redis::Servers;

/// How long a gateway may serve copies without a renewal.
pub const LEASE: Duration = Duration::from_secs(1);
/// How much earlier than its end a gateway stops using a lease: clocks do not run equally fast.
pub const MARGIN: Duration = Duration::from_millis(50);
/// How often a lease is renewed.
pub const RENEWAL: Duration = LEASE.checked_div(4).expect("four is not zero");
/// How often a cache service tries its link to Redis and gives its sign of life.
pub const BEAT: Duration = Duration::from_millis(100);
/// How long one sign of life counts.
pub const BEAT_LIFE: Duration = Duration::from_millis(400);
/// A cache service serves nothing over a link that was not proven alive within this.
pub const PROOF: Duration = Duration::from_millis(400);
/// How long nobody uses a new primary: longer than anybody still believes the one before it.
pub const SUCCESSION: Duration = PROOF.saturating_add(MARGIN);
/// A link that was not proven alive for this long is given up, and the next one begins with a purge.
pub const GAP: Duration = Duration::from_secs(1);
/// After so long without a sign of life of a cache service nothing old is served any more: neither by it ([`GAP`]) nor
/// from a first level ([`BEAT_LIFE`] and [`LEASE`]); the rest is for clocks and scheduling.
pub const OVER: Duration = Duration::from_millis(1_600);

/// The header of a refusal that means: nothing old is served here, for this cache service empties itself before it serves
/// again, and no first level holds a lease.
pub const FENCED: &str = "x-cache-fenced";

/// What keeps everything together on a cluster of Redis servers.
pub const TAG: &str = "cache";

/// The Redis hash of those who hold a first-level lease, and of the last sequence number.
///
/// One key for both, so that a Redis that evicts it loses the number too, which the next deletion notices.
pub const HOLDERS: &str = "cache:holders";
/// The Redis key that is there while a cache service lives.
pub const ALIVE: &str = "cache:alive";

/// The Redis hash in which all instances add up what they count, for the cache's statistics.
pub const SUMS: &str = "cache:stats";
/// Its field for reads that were answered from a first level.
pub const FIRST_LEVEL_HITS: &str = "first_level_hits";
/// Its field for reads of cacheable routes that went past the cache.
pub const BYPASSES: &str = "bypasses";

/// The channels. Channels, unlike keys, are shared by all logical databases of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    /// What was deleted.
    pub gone: String,
    /// How far each holder has got.
    pub acknowledged: String,
    /// What is before the name of a holder in the channel of its pings.
    pub pings: String,
}

impl Channels {
    /// Those of the logical database that is used.
    #[must_use]
    pub fn new(servers: &Servers) -> Self {
        let database = servers.database();
        Self {
            gone: format!("cache:gone:{database}"),
            acknowledged: format!("cache:acknowledged:{database}"),
            pings: format!("cache:pings:{database}:"),
        }
    }
}

/// What was deleted, under which number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone<'a> {
    pub sequence: u64,
    /// The keys, one a line; everything without it.
    pub keys: Option<&'a str>,
}

impl<'a> Gone<'a> {
    /// Reads `NUMBER`, then each key on a line of its own (keys hold no control characters); or `NUMBER *` for everything.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (number, keys) = match text.split_once('\n') {
            Some((number, keys)) => (number, Some(keys)),
            None => (text.strip_suffix(" *")?, None),
        };
        Some(Self {
            sequence: number.parse().ok()?,
            keys,
        })
    }

    /// The keys, if they are told.
    pub fn each(&self) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        self.keys.map(str::lines)
    }
}

/// The message by which a holder says that it has forgotten everything up to a number.
#[must_use]
pub fn acknowledgement(holder: &str, sequence: u64) -> String {
    format!("{sequence} {holder}")
}

/// Reads an [`acknowledgement`]: who, and up to which number.
#[must_use]
pub fn acknowledged(text: &str) -> Option<(&str, u64)> {
    let (sequence, holder) = text.split_once(' ')?;
    Some((holder, sequence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        for (text, expected) in [
            ("7 *", Some((7, None))),
            ("7\na", Some((7, Some(vec!["a"])))),
            (
                "1790000000000001\ncard:1:balance\n*\na b",
                Some((
                    1_790_000_000_000_001,
                    Some(vec!["card:1:balance", "*", "a b"]),
                )),
            ),
            ("7", None),
            ("", None),
            ("x *", None),
            ("-1\na", None),
        ] {
            let read = Gone::parse(text);
            let read = read.map(|gone| (gone.sequence, gone.each().map(Iterator::collect)));
            assert_eq!(read, expected, "{text:?}");
        }
        let said = acknowledgement("gateway-1:4f 1d", 9);
        assert_eq!(acknowledged(&said), Some(("gateway-1:4f 1d", 9)));
        assert_eq!(acknowledged("nonsense"), None);
    }

    #[test]
    fn the_times_fit_together() {
        // Whoever waits that long may conclude what the module says.
        assert!(OVER > BEAT_LIFE + LEASE);
        assert!(OVER > GAP + PROOF);
        // A link that is well is never doubted, and two lost renewals cost no lease.
        assert!(BEAT * 3 < PROOF && PROOF < GAP);
        assert!(RENEWAL * 3 + MARGIN < LEASE);
        assert!(BEAT * 2 < BEAT_LIFE);
    }
}
