//! An operator's day: a whole lab, a small terminal, and nothing but the keyboard.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use pty::{Program, Session};
use serde_json::Value;
use tempfile::TempDir;

use crate::desk::{PATIENCE, RECARGA, eventually, left_in_order, open};

/// A lab starts its stores and fills them first.
const READY: Duration = Duration::from_mins(2);

/// A whole lab in a folder of its own; it ends with this process at the latest.
struct Whole {
    folder: TempDir,
    child: Child,
}

impl Whole {
    fn start() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = TempDir::with_prefix_in("day-", env!("CARGO_TARGET_TMPDIR")).unwrap();
        // The account of the stores may enter.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        let child = Command::new(RECARGA)
            .args(["up", "--no-console", "--free-ports", "--dir"])
            .arg(folder.path())
            .env("RECARGA_EXIT_WITH_PARENT", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lab = Self { folder, child };
        let started = Instant::now();
        while !lab.is_ready() {
            assert!(lab.child.try_wait().unwrap().is_none(), "the lab ended");
            assert!(started.elapsed() < READY, "the lab is not ready");
            std::thread::sleep(Duration::from_millis(100));
        }
        lab
    }

    fn is_ready(&self) -> bool {
        let status = self.recarga(&["status", "--json"]);
        let document: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        let all = document["topology"]["instances"].as_array();
        document["healthy"] == true && all.is_some_and(|all| all.len() >= 15)
    }

    fn recarga(&self, arguments: &[&str]) -> Output {
        Command::new(RECARGA)
            .args(["--dir".as_ref(), self.folder.path().as_os_str()])
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Arranges something from outside, as trouble does.
    fn arrange(&self, action: &[&str]) -> Value {
        let output = self.recarga(&[&["do", "--yes", "--json"], action].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{action:?}: {text} {output:?}");
        serde_json::from_str(&text).unwrap()
    }

    fn console(&self) -> Program {
        Program::new(RECARGA)
            .arguments(["--dir".as_ref(), self.folder.path().as_os_str()])
            .arguments(["console"])
            .size(80, 24)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        // The end of its standard input stops it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Presses keys one after the other and waits for what they lead to.
fn then(session: &Session, keys: &[&str], shown: &str) {
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
    let lab = Whole::start();
    lab.arrange(&["fault", "gateway-2", "latency=300ms", "for=forever"]);
    let session = open(lab.console());
    session.until_shown("all 15 up").unwrap();
    then(&session, &["t", "t"], "50/s");

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
    then(&session, &["a", "r"], "gateway-2 ");
    session
        .wait_for("gateway-2 is quick again", PATIENCE, |seen| {
            (milliseconds(&seen.text(), "gateway-2")? < 150.0).then_some(())
        })
        .unwrap();

    // Raise the traffic to a spike.
    then(&session, &["t", "s"], "spike traffic");

    // Find the first error and follow its request over all tiers.
    lab.arrange(&["fault", "travel-1", "errors=1", "for=30s"]);
    session.keys("7").unwrap();
    eventually("an error is found", || {
        session.keys("e").unwrap();
        session.until_quiet(Duration::from_millis(50)).unwrap();
        session.look(|seen| seen.shows("PAUSED"))
    });
    then(&session, &["\r"], "one request over all tiers");
    session.keys("\x1b").unwrap();

    // Redrive a dead letter.
    lab.arrange(&[
        "call",
        "POST",
        "queue:/queues/day/messages",
        r#"body={"body":"lost"}"#,
    ]);
    let received = lab.arrange(&["call", "GET", "queue:/queues/day/messages?max=1"]);
    let body: Value = serde_json::from_str(received["answer"]["body"].as_str().unwrap()).unwrap();
    let receipt = body["messages"][0]["receipt"].as_str().unwrap();
    let dead = format!("queue:/queues/day/messages/{receipt}/dead");
    lab.arrange(&["call", "POST", &dead, r#"body={"reason":"for the day"}"#]);
    then(&session, &["4"], "Queues");
    then(&session, &["/", "d", "a", "y", "\r"], "Dead letters of day");
    then(&session, &["\t", "\t"], "for the day");
    then(&session, &["a", "r"], "Send 1 dead letter of day again?");
    then(&session, &["y"], "1 dead letter sent again");

    // Export the last five minutes.
    let file = lab.folder.path().join("day.html");
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
