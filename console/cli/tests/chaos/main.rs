//! Faults of every kind against a whole lab, with a plan that is new each time; that nothing is left of it when it is stopped;
//! and that the lab would be caught if it did not have its safeguards.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod interrupted;
mod safeguards;

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use tokio::{
    process::Command,
    sync::{Semaphore, SemaphorePermit},
};

const RECARGA: &str = env!("CARGO_BIN_EXE_recarga");
/// What `recarga chaos` ends with when something is wrong.
const VIOLATED: i32 = 6;

/// Held by a test that is at work: a lab that is shaken mostly waits, so two fit on a small machine, and more would not.
async fn seat() -> SemaphorePermit<'static> {
    static SEATS: Semaphore = Semaphore::const_new(2);
    SEATS.acquire().await.unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(RECARGA);
    command
        .arg("chaos")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn chaos(arguments: &[&str]) -> Output {
    let output = command(arguments).output().await.unwrap();
    // Not by a macro, whose words are shown of a failed test only: the seed is in them.
    std::io::stderr()
        .write_all(words(&output).as_bytes())
        .unwrap();
    output
}

fn words(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(error)
    )
}

/// A primary dies in the first round and in the third, and its standby goes on.
#[tokio::test]
async fn nothing_is_lost_when_a_standby_takes_over() {
    let _seat = seat().await;
    let output = chaos(&["--replicated", "--plan", "short", "--rounds", "3"]).await;
    assert!(output.status.success(), "{}", output.status);
    let words = words(&output);
    let promoted = words
        .lines()
        .filter(|line| line.contains("promote its standby | well"));
    // The plan of a round between may have it, too.
    assert!(promoted.count() >= 2, "{words}");
}

/// The same for services that know a pooler only.
#[tokio::test]
async fn nothing_is_lost_behind_a_pooler() {
    if let Err(missing) = host::find::pgbouncer() {
        eprintln!("SKIPPED: nothing was shaken behind a pooler: {missing}");
        return;
    }
    let _seat = seat().await;
    let given = ["--replicated", "--pgbouncer", "--plan", "short"];
    let output = chaos(&[&given[..], &["--rounds", "3"]].concat()).await;
    assert!(output.status.success(), "{}", output.status);
    let words = words(&output);
    assert!(words.contains("behind PgBouncer"), "{words}");
    let promoted = words
        .lines()
        .filter(|line| line.contains("promote its standby | well"));
    assert!(promoted.count() >= 2, "{words}");
}

/// The Redis that is written to dies in the first round, and stands still in the second.
async fn nothing_is_lost_when_redis_is_replaced(kind: &str, with: &[&str]) {
    let _seat = seat().await;
    let usual = ["--redis", kind, "--plan", "short", "--rounds", "2"];
    let output = chaos(&[&usual, with].concat()).await;
    assert!(output.status.success(), "{}", output.status);
    let words = words(&output);
    for done in ["promote a replica | well", "freeze redis for"] {
        assert!(words.contains(done), "{words}");
    }
}

#[tokio::test]
async fn nothing_is_lost_when_sentinels_promote_a_replica() {
    nothing_is_lost_when_redis_is_replaced("sentinel", &[]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_a_cluster_promotes_a_replica() {
    nothing_is_lost_when_redis_is_replaced("cluster", &["--mutual-tls"]).await;
}

#[tokio::test]
async fn nothing_is_lost_whatever_breaks() {
    let _seat = seat().await;
    let output = chaos(&["--plan", "short", "--rounds", "10", "--duration", "40s"]).await;
    assert!(output.status.success(), "{}", output.status);
}
