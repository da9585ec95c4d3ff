//! `recarga logs`: the rolling log files of all instances, merged by time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use host::Layout;
use serde_json::Value;

use crate::{arguments::Logs, exit, terminal::say};

/// How often the files are looked at for more.
const INTERVAL: Duration = Duration::from_millis(250);
/// How much of a file's end is read for its last lines.
const TAIL_BYTES: u64 = 256 * 1024;

pub async fn run(directory: &Path, arguments: &Logs) -> Result<u8> {
    let folder = Layout::existing(directory)?.logs();
    let mut positions = BTreeMap::new();
    let mut lines = Vec::new();
    for (instance, files) in files(&folder, &arguments.filter)? {
        let mut recent = Vec::new();
        for file in files {
            let length = fs::metadata(&file).map_or(0, |file| file.len());
            recent.extend(read(
                &file,
                length.saturating_sub(TAIL_BYTES),
                &mut positions,
            ));
        }
        let surplus = recent.len().saturating_sub(arguments.lines);
        lines.extend(recent.drain(surplus..).map(|line| (instance.clone(), line)));
    }
    print(lines, arguments.json);
    if !arguments.follow {
        return Ok(exit::SUCCESS);
    }
    let shutdown = kit::Shutdown::on_signals()?;
    loop {
        tokio::select! {
            () = shutdown.requested() => return Ok(exit::SUCCESS),
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let mut lines = Vec::new();
        for (instance, files) in files(&folder, &arguments.filter)? {
            for file in files {
                let from = positions.get(&file).copied().unwrap_or(0);
                let more = read(&file, from, &mut positions);
                lines.extend(more.into_iter().map(|line| (instance.clone(), line)));
            }
        }
        print(lines, arguments.json);
    }
}

/// The log files of each instance that was asked for, oldest first.
fn files(folder: &Path, filter: &[String]) -> Result<BTreeMap<String, BTreeSet<PathBuf>>> {
    let mut found: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let Some((instance, "jsonl")) = name
            .split_once('.')
            .map(|(instance, rest)| (instance, rest.rsplit('.').next().unwrap_or(rest)))
        else {
            continue;
        };
        if is_wanted(instance, filter) {
            found.entry(instance.to_owned()).or_default().insert(path);
        }
    }
    Ok(found)
}

fn is_wanted(instance: &str, filter: &[String]) -> bool {
    let role = instance.rsplit_once('-').map_or(instance, |(role, _)| role);
    filter.is_empty() || filter.iter().any(|word| word == instance || word == role)
}

/// Whole lines from a position on; a line that is still being written is left for the next time.
fn read(path: &Path, from: u64, positions: &mut BTreeMap<PathBuf, u64>) -> Vec<String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)
    });
    let end = bytes.iter().rposition(|&byte| byte == b'\n');
    let (Ok(_), Some(end)) = (read, end) else {
        positions.entry(path.to_owned()).or_insert(from);
        return Vec::new();
    };
    let complete = &bytes[..=end];
    positions.insert(path.to_owned(), from + complete.len() as u64);
    String::from_utf8_lossy(complete)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn print(lines: Vec<(String, String)>, raw: bool) {
    let mut parsed: Vec<(Value, String, String)> = lines
        .into_iter()
        .filter_map(|(instance, text)| {
            // The first line of a tail may be half a line.
            let value = serde_json::from_str(&text).ok()?;
            Some((value, instance, text))
        })
        .collect();
    parsed.sort_by(|(left, ..), (right, ..)| {
        left["timestamp"].as_str().cmp(&right["timestamp"].as_str())
    });
    for (value, instance, text) in parsed {
        if raw {
            say(text);
        } else {
            say(readable(&value, &instance));
        }
    }
}

fn readable(line: &Value, instance: &str) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    let time = text("timestamp").get(11..23).unwrap_or_default();
    let mut readable = format!(
        "{time} {:5} {instance:15} {}",
        text("level"),
        text("message")
    );
    if let Some(fields) = line["fields"].as_object() {
        for (name, value) in fields {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let _ = write!(readable, " {name}={value}");
        }
    }
    if let Some(id) = line["request_id"].as_str() {
        let _ = write!(readable, " request_id={id}");
    }
    readable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_instances_are_told_apart() {
        let filter = ["gateway".to_owned(), "travel-2".to_owned()];
        for (instance, wanted) in [
            ("gateway-1", true),
            ("gateway-12", true),
            ("travel-2", true),
            ("travel-1", false),
            ("cache-1", false),
        ] {
            assert_eq!(is_wanted(instance, &filter), wanted, "{instance}");
        }
        assert!(is_wanted("cache-1", &[]));
    }

    #[test]
    fn lines_read_well() {
        let line = serde_json::json!({
            "timestamp": "2026-11-21T09:30:00.123456Z", "level": "INFO", "message": "served",
            "fields": {"status": 200, "route": "/data"}, "request_id": "r1",
        });
        assert_eq!(
            readable(&line, "gateway-1"),
            "09:30:00.123 INFO  gateway-1       served route=/data status=200 request_id=r1"
        );
    }
}
