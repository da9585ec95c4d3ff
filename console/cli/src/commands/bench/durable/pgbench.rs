//! pgbench with the same stored function, one call and one commit each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::load::{AMOUNT, Outcome, Plan};

/// The one that came with the server, or any.
pub fn find() -> Option<PathBuf> {
    host::find::postgres().found()?.program("pgbench")
}

/// Runs it in this folder and blocks until it is done. Its first seconds are left out like everybody's.
pub fn run(program: &Path, url: &str, folder: &Path, plan: Plan) -> Result<Outcome> {
    let script = folder.join("recharge.sql");
    fs::write(&script, statement(plan.cards))
        .with_context(|| format!("writing {}", script.display()))?;
    // Its clock begins before its clients are connected.
    let seconds = (plan.warm_up + plan.duration).as_secs_f64().ceil() as u64 + 1;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let output = Command::new(program)
        .current_dir(folder)
        .args(["-n", "-M", "prepared", "-l", "--log-prefix", "pgbench-log"])
        .args(["-c", &plan.clients.to_string()])
        .args(["-j", &threads.min(plan.clients).to_string()])
        .args(["-T", &seconds.to_string()])
        .arg("-f")
        .arg(&script)
        .arg(url)
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    ensure!(
        output.status.success(),
        "pgbench: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("pgbench-log") {
            lines.extend(fs::read_to_string(&path)?.lines().filter_map(transaction));
            fs::remove_file(&path)?;
        }
    }
    Ok(count(&lines, plan.warm_up, plan.duration))
}

fn statement(cards: u64) -> String {
    let hash = "07".repeat(32);
    format!(
        "\\set card random(1, {cards})\n\\set key random(1, 9000000000000000000)\n\
         select outcome from travel.recharge('student1', 'p' || :key, '\\x{hash}', :card, {AMOUNT}, null, null);\n"
    )
}

/// When one ended, in microseconds, and how many it took.
fn transaction(line: &str) -> Option<(u64, u32)> {
    let mut fields = line.split_ascii_whitespace().skip(2);
    let took = fields.next()?.parse().ok()?;
    let mut fields = fields.skip(1);
    let (seconds, micros): (u64, u64) =
        (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((seconds * 1_000_000 + micros, took))
}

fn count(transactions: &[(u64, u32)], warm_up: Duration, duration: Duration) -> Outcome {
    let first = transactions
        .iter()
        .map(|(end, took)| end - u64::from(*took))
        .min()
        .unwrap_or_default();
    let begin = first + warm_up.as_micros() as u64;
    let end = begin + duration.as_micros() as u64;
    let latencies: Vec<u32> = transactions
        .iter()
        .filter(|(at, _)| (begin..end).contains(at))
        .map(|(_, took)| *took)
        .collect();
    Outcome {
        good: latencies.len() as u64,
        seconds: duration.as_secs_f64(),
        latencies,
        errors: 0,
        first_error: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_log_is_read() {
        assert_eq!(
            transaction("0 199 2241 0 1175850568 995598"),
            Some((1_175_850_568_995_598, 2241))
        );
        assert_eq!(transaction("progress"), None);
    }

    #[test]
    fn what_is_not_in_the_time_does_not_count() {
        let transactions = [
            (1_000_100, 100),
            (2_500_000, 200),
            (3_500_000, 300),
            (4_100_000, 400),
        ];
        let outcome = count(
            &transactions,
            Duration::from_secs(1),
            Duration::from_secs(1),
        );
        assert_eq!((outcome.good, outcome.latencies), (1, vec![200]));
    }
}
