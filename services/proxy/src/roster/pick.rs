//! Picking: who may take a request, who the policy takes of them, and the record of it.

use std::sync::Arc;
use std::time::Instant;

use super::Roster;
use crate::{
    breaker::Probe,
    explain::{DecidedBy, Fallback, Pick, Standing},
    host::Host,
    policy::{Candidate, Situation},
    selection::{Selection, Unavailable},
    upstream::Upstream,
};

/// Who was picked.
#[derive(Debug)]
pub(crate) struct Picked {
    pub upstream: Arc<Upstream>,
    /// When the attempt is the one that tries a half-open breaker.
    pub probe: Option<Probe>,
    pub sticky: u64,
}

/// Who is asked first. Each rank is asked only when there is nobody in those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Healthy,
    /// Nothing is known of it yet.
    Unchecked,
    /// An ejection never fails a request that somebody might answer.
    Ejected,
    Avoided,
    AvoidedUnchecked,
}

impl Roster {
    /// Picks an upstream and counts the request as in flight there.
    pub fn pick(&mut self, selection: &Selection<'_>, now: Instant) -> Result<Picked, Unavailable> {
        let panic = self.take_stock(selection, now);
        let ranks = self
            .standings
            .iter()
            .zip(&self.hosts)
            .filter_map(|((_, _, standing), host)| rank(*standing, host, selection, panic, now));
        let best = ranks.min();
        self.gather(selection, best, panic, now);
        let (picked, decided_by) = self.decide(selection, now);
        let fallback = match best {
            _ if picked.is_none() => None,
            Some(Rank::Healthy) | None => panic.then_some(Fallback::Panic),
            Some(Rank::Unchecked) => Some(Fallback::Unchecked),
            Some(Rank::Ejected) => Some(Fallback::Ejected),
            Some(Rank::Avoided | Rank::AvoidedUnchecked) => Some(Fallback::Avoided),
        };
        self.explain.write(
            Pick {
                at: now,
                policy: self.balancing.policy,
                decided_by,
                fallback,
                picked: picked.map(|picked| self.candidates[picked].id),
                key: selection.key,
            },
            &self.candidates,
            self.others.iter().copied(),
        );
        let Some(picked) = picked else {
            let refused =
                |(_, _, standing): &(u64, usize, Standing)| *standing == Standing::BreakerOpen;
            return Err(if self.standings.iter().any(refused) {
                Unavailable::BreakersOpen
            } else {
                Unavailable::NoneHealthy
            });
        };
        let host = &mut self.hosts[self.positions[picked]];
        host.series.requests.inc();
        host.upstream.begin();
        Ok(Picked {
            upstream: Arc::clone(&host.upstream),
            probe: host.breaker.begin(),
            sticky: host.sticky,
        })
    }

    /// Notes what each upstream is for this request; whether ejections are to be ignored.
    fn take_stock(&mut self, selection: &Selection<'_>, now: Instant) -> bool {
        self.standings.clear();
        let mut stock = Stock::default();
        for host in &self.hosts {
            let standing = host.standing(now);
            stock.count(standing);
            let is_avoided = matches!(
                standing,
                Standing::Candidate | Standing::Ejected | Standing::Unchecked
            ) && selection.avoid.contains(&host.id);
            let shown = if is_avoided {
                Standing::Avoided
            } else {
                standing
            };
            self.standings
                .push((host.id, host.upstream.in_flight(), shown));
        }
        stock.is_panic(self.balancing.panic_threshold)
    }

    /// Fills in the candidates of this rank, and who is none.
    fn gather(&mut self, selection: &Selection<'_>, best: Option<Rank>, panic: bool, now: Instant) {
        self.candidates.clear();
        self.positions.clear();
        self.others.clear();
        let mut any_warm = false;
        let mut any_slow = false;
        for (position, (host, &(id, in_flight, standing))) in
            self.hosts.iter().zip(&self.standings).enumerate()
        {
            let rank = rank(standing, host, selection, panic, now);
            if rank.is_none() || rank != best {
                self.others.push((id, in_flight, standing));
                continue;
            }
            let slow_start = host.slow_start(now, &self.balancing);
            any_warm |= slow_start.is_none();
            any_slow |= slow_start.is_some();
            self.candidates.push(Candidate {
                id,
                hash: host.hash,
                in_flight,
                weight: f64::from(host.weight) * slow_start.unwrap_or(1.0),
                latency: host.expected_latency(now),
                score: f64::NAN,
            });
            self.positions.push(position);
        }
        if any_slow && !any_warm {
            // All of them are new: there is nobody to spare them for.
            for (candidate, &position) in self.candidates.iter_mut().zip(&self.positions) {
                candidate.weight = f64::from(self.hosts[position].weight);
            }
        }
    }

    fn decide(&mut self, selection: &Selection<'_>, now: Instant) -> (Option<usize>, DecidedBy) {
        if self.balancing.sticky
            && let Some(wanted) = selection.sticky
        {
            let sticks = |&position: &usize| self.hosts[position].sticky == wanted;
            if let Some(picked) = self.positions.iter().position(sticks) {
                return (Some(picked), DecidedBy::Sticky);
            }
        }
        let situation = Situation {
            now,
            key: selection.key,
            mean: self.mean.seconds(),
            chance: self.chance.bits(),
        };
        match self.policy.pick(&mut self.candidates, &situation) {
            Some(picked) => (Some(picked), DecidedBy::Policy),
            None => (None, DecidedBy::Nobody),
        }
    }

    /// Whether ejections are ignored now.
    pub fn is_panic(&self, now: Instant) -> bool {
        let mut stock = Stock::default();
        for host in &self.hosts {
            stock.count(host.standing(now));
        }
        stock.is_panic(self.balancing.panic_threshold)
    }
}

/// How many there are of each kind.
#[derive(Clone, Copy, Debug, Default)]
struct Stock {
    /// Those that drain left aside: they are gone on purpose.
    all: usize,
    available: usize,
    ejected: usize,
}

impl Stock {
    fn count(&mut self, standing: Standing) {
        match standing {
            Standing::Draining | Standing::DrainedByOperator => return,
            Standing::Candidate => self.available += 1,
            Standing::Ejected => self.ejected += 1,
            Standing::Unchecked | Standing::Down | Standing::BreakerOpen | Standing::Avoided => {}
        }
        self.all += 1;
    }

    fn is_panic(self, threshold: u32) -> bool {
        self.ejected > 0 && self.available * 100 < self.all * threshold as usize
    }
}

/// When a host is asked; `None` when it is not at all.
fn rank(
    standing: Standing,
    host: &Host,
    selection: &Selection<'_>,
    panic: bool,
    now: Instant,
) -> Option<Rank> {
    match standing {
        Standing::Candidate => Some(Rank::Healthy),
        Standing::Ejected if panic => Some(Rank::Healthy),
        Standing::Ejected => Some(Rank::Ejected),
        Standing::Unchecked => Some(Rank::Unchecked),
        Standing::Avoided if !selection.last_resort => None,
        Standing::Avoided if host.standing(now) == Standing::Unchecked => {
            Some(Rank::AvoidedUnchecked)
        }
        Standing::Avoided => Some(Rank::Avoided),
        Standing::Down
        | Standing::Draining
        | Standing::DrainedByOperator
        | Standing::BreakerOpen => None,
    }
}
