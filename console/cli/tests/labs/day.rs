//! An operator's day: a whole lab, a small terminal, and nothing but the keyboard.

use std::{path::Path, time::Duration};

use pty::{Program, Session};
use serde_json::Value;

use crate::{
    seat::{PATIENCE, eventually, left_in_order, open},
    stage::stage,
    whole::Whole,
};

/// Arranges something from outside, as trouble does.
fn arrange(lab: &Whole, action: &[&str]) -> Value {
    let output = lab.recarga(&[&["do", "--yes", "--json"], action].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{action:?}: {text} {output:?}");
    serde_json::from_str(&text).unwrap()
}

fn console(lab: &Whole) -> Program {
    Program::new(env!("CARGO_BIN_EXE_recarga"))
        .arguments(["--dir".as_ref(), lab.path().as_os_str()])
        .arguments(["console"])
        .size(80, 24)
}

/// Presses keys one after the other and waits for what they lead to. What is shown before them would say nothing.
fn then(session: &Session, keys: &[&str], shown: &str) {
    assert!(
        !session.look(|seen| seen.shows(shown)),
        "{shown:?} is shown before {keys:?}"
    );
    for key in keys {
        session.keys(key).unwrap();
    }
    session.until_shown(shown).unwrap();
}

/// The first number of milliseconds in the line of a name.
fn milliseconds(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains(name))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let unit = words.iter().position(|word| *word == "ms")?;
    words.get(unit.checked_sub(1)?)?.parse().ok()
}

#[test]
fn an_operators_day() {
    let lab = stage();
    arrange(
        &lab,
        &["fault", "gateway-2", "latency=300ms", "for=forever"],
    );
    let session = open(console(&lab));
    session.until_shown("all 15 up").unwrap();
    then(&session, &["t", "t"], "constant traffic at 50/s");

    // Find the slow gateway.
    then(&session, &["2"], "Gateways");
    session
        .wait_for("gateway-2 is seen to be slow", PATIENCE, |seen| {
            let text = seen.text();
            let of = |name| milliseconds(&text, name);
            let slow = of("gateway-2")? > 150.0 && of("gateway-1")? < of("gateway-2")?;
            slow.then_some(())
        })
        .unwrap();

    // Drain it, restart it, bring it back.
    then(&session, &["j", "a", "d"], "Drain gateway-2?");
    then(&session, &["y"], "gateway-2 is drained");
    then(&session, &["a", "s"], "Restart gateway-2?");
    then(&session, &["y"], "restarted: gateway-2");
    // The restart has brought it back already, and restoring says so.
    then(&session, &["a", "r"], "gateway-2 was not drained");
    session
        .wait_for("gateway-2 is quick again", PATIENCE, |seen| {
            (milliseconds(&seen.text(), "gateway-2")? < 150.0).then_some(())
        })
        .unwrap();

    // Raise the traffic to a spike.
    then(&session, &["t", "s"], "spike traffic");

    // Find the first error and follow its request over all tiers.
    arrange(&lab, &["fault", "travel-1", "errors=1", "for=30s"]);
    session.keys("7").unwrap();
    eventually("an error is found", || {
        session.keys("e").unwrap();
        session.until_quiet(Duration::from_millis(50)).unwrap();
        session.look(|seen| seen.shows("PAUSED"))
    });
    then(&session, &["\r"], "one request over all tiers");
    session.keys("\x1b").unwrap();

    // Redrive a dead letter.
    arrange(
        &lab,
        &[
            "call",
            "POST",
            "queue:/queues/day/messages",
            r#"body={"body":"lost"}"#,
        ],
    );
    let received = arrange(&lab, &["call", "GET", "queue:/queues/day/messages?max=1"]);
    let body: Value = serde_json::from_str(received["answer"]["body"].as_str().unwrap()).unwrap();
    let receipt = body["messages"][0]["receipt"].as_str().unwrap();
    let dead = format!("queue:/queues/day/messages/{receipt}/dead");
    arrange(
        &lab,
        &["call", "POST", &dead, r#"body={"reason":"for the day"}"#],
    );
    then(&session, &["4"], "Queues");
    then(&session, &["/", "d", "a", "y", "\r"], "Dead letters of day");
    session.until_shown("for the day").unwrap();
    let question = "Send 1 dead letter of day again?";
    then(&session, &["\t", "\t", "a", "r"], question);
    then(&session, &["y"], "1 dead letter sent again");

    // Export the last five minutes.
    let file = lab.path().join("day.html");
    session.keys(":").unwrap();
    then(&session, &["window 5m", "\r"], "charts 5m");
    session.keys(":").unwrap();
    let export = format!("export {}", file.display());
    then(&session, &[&export, "\r"], "bytes written");
    assert!(is_page(&file), "{}", file.display());

    session.keys("\x03").unwrap();
    left_in_order(&session, 0);
}

fn is_page(file: &Path) -> bool {
    let page = std::fs::read_to_string(file).unwrap_or_default();
    page.starts_with("<!doctype html>") && page.contains("<svg") && page.contains("drain gateway-2")
}
