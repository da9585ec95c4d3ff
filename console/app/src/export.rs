//! The last minutes as a file: CSV, JSON, or one HTML page that needs nothing else.

mod html;

use std::{fs, io::Write as _, path::Path};

use serde_json::{Value, json};

use crate::state::{
    Moment, State,
    journal::End,
    lens::{self, Lens},
    marks::Kind,
    series::Series,
};

/// What a file holds, whatever its form.
pub struct Account {
    pub from: Moment,
    pub to: Moment,
    /// One line per series: a value for every second.
    pub lines: Vec<(Series, Vec<Option<f64>>)>,
}

impl Account {
    /// The window that is looked at.
    pub fn of(state: &State) -> Self {
        let lens = state.wide_lens();
        Self {
            from: lens.at.saturating_sub(lens.window),
            to: lens.at,
            lines: state.charts.seconds(lens),
        }
    }
}

/// Writes the window that is looked at; how many bytes it came to. The file's ending says how: `.html`, `.csv`, `.json`.
pub fn write(state: &State, path: &Path) -> Result<usize, String> {
    let account = Account::of(state);
    let text = match path.extension().and_then(|ending| ending.to_str()) {
        Some("html" | "htm") => html::page(state, &account),
        Some("csv") => csv(state, &account),
        Some("json") => format!("{:#}\n", json(state, &account)),
        _ => return Err("its name must end in .html, .csv or .json".to_owned()),
    };
    // Never over something that is there, and never half.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => "it exists already; name another file".to_owned(),
            _ => error.to_string(),
        })?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        drop(file);
        // What could not be written whole is taken away again, as far as that works.
        let _ = fs::remove_file(path);
        return Err(error.to_string());
    }
    Ok(text.len())
}

/// One row per second, one column per series; empty where nothing was known.
fn csv(state: &State, account: &Account) -> String {
    let mut text = String::from("time");
    for (series, _) in &account.lines {
        text.push(',');
        text += &quoted(&format!("{} ({})", series.name(), series.unit()));
    }
    text.push('\n');
    let end = account.to.as_secs() + 1;
    let begin = end.saturating_sub(state.wide_lens().window.as_secs());
    for second in begin..end {
        let at = Moment::from_secs(second);
        text += &state
            .clock(at)
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        for (_, values) in &account.lines {
            text.push(',');
            if let Some(Some(value)) = values.get((second - begin) as usize) {
                text += &value.to_string();
            }
        }
        text.push('\n');
    }
    text
}

/// A field that stays one: quoted, and never a formula to a spreadsheet.
fn quoted(text: &str) -> String {
    let safe = text.trim_start_matches(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}\"", safe.replace('"', "\"\""))
}

/// Everything, as one document.
pub fn json(state: &State, account: &Account) -> Value {
    let clock = |at: Moment| {
        state
            .clock(at)
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    };
    let series: Vec<Value> = account
        .lines
        .iter()
        .map(|(series, values)| json!({"name": series.name(), "unit": series.unit(), "values": values}))
        .collect();
    let marks: Vec<Value> = state
        .marks
        .between(account.from, account.to)
        .map(|mark| json!({"time": clock(mark.at), "kind": word(mark.kind), "text": mark.text}))
        .collect();
    let journal: Vec<Value> = state
        .journal
        .entries()
        .map(|entry| {
            let (result, text) = match &entry.end {
                End::UnderWay => ("under way", ""),
                End::Done(text) => ("done", text.as_str()),
                End::Failed(why) => ("failed", why.as_str()),
            };
            json!({
                "time": entry.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
                "command": entry.action.command_line(),
                "result": result,
                "text": text,
            })
        })
        .collect();
    json!({
        "target": state.public_url,
        "from": clock(account.from),
        "to": clock(account.to),
        "window": lens::name_of(state.sight.window()),
        "traffic": state.traffic.is_on().then(|| state.traffic.plan_line()),
        "now": now(state),
        "series": series,
        "marks": marks,
        "actions": journal,
    })
}

