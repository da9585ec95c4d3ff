//! Start, rest and end: first frame, live data, memory, idle cost, bytes, restoration.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use pty::{Lab, Session};

use super::{
    Observable, console,
    measure::{PATIENCE, cost, first_frame, kibibytes, mebibytes, milliseconds, quantile},
    target::Measured,
};

/// Starts and ends of which the middle one counts.
const TIMES: usize = 7;

/// Between the first data and the time from which cost is counted.
const SETTLE: Duration = Duration::from_secs(3);

/// The sizes at which bytes are counted, and what they may be in KiB/s.
const SIZES: [((u16, u16), Option<f64>); 3] =
    [((80, 24), None), ((120, 40), Some(4.0)), ((200, 60), None)];

pub fn measure(folder: Option<&Path>, duration: Duration) -> Result<Vec<Measured>> {
    let mut measured = start_and_end()?;
    let observable = Observable::new(folder)?;
    let mut waits = Vec::new();
    for _ in 0..3 {
        let session = console(observable.path())?.size(120, 40).start()?;
        waits.push(live_data(&session)?);
        quit(&session)?;
    }
    measured.push(Measured::new(
        "live data, from the start",
        "ms",
        quantile(&waits, 0.5).map(milliseconds),
        1_000.0,
    ));

    let session = console(observable.path())?.size(120, 40).start()?;
    live_data(&session)?;
    measured.push(Measured::new(
        "resident at the start",
        "MiB",
        mebibytes(session.resident()),
        20.0,
    ));
    std::thread::sleep(SETTLE);
    let mut cpu = Vec::new();
    for ((columns, rows), target) in SIZES {
        session.resize(columns, rows)?;
        std::thread::sleep(SETTLE / 3);
        let cost = cost(&session, duration);
        cpu.push(cost.cpu);
        measured.push(Measured::new(
            format!("output at {columns}x{rows}, without traffic"),
            "KiB/s",
            Some(kibibytes(cost.rate)),
            target,
        ));
    }
    measured.push(Measured::new(
        "CPU at 120x40, without traffic",
        "% of a core",
        cpu[1],
        1.0,
    ));
    session.resize(120, 40)?;
    session.until_quiet(Duration::from_millis(50))?;
    let position = session.written();
    session.keys("\x0c")?;
    session.wait_for("it is painted again", PATIENCE, |seen| {
        seen.first_after(position)
    })?;
    session.until_quiet(Duration::from_millis(30))?;
    measured.push(Measured::new(
        "a full repaint at 120x40",
        "KiB",
        Some(kibibytes((session.written() - position) as f64)),
        12.0,
    ));
    quit(&session)?;
    measured.push(without_news(duration)?);
    Ok(measured)
}

/// With every backend away: the first frame, and the way out.
fn start_and_end() -> Result<Vec<Measured>> {
    let lab = Lab::new()?;
    lab.place_all_away()?;
    let (mut firsts, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let session = console(lab.path())?.size(120, 40).start()?;
        firsts.push(first_frame(&session)?);
        ends.push(quit(&session)?);
    }
    let median = |times: &[Duration]| quantile(times, 0.5).map(milliseconds);
    Ok(vec![
        Measured::new(
            "first frame with every backend away, from the start",
            "ms",
            median(&firsts),
            50.0,
        ),
        Measured::new(
            "terminal restored after quitting",
            "ms",
            median(&ends),
            500.0,
        ),
    ])
}

/// Waits until every instance is up; how long that took.
fn live_data(session: &Session) -> Result<Duration> {
    first_frame(session)?;
    let at = session.wait_for("an instance is up", PATIENCE, |seen| {
        let text = seen.text();
        (text.contains("● up") || text.contains("● all"))
            .then(|| seen.last_at())
            .flatten()
    })?;
    Ok(at.saturating_duration_since(session.started()))
}

/// Quits; how long it took until the terminal was the shell's again.
fn quit(session: &Session) -> Result<Duration> {
    let pressed = std::time::Instant::now();
    session.keys("\x03")?;
    let code = session.until_left()?;
    let took = pressed.elapsed();
    let left = session.not_restored();
    ensure!(
        code == 0 && left.is_empty(),
        "the console left with {code}, and the terminal with {left:?}"
    );
    Ok(took)
}

/// A lab without instances: nothing can change in it.
fn without_news(duration: Duration) -> Result<Measured> {
    let lab = Lab::new()?;
    lab.place(&[])?;
    let session = console(lab.path())?.size(120, 40).start()?;
    first_frame(&session)?;
    session.until_quiet(Duration::from_millis(1_500))?;
    let cost = cost(&session, duration);
    quit(&session)?;
    Ok(Measured::new(
        "output when nothing changes",
        "bytes",
        Some(cost.written as f64),
        0.0,
    ))
}
