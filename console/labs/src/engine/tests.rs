//! Runs without a lab: what is ordered, what is shown, how it ends.

use actions::Done;
use proptest::prelude::*;

use super::*;
use crate::{
    record::{Finding, StepOutcome},
    source::read,
};

const LAB: &str = r#"
schema = 1
name = "small"
title = "Small"
goal = "To see."
minutes = 1
clean_up = ["cache on"]
[[step]]
kind = "predict"
question = "What?"
choices = ["this", "that"]
right = 2
[[step]]
kind = "act"
do = "drain gateway-2"
[[step]]
kind = "measure"
name = "slow"
calls = ["GET /data?key=a"]
times = 2
[[step]]
kind = "observe"
that = "slow.max < 100ms and gateway.recarga_retries_total >= 1"
within = "2s"
table = { columns = ["what", "max"], rows = [["slow", "slow.max"]] }
[[series]]
name = "retries"
of = "gateway.recarga_retries_total"
"#;

fn engine() -> Engine {
    let lab = read("small.toml", LAB).unwrap();
    Engine::new(lab, Setting::default())
}

fn baseline(verified: bool) -> Baseline {
    Baseline {
        verified,
        findings: vec![Finding {
            what: "faults".to_owned(),
            good: verified,
            seen: "none".to_owned(),
        }],
        ..Baseline::default()
    }
}

fn prepared() -> Heard {
    Heard::Prepared {
        settings: Ok(BTreeMap::new()),
        baseline: Some(baseline(true)),
    }
}

fn drained() -> Heard {
    Heard::Performed(Box::new(Ok(Done {
        text: "gateway-2 is drained".to_owned(),
        undo: Some(Action::Restore("gateway-2".to_owned())),
        detail: None,
    })))
}

fn looked() -> Heard {
    Heard::Looked {
        answer: None,
        invariants: Vec::new(),
    }
}

fn scraped(retries: u32) -> Heard {
    Heard::Scraped(vec![Scrape {
        role: "gateway".to_owned(),
        instance: "gateway-1".to_owned(),
        ready: true,
        series: crate::metrics::parse(&format!("recarga_retries_total {retries}"), |_| true),
    }])
}

/// To the beginning of the observation.
fn at_the_observation(engine: &mut Engine) {
    assert_eq!(engine.begin(), [Order::Prepare]);
    assert!(engine.hear(prepared(), 1.0).is_empty());
    assert_eq!(engine.view().wants, Wants::Choice);
    engine.command(Command::Choose(1), 2.0);
    engine.command(Command::Next, 3.0);
    assert_eq!(engine.view().wants, Wants::Next);
    let orders = engine.command(Command::Next, 4.0);
    assert!(matches!(
        orders.as_slice(),
        [Order::Perform(Action::Drain(_))]
    ));
    engine.hear(drained(), 5.0);
    engine.command(Command::Next, 6.0);
    let orders = engine.command(Command::Next, 7.0);
    assert!(matches!(orders.as_slice(), [Order::Measure(measure)] if measure.name == "slow"));
    engine.hear(Heard::Began("slow".to_owned()), 8.0);
    for at_ms in [9.0, 8.0] {
        let sample = Sample {
            at_ms,
            latency_ms: 20.0,
            status: 200,
            ..Sample::default()
        };
        engine.hear(Heard::Sampled("slow".to_owned(), sample), 10.0);
    }
    engine.hear(Heard::Measured("slow".to_owned(), Ok(())), 11.0);
    let orders = engine.command(Command::Next, 12.0);
    assert!(matches!(
        orders.as_slice(),
        [Order::Look { again: false, .. }]
    ));
}

#[test]
fn a_run_passes_and_takes_back_what_it_did() {
    let mut engine = engine();
    at_the_observation(&mut engine);
    engine.hear(scraped(0), 20.0);
    let orders = engine.hear(looked(), 21.0);
    assert!(matches!(
        orders.as_slice(),
        [Order::Look { again: true, .. }]
    ));
    let live = engine.view().live.map(|live| live.readings.len());
    assert_eq!(live, Some(2));
    engine.hear(scraped(3), 500.0);
    assert!(engine.hear(looked(), 501.0).is_empty());
    let orders = engine.command(Command::Next, 502.0);
    let [Order::Restore(actions)] = orders.as_slice() else {
        panic!("{orders:?}")
    };
    let lines: Vec<String> = actions.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["cache on", "restore gateway-2"]);
    engine.hear(Heard::Restored(baseline(true)), 600.0);
    assert!(engine.is_over());

    let run = engine.run();
    assert_eq!(run.outcome, Outcome::Passed);
    assert_eq!(run.baselines.len(), 2);
    assert_eq!(run.steps[0].prediction.as_ref().unwrap().chosen, Some(1));
    let outcomes: Vec<StepOutcome> = run.steps.iter().map(|step| step.outcome).collect();
    assert_eq!(outcomes[3], StepOutcome::Passed);
    assert_eq!(run.measurements[0].at_ms, [8.0, 9.0]);
    assert_eq!(run.series[0].points, [(20.0, 0.0), (500.0, 3.0)]);
    assert_eq!(
        run.steps[3].table.as_ref().unwrap().rows[0].cells[0].text,
        "20 ms"
    );
    assert!(run.marks.iter().any(|mark| mark.text == "drain gateway-2"));
    // A record comes back as it was written.
    let text = serde_json::to_string(run).unwrap();
    assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), *run);
}

