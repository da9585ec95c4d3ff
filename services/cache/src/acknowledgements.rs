//! Who has yet to forget what was deleted: bookkeeping without I/O, and the waiting on top of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::oneshot;

/// The most holders whose last word is remembered while nobody waits for it.
const REMEMBERED: usize = 64;

/// What a deletion was told by Redis: its number, and who must hear of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    pub number: u64,
    /// There may be holders that are not in the table.
    pub lost: bool,
    pub holders: Vec<Holder>,
}

/// One first level that may hold copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub name: String,
    /// Its last renewal, as it stands in the table.
    pub renewal: String,
}

impl Announcement {
    /// Reads what `announce.lua` answers.
    #[must_use]
    pub fn read(answer: &[String]) -> Option<Self> {
        let (number, rest) = answer.split_first()?;
        let (lost, holders) = rest.split_first()?;
        Some(Self {
            number: number.parse().ok()?,
            lost: lost == "1",
            holders: holders
                .chunks_exact(2)
                .map(|pair| Holder {
                    name: pair[0].clone(),
                    renewal: pair[1].clone(),
                })
                .collect(),
        })
    }
}

/// Acknowledgements are cumulative: whoever has heard of a number has heard of all before it.
#[derive(Debug, Default)]
pub struct Ledger {
    heard: HashMap<String, u64>,
    waiting: BTreeMap<u64, HashSet<String>>,
}

impl Ledger {
    /// Begins to wait; true when there is nobody to wait for.
    pub fn expect(&mut self, number: u64, holders: impl IntoIterator<Item = String>) -> bool {
        let missing: HashSet<String> = holders
            .into_iter()
            .filter(|holder| self.heard.get(holder).is_none_or(|heard| *heard < number))
            .collect();
        if missing.is_empty() {
            return true;
        }
        self.waiting.insert(number, missing);
        false
    }

    /// A holder has heard of everything up to a number. The numbers that nobody is missing from any more.
    pub fn acknowledge(&mut self, holder: &str, number: u64) -> Vec<u64> {
        // Names are new with each connection; what nobody waits for may go.
        if self.heard.len() >= REMEMBERED && !self.heard.contains_key(holder) {
            self.heard.clear();
        }
        let heard = self.heard.entry(holder.to_owned()).or_default();
        *heard = number.max(*heard);
        let mut complete = Vec::new();
        for (waiting, missing) in self.waiting.range_mut(..=number) {
            if missing.remove(holder) && missing.is_empty() {
                complete.push(*waiting);
            }
        }
        for number in &complete {
            self.waiting.remove(number);
        }
        complete
    }

    /// Stops waiting; who was missing.
    pub fn give_up(&mut self, number: u64) -> HashSet<String> {
        self.waiting.remove(&number).unwrap_or_default()
    }
}

/// The deletions of this instance that wait to be heard of.
#[derive(Debug, Default)]
pub struct Acknowledgements(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    bells: HashMap<u64, oneshot::Sender<()>>,
}

impl Acknowledgements {
    pub fn acknowledge(&self, holder: &str, number: u64) {
        let mut state = self.state();
        for complete in state.ledger.acknowledge(holder, number) {
            if let Some(bell) = state.bells.remove(&complete) {
                let _ = bell.send(());
            }
        }
    }

