//! A lab on the screen, at the moments that look different.

use labs::{
    engine::{Phase, Wants},
    record::{Cell, Outcome, Reading, Row, StepOutcome, Table},
};

use super::busy;
use crate::state::{
    State, Update,
    lab::{Ending, Scene},
};

fn scene() -> Scene {
    Scene {
        title: "A gateway dies".into(),
        goal: "Kill a gateway under load, and see that nobody notices.".into(),
        phase: Phase::Ready,
        wants: Wants::Next,
        steps: [
            vec![StepOutcome::Done; 2],
            vec![StepOutcome::Passed],
            vec![StepOutcome::Skipped; 6],
        ]
        .concat(),
        at: Some(3),
        kind: "act".into(),
        headline: "kill gateway-2".into(),
        text: "The process ends at once, in the middle of whatever it does.\nThe balancer finds out by the connections that break, before its next check."
            .into(),
        choices: Vec::new(),
        chosen: None,
        right: None,
        said: None,
        failed: false,
        expression: None,
        readings: Vec::new(),
        history: Vec::new(),
        left_seconds: None,
        progress: None,
        table: None,
        ending: None,
    }
}

/// A question that waits for its answer.
pub fn asking() -> Scene {
    Scene {
        phase: Phase::Asking,
        wants: Wants::Choice,
        kind: "predict".into(),
        headline: "A gateway is killed under load. How many of the requests fail?".into(),
        text: String::new(),
        choices: vec![
            "A third of them, until it is back".into(),
            "None: what is safe to repeat is repeated elsewhere".into(),
            "All of them, until it is back".into(),
        ],
        ..scene()
    }
}

/// A condition that does not hold yet.
pub fn watching() -> Scene {
    let reading = |what: &str, seen: &str, operator: &str, bound: &str, holds| Reading {
        what: what.into(),
        seen: seen.into(),
        operator: operator.into(),
        bound: bound.into(),
        holds,
    };
    Scene {
        phase: Phase::Working,
        wants: Wants::Nothing,
        kind: "observe".into(),
        headline: "The two that are left share the load, and the third comes back".into(),
        text: String::new(),
        expression: Some(
            "share(load.gateway, 'gateway-2') < 5% and instances(gateway) == 3".into(),
        ),
        readings: vec![
            reading("share(load.gateway, 'gateway-2')", "3 %", "<", "5 %", true),
            reading("instances(gateway)", "2", "==", "3", false),
        ],
        history: vec![33.0, 33.0, 20.0, 11.0, 7.0, 5.0, 4.0, 3.0],
        left_seconds: Some(7.6),
        table: Some(Table {
            columns: ["gateway", "count", "p50"].map(str::to_owned).to_vec(),
            rows: ["gateway-1", "gateway-3"]
                .map(|name| Row {
                    name: name.into(),
                    cells: ["312", "1.2 ms"]
                        .map(|text| Cell {
                            text: text.into(),
                            number: None,
                        })
                        .to_vec(),
                })
                .to_vec(),
        }),
        ..scene()
    }
}

/// It is over, and not well.
pub fn ended() -> Scene {
    Scene {
        phase: Phase::Over,
        wants: Wants::Nothing,
        at: None,
        ending: Some(Ending {
            outcome: Outcome::Failed,
            reason: Some("step 5: instances(gateway) == 3 does not hold".into()),
            predicted: (1, 2),
            record: ".recarga/labs/20260302-140512-gateway-dies/run.json".into(),
        }),
        ..scene()
    }
}

/// The busy lab with a scene before it.
pub fn staged(scene: Scene) -> State {
    let mut state = busy();
    state.apply(Update::Lab(Ok(Box::new(scene))));
    state.stage.focused = true;
    state
}
