//! The console without a terminal: one event per line, a view as text, or JSON lines; with limits that decide about the exit code.

use std::{
    fmt,
    io::{self, Write},
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::Context;
use ratatui::{Terminal, backend::TestBackend};
use tokio_util::sync::CancellationToken;

use crate::{
    export,
    keys::Keymap,
    net::Wire,
    options::Options,
    state::{
        Moment, State,
        alerts::Severity,
        logs::{Level, Line},
        marks::Kind,
        view::View,
    },
    view::{
        self, Look, format,
        theme::{Depth, Scheme},
    },
};

/// Numbers that are rates need two readings.
const FIRST_AFTER: Duration = Duration::from_millis(2_200);

/// What is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line of numbers a time, and a line for each thing that happens.
    Lines,
    /// Everything known, as one JSON object a line.
    Json,
    /// A view as it would be drawn, so many columns and rows large.
    View(String, u16, u16),
}

/// How to watch.
#[derive(Clone, Debug)]
pub struct Watch {
    pub form: Form,
    pub every: Duration,
    /// How often; without it until told to stop.
    pub times: Option<u64>,
    pub limits: Vec<Limit>,
    /// Warnings and errors of the logs as lines of their own.
    pub logs: bool,
    /// A file to write everything to at the end: `.html`, `.csv`, `.json`.
    pub export: Option<std::path::PathBuf>,
}

/// Something that must not be, such as `p99=100ms`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Seconds at the front door, over ten seconds.
    P50(f64),
    P95(f64),
    P99(f64),
    /// 5xx answers a second.
    Errors(f64),
    /// The least ratio of cache hits, 0 to 1.
    Hits(f64),
    /// Messages that wait.
    Depth(f64),
    /// Dead letters.
    Dead(f64),
    /// Anything that is down or away.
    Down,
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "down" {
            return Ok(Self::Down);
        }
        let wrong = || {
            format!(
                "{text:?} is no limit; write p50=, p95= or p99=100ms, errors=1, hits=80%, depth=1000, dead=0 or down"
            )
        };
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let number = |text: &str| {
            text.parse::<f64>()
                .ok()
                .filter(|number| number.is_finite() && *number >= 0.0)
                .ok_or_else(wrong)
        };
        let seconds = || match value.strip_suffix("ms") {
            Some(milliseconds) => number(milliseconds).map(|value| value / 1e3),
            None => number(value.strip_suffix('s').ok_or_else(wrong)?),
        };
        match name {
            "p50" => seconds().map(Self::P50),
            "p95" => seconds().map(Self::P95),
            "p99" => seconds().map(Self::P99),
            "errors" => number(value).map(Self::Errors),
            "hits" => match value.strip_suffix('%') {
                Some(percent) => number(percent).map(|value| Self::Hits(value / 100.0)),
                None => number(value).map(Self::Hits),
            },
            "depth" => number(value).map(Self::Depth),
            "dead" => number(value).map(Self::Dead),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P50(limit) => write!(out, "p50={}ms", limit * 1e3),
            Self::P95(limit) => write!(out, "p95={}ms", limit * 1e3),
            Self::P99(limit) => write!(out, "p99={}ms", limit * 1e3),
            Self::Errors(limit) => write!(out, "errors={limit}"),
            Self::Hits(limit) => write!(out, "hits={}%", limit * 100.0),
            Self::Depth(limit) => write!(out, "depth={limit}"),
            Self::Dead(limit) => write!(out, "dead={limit}"),
            Self::Down => out.write_str("down"),
        }
    }
}

impl Limit {
    /// What breaks it now, in words. What is not known breaks nothing.
    #[must_use]
    pub fn broken(self, state: &State) -> Option<String> {
        let latency = state.latency().all;
        let over = |value: Option<f64>, limit: f64, text: &dyn Fn(f64) -> String| {
            value
                .filter(|value| *value > limit)
                .map(|value| format!("{} beyond {self}", text(value)))
        };
        let time = |value: f64| format::latency(Some(value));
        match self {
            Self::P50(limit) => over(latency.map(|l| l.p50), limit, &|v| {
                format!("p50 {}", time(v))
            }),
            Self::P95(limit) => over(latency.map(|l| l.p95), limit, &|v| {
                format!("p95 {}", time(v))
            }),
            Self::P99(limit) => over(latency.map(|l| l.p99), limit, &|v| {
                format!("p99 {}", time(v))
            }),
            Self::Errors(limit) => over(state.error_rate(), limit, &|v| format!("{v:.1} errors/s")),
            Self::Depth(limit) => over(state.queue_total().depth, limit, &|v| {
                format!("{v:.0} messages wait")
            }),
            Self::Dead(limit) => over(state.queue_total().dead, limit, &|v| {
                format!("{v:.0} dead letters")
            }),
            Self::Hits(limit) => state
                .cache()
                .now
                .filter(|ratio| ratio.value < limit)
                .map(|ratio| format!("{:.1} % hits, below {self}", ratio.value * 100.0)),
            Self::Down => {
                let alerts = state.alerts();
                let worst = alerts
                    .into_iter()
                    .find(|alert| alert.severity == Severity::Critical);
                worst.map(|alert| alert.text)
            }
        }
    }
}

