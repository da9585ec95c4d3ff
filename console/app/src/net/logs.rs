//! Follows one instance's log stream for as long as it is part of the lab.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{
    sse::{Event, Parser},
    stream,
};
use crate::state::logs::{Level, Line, MOST_BYTES, printable};

const SHORTEST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The field that counts the lines left out before this one because they were alike.
const SUPPRESSED: &str = "suppressed";

/// Characters kept of what names something.
const SHORT: usize = 64;

/// Where lines go: never waits, counts what finds no room.
#[derive(Clone, Debug)]
pub struct Sink {
    lines: mpsc::Sender<Line>,
    dropped: Arc<AtomicU64>,
}

impl Sink {
    pub fn new(lines: mpsc::Sender<Line>, dropped: Arc<AtomicU64>) -> Self {
        Self { lines, dropped }
    }

    fn put(&self, line: Line) {
        if self.lines.try_send(line).is_err() {
            self.lost(1);
        }
    }

    fn lost(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }
}

/// One event of the stream. Most texts are borrowed from it.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    level: Cow<'a, str>,
    #[serde(borrow, default)]
    target: Cow<'a, str>,
    #[serde(borrow, default)]
    instance: Cow<'a, str>,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    fields: Option<&'a RawValue>,
}

type Fields = serde_json::Map<String, serde_json::Value>;

/// Reads until it is cancelled from outside. Whenever the stream breaks off it says so through `ended`.
pub async fn follow(admin: String, sink: Sink, started: Instant, ended: Arc<Notify>) {
    let mut wait = SHORTEST_WAIT;
    // After a reconnection the recent lines come again: those already taken are skipped.
    let mut newest = String::new();
    loop {
        let already = newest.clone();
        let mut parser = Parser::default();
        let reading = stream::read(&admin, started, |bytes| {
            parser.push(bytes, |event| take(&event, &already, &mut newest, &sink));
        });
        if reading.await.is_ok() {
            wait = SHORTEST_WAIT;
            ended.notify_one();
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

fn take(event: &Event<'_>, already: &str, newest: &mut String, sink: &Sink) {
    if event.name == "lost" {
        let lost = serde_json::from_str::<serde_json::Value>(event.data).ok();
        sink.lost(lost.and_then(|value| value["lost"].as_u64()).unwrap_or(1));
        return;
    }
    let Ok(wire) = serde_json::from_str::<Wire<'_>>(event.data) else {
        return;
    };
    let line = line(wire);
    if line.timestamp.as_str() <= already {
        return;
    }
    if line.timestamp > *newest {
        newest.clone_from(&line.timestamp);
    }
    sink.put(line);
}

/// A field as an operator reads it: text without quotes, fractions without noise.
fn readable(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) if number.is_f64() => {
            let text = format!("{:.3}", number.as_f64().unwrap_or_default());
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        other => other.to_string(),
    }
}

fn line(wire: Wire<'_>) -> Line {
    let access = wire.target == "access";
    // An access line's message says it all, and there are many of them; elsewhere the fields are half of the story.
    let fields = wire
        .fields
        .map(RawValue::get)
        .filter(|text| !access || text.contains(SUPPRESSED))
        .and_then(|text| serde_json::from_str::<Fields>(text).ok())
        .unwrap_or_default();
    let mut message = wire.message;
    if access {
        // Cache keys travel in paths: the colon is all of them that needs no escaping to be read.
        if message.contains("%3A") {
            message = message.replace("%3A", ":").into();
        }
    } else {
        for (name, value) in fields.iter().filter(|(name, _)| *name != SUPPRESSED) {
            message.to_mut().extend(["  ", name, "=", &readable(value)]);
        }
    }
    if let Some(more) = fields.get(SUPPRESSED).and_then(serde_json::Value::as_u64)
        && more > 0
    {
        message = format!("{message}  (and {more} more like it)").into();
    }
    Line {
        failed: access && wire.level == "WARN",
        timestamp: short(&wire.timestamp),
        level: Level::parse(&wire.level),
        instance: short(&wire.instance),
        request_id: wire.request_id.as_deref().map(short),
        message: clean(&message),
    }
}

/// Nearly all text is plain, and then one look and one copy do.
fn clean(text: &str) -> String {
    let plain = text.len() <= MOST_BYTES && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if plain {
        text.to_owned()
    } else {
        printable(text)
    }
}

fn short(text: &str) -> String {
    let text = clean(text);
    if text.len() <= SHORT {
        text
    } else {
        text.chars().take(SHORT).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &str) -> Event<'_> {
        Event { name: "", data }
    }

    fn sink(room: usize) -> (Sink, mpsc::Receiver<Line>) {
        let (lines, received) = mpsc::channel(room);
        (Sink::new(lines, Arc::default()), received)
    }

    #[test]
    fn a_line_is_made_printable() {
        let (sink, mut received) = sink(4);
        let mut newest = String::new();
        let data = r#"{"timestamp":"2026-01-02T03:04:05.678Z","level":"WARN","target":"travel","instance":"travel-1",
            "request_id":"abc","message":"odd\u001b[2J","fields":{"amount":5000,"suppressed":0,"seconds":2.038698001,"why":"x\ny"}}"#;
        take(&event(data), "", &mut newest, &sink);
        let line = received.try_recv().unwrap();
        assert_eq!(line.clock(), "03:04:05");
        assert_eq!(line.level, Level::Warn);
        assert_eq!(
            line.message,
            "odd\u{fffd}[2J  amount=5000  seconds=2.039  why=x y"
        );
        let data = r#"{"timestamp":"2026-01-02T03:04:06Z","level":"INFO","target":"access",
            "message":"GET /entries/card%3A8%3Abalance 200 0.4 ms","fields":{"status":200}}"#;
        take(&event(data), "", &mut newest, &sink);
        let line = received.try_recv().unwrap();
        assert_eq!(line.message, "GET /entries/card:8:balance 200 0.4 ms");
        for hostile in ["", "{}", "[]", "null", r#"{"timestamp":1,"level":2}"#] {
            take(&event(hostile), "", &mut newest, &sink);
        }
        assert!(received.try_recv().is_err());
    }

    #[test]
    fn a_flood_is_counted_and_a_replay_skipped() {
        let (sink, mut received) = sink(2);
        let mut newest = String::new();
        let data = |second: u32| {
            format!(r#"{{"timestamp":"2026-01-02T03:04:0{second}Z","level":"INFO","message":"m"}}"#)
        };
        for second in 1..=5 {
            take(&event(&data(second)), "", &mut newest, &sink);
        }
        assert_eq!(sink.dropped.load(Ordering::Relaxed), 3);
        received.try_recv().unwrap();
        received.try_recv().unwrap();
        let already = newest.clone();
        for second in 4..=6 {
            take(&event(&data(second)), &already, &mut newest, &sink);
        }
        assert_eq!(received.try_recv().unwrap().clock(), "03:04:06");
        assert!(received.try_recv().is_err());
    }
}
