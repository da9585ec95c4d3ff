//! Finds and reads the records of runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::record::{FORMAT, Run};

/// A record's name in its folder.
pub const RECORD: &str = "run.json";

#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("there is no run in {}; run one first: recarga lab run NAME", .0.display())]
    NoRuns(PathBuf),
    #[error("{wanted} is neither a run's folder, nor its run.json, nor a lab that was run in {}; {}", .folder.display(), those(.known))]
    Unknown {
        wanted: String,
        folder: PathBuf,
        known: Vec<String>,
    },
    #[error("{} cannot be read: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no run of a lab ({reason}); give the folder or the run.json that `recarga lab run` wrote", .path.display())]
    NoRun { path: PathBuf, reason: String },
    #[error("{} has the form {found}, and this program reads the form {FORMAT}; use the version of recarga that wrote it{}", .path.display(), by(.version))]
    Format {
        path: PathBuf,
        found: u64,
        version: String,
    },
}

fn those(labs: &[String]) -> String {
    if labs.is_empty() {
        "none was; run one first: recarga lab run NAME".to_owned()
    } else {
        format!("those that were: {}", labs.join(", "))
    }
}

fn by(version: &str) -> String {
    if version.is_empty() {
        String::new()
    } else {
        format!(": {version}")
    }
}

/// The record that is meant: a folder, a file, or the newest run of a lab by its name among the records in `folder`.
pub fn find(wanted: &str, folder: &Path) -> Result<PathBuf, Unreadable> {
    let path = Path::new(wanted);
    for found in [
        path.to_owned(),
        path.join(RECORD),
        folder.join(wanted).join(RECORD),
    ] {
        if found.is_file() {
            return Ok(found);
        }
    }
    let all = records(folder)?;
    let of_lab = all.iter().rev().find(|(name, _)| lab_of(name) == wanted);
    if let Some((_, path)) = of_lab {
        return Ok(path.clone());
    }
    let mut known: Vec<String> = all
        .iter()
        .map(|(name, _)| lab_of(name).to_owned())
        .collect();
    known.sort();
    known.dedup();
    Err(Unreadable::Unknown {
        wanted: wanted.to_owned(),
        folder: folder.to_owned(),
        known,
    })
}

/// The newest record in a folder.
pub fn newest(folder: &Path) -> Result<PathBuf, Unreadable> {
    let newest = records(folder)?.pop();
    newest
        .map(|(_, path)| path)
        .ok_or_else(|| Unreadable::NoRuns(folder.to_owned()))
}

/// By name, and so by time.
fn records(folder: &Path) -> Result<Vec<(String, PathBuf)>, Unreadable> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(Unreadable::Io {
                path: folder.to_owned(),
                source,
            });
        }
    };
    let mut records: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let record = entry.path().join(RECORD);
            let name = entry.file_name().into_string().ok()?;
            record.is_file().then_some((name, record))
        })
        .collect();
    records.sort();
    Ok(records)
}

/// Of `20261121-224607-caching` the name `caching`.
fn lab_of(folder: &str) -> &str {
    let mut parts = folder.splitn(3, '-');
    let is_number = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if is_number(parts.next()) && is_number(parts.next()) {
        parts.next().unwrap_or(folder)
    } else {
        folder
    }
}

/// Reads a record.
pub fn read(path: &Path) -> Result<Run, Unreadable> {
    let text = fs::read(path).map_err(|source| Unreadable::Io {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, path)
}

fn parse(text: &[u8], path: &Path) -> Result<Run, Unreadable> {
    let no_run = |reason: String| Unreadable::NoRun {
        path: path.to_owned(),
        reason,
    };
    let mut document: Value =
        serde_json::from_slice(text).map_err(|error| no_run(format!("not JSON: {error}")))?;
    let Some(format) = document.get("format").and_then(Value::as_u64) else {
        return Err(no_run("it does not say its format".to_owned()));
    };
    if format != u64::from(FORMAT) {
        let version = document.get("version").and_then(Value::as_str);
        return Err(Unreadable::Format {
            path: path.to_owned(),
            found: format,
            version: version.unwrap_or_default().to_owned(),
        });
    }
    mend(&mut document);
    serde_json::from_value(document).map_err(|error| no_run(error.to_string()))
}

/// JSON has no word for what is no number, so it says `null`. In a column it becomes -1, which is no time either; a point goes.
fn mend(document: &mut Value) {
    each(document, "measurements", |measurement| {
        for column in ["at_ms", "latency_ms", "service_ms"] {
            each(measurement, column, |time| {
                if time.is_null() {
                    *time = Value::from(-1.0);
                }
            });
        }
    });
    each(document, "series", |series| keep_whole(series, "points"));
    each(document, "steps", |step| {
        if let Some(condition) = step.get_mut("condition") {
            keep_whole(condition, "history");
        }
    });
}

fn each(value: &mut Value, member: &str, mut mend: impl FnMut(&mut Value)) {
    if let Some(Value::Array(list)) = value.get_mut(member) {
        list.iter_mut().for_each(&mut mend);
    }
}

fn keep_whole(value: &mut Value, member: &str) {
    if let Some(Value::Array(list)) = value.get_mut(member) {
        list.retain(|point| {
            let parts = point.as_array();
            parts.is_none_or(|parts| parts.iter().all(|part| !part.is_null()))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn read_text(text: &str) -> Result<Run, Unreadable> {
        parse(text.as_bytes(), Path::new("x/run.json"))
    }

    #[test]
    fn what_is_no_run_is_told() {
        for (text, words) in [
            ("", "not JSON"),
            ("[]", "does not say its format"),
            ("{\"format\":1}", "missing field"),
            (
                "{\"format\":2,\"version\":\"9.9\"}",
                "use the version of recarga that wrote it: 9.9",
            ),
        ] {
            let told = read_text(text).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn unknown_members_and_missing_numbers_are_borne() {
        let mut run = samples::run();
        run.measurements[0].latency_ms[0] = f64::NAN;
        run.series[0].points[0].1 = f64::NAN;
        let mut document = serde_json::to_value(&run).unwrap();
        document["later"] = Value::from("member");
        let read = read_text(&document.to_string()).unwrap();
        assert!(read.measurements[0].latency_ms[0] < 0.0);
        assert_eq!(read.series[0].points.len() + 1, run.series[0].points.len());
        assert_eq!(read.measurements[0].len(), run.measurements[0].len());
    }

    #[test]
    fn runs_are_found_by_folder_file_and_lab() {
        let folder = tempfile::tempdir().unwrap();
        let told = newest(folder.path()).unwrap_err().to_string();
        assert!(told.contains("recarga lab run NAME"), "{told}");
        for name in [
            "20261121-224607-two-levels",
            "20261121-225607-two-levels",
            "20261121-224700-caching",
        ] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join(RECORD), "{}").unwrap();
        }
        let path = |name: &str| folder.path().join(name).join(RECORD);
        let find = |wanted: &str| find(wanted, folder.path());
        let last = path("20261121-225607-two-levels");
        assert_eq!(newest(folder.path()).unwrap(), last);
        assert_eq!(find("two-levels").unwrap(), last);
        assert_eq!(
            find("20261121-224700-caching").unwrap(),
            path("20261121-224700-caching")
        );
        let first = path("20261121-224607-two-levels");
        assert_eq!(find(first.to_str().unwrap()).unwrap(), first);
        assert_eq!(
            find(first.parent().unwrap().to_str().unwrap()).unwrap(),
            first
        );
        let told = find("stampede").unwrap_err().to_string();
        assert!(told.contains("caching, two-levels"), "{told}");
    }
}
