//! Far more log lines than anybody reads: keys, memory and the terminal must not notice.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use pty::{Instance, Session};

use crate::desk::{HELP, PATIENCE, console, eventually, left_in_order, open, small_lab};

/// Log lines a second, of each instance.
const RATE: u32 = 2_500;

/// Runs the test while both instances log; what they log is over when it is.
fn in_a_flood(instances: &[Instance], test: impl FnOnce()) {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for instance in instances {
            let over = || over.load(Ordering::SeqCst);
            scope.spawn(move || instance.flood(RATE, Duration::from_mins(5), over));
        }
        test();
    });
}

fn follows(instances: &[Instance]) {
    eventually("the console follows the logs", || {
        instances.iter().all(|instance| instance.readers() == 1)
    });
}

/// How long after a key the next byte comes.
fn key_to_byte(session: &Session, key: &str) -> Duration {
    let position = session.written();
    let pressed = Instant::now();
    session.keys(key).unwrap();
    let came = session
        .wait_for("the key is answered", PATIENCE, |seen| {
            seen.first_after(position)
        })
        .unwrap();
    came.saturating_duration_since(pressed)
}

#[test]
fn pitfall_09_log_view_freezes_and_fights_scrolling() {
    let (lab, instances) = small_lab();
    let session = open(console(&lab).size(120, 40));
    follows(&instances);
    in_a_flood(&instances, || {
        eventually("lines came", || instances[0].lines() > 10_000);
        let told = instances[0].lines() + instances[1].lines();
        // It is not behind: what is logged now is on the screen before long, flood or not.
        instances[0].log("ERROR", "the needle in the flood");
        // The view of the logs, errors only.
        session.keys("7vv").unwrap();
        session.until_shown("the needle in the flood").unwrap();
        // Scrolled up, what is shown stays.
        session.keys("k").unwrap();
        session.until_shown("PAUSED").unwrap();
        let line = |session: &Session| {
            let text = session.text();
            let shown = text.lines().find(|line| line.contains("needle"));
            shown.map(str::to_owned)
        };
        if let Some(before) = line(&session) {
            let lines = instances[0].lines();
            eventually("more lines came", || instances[0].lines() > lines + 1_000);
            let after = line(&session);
            // What is older than all that is kept cannot be shown.
            let since = instances[0].lines() + instances[1].lines() - told;
            assert!(since > 8_000 || after == Some(before), "{}", session.text());
        }
        session.keys("G").unwrap();
        let mut waits: Vec<_> = ["?", "\x1b"]
            .repeat(20)
            .into_iter()
            .map(|key| key_to_byte(&session, key))
            .collect();
        waits.sort();
        println!("key to byte in a flood: {:?} at most", waits[39]);
        // Generous, and for debug builds: a view that freezes takes many times as long.
        assert!(waits[20] < Duration::from_secs(1), "{waits:?}");
    });
    session.keys("\x03").unwrap();
    left_in_order(&session, 0);
}

#[test]
fn pitfall_10_unbounded_memory() {
    let (lab, instances) = small_lab();
    let session = open(console(&lab));
    follows(&instances);
    in_a_flood(&instances, || {
        let lines = || instances[0].lines() + instances[1].lines();
        let after = |count: u64| {
            eventually("lines came", || lines() > count);
            session.resident().unwrap()
        };
        // Until then every buffer has been full.
        let before = after(25_000);
        let later = after(60_000);
        println!("{before} bytes, after as many lines again {later}");
        assert!(
            later < before + 6_000_000,
            "{before} bytes became {later} with the same number of lines kept"
        );
    });
    session.keys("q").unwrap();
    left_in_order(&session, 0);
}

#[test]
fn a_terminal_that_does_not_read_loses_frames_but_no_key() {
    let (lab, instances) = small_lab();
    let session = open(console(&lab).size(200, 60));
    follows(&instances);
    in_a_flood(&instances, || {
        session.read(false);
        let lines = instances[0].lines();
        // Whole paintings, of which a terminal takes a few before it takes no more.
        let mut typed = 0;
        eventually("two seconds' worth of lines came", || {
            session.keys("\x0c").unwrap();
            typed += 1;
            instances[0].lines() > lines + u64::from(2 * RATE)
        });
        let position = session.written();
        session.keys("?").unwrap();
        session.read(true);
        session.until_shown(HELP).unwrap();
        let painting = 16_384;
        let behind = session.written() - position;
        println!("{behind} bytes for {typed} paintings");
        assert!(behind < typed * painting / 2, "{behind} bytes came late");
    });
    session.keys("\x03").unwrap();
    left_in_order(&session, 0);
}