/// What became of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    WithinLimits,
    LimitBroken,
}

/// Watches a lab and prints; until it was done often enough, or `shutdown` is cancelled, or nobody reads any more.
pub async fn watch(
    options: Options,
    watch: Watch,
    shutdown: CancellationToken,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<Verdict> {
    options.check()?;
    let keymap = Keymap::default();
    let ascii = options.look(|name| std::env::var(name).ok()).ascii;
    let look = Look::new(Scheme::Mono, Depth::Monochrome, ascii);
    let mut state = State::new(chrono::Utc::now(), keymap, true);
    if let Form::View(name, ..) = &watch.form {
        let view = View::named(name).with_context(|| {
            let names: Vec<_> = View::ALL.iter().map(|view| view.name()).collect();
            format!("there is no view {name:?}; there are {}", names.join(", "))
        })?;
        state.go(view);
    }
    let rights = actions::Rights {
        read_only: true,
        ..options.rights()?
    };
    let mut wire = Wire::start(
        options.topology.clone(),
        rights,
        None,
        shutdown.child_token(),
    )
    .context("cannot prepare HTTP")?;
    let printed = print(&mut state, &mut wire, &watch, &look, &shutdown, out).await;
    wire.close().await;
    let verdict = match printed {
        // Whoever read has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            return Ok(Verdict::WithinLimits);
        }
        printed => printed?,
    };
    if let Some(path) = &watch.export {
        export::write(&state, path)
            .map_err(|why| anyhow::anyhow!("{} was not written: {why}", path.display()))?;
    }
    Ok(verdict)
}

async fn print(
    state: &mut State,
    wire: &mut Wire,
    watch: &Watch,
    look: &Look,
    shutdown: &CancellationToken,
    out: &mut (dyn Write + Send),
) -> io::Result<Verdict> {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut next = started + FIRST_AFTER;
    let mut told = Moment::ZERO;
    let mut done = 0;
    let mut verdict = Verdict::WithinLimits;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(verdict),
            Some(update) = wire.updates.recv() => state.apply(update),
            Some(line) = wire.lines.recv() => {
                if watch.logs && line.level >= Level::Warn && watch.form == Form::Lines {
                    writeln!(out, "{}", log_line(&line, look))?;
                }
                state.log(line);
            }
            _ = ticks.tick() => {}
            () = tokio::time::sleep_until(next.into()) => {
                next += watch.every;
                state.tick(started.elapsed());
                for limit in &watch.limits {
                    if let Some(why) = limit.broken(state) {
                        verdict = Verdict::LimitBroken;
                        if watch.form == Form::Lines {
                            let clock = state.clock(state.now).format("%H:%M:%S");
                            writeln!(out, "{clock} limit {}", plain(&why, look))?;
                        }
                    }
                }
                tell(state, watch, look, out)?;
                out.flush()?;
                done += 1;
                if watch.times.is_some_and(|times| done >= times) {
                    return Ok(verdict);
                }
            }
        }
        state.tick(started.elapsed());
        let wanted = state.wanted();
        wire.wanted.send_if_modified(|before| {
            let changed = *before != wanted;
            if changed {
                before.clone_from(&wanted);
            }
            changed
        });
        if watch.form == Form::Lines {
            told = events(state, told, look, out)?;
        }
    }
}

/// What happened since it was told last, one line each.
fn events(state: &State, since: Moment, look: &Look, out: &mut dyn Write) -> io::Result<Moment> {
    let after = since + Duration::from_nanos(1);
    let mut newest = since;
    for mark in state.marks.between(after, state.now) {
        let word = match mark.kind {
            Kind::Action => "action",
            Kind::Fault => "fault",
            Kind::Recovery => "recovery",
        };
        newest = newest.max(mark.at);
        let clock = state.clock(mark.at).format("%H:%M:%S");
        writeln!(out, "{clock} {word} {}", plain(&mark.text, look))?;
    }
    Ok(newest)
}

