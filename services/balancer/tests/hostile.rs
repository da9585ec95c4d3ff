//! Malformed, ambiguous and hostile requests, sent to a whole balancer over raw sockets: each must be refused for its reason, its
//! connection must end, and nothing of it may reach what is behind.
//!
//! The requests are in `hostile/*.txt`. A case is a line `case NAME STATUS REASON OPTIONS…` and then its bytes up to the next empty
//! line: `\r`, `\n`, `\t`, `\0`, `\s` (space), `\xNN` and `\\` as usual, `\(N*…)` repeats, line ends of the file mean nothing.
//! REASON is the label in `recarga_refusals_total`, `-` for none; STATUS `-` is a connection that ends without an answer. Options:
//! `after=N` good requests come first and are answered with 200; `partly`: the head is good and may have been passed on, but the
//! request is never complete; `eof`: the client says that it has sent everything; `closes`: it is served, then the connection ends;
//! `own`: the balancer answers itself. `@sees` and `@lacks` look at what arrived behind.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

#[path = "hostile/case.rs"]
mod case;
#[path = "hostile/client.rs"]
mod client;
#[path = "hostile/upstream.rs"]
mod upstream;

use std::collections::{BTreeMap, BTreeSet};

use case::Case;
use client::{Client, exchange};
use kit::testing::eventually;
use proxy::http1::Refusal;
use support::Balancer;
use tokio::time::{Duration, Instant};
use upstream::{Seen, Upstream};

/// How often each reason was counted.
type Counts = BTreeMap<String, u64>;

struct Lab {
    balancer: Balancer,
    upstream: Upstream,
    counts: Counts,
}

impl Lab {
    async fn start(flags: &[&str]) -> Self {
        let upstream = Upstream::start().await;
        let balancer = Balancer::start(&[upstream.address], flags).await;
        let lab = Self {
            balancer,
            upstream,
            counts: Counts::new(),
        };
        eventually("the balancer serves", || async {
            lab.probe("/up").await == [200]
        })
        .await;
        lab.upstream.take();
        lab
    }

    /// An ordinary request on a connection of its own.
    async fn probe(&self, target: &str) -> Vec<u16> {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
        let outcome = exchange(self.balancer.address, bytes.as_bytes(), false, None).await;
        outcome.statuses
    }

    /// What arrived behind the door. A health check may be on its way in just now: it ends, half a request does not.
    async fn arrived(&self) -> Seen {
        let patience = Instant::now() + Duration::from_secs(2);
        let mut seen = self.upstream.take();
        while !seen.pending.is_empty() && Instant::now() < patience {
            tokio::task::yield_now().await;
            seen.add(self.upstream.take());
        }
        seen
    }

    async fn refusals(&self) -> Counts {
        let url = format!("{}/metrics", self.balancer.admin);
        let text = self.balancer.http.get(url).send().await.unwrap();
        let text = text.text().await.unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix("recarga_refusals_total{"))
            .map(|series| {
                let (labels, count) = series.rsplit_once("} ").expect("labels, then a number");
                let reason = labels.split("reason=\"").nth(1).expect("a reason");
                let reason = reason.split('"').next().unwrap_or_default();
                (reason.to_owned(), count.parse().expect("a number"))
            })
            .collect()
    }

    /// Checks one case; what is wrong with it, if anything.
    async fn check(&mut self, case: &Case) -> Result<(), String> {
        let served = matches!(case.status, Some(200 | 204));
        let stays = served && !case.closes;
        let wanted = stays.then_some(case.after + 1);
        let outcome = exchange(self.balancer.address, &case.bytes, case.eof, wanted).await;

        let mut statuses = vec![200; case.after];
        statuses.extend(case.status);
        if outcome.statuses != statuses {
            return Err(format!("answered {:?}, not {statuses:?}", outcome.statuses));
        }
        if outcome.closed == stays {
            return Err(format!("the connection was closed: {}", outcome.closed));
        }

        let counts = self.refusals().await;
        let mut expected = self.counts.clone();
        if let Some(reason) = &case.reason {
            *expected.entry(reason.clone()).or_default() += 1;
        }
        self.counts.clone_from(&counts);
        if counts != expected {
            return Err(format!("counted {counts:?}, not {expected:?}"));
        }

        // Whatever was on its way has arrived when a later request has.
        let probe = format!("/probe/{}", case.name);
        if self.probe(&probe).await != [200] {
            return Err("the balancer does not serve any more".to_owned());
        }
        let seen = if case.partly {
            self.upstream.take()
        } else {
            self.arrived().await
        };
        if !seen.nonsense.is_empty() {
            return Err(format!("nonsense behind the door: {:?}", seen.nonsense));
        }
        let whole = seen.cut.is_empty() && seen.pending.is_empty();
        if !(whole || case.partly) {
            return Err(format!(
                "half a request behind the door: {:?} {:?}",
                seen.cut, seen.pending
            ));
        }
        let arrived = case.after + usize::from(served && !case.own);
        let targets: Vec<&str> = seen.complete.iter().map(|one| &*one.target).collect();
        if targets.len() != arrived + 1 || targets.last() != Some(&&*probe) {
            return Err(format!("{targets:?} arrived, not {arrived} and the probe"));
        }
        if targets.iter().any(|target| target.contains("smuggled")) {
            return Err(format!("smuggled: {targets:?}"));
        }
        if served && !case.own {
            let last = &seen.complete[arrived - 1].bytes;
            let has = |wanted: &Vec<u8>| last.windows(wanted.len()).any(|part| part == wanted);
            let text = String::from_utf8_lossy(last);
            if let Some(missing) = case.sees.iter().find(|wanted| !has(wanted)) {
                let missing = String::from_utf8_lossy(missing);
                return Err(format!("{missing:?} is not in {text:?}"));
            }
            if let Some(extra) = case.lacks.iter().find(|wanted| has(wanted)) {
                let extra = String::from_utf8_lossy(extra);
                return Err(format!("{extra:?} is in {text:?}"));
            }
        }
        Ok(())
    }

    /// Checks all these cases, one after the other, and tells all that fail.
    async fn check_all(&mut self, cases: &[&Case]) {
        let mut failures = Vec::new();
        for case in cases {
            if let Err(failure) = self.check(case).await {
                failures.push(format!("{}/{}: {failure}", case.file, case.name));
                // So that one failure is not told twice.
                self.counts = self.refusals().await;
                self.upstream.take();
            }
        }
        let count = cases.len();
        assert!(
            failures.is_empty(),
            "{} of {count} cases fail:\n{}",
            failures.len(),
            failures.join("\n")
        );
    }
}

