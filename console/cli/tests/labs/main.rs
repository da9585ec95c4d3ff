//! What needs a whole lab for itself: labs, which pass, fail when their tactic is off, and leave the baseline behind however they end;
//! and an operator's day.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod day;
mod off;
#[path = "../common/seat.rs"]
mod seat;
mod stage;
#[path = "../common/whole.rs"]
mod whole;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use labs::record::{Outcome, Run};
use serde_json::Value;
use stage::{Stage, stage};

const PASSED: i32 = 0;
const FAILED: i32 = 1;
const CHECK_FAILED: i32 = 8;
const INTERRUPTED: i32 = 130;

/// A lab that somebody wrote.
const OWN: &str = r#"
schema = 1
name = "mine"
title = "My own"
goal = "See that a lab may come from anywhere."
minutes = 1
needs = ["gateway >= 2"]
[[step]]
kind = "predict"
question = "Is it there?"
choices = ["yes", "no"]
right = 1
[[step]]
kind = "measure"
name = "health"
calls = ["GET /health"]
times = 5
as = "anonymous"
[[step]]
kind = "observe"
that = "health.ok == 5 and json(health, '/status') == 'up'"
[[series]]
name = "requests"
of = "balancer.recarga_http_requests_total"
"#;

/// A lab that never ends by itself, with something of everything to be taken back.
const ENDLESS: &str = r#"
schema = 1
name = "endless"
title = "Endless"
goal = "Be stopped."
minutes = 1
[[step]]
kind = "act"
do = "fault gateway-2 latency=20ms for=forever; cache off; policy p2c; delay data 700ms; pause-consumers worker; scale search 2"
[[step]]
kind = "act"
do = "drain exercise-2"
[[step]]
kind = "measure"
name = "traffic"
calls = ["GET /data?key=endless"]
rate = 20
for = "2m"
background = true
[[step]]
kind = "observe"
that = "traffic.count < 0"
within = "2m"
"#;

fn shipped(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../labs/labs");
    fs::read_to_string(folder.join(file)).unwrap()
}

/// The records below a folder, in their order.
fn records(folder: &Path) -> Vec<Run> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("run.json"))
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    let read = |path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    paths.into_iter().map(read).collect()
}

fn at_baseline(run: &Run) -> bool {
    run.baselines
        .last()
        .is_some_and(|baseline| baseline.verified)
}

#[test]
fn labs_pass_and_leave_records() {
    let whole = stage();
    let folder = tempfile::tempdir().unwrap();
    let output = whole.recarga(&[
        "lab",
        "run",
        "--record",
        folder.path().to_str().unwrap(),
        "tutoring",
        "2",
        "caching",
        "latency",
        "slow-gateway",
    ]);
    let text = stage::words(&output);
    assert_eq!(output.status.code(), Some(PASSED), "{text}");
    let runs = records(folder.path());
    assert_eq!(runs.len(), 5, "{text}");
    for run in &runs {
        assert_eq!(run.outcome, Outcome::Passed, "{text}");
        assert_eq!(run.baselines.len(), 2);
        assert!(
            run.baselines
                .iter()
                .all(|baseline| baseline.verified && baseline.took_ms < 12_000.0)
        );
        assert!(run.machine.cores > 0 && !run.settings.is_empty() && !run.measurements.is_empty());
        for measured in &run.measurements {
            let texts = measured.texts.values().map(|column| column.index.len());
            let tiers = measured.tiers.values().map(Vec::len);
            assert!(texts.chain(tiers).all(|length| length == measured.len()));
        }
    }
    let latency = runs.iter().find(|run| run.lab.name == "latency").unwrap();
    let table = latency
        .steps
        .iter()
        .find_map(|step| step.table.as_ref())
        .unwrap();
    assert_eq!((table.rows.len(), table.columns.len()), (5, 5));
    assert!(
        table
            .rows
            .iter()
            .flat_map(|row| &row.cells)
            .all(|cell| cell.number.is_some())
    );
    let slow = runs
        .iter()
        .find(|run| run.lab.name == "slow-gateway")
        .unwrap();
    assert!(
        slow.marks
            .iter()
            .any(|mark| mark.text.starts_with("fault gateway-1"))
    );
    assert!(slow.series[0].points.len() > 5);

    every_metric_has_a_name_that_labs_know(&whole);
}

