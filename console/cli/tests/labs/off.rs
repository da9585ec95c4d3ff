//! Every lab fails when the tactic that it shows is switched off.

use std::fs;

use labs::record::StepOutcome;

use crate::{
    CHECK_FAILED, at_baseline, records, shipped,
    stage::{self, stage},
};

/// Runs a lab in whose text something was replaced so that its tactic is off.
fn fails(file: &str, replaced: &[(&str, &str)]) {
    let mut text = shipped(file);
    for (on, off) in replaced {
        assert!(text.contains(on), "{file} has no {on:?}");
        text = text.replacen(on, off, 1);
    }
    let stage = stage();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    fs::write(&path, text).unwrap();
    let record = folder.path().join("runs");
    let output = stage.recarga(&[
        "lab",
        "run",
        path.to_str().unwrap(),
        "--record",
        record.to_str().unwrap(),
    ]);
    let words = stage::words(&output);
    assert_eq!(output.status.code(), Some(CHECK_FAILED), "{file}: {words}");
    let run = records(&record).pop().unwrap();
    assert!(at_baseline(&run), "{file}: {words}");
    let failed = |step: &labs::record::Step| step.outcome == StepOutcome::Failed;
    assert!(run.steps.iter().any(failed), "{file}: {words}");
}

// A test for each lab: what is replaced in its text, and by what.
macro_rules! labs_without {
    ($($name:ident $file:literal { $($on:literal => $off:literal,)+ })*) => {
        $(
            #[test]
            fn $name() {
                fails($file, &[$(($on, $off)),+]);
            }
        )*
    };
}

labs_without! {
    tutoring_without_a_cache "01-tutoring.toml" {
        "do = \"flush all\"" => "do = \"flush all; cache off\"",
    }
    balancing_with_nearly_everything_for_one "02-balancing.toml" {
        "kind = \"predict\"" => "kind = \"act\"\ndo = \"policy weighted; weight gateway-1 50\"\n[[step]]\nkind = \"predict\"",
    }
    caching_without_a_cache "03-caching.toml" {
        "do = \"delay data 100ms; flush all\"" => "do = \"delay data 100ms; flush all; cache off\"",
    }
    invalidation_without_a_cache "04-invalidation.toml" {
        "kind = \"explain\"" => "kind = \"act\"\ndo = \"cache off\"\n[[step]]\nkind = \"explain\"",
    }
    two_levels_with_one_that_may_be_asked "05-two-levels.toml" {
        "kind = \"predict\"" => "kind = \"act\"\ndo = \"policy weighted pool=exercise; weight exercise-1 100\"\n[[step]]\nkind = \"predict\"",
    }
    tasks_without_more_workers "06-tasks.toml" {
        "do = \"scale worker 3; delay task 2s\"" => "do = \"delay task 2s\"",
        "instance='worker-3'}, three) >= 1\"\nwithin = \"40s\"" => "instance='worker-3'}, three) >= 1\"\nwithin = \"3s\"",
    }
    latency_without_a_cache "07-latency.toml" {
        "do = \"flush all\"" => "do = \"flush all; cache off\"",
    }
    a_gateway_dies_and_there_is_no_other "08-gateway-dies.toml" {
        "do = \"kill gateway-1\"" => "do = \"drain gateway-2; drain gateway-3; kill gateway-1\"",
    }
    a_slow_gateway_and_nobody_looks "09-slow-gateway.toml" {
        "do = \"policy p2c\"" => "do = \"policy random\"",
    }
    a_restart_of_all_at_once "10-rolling-restart.toml" {
        "do = \"restart gateway\"" => "do = \"kill gateway-1; kill gateway-2; kill gateway-3\"",
    }
    a_stampede_without_leases "11-stampede.toml" {
        "do = \"delay data 500ms; flush all\"" => "do = \"delay data 500ms; flush all; safeguard leases off\"",
    }
    a_stale_write_back_without_leases "12-stale-write-back.toml" {
        "do = \"delay data 2s; flush all\"" => "do = \"delay data 2s; flush all; safeguard leases off\"",
    }
    retries_without_claims "13-retries.toml" {
        "kind = \"explain\"" => "kind = \"act\"\ndo = \"safeguard claim off\"\n[[step]]\nkind = \"explain\"",
    }
    a_consumer_dies_and_nothing_is_delivered_again "14-consumer-dies.toml" {
        "do = \"kill worker-1\"" => "do = \"pause-queue tasks; kill worker-1\"",
        "within = \"40s\"" => "within = \"4s\"",
    }
    backlog_without_more_workers "15-backlog.toml" {
        "do = \"scale worker 3; pause-consumers worker\"" => "do = \"pause-consumers worker\"",
    }
    overload_without_shedding "16-overload.toml" {
        "do = \"safeguard shedding on\"" => "do = \"cache on\"",
    }
    coordinated_omission_seen_by_two_closed_loops "17-coordinated-omission.toml" {
        "rate = 30\nfor = \"7s\"\nat_once = 150\n" => "for = \"7s\"\n",
    }
    redis_gone_and_nothing_behind_it "18-redis-gone.toml" {
        "do = \"kill redis\"" => "do = \"kill postgres; kill redis\"",
        "within = \"15s\"" => "within = \"2s\"",
    }
    postgres_gone_without_a_cache "19-postgres-gone.toml" {
        "do = \"kill postgres\"" => "do = \"cache off; kill postgres\"",
        "holds(2)\"\nwithin = \"20s\"" => "holds(2)\"\nwithin = \"2s\"",
    }
    one_call_made_of_many "20-one-call.toml" {
        "kind = \"explain\"" => "kind = \"act\"\ndo = \"safeguard single-call off\"\n[[step]]\nkind = \"explain\"",
    }
    a_retry_storm_without_a_budget "21-retry-storm.toml" {
        "budget = 10\n" => "",
        "count * 90%\"\nwithin = \"20s\"" => "count * 90%\"\nwithin = \"13s\"",
    }
}

#[test]
fn none_is_left_out() {
    let text = include_str!("off.rs");
    for lab in labs::shipped().unwrap() {
        let file = format!("-{}.toml\"", lab.name);
        assert!(
            text.contains(&file),
            "{file} is never run with its tactic off"
        );
    }
}
