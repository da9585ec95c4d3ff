//! What each safeguard is there for is noticed when it is not there.

use crate::{VIOLATED, chaos, seat, words};

/// Short runs until one catches it: whether a plan has the fault that tells depends on its seed.
const RUNS: usize = 3;

/// A short run without a safeguard is caught, and one of its offenders says so in these words.
async fn is_caught(safeguard: &str, because: &[&str]) {
    let _seat = seat().await;
    let mut runs = 1;
    let output = loop {
        let output = chaos(&[
            "--plan",
            "short",
            "--rounds",
            "2",
            "--without-safeguard",
            safeguard,
        ])
        .await;
        if output.status.code() == Some(VIOLATED) || runs == RUNS {
            break output;
        }
        runs += 1;
    };
    assert_eq!(output.status.code(), Some(VIOLATED), "without {safeguard}");
    let words = words(&output);
    assert!(
        because.iter().any(|because| words.contains(because)),
        "{safeguard}"
    );
    // It is kept for a look, which nobody will have.
    let kept = words
        .lines()
        .find_map(|line| line.strip_prefix("kept: ")?.split(" and ").next())
        .unwrap();
    std::fs::remove_dir_all(kept).unwrap();
}

#[tokio::test]
async fn without_the_claim_a_repeated_recharge_is_made_twice() {
    is_caught("claim", &["carried out"]).await;
}

#[tokio::test]
async fn without_fencing_a_late_acknowledgement_counts() {
    is_caught("fencing", &["the receipt should have been void"]).await;
}

#[tokio::test]
async fn without_voiding_leases_an_old_value_comes_back() {
    is_caught(
        "lease-void",
        &["had been answered", "is from before a recharge"],
    )
    .await;
}

#[tokio::test]
async fn without_the_inbox_one_is_notified_twice() {
    is_caught("inbox", &["was notified about"]).await;
}