#[test]
fn a_condition_that_does_not_hold_in_time_fails_the_run() {
    let mut engine = engine();
    at_the_observation(&mut engine);
    engine.hear(scraped(0), 20.0);
    assert_eq!(engine.hear(looked(), 1_000.0).len(), 1);
    assert!(engine.hear(looked(), 2_500.0).is_empty());
    let view = engine.view();
    assert_eq!(view.wants, Wants::Next);
    assert_eq!(view.record.unwrap().outcome, StepOutcome::Failed);
    let orders = engine.command(Command::Baseline, 2_501.0);
    assert!(matches!(orders.as_slice(), [Order::Restore(_)]));
    engine.hear(Heard::Restored(baseline(true)), 2_600.0);
    assert_eq!(engine.run().outcome, Outcome::Failed);
}

#[test]
fn what_cannot_begin_or_end_in_order_is_broken() {
    let mut engine = engine();
    engine.begin();
    let heard = Heard::Prepared {
        settings: Err("it needs 3 instances".to_owned()),
        baseline: None,
    };
    engine.hear(heard, 1.0);
    assert!(engine.is_over());
    assert_eq!(engine.run().outcome, Outcome::Broken);

    let mut engine = self::engine();
    engine.begin();
    engine.hear(prepared(), 1.0);
    engine.command(Command::Baseline, 2.0);
    engine.hear(Heard::Restored(baseline(false)), 3.0);
    assert_eq!(engine.run().outcome, Outcome::Interrupted);

    let mut engine = self::engine();
    engine.begin();
    engine.hear(prepared(), 1.0);
    engine.command(Command::Next, 2.0);
    engine.command(Command::Next, 3.0);
    engine.hear(Heard::Performed(Box::new(Err("refused".to_owned()))), 4.0);
    assert_eq!(engine.view().record.unwrap().outcome, StepOutcome::Failed);
    assert_eq!(engine.run().outcome, Outcome::Broken);
}

#[test]
fn an_action_that_ends_after_the_stop_is_taken_back_by_the_baseline() {
    let mut engine = engine();
    engine.begin();
    engine.hear(prepared(), 1.0);
    engine.command(Command::Next, 2.0);
    engine.command(Command::Next, 3.0);
    engine.command(Command::Baseline, 4.0);
    engine.hear(drained(), 5.0);
    assert_eq!(engine.undo().len(), 1);
    assert!(!engine.is_over());
}

proptest! {
    /// Whatever happens in whatever order: no panic, at most one restoring at a time, and an end when the baseline is back.
    #[test]
    fn any_order_of_events_ends(events in prop::collection::vec(0..10_u8, 0..60)) {
        let mut engine = engine();
        let mut restoring = 0;
        let mut orders = engine.begin();
        for (at, event) in events.into_iter().enumerate() {
            let now = at as f64 * 100.0;
            orders.extend(match event {
                0 => engine.hear(prepared(), now),
                1 | 2 => engine.command(Command::Next, now),
                3 => engine.command(Command::Choose(usize::from(event)), now),
                4 => engine.hear(drained(), now),
                5 => engine.hear(Heard::Measured("slow".to_owned(), Ok(())), now),
                6 => engine.hear(looked(), now),
                7 => engine.hear(scraped(1), now),
                8 => engine.hear(Heard::Performed(Box::new(Err("no".to_owned()))), now),
                _ => engine.command(Command::Baseline, now),
            });
            restoring += orders.drain(..).filter(|order| matches!(order, Order::Restore(_))).count();
            let _ = engine.view();
        }
        prop_assert!(restoring <= 1);
        if restoring == 1 {
            engine.hear(Heard::Restored(baseline(true)), 1e6);
            prop_assert!(engine.is_over());
        }
    }
}
