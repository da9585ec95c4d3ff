//! Many log lines: what they cost, what they do to keys and to memory.

use std::time::{Duration, Instant};

use anyhow::Result;
use pty::Session;

use super::{
    console,
    measure::{PATIENCE, Stage, cost, first_frame, kibibytes, mebibytes, milliseconds, quantile},
    target::Measured,
};

/// Lines a second of the cost, and of the soak.
const USUAL: u32 = 2_000;
const HARD: u32 = 5_000;

/// Keys of which the slowest hundredth is told.
const KEYS: usize = 200;

/// What the help says, and nothing else does.
const HELP: &str = "type to search";

/// A soak is at its level when every line kept has been replaced twice.
const LEVEL: Duration = Duration::from_secs(5);

pub fn measure(duration: Duration, soak: Duration) -> Result<Vec<Measured>> {
    let stage = Stage::busy()?;
    let session = console(stage.lab.path())?.size(120, 40).start()?;
    first_frame(&session)?;
    stage.until_read()?;
    let mut measured = Vec::new();
    stage.flood(USUAL, || -> Result<()> {
        std::thread::sleep(duration.min(Duration::from_secs(3)));
        let cost = cost(&session, duration);
        measured.push(Measured::new(
            format!("CPU at {USUAL} log lines/s, 120x40"),
            "% of a core",
            cost.cpu,
            5.0,
        ));
        measured.push(Measured::new(
            format!("output at {USUAL} log lines/s, 120x40"),
            "KiB/s",
            Some(kibibytes(cost.rate)),
            None,
        ));
        let keys = keys(&session, KEYS)?;
        for (name, part, target) in [("p50", 0.5, None), ("p99", 0.99, Some(50.0))] {
            measured.push(Measured::new(
                format!("key to the frame that shows it, {name}, at {USUAL} log lines/s"),
                "ms",
                quantile(&keys, part).map(milliseconds),
                target,
            ));
        }
        Ok(())
    })?;
    stage.flood(HARD, || -> Result<()> {
        let level = LEVEL.min(soak / 2);
        std::thread::sleep(level);
        let before = mebibytes(session.resident());
        let rest = soak.saturating_sub(level);
        let cost = cost(&session, rest);
        let after = mebibytes(session.resident());
        let seconds = soak.as_secs_f64();
        measured.push(Measured::new(
            format!("CPU at {HARD} log lines/s, 120x40"),
            "% of a core",
            cost.cpu,
            None,
        ));
        measured.push(Measured::new(
            format!("resident after {seconds:.0} s at {HARD} log lines/s"),
            "MiB",
            after,
            40.0,
        ));
        measured.push(Measured::new(
            format!("growth in the last {:.0} s of them", rest.as_secs_f64()),
            "MiB",
            after.zip(before).map(|(after, before)| after - before),
            1.0,
        ));
        Ok(())
    })?;
    session.keys("\x03")?;
    session.until_left()?;
    Ok(measured)
}

/// Opens and closes the help; how long each took until the screen showed it.
fn keys(session: &Session, count: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(count);
    for number in 0..count {
        let (key, open) = if number % 2 == 0 {
            ("?", true)
        } else {
            ("\x1b", false)
        };
        let pressed = Instant::now();
        session.keys(key)?;
        let shown = session.wait_for("the key is answered", PATIENCE, |seen| {
            (seen.shows(HELP) == open).then(|| seen.last_at()).flatten()
        })?;
        times.push(shown.saturating_duration_since(pressed));
        session.forget();
        // At every phase of the frames in turn.
        std::thread::sleep(Duration::from_millis(20 + (number as u64 * 37) % 100));
    }
    Ok(times)
}