    /// Waits until every holder has acknowledged, but not longer than until `end`. Who had not.
    pub async fn wait(&self, announcement: &Announcement, end: Instant) -> Vec<Holder> {
        let number = announcement.number;
        let names = announcement
            .holders
            .iter()
            .map(|holder| holder.name.clone());
        let bell = {
            let mut state = self.state();
            if state.ledger.expect(number, names) {
                return Vec::new();
            }
            let (bell, rung) = oneshot::channel();
            state.bells.insert(number, bell);
            rung
        };
        let waiting = Waiting { all: self, number };
        let in_time = tokio::time::timeout_at(end.into(), bell).await;
        if in_time.is_ok() {
            return Vec::new();
        }
        let missing = waiting.give_up();
        announcement
            .holders
            .iter()
            .filter(|holder| missing.contains(&holder.name))
            .cloned()
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One wait; it leaves nothing behind, however it ends.
struct Waiting<'a> {
    all: &'a Acknowledgements,
    number: u64,
}

impl Waiting<'_> {
    fn give_up(&self) -> HashSet<String> {
        let mut state = self.all.state();
        state.bells.remove(&self.number);
        state.ledger.give_up(self.number)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn an_announcement_is_read() {
        let answer = names(&["1790", "0", "gateway-1:a", "17", "gateway-2:b", "18"]);
        let announcement = Announcement::read(&answer).expect("an announcement");
        assert_eq!(announcement.number, 1790);
        assert!(!announcement.lost);
        assert_eq!(announcement.holders[1].name, "gateway-2:b");
        assert_eq!(announcement.holders[1].renewal, "18");
        let alone = Announcement::read(&names(&["5", "1"])).expect("an announcement");
        assert!(alone.lost && alone.holders.is_empty());
        assert_eq!(Announcement::read(&names(&["x", "0"])), None);
        assert_eq!(Announcement::read(&[]), None);
    }

    #[test]
    fn later_numbers_acknowledge_earlier_ones() {
        let mut ledger = Ledger::default();
        assert!(ledger.expect(1, names(&[])));
        assert!(!ledger.expect(2, names(&["a", "b"])));
        assert!(!ledger.expect(3, names(&["a"])));
        assert!(!ledger.expect(9, names(&["a"])));
        assert_eq!(ledger.acknowledge("b", 1), Vec::<u64>::new());
        assert_eq!(ledger.acknowledge("a", 4), [3]);
        assert_eq!(ledger.acknowledge("b", 7), [2]);
        // It may be quicker than we are.
        assert!(ledger.expect(5, names(&["b"])));
        assert_eq!(ledger.give_up(9), HashSet::from(["a".to_owned()]));
        assert_eq!(ledger.acknowledge("a", 10), Vec::<u64>::new());
        assert!(ledger.waiting.is_empty());
    }

    proptest! {
        /// A number is complete when, and only when, each of its holders has said it or a later one, in whatever order.
        #[test]
        fn nothing_is_complete_too_early_or_never(
            events in prop::collection::vec((any::<bool>(), 0_usize..4, 1_u64..40), 1..80),
        ) {
            let mut ledger = Ledger::default();
            let mut said: HashMap<String, u64> = HashMap::new();
            let mut open: BTreeMap<u64, Vec<String>> = BTreeMap::new();
            let mut next = 0;
            for (expects, who, step) in events {
                if expects {
                    next += step;
                    let holders: Vec<String> = (0..=who).map(|n| n.to_string()).collect();
                    let known = |holder: &String| said.get(holder).is_some_and(|heard| *heard >= next);
                    let done = holders.iter().all(known);
                    prop_assert_eq!(ledger.expect(next, holders.clone()), done);
                    if !done {
                        open.insert(next, holders);
                    }
                } else {
                    let number = next.saturating_sub(step % 7);
                    let holder = who.to_string();
                    let heard = said.entry(holder.clone()).or_default();
                    *heard = number.max(*heard);
                    let complete = ledger.acknowledge(&holder, number);
                    let expected: Vec<u64> = open.iter()
                        .filter(|(number, holders)| holders.iter().all(|h| said.get(h).is_some_and(|heard| heard >= number)))
                        .map(|(number, _)| *number)
                        .collect();
                    prop_assert_eq!(&complete, &expected);
                    open.retain(|number, _| !complete.contains(number));
                }
            }
            prop_assert_eq!(ledger.waiting.len(), open.len());
        }
    }

    #[tokio::test]
    async fn waits_end_by_acknowledgement_or_by_time() {
        let all = Acknowledgements::default();
        let announcement = |number, holders: &[&str]| Announcement {
            number,
            lost: false,
            holders: holders
                .iter()
                .map(|&name| Holder {
                    name: name.to_owned(),
                    renewal: "1".to_owned(),
                })
                .collect(),
        };
        let far = Instant::now() + Duration::from_mins(1);
        let both = announcement(1, &["a", "b"]);
        let wait = all.wait(&both, far);
        let acknowledge = async {
            all.acknowledge("a", 1);
            all.acknowledge("b", 2);
        };
        let (missing, ()) = tokio::join!(wait, acknowledge);
        assert_eq!(missing, []);
        let dead = announcement(3, &["a", "b"]);
        all.acknowledge("a", 3);
        let missing = all.wait(&dead, Instant::now()).await;
        assert_eq!(missing, [dead.holders[1].clone()]);
        // Whoever leaves early leaves nothing behind.
        let left = announcement(4, &["a"]);
        assert!(
            tokio::time::timeout(Duration::ZERO, all.wait(&left, far))
                .await
                .is_err()
        );
        let state = all.state();
        assert!(state.bells.is_empty() && state.ledger.waiting.is_empty());
    }
}