fn tell(state: &State, watch: &Watch, look: &Look, out: &mut dyn Write) -> io::Result<()> {
    match &watch.form {
        Form::Json => writeln!(out, "{}", export::now(state)),
        Form::View(_, width, height) => {
            let text = as_text(state, look, *width, *height);
            out.write_all(text.as_bytes())?;
            if watch.times != Some(1) {
                writeln!(out)?;
            }
            Ok(())
        }
        Form::Lines => {
            let latency = state.latency().all;
            let up = state
                .instances
                .iter()
                .filter(|i| i.status(state.now) == crate::state::instance::Status::Up)
                .count();
            let mut line = format!(
                "{} {}/s, {} errors/s, p50 {}, p99 {}, {} hits, {} waiting, {up} of {} up",
                state.clock(state.now).format("%H:%M:%S"),
                format::rate(state.request_rate()),
                format::rate(state.error_rate()),
                format::latency(latency.map(|l| l.p50)),
                format::latency(latency.map(|l| l.p99)),
                format::percent(state.cache().now.map(|ratio| ratio.value)),
                format::count(state.queue_total().depth),
                state.instances.len(),
            );
            if let Some(off) = state.without() {
                line.extend(["; ", &off]);
            }
            for alert in state.alerts() {
                line.extend(["; ", &alert.text]);
            }
            writeln!(out, "{}", plain(&line, look))
        }
    }
}

fn log_line(line: &Line, look: &Look) -> String {
    let text = format!(
        "{} {} {} {}",
        line.clock(),
        line.level.word(),
        line.instance,
        line.message
    );
    plain(&text, look)
}

/// ASCII where the locale has no more.
fn plain(text: &str, look: &Look) -> String {
    if look.ascii {
        view::ascii(text)
    } else {
        text.to_owned()
    }
}

/// The screen as it would be drawn, as text.
fn as_text(state: &State, look: &Look, width: u16, height: u16) -> String {
    let mut terminal = match Terminal::new(TestBackend::new(width, height)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    let drawn = terminal.draw(|frame| drop(view::draw(frame, state, look)));
    match drawn {
        Ok(_) => {}
        Err(never) => match never {},
    }
    let buffer = terminal.backend().buffer();
    buffer
        .content
        .chunks(usize::from(width).max(1))
        .map(|row| {
            let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned() + "\n"
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{busy, degraded};

    fn look() -> Look {
        Look::new(Scheme::Mono, Depth::Monochrome, false)
    }

    fn told(state: &State, form: Form) -> String {
        let watch = Watch {
            form,
            every: Duration::from_secs(1),
            times: Some(1),
            limits: Vec::new(),
            logs: false,
            export: None,
        };
        let mut out = Vec::new();
        tell(state, &watch, &look(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pitfall_14_nothing_but_text_is_printed() {
        for form in [
            Form::Lines,
            Form::Json,
            Form::View("overview".into(), 80, 24),
        ] {
            let text = told(&degraded(), form);
            assert!(!text.contains('\u{1b}') && text.ends_with('\n'), "{text:?}");
        }
        let ascii = Look::new(Scheme::Mono, Depth::Monochrome, true);
        assert!(plain("● gateway-1 «ñ» → up", &ascii).is_ascii());
    }

    #[test]
    fn one_line_says_what_matters() {
        let line = told(&degraded(), Form::Lines);
        for part in [
            "48.3/s",
            "10 of 15 up",
            "gateway-2 down 11s",
            "Redis away for 2 of 2",
        ] {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
        let object: serde_json::Value = serde_json::from_str(&told(&busy(), Form::Json)).unwrap();
        assert_eq!(object["instances_up"], 15);
        assert!(
            object["latency_seconds"]["cached"]["samples"]
                .as_u64()
                .unwrap()
                > 300
        );
        assert!(told(&busy(), Form::View("overview".into(), 120, 40)).contains("gateway-2"));
    }

    #[test]
    fn limits_are_read_and_broken() {
        let broken = |text: &str, state: &State| {
            let limit: Limit = text.parse().unwrap();
            assert_eq!(limit.to_string().parse(), Ok(limit), "{text}");
            limit.broken(state).is_some()
        };
        assert!(broken("p99=10ms", &busy()) && !broken("p99=10s", &busy()));
        assert!(broken("hits=99%", &busy()) && !broken("hits=0.5", &busy()));
        assert!(broken("errors=0.1", &busy()) && broken("depth=3", &busy()));
        assert!(broken("down", &degraded()) && !broken("down", &busy()));
        assert!(
            !broken("p50=0ms", &State::default()),
            "unknown breaks nothing"
        );
        for nonsense in [
            "",
            "p99",
            "p99=",
            "p99=5",
            "p98=5ms",
            "errors=-1",
            "errors=NaN",
            "up",
        ] {
            assert!(nonsense.parse::<Limit>().is_err(), "{nonsense:?}");
        }
    }
}
