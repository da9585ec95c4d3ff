use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    breaker::BreakerState,
    explain::{DecidedBy, Fallback},
    metrics::FailureReason,
    policy::PolicyKind,
    selection::{Selection, Unavailable},
};

/// A roster of upstreams that are all up and warm, and a clock that is moved by hand.
struct Stage {
    roster: Roster,
    now: Instant,
}

impl Stage {
    fn new(count: u16, patch: &serde_json::Value) -> Self {
        let now = Instant::now();
        let balancing = Balancing::default().merged(patch).unwrap();
        let pool = Arc::from("gateway");
        let metrics = Metrics::default();
        let mut roster = Roster::new(&pool, Thresholds::default(), balancing, &metrics, 7, now);
        let mut stage = Self {
            roster: {
                roster.set_endpoints(&endpoints(count), now);
                roster
            },
            now,
        };
        for id in 0..u64::from(count) {
            stage.roster.observe(id, Observation::Passed, now);
        }
        stage.pass(60_000);
        stage
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn begin(&mut self, selection: &Selection<'_>) -> Result<(Attempt, u64), Unavailable> {
        let picked = self.roster.pick(selection, self.now)?;
        let id = picked.upstream.id;
        let attempt = Attempt {
            upstream: id,
            started: self.now,
            probe: picked.probe,
        };
        Ok((attempt, id))
    }

    fn end(&mut self, id: u64) {
        let position = self.roster.position(id).unwrap();
        self.roster.hosts[position].upstream.end();
    }

    /// One request that is answered as `status` says; who answered.
    fn request(&mut self, status: impl Fn(u64) -> u16) -> Result<u64, Unavailable> {
        let (attempt, id) = self.begin(&Selection::default())?;
        self.roster.answered(attempt, status(id), None, self.now);
        self.end(id);
        Ok(id)
    }

    fn fail(&mut self, id: u64, times: usize) {
        for _ in 0..times {
            let attempt = Attempt {
                upstream: id,
                started: self.now,
                probe: None,
            };
            self.roster
                .failed(attempt, FailureReason::Reset, &"broken", false, self.now);
        }
    }

    fn shares(&mut self, requests: usize) -> Vec<usize> {
        let mut taken = vec![0; self.roster.hosts.len()];
        for _ in 0..requests {
            let id = self.request(|_| 200).unwrap();
            taken[usize::try_from(id).unwrap()] += 1;
        }
        taken
    }
}

fn endpoints(count: u16) -> Vec<Endpoint> {
    (1..=count)
        .map(|number| Endpoint {
            name: Some(format!("gateway-{number}")),
            address: SocketAddr::from(([127, 0, 0, 1], number)),
        })
        .collect()
}

#[test]
fn one_that_fails_is_ejected_and_comes_back_slowly() {
    let mut stage = Stage::new(3, &json!({"policy": "weighted"}));
    for _ in 0..15 {
        stage.request(|id| if id == 2 { 503 } else { 200 }).unwrap();
    }
    let upstreams = stage.roster.upstreams(stage.now);
    assert!(upstreams[2].ejected, "{upstreams:?}");
    assert_eq!(stage.shares(30), [15, 15, 0]);
    // Ten seconds, a fifth more at most by chance; then a tenth of its weight.
    stage.pass(12_001);
    let upstreams = stage.roster.upstreams(stage.now);
    assert!(!upstreams[2].ejected);
    assert!(upstreams[2].effective_weight < 0.5, "{upstreams:?}");
    stage.pass(20_000);
    assert_eq!(stage.shares(30), [10, 10, 10]);
}

#[test]
fn when_all_fail_alike_nobody_is_ejected() {
    let mut stage = Stage::new(3, &json!({}));
    for _ in 0..300 {
        stage.request(|_| 503).unwrap();
        stage.pass(10);
    }
    let upstreams = stage.roster.upstreams(stage.now);
    assert!(
        upstreams.iter().all(|upstream| !upstream.ejected),
        "{upstreams:?}"
    );
}

#[test]
fn panic_ignores_ejections_and_is_seen() {
    let mut stage = Stage::new(3, &json!({"outlier": {"base_ejection_ms": 60_000}}));
    for _ in 0..15 {
        stage.request(|id| if id == 2 { 500 } else { 200 }).unwrap();
    }
    assert!(!stage.roster.is_panic(stage.now), "two of three are left");
    let refused = Observation::Unreachable("refused".into());
    stage.roster.observe(0, refused, stage.now);
    assert!(stage.roster.is_panic(stage.now), "one of three is left");
    let taken = stage.shares(20);
    assert_eq!(taken, [0, 10, 10]);
    let picks = stage.roster.explain(1, stage.now);
    assert_eq!(picks[0].fallback, Some(Fallback::Panic));
}

#[test]
fn an_ejection_never_fails_a_request_that_somebody_might_answer() {
    let mut stage = Stage::new(2, &json!({"panic_threshold": 0}));
    for _ in 0..10 {
        stage.request(|id| if id == 1 { 500 } else { 200 }).unwrap();
    }
    let avoiding = Selection {
        avoid: &[0],
        ..Selection::default()
    };
    let (_, id) = stage.begin(&avoiding).unwrap();
    assert_eq!(id, 1);
    assert_eq!(
        stage.roster.explain(1, stage.now)[0].fallback,
        Some(Fallback::Ejected)
    );
}

#[test]
fn an_open_breaker_lets_one_try_after_its_pause() {
    let mut stage = Stage::new(1, &json!({}));
    stage.fail(0, 5);
    assert_eq!(
        stage.begin(&Selection::default()).err(),
        Some(Unavailable::BreakersOpen)
    );
    assert!(stage.roster.breakers_open_for(stage.now).is_some());
    stage.pass(1_201);
    let (trying, _) = stage.begin(&Selection::default()).unwrap();
    assert!(trying.probe.is_some());
    assert_eq!(
        stage.begin(&Selection::default()).err(),
        Some(Unavailable::BreakersOpen)
    );
    stage.roster.abandoned(trying, stage.now);
    let (next, _) = stage.begin(&Selection::default()).unwrap();
    stage.roster.answered(next, 500, None, stage.now);
    let upstreams = stage.roster.upstreams(stage.now);
    assert_eq!(
        upstreams[0].breaker,
        BreakerState::Closed,
        "any answer is an answer"
    );
}

#[test]
fn a_client_sticks_until_its_upstream_takes_no_requests() {
    let mut stage = Stage::new(3, &json!({"sticky": true}));
    let value = stage.roster.hosts[1].sticky;
    let sticking = Selection {
        sticky: Some(value),
        ..Selection::default()
    };
    for _ in 0..5 {
        assert_eq!(stage.begin(&sticking).unwrap().1, 1);
    }
    assert_eq!(
        stage.roster.explain(1, stage.now)[0].decided_by,
        DecidedBy::Sticky
    );
    assert_eq!(stage.roster.drain("gateway-2", true), Some(false));
    assert_eq!(stage.roster.drain("gateway-2", true), Some(true));
    assert_eq!(stage.roster.drain("gateway-9", true), None);
    assert_ne!(stage.begin(&sticking).unwrap().1, 1);
    assert_eq!(
        stage.roster.explain(1, stage.now)[0].decided_by,
        DecidedBy::Policy
    );
    // Another balancer knows the same value.
    assert_eq!(Stage::new(3, &json!({})).roster.hosts[1].sticky, value);
}

#[test]
fn a_new_one_starts_slowly_unless_all_are_new() {
    let mut stage = Stage::new(2, &json!({"policy": "weighted"}));
    let now = stage.now;
    stage.roster.set_endpoints(&endpoints(3), now);
    stage.roster.observe(2, Observation::Passed, now);
    let taken = stage.shares(210);
    assert_eq!(taken, [100, 100, 10], "a tenth of a share");
    for id in 0..3 {
        stage
            .roster
            .observe(id, Observation::Unreachable("refused".into()), now);
        stage.roster.observe(id, Observation::Passed, now);
    }
    let mut taken = stage.shares(30);
    taken.sort_unstable();
    assert!(taken[2] - taken[0] <= 2, "all are new: {taken:?}");
}

#[test]
fn settings_apply_at_once_and_keep_what_is_known() {
    let mut stage = Stage::new(3, &json!({}));
    stage.shares(30);
    let known: Vec<_> = stage.roster.hosts.iter().map(|host| host.latency).collect();
    let patch = json!({"policy": "weighted", "weights": {"gateway-1": 4}});
    let balancing = stage.roster.balancing().merged(&patch).unwrap();
    stage.roster.apply(balancing, stage.now);
    assert_eq!(stage.roster.balancing().policy, PolicyKind::Weighted);
    let after: Vec<_> = stage.roster.hosts.iter().map(|host| host.latency).collect();
    assert_eq!(known, after);
    assert_eq!(stage.shares(60), [40, 10, 10]);
}

#[test]
fn expected_shares_are_told_where_they_can_be() {
    let share = |policy: &str| {
        let patch = json!({"policy": policy, "weights": {"gateway-1": 2}});
        let stage = Stage::new(3, &patch);
        let upstreams = stage.roster.upstreams(stage.now);
        upstreams
            .into_iter()
            .map(|upstream| upstream.expected_share)
            .collect::<Vec<_>>()
    };
    let third = Some(0.333_333);
    assert_eq!(share("round_robin"), [third, third, third]);
    assert_eq!(share("weighted"), [Some(0.5), Some(0.25), Some(0.25)]);
    assert_eq!(share("p2c"), [None, None, None]);
}