#[test]
fn the_corpus_is_whole() {
    let cases = case::all();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let names: BTreeSet<&str> = cases.iter().map(|case| &*case.name).collect();
    assert_eq!(names.len(), cases.len(), "each case has its own name");
    for refusal in Refusal::ALL {
        let mut told = cases
            .iter()
            .filter(|case| case.reason.as_deref() == Some(refusal.label()))
            .peekable();
        assert!(told.peek().is_some(), "no case for {}", refusal.label());
        for case in told {
            assert_eq!(case.status, Some(refusal.status()), "{}", case.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_bad_head_gets_through() {
    let cases = case::all();
    let cases: Vec<&Case> = cases.iter().filter(|case| !case.partly).collect();
    let mut lab = Lab::start(&[]).await;
    lab.check_all(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bad_body_is_ever_complete() {
    let cases = case::all();
    let cases: Vec<&Case> = cases.iter().filter(|case| case.partly).collect();
    let mut lab = Lab::start(&[]).await;
    lab.check_all(&cases).await;
    eventually("what was begun is broken off", || async {
        lab.upstream.take().pending.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_are_cut_off_and_others_served_meanwhile() {
    let lab = Lab::start(&["--head-timeout-ms", "500"]).await;
    let mut slow = Vec::new();
    for number in 0..64 {
        let address = lab.balancer.address;
        slow.push(tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            client.send(b"GET /data HTTP/1.1\r\nHost: lab\r\n").await;
            // One more header line now and then, for as long as it is let.
            client
                .drip(b"X-A: b\r\n", Duration::from_millis(10 + number))
                .await
        }));
    }
    assert_eq!(lab.probe("/meanwhile").await, [200]);
    for client in slow {
        let outcome = client.await.unwrap();
        assert_eq!((outcome.statuses, outcome.closed), (vec![408], true));
    }
    assert_eq!(lab.refusals().await.get("head_timeout"), Some(&64));
    let seen = lab.arrived().await;
    assert_eq!(seen.complete.len(), 1);
    assert!(seen.cut.is_empty() && seen.pending.is_empty() && seen.nonsense.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn dripped_heads_and_bodies_arrive_whole() {
    let lab = Lab::start(&[]).await;
    for (bytes, body) in [
        (&b"POST /data HTTP/1.1\r\nHost: lab\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"[..], "hello"),
        (
            b"POST /data HTTP/1.1\r\nHost: lab\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n",
            "hello",
        ),
    ] {
        let mut client = Client::connect(lab.balancer.address).await;
        for byte in bytes {
            client.send(&[*byte]).await;
            tokio::task::yield_now().await;
        }
        let outcome = client.rest(None).await;
        assert_eq!((outcome.statuses, outcome.closed), (vec![200], true));
        let seen = lab.upstream.take();
        assert_eq!(seen.complete.len(), 1);
        assert_eq!(seen.complete[0].body, body.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_stop_are_cut_off() {
    let lab = Lab::start(&["--body-stall-ms", "200"]).await;
    for bytes in [
        &b"POST /data HTTP/1.1\r\nHost: lab\r\nContent-Length: 50\r\n\r\nhello"[..],
        b"POST /data HTTP/1.1\r\nHost: lab\r\nContent-Length: 500000\r\n\r\nhello",
        b"POST /data HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"POST /data HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"POST /data HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n5",
    ] {
        let text = String::from_utf8_lossy(bytes);
        let outcome = exchange(lab.balancer.address, bytes, false, None).await;
        assert_eq!(
            (outcome.statuses, outcome.closed),
            (vec![408], true),
            "{text:?}"
        );
    }
    assert_eq!(lab.refusals().await.get("body_timeout"), Some(&5));
    assert_eq!(lab.probe("/probe").await, [200]);
    let seen = lab.upstream.take();
    assert_eq!(seen.complete.len(), 1);
    assert!(seen.nonsense.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_pipelined_requests_are_answered_in_order() {
    const COUNT: usize = 10_000;
    let lab = Lab::start(&[]).await;
    let mut bytes = Vec::new();
    for number in 0..COUNT {
        bytes
            .extend_from_slice(format!("GET /n/{number} HTTP/1.1\r\nHost: lab\r\n\r\n").as_bytes());
    }
    let outcome = exchange(lab.balancer.address, &bytes, false, Some(COUNT)).await;
    assert_eq!(outcome.statuses, vec![200; COUNT]);
    for (number, body) in outcome.bodies.iter().enumerate() {
        assert_eq!(*body, format!("/n/{number}").into_bytes());
    }
    let seen = lab.upstream.take();
    assert_eq!(seen.complete.len(), COUNT);
    assert!(seen.cut.is_empty() && seen.nonsense.is_empty());
}