/// The present numbers, as every view has them: one object, absent where unknown.
pub fn now(state: &State) -> Value {
    let latency = state.latency();
    let of = |found: Option<crate::state::histogram::Percentiles>| {
        found.map(|p| json!({"p50": p.p50, "p95": p.p95, "p99": p.p99, "samples": p.samples}))
    };
    let cache = state.cache();
    let ratio = |ratio: Option<crate::state::overview::Ratio>| ratio.map(|ratio| ratio.value);
    let queue = state.queue_total();
    let host = state.host();
    let up = state
        .instances
        .iter()
        .filter(|i| i.status(state.at()) == crate::state::instance::Status::Up)
        .count();
    let instances: Vec<Value> = state
        .instances
        .iter()
        .map(|instance| {
            let lens: Lens = state.lens();
            json!({
                "name": instance.name(),
                "role": instance.place.role.name(),
                "state": instance.status(lens.at).word(),
                "requests_per_second": instance.rate(&crate::state::sample::Counter::Requests, lens),
                "errors_per_second": instance.rate(&crate::state::sample::Counter::Errors, lens),
                "cpu": instance.rate(&crate::state::sample::Counter::CpuSeconds, lens),
                "memory_bytes": instance.gauge(&crate::state::sample::Gauge::ResidentBytes, lens.at),
                "restarts": instance.place.restarts,
                "faults": instance.faults(lens.at),
            })
        })
        .collect();
    json!({
        "time": state.clock(state.at()).to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "requests_per_second": state.request_rate(),
        "errors_per_second": state.error_rate(),
        "latency_seconds": {"front_door": of(latency.all), "cached": of(latency.cached), "not_cached": of(latency.uncached)},
        "cache": {"hit_ratio": ratio(cache.now), "hit_ratio_since_start": ratio(cache.ever), "entries": cache.entries, "bytes": cache.bytes},
        "queue": {"depth": queue.depth, "in_flight": queue.in_flight, "dead": queue.dead, "oldest_seconds": queue.oldest_age},
        "host": {"cpu": host.cpu, "memory_used_bytes": host.memory_used, "memory_total_bytes": host.memory_total},
        "instances_up": up,
        "instances": instances,
        "safeguards_off": state.safeguards_off().into_iter().map(|off| json!({"safeguard": off.name, "seconds_left": off.left, "instances": off.instances})).collect::<Vec<_>>(),
        "alerts": state.alerts().into_iter().map(|alert| alert.text).collect::<Vec<_>>(),
    })
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Action => "action",
        Kind::Fault => "fault",
        Kind::Recovery => "recovery",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{degraded, recharged};

    #[test]
    fn all_three_forms_are_written_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let state = degraded();
        for ending in ["html", "csv", "json"] {
            let path = folder.path().join(format!("report.{ending}"));
            let bytes = write(&state, &path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), bytes as u64);
            assert!(write(&state, &path).unwrap_err().contains("exists already"));
        }
        assert!(
            write(&state, &folder.path().join("report"))
                .unwrap_err()
                .contains(".html")
        );
        let nowhere = folder.path().join("no").join("report.csv");
        assert!(write(&state, &nowhere).is_err());
    }

    #[test]
    fn every_second_has_a_row_and_every_series_a_column() {
        let state = recharged();
        let account = Account::of(&state);
        let text = csv(&state, &account);
        let mut lines = text.lines();
        let head = lines.next().unwrap();
        assert!(head.starts_with("time,\"requests (per second)\""), "{head}");
        let rows: Vec<_> = lines.collect();
        // The lab is younger than the window: its second zero counts.
        assert_eq!(rows.len() as u64, account.to.as_secs() + 1);
        assert!(rows.last().unwrap().contains("48"), "{:?}", rows.last());
        assert_eq!(quoted("=1+\"x\""), "\"1+\"\"x\"\"\"");
    }

    #[test]
    fn the_document_says_what_was_done_and_what_is() {
        let document = json(&recharged(), &Account::of(&recharged()));
        assert_eq!(
            document["actions"][0]["command"],
            "recarga do recharge card=42 amount=10000"
        );
        assert_eq!(document["now"]["instances_up"], 15);
        assert_eq!(document["now"]["instances"][0]["name"], "balancer-1");
        assert!(document["series"].as_array().unwrap().len() > 10);
    }

    #[test]
    fn the_page_is_whole_and_nothing_in_it_is_markup_of_others() {
        let mut state = degraded();
        state
            .marks
            .add(state.now, Kind::Fault, "<script>alert(1)</script>");
        let page = html::page(&state, &Account::of(&state));
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;"));
        assert!(!page.contains("http://www.w3.org/1999/xlink") && !page.contains("src="));
        assert!(page.matches("<svg").count() >= 4);
    }
}