fn every_metric_has_a_name_that_labs_know(whole: &Stage) {
    let unknown: Vec<String> = whole
        .metrics()
        .into_iter()
        .filter(|name| !name.ends_with("_bucket") && !labs::is_metric(name))
        .collect();
    assert!(
        unknown.is_empty(),
        "console/labs/src/metrics.txt lacks {unknown:?}"
    );
}

#[test]
fn a_lab_from_anywhere_runs_and_a_killed_one_is_cleaned_up_after() {
    let whole = stage();
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("mine.toml");
    fs::write(&own, OWN).unwrap();
    let own = own.to_str().unwrap();
    let output = whole.recarga(&["lab", "run", own, "--json", "--answer", "2"]);
    assert_eq!(
        output.status.code(),
        Some(PASSED),
        "{}",
        stage::words(&output)
    );
    let events = events(&output.stdout);
    let ended = events.last().unwrap();
    assert_eq!(
        (&ended["event"], &ended["outcome"]),
        (&"ended".into(), &"passed".into())
    );
    let run: Run =
        serde_json::from_slice(&fs::read(ended["record"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(run.steps[0].prediction.as_ref().unwrap().chosen, Some(2));
    assert_eq!(run.lab.file.as_deref(), Some(own));

    // Something that was wrong before: it is put right first.
    whole.arrange(&["drain", "exercise-3"]);
    let endless = folder.path().join("endless.toml");
    fs::write(&endless, ENDLESS).unwrap();
    let endless = endless.to_str().unwrap();

    let mut running = whole.spawn(&["lab", "run", endless, "--json"]);
    until_looked(&mut running);
    let second = whole.recarga(&["lab", "run", own]);
    assert_eq!(second.status.code(), Some(FAILED));
    assert!(stage::words(&second).contains("another lab is being run"));
    stage::signal(&running, "INT");
    assert_eq!(running.wait().unwrap().code(), Some(INTERRUPTED));
    let interrupted = records(&whole.path().join("labs")).pop().unwrap();
    assert_eq!(interrupted.outcome, Outcome::Interrupted);
    assert!(at_baseline(&interrupted), "{:?}", interrupted.baselines);
    assert_eq!(whole.delays()["data_ms"], 100);

    let mut running = whole.spawn(&["lab", "run", endless, "--json"]);
    until_looked(&mut running);
    stage::signal(&running, "KILL");
    running.wait().unwrap();
    assert_eq!(whole.delays()["data_ms"], 700);
    let output = whole.recarga(&["lab", "run", own]);
    let text = stage::words(&output);
    assert_eq!(output.status.code(), Some(PASSED), "{text}");
    assert_eq!(whole.delays()["data_ms"], 100, "{text}");
    assert_eq!(whole.count("search"), 1, "{text}");
}

/// Until the endless lab looks at its condition, with everything done before.
fn until_looked(running: &mut std::process::Child) {
    let lines = BufReader::new(running.stdout.as_mut().unwrap()).lines();
    let looked = lines
        .map_while(Result::ok)
        .any(|line| line.contains("\"event\":\"look\""));
    assert!(looked, "it ended before");
}

fn events(out: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(out);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn files_are_checked_without_a_lab() {
    let folder = tempfile::tempdir().unwrap();
    let recarga = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_recarga"))
            .arg("lab")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let path = folder.path().join("broken.toml");
    fs::write(&path, OWN.replace("health.ok == 5", "helth.ok == 5")).unwrap();
    let output = recarga(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(FAILED));
    let text = stage::words(&output);
    assert!(
        text.contains("broken.toml:21:9: ") && text.contains("did you mean \"health\"?"),
        "{text}"
    );

    fs::write(&path, OWN).unwrap();
    assert_eq!(
        recarga(&["check", path.to_str().unwrap()]).status.code(),
        Some(PASSED)
    );
    let schema: Value = serde_json::from_slice(&recarga(&["schema"]).stdout).unwrap();
    assert_eq!(schema["type"], "object");
    let list: Value = serde_json::from_slice(&recarga(&["list", "--json"]).stdout).unwrap();
    assert!(list.as_array().unwrap().len() >= 15);
    let output = recarga(&["run", "cachign"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stage::words(&output).contains("did you mean \"caching\"?"));
}
