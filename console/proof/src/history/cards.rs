//! Whether the recharges of a card are linearizable, with the balances that were read.
//!
//! A recharge adds a positive amount and its answer names the balance after it. So the order of all that was answered is
//! known: by balance. What is left to find out is whether that order agrees with time, and whether recharges of unknown
//! outcome fill the gaps; that takes a search, which [`super::subsets`] does.

use std::collections::BTreeMap;

use super::{
    Findings,
    subsets::{Filled, Gap, Perhaps, fill},
};
use crate::journal::{Action, Answer, Card, Operation};

/// The most states that the search for one card looks at.
const BUDGET: usize = 2_000_000;
/// Something that never ended.
const NEVER: u64 = u64::MAX;

/// How reads are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Among each other too: linearizable in the full sense.
    Strict,
    /// With recharges that were answered before them or asked for after them, as the caches promise. While a recharge is
    /// on its way, one read may show it and a later one not.
    Promised,
}

/// One recharge, however often it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recharge {
    pub key: String,
    pub amount: i64,
    /// When it was first sent.
    pub asked: u64,
    /// The first answer: when, and the balance after it. Without one it may have happened.
    pub answered: Option<(u64, i64)>,
}

/// A balance that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub balance: i64,
    pub asked: u64,
    pub answered: u64,
}

/// Everything that happened to one card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub card: i64,
    /// The balance at the beginning.
    pub opening: i64,
    pub recharges: Vec<Recharge>,
    pub reads: Vec<Read>,
}

/// What is known of one key while operations are read.
struct Asked {
    recharge: Recharge,
    id: Option<i64>,
    /// Not every attempt was refused.
    possible: bool,
}

/// Checks the cards that nobody else used.
#[must_use]
pub fn check(cards: &[Card], operations: &[Operation], reads: Reads) -> Findings {
    let mut findings = Findings::default();
    for history in histories(cards, operations, &mut findings) {
        findings.merge(history.check(reads));
    }
    findings
}

/// The histories of the given cards. Answers to one key that differ are told at once.
pub fn histories(
    cards: &[Card],
    operations: &[Operation],
    findings: &mut Findings,
) -> Vec<History> {
    let mut histories: BTreeMap<i64, (History, BTreeMap<&str, Asked>)> = cards
        .iter()
        .map(|card| {
            let history = History {
                card: card.card,
                opening: card.balance,
                ..History::default()
            };
            (card.card, (history, BTreeMap::new()))
        })
        .collect();
    for operation in operations {
        match (&operation.action, operation.answer()) {
            (Action::Balance { card }, Some((Answer::Balance { balance, .. }, answered))) => {
                if let Some((history, _)) = histories.get_mut(card) {
                    history.reads.push(Read {
                        balance: *balance,
                        asked: operation.invoked_us,
                        answered,
                    });
                }
            }
            (Action::Recharge { card, amount, key }, answer) => {
                let Some((_, keys)) = histories.get_mut(card) else {
                    continue;
                };
                let asked = keys.entry(key).or_insert_with(|| Asked {
                    recharge: Recharge {
                        key: key.clone(),
                        amount: *amount,
                        asked: operation.invoked_us,
                        answered: None,
                    },
                    id: None,
                    possible: false,
                });
                let recharge = &mut asked.recharge;
                recharge.asked = recharge.asked.min(operation.invoked_us);
                asked.possible |= !operation.is_refused();
                let Some((answer, at)) = answer else {
                    continue;
                };
                let Answer::Recharged {
                    recharge: number,
                    balance,
                    ..
                } = answer
                else {
                    continue;
                };
                if let (Some(first), Some((_, before))) = (asked.id, recharge.answered)
                    && (first != *number || before != *balance)
                {
                    findings.offend(
                        format!("key {key}"),
                        format!("was answered with recharge {first} (balance {before}) and with recharge {number} (balance {balance}): carried out twice"),
                    );
                    continue;
                }
                asked.id = Some(*number);
                let earliest = recharge.answered.map_or(at, |(before, _)| before.min(at));
                recharge.answered = Some((earliest, *balance));
            }
            _ => {}
        }
    }
    histories
        .into_values()
        .map(|(mut history, keys)| {
            let possible = keys.into_values().filter(|asked| asked.possible);
            history.recharges = possible.map(|asked| asked.recharge).collect();
            history
        })
        .collect()
}

/// A recharge with its place in the order.
struct Step<'a> {
    before: i64,
    after: i64,
    asked: u64,
    answered: u64,
    key: &'a str,
}

impl History {
    /// Whether this can have happened on one card.
    #[must_use]
    pub fn check(&self, reads: Reads) -> Findings {
        let mut findings = Findings::default();
        findings.count("cards", 1);
        findings.count("recharges", self.recharges.len() as u64);
        findings.count("balances read", self.reads.len() as u64);
        let steps = self.steps();
        let unknown = self.recharges.iter().filter(|r| r.answered.is_none());
        findings.count("of unknown outcome", unknown.count() as u64);
        let mut good = self.in_row(&steps, &mut findings);
        good &= self.in_time(&steps, &mut findings);
        good &= self.reads_fit(&steps, reads, &mut findings);
        // Gaps between steps that do not fit mean nothing.
        if good {
            self.gaps_are_filled(&steps, &mut findings);
        }
        findings
    }

    fn name(&self) -> String {
        format!("card {}", self.card)
    }

