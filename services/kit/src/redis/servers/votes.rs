//! Who the primary is: what each of those who decide says, and what that comes to.

use std::collections::HashMap;

use super::Address;

const SLOTS: u16 = 16_384;

/// Whom one of those who decide calls the primary, and how many decide, as far as it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    pub elect: Address,
    pub of: usize,
}

/// The votes so far.
#[derive(Default)]
pub(super) struct Count {
    votes: HashMap<Address, usize>,
    of: usize,
}

impl Count {
    /// The winner, as soon as there is one.
    pub(super) fn add(&mut self, vote: Vote) -> Option<Address> {
        self.of = self.of.max(vote.of);
        let votes = self.votes.entry(vote.elect.clone()).or_default();
        *votes += 1;
        (*votes * 2 > self.of).then_some(vote.elect)
    }
}

/// What a node of a cluster sees.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    pub nodes: Vec<Address>,
    /// Only masters that have slots decide.
    pub vote: Option<Vote>,
}

impl View {
    /// Reads the answer of `CLUSTER NODES`: for each node its id, `host:port@bus,name`, flags, master, when it was pinged and
    /// answered, epoch, link, and the slots it has.
    pub(super) fn read(text: &str, asked: &Address, slot: u16) -> Self {
        let (mut nodes, mut masters, mut may_vote, mut elect) = (Vec::new(), 0, false, None);
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(place), Some(flags)) = (words.nth(1), words.next()) else {
                continue;
            };
            let has = |flag: &str| flags.split(',').any(|it| it == flag);
            let Some(address) = node(place, asked) else {
                continue;
            };
            if has("noaddr") || has("handshake") {
                continue;
            }
            nodes.push(address.clone());
            let mut slots = words.skip(5).filter_map(range).peekable();
            if !has("master") || slots.peek().is_none() {
                continue;
            }
            masters += 1;
            may_vote |= has("myself");
            if slots.any(|(first, last)| (first..=last).contains(&slot)) {
                elect = Some(address);
            }
        }
        let vote = elect
            .filter(|_| may_vote)
            .map(|elect| Vote { elect, of: masters });
        Self { nodes, vote }
    }
}

/// A node that knows no address of its own has the one that it was asked at.
fn node(place: &str, asked: &Address) -> Option<Address> {
    let place = place.split(['@', ',']).next()?;
    let (host, port) = place.rsplit_once(':')?;
    let host = if host.is_empty() { &asked.0 } else { host };
    Some((host.to_owned(), port.parse().ok()?))
}

/// Slots as they are written, `7` or `0-5460`; none for one that is on its way.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// The slot of a hash tag: CRC-16 with polynomial 0x1021, of which a cluster takes 14 bits.
pub(super) fn slot(tag: &str) -> u16 {
    let checksum = tag.bytes().fold(0_u16, |checksum, byte| {
        (0..8).fold(checksum ^ (u16::from(byte) << 8), |checksum, _| {
            let shifted = checksum << 1;
            if checksum & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    });
    checksum % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        (host.to_owned(), port)
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        for (tag, expected) in [("123456789", 12_739), ("foo", 12_182), ("", 0)] {
            assert_eq!(slot(tag), expected, "{tag}");
        }
    }

    #[test]
    fn more_than_half_decide_and_no_less() {
        let vote = |host: &str, of| Vote {
            elect: at(host, 1),
            of,
        };
        let mut count = Count::default();
        assert_eq!(count.add(vote("a", 3)), None);
        assert_eq!(count.add(vote("b", 3)), None);
        assert_eq!(count.add(vote("a", 3)), Some(at("a", 1)));
        // The half is not more than the half, and who knows of more of them is believed.
        let mut count = Count::default();
        assert_eq!(count.add(vote("a", 4)), None);
        assert_eq!(count.add(vote("a", 2)), None);
        assert_eq!(count.add(vote("a", 3)), Some(at("a", 1)));
    }

    #[test]
    fn a_cluster_s_view_is_read() {
        let text = "\
07c3 127.0.0.1:7004@17004,host slave e7d1 0 1426238317239 4 connected
67ed :7002@17002 myself,master - 0 1426238316232 2 connected 5461-10922
292f 127.0.0.1:7003@17003 master,fail - 0 1426238318243 3 disconnected 10923-16382 16383
6ec2 127.0.0.1:7005@17005 master - 0 1426238316232 5 connected [93-<-292f]
824f :0@0 slave,noaddr 292f 0 1426238317741 6 disconnected
e7d1 10.0.0.1:7001@17001 master - 0 0 1 connected 0-5460 [93->-67ed]
broken";
        let asked = at("127.0.0.9", 7_002);
        let view = View::read(text, &asked, 16_383);
        assert_eq!(view.nodes.len(), 5);
        assert_eq!(
            view.vote,
            Some(Vote {
                elect: at("127.0.0.1", 7_003),
                of: 3
            })
        );
        let own = View::read(text, &asked, 6_000).vote.unwrap();
        assert_eq!(own.elect, asked);
        // A replica sees the same and has no vote; nor has anybody while nobody has the slot.
        let replica = text.replace("myself,master", "master");
        assert_eq!(View::read(&replica, &asked, 6_000).vote, None);
        assert_eq!(View::read("", &asked, 0).vote, None);
        let without = text.replace("0-5460 ", "1-5460 ");
        assert_eq!(View::read(&without, &asked, 0).vote, None);
    }
}