    /// The answered recharges in the order of their balances.
    fn steps(&self) -> Vec<Step<'_>> {
        let mut steps: Vec<Step> = self
            .recharges
            .iter()
            .filter_map(|recharge| {
                let (answered, after) = recharge.answered?;
                Some(Step {
                    before: after - recharge.amount,
                    after,
                    asked: recharge.asked,
                    answered,
                    key: &recharge.key,
                })
            })
            .collect();
        steps.sort_by_key(|step| (step.after, step.before));
        steps
    }

    /// Each begins with a balance at or above the one that the one before it left.
    fn in_row(&self, steps: &[Step], findings: &mut Findings) -> bool {
        let mut level = self.opening;
        let mut last = "the beginning";
        let mut good = true;
        for step in steps {
            if step.before < level {
                good = false;
                findings.offend(
                    self.name(),
                    format!(
                        "recharge with key {} was answered with balance {}, so it found {}; but {last} left {level}: one of the two is lost",
                        step.key, step.after, step.before
                    ),
                );
            }
            level = level.max(step.after);
            last = step.key;
        }
        good
    }

    /// None was answered before one was sent that its balance includes.
    fn in_time(&self, steps: &[Step], findings: &mut Findings) -> bool {
        let mut soonest: Option<&Step> = None;
        let mut good = true;
        for step in steps.iter().rev() {
            if let Some(later) = soonest.filter(|later| later.answered < step.asked) {
                good = false;
                findings.offend(
                    self.name(),
                    format!(
                        "recharge with key {} was answered with balance {} before the one with key {} was sent, which was answered with {}",
                        later.key, later.after, step.key, step.after
                    ),
                );
            }
            if soonest.is_none_or(|soonest| step.answered < soonest.answered) {
                soonest = Some(step);
            }
        }
        good
    }

    fn reads_fit(&self, steps: &[Step], reads: Reads, findings: &mut Findings) -> bool {
        // The latest sending among those up to a step, the earliest answer among those from it on.
        let mut sent = vec![0];
        for step in steps {
            sent.push(step.asked.max(*sent.last().unwrap_or(&0)));
        }
        let mut answered = vec![NEVER; steps.len() + 1];
        for (index, step) in steps.iter().enumerate().rev() {
            answered[index] = step.answered.min(answered[index + 1]);
        }
        let mut good = true;
        let mut offend = |read: &Read, why: &str| {
            good = false;
            let (balance, at) = (read.balance, read.asked);
            findings.offend(
                self.name(),
                format!("the balance {balance}, read {at} µs after the start, {why}"),
            );
        };
        for read in &self.reads {
            let done = steps.partition_point(|step| step.after <= read.balance);
            if read.balance < self.opening {
                offend(read, "is less than the card had at the beginning");
            } else if steps
                .get(done)
                .is_some_and(|step| step.before < read.balance)
            {
                offend(read, "is one that the card never had");
            } else if sent[done] > read.answered {
                offend(read, "holds a recharge that was sent after the answer");
            } else if answered[done] < read.asked {
                offend(
                    read,
                    "is from before a recharge that had been answered by then",
                );
            }
        }
        if reads == Reads::Strict {
            let mut order: Vec<&Read> = self.reads.iter().collect();
            order.sort_by_key(|read| std::cmp::Reverse(read.balance));
            let mut soonest = NEVER;
            let mut equals = NEVER;
            let mut balance = None;
            for read in order {
                if balance != Some(read.balance) {
                    soonest = soonest.min(equals);
                    equals = NEVER;
                    balance = Some(read.balance);
                }
                if soonest < read.asked {
                    offend(read, "is less than one that was read before");
                }
                equals = equals.min(read.answered);
            }
        }
        good
    }

    /// Between two known balances there is nothing, or recharges of unknown outcome that were sent in time.
    fn gaps_are_filled(&self, steps: &[Step], findings: &mut Findings) {
        let mut levels: Vec<i64> = std::iter::once(self.opening)
            .chain(steps.iter().flat_map(|step| [step.before, step.after]))
            .chain(self.reads.iter().map(|read| read.balance))
            .collect();
        levels.sort_unstable();
        levels.dedup();
        let mut gaps = Vec::new();
        let mut until = NEVER;
        let mut reads: Vec<&Read> = self.reads.iter().collect();
        reads.sort_by_key(|read| read.balance);
        let mut step = steps.len();
        for pair in levels.windows(2).rev() {
            let [low, high] = [pair[0], pair[1]];
            // Everything that comes after a gap: steps that begin at its upper end or above, and reads of as much.
            while let Some(read) = reads.pop_if(|read| read.balance >= high) {
                until = until.min(read.answered);
            }
            while step > 0 && steps[step - 1].before >= high {
                step -= 1;
                until = until.min(steps[step].answered);
            }
            let is_step = step > 0 && steps[step - 1].before < high && steps[step - 1].after > low;
            if !is_step {
                gaps.push((low, high, until));
            }
        }
        gaps.reverse();
        let list: Vec<Gap> = gaps
            .iter()
            .map(|&(low, high, until)| Gap {
                size: high - low,
                until,
            })
            .collect();
        let perhaps: Vec<Perhaps> = self
            .recharges
            .iter()
            .filter(|recharge| recharge.answered.is_none())
            .map(|recharge| Perhaps {
                amount: recharge.amount,
                since: recharge.asked,
            })
            .collect();
        match fill(&list, &perhaps, BUDGET) {
            Filled::Yes => {}
            Filled::No { gap } => {
                let (low, high, _) = gaps[gap];
                findings.offend(
                    self.name(),
                    format!(
                        "went from {low} to {high} without recharges that could have done that: something was carried out twice, or by nobody ({} of unknown outcome)",
                        perhaps.len()
                    ),
                );
            }
            Filled::GaveUp => findings.undecided.push(super::Offender::new(
                self.name(),
                format!(
                    "{} recharges of unknown outcome are too many to tell",
                    perhaps.len()
                ),
            )),
        }
    }
}
