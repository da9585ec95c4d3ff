//! One page with everything in it: numbers, charts as inline SVG, marks, what was done.

use std::fmt::Write as _;

use super::Account;
use crate::state::{
    State,
    instance::Status,
    journal::End,
    marks::Kind,
    series::{Series, column_of},
};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2330;--dim:#586070;--line:#c9ced8;--paper:#fff;--blue:#2064b4;--red:#b8142c;--violet:#7040b0;--green:#1e7028}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9f0;--dim:#98a0b4;--line:#3a4154;--paper:#14171f;--blue:#60a0e0;--red:#f47078;--violet:#aa8cdc;--green:#86c878}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:70rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .4rem}p{margin:.2rem 0;color:var(--dim)}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{text-align:left;padding:.2rem .6rem .2rem 0;border-bottom:1px solid var(--line)}\
th{font-weight:600;color:var(--dim)}td.n,th.n{text-align:right}code{font:13px ui-monospace,monospace}\
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--dim)}\
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(26rem,1fr));gap:1rem 2rem}@media(max-width:30rem){.grid{grid-template-columns:1fr}}";

/// A chart: its heading and the lines in it.
type Chart = (&'static str, &'static [(Series, &'static str)]);

const CHARTS: [Chart; 6] = [
    (
        "Requests per second",
        &[(Series::Requests, "blue"), (Series::Errors, "red")],
    ),
    (
        "Latency at the front door, ms",
        &[
            (Series::P50, "green"),
            (Series::P95, "blue"),
            (Series::P99, "red"),
        ],
    ),
    ("Cache hits, %", &[(Series::Hits, "violet")]),
    ("Messages that wait", &[(Series::Depth, "blue")]),
    (
        "Own traffic, requests per second",
        &[
            (Series::TrafficAsked, "green"),
            (Series::TrafficAnswered, "blue"),
        ],
    ),
    (
        "Processor of the machine, %",
        &[(Series::HostCpu, "violet")],
    ),
];

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 22.0;

pub fn page(state: &State, account: &Account) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out += "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Recarga report</title><style>";
    out += STYLE;
    out += "</style></head><body>\n<h1>Recarga report</h1>\n";
    let from = state.clock(account.from).format("%Y-%m-%d %H:%M:%S");
    let to = state.clock(account.to).format("%H:%M:%S UTC");
    let target = state.public_url.as_deref().unwrap_or("unknown");
    let _ = writeln!(out, "<p>{} from {from} to {to}</p>", escaped(target));
    if state.traffic.is_on() {
        let _ = writeln!(
            out,
            "<p>Own traffic: <code>{}</code></p>",
            escaped(&state.traffic.plan_line())
        );
    }
    for alert in state.alerts() {
        let _ = writeln!(out, "<p>▲ {}</p>", escaped(&alert.text));
    }
    out += "<div class=\"grid\">\n";
    for (title, lines) in CHARTS {
        chart(&mut out, state, account, title, lines);
    }
    out += "</div>\n";
    numbers(&mut out, state);
    instances(&mut out, state);
    marks(&mut out, state, account);
    journal(&mut out, state);
    out += "</body></html>\n";
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// What a value is multiplied by to be in the unit of the heading.
fn scale(series: &Series) -> f64 {
    match series {
        Series::P50 | Series::P95 | Series::P99 => 1e3,
        Series::Hits | Series::HostCpu => 100.0,
        _ => 1.0,
    }
}

fn chart(
    out: &mut String,
    state: &State,
    account: &Account,
    title: &str,
    lines: &[(Series, &str)],
) {
    let values: Vec<(&Series, &str, &Vec<Option<f64>>)> = lines
        .iter()
        .filter_map(|(series, colour)| {
            let (_, values) = account.lines.iter().find(|(own, _)| own == series)?;
            Some((series, *colour, values))
        })
        .collect();
    if values.is_empty() {
        return;
    }
    let top = values
        .iter()
        .flat_map(|(series, _, values)| values.iter().flatten().map(|value| value * scale(series)))
        .fold(0.0, f64::max);
    let top = if top > 0.0 { top * 1.1 } else { 1.0 };
    let count = values[0].2.len().max(2);
    let x = |second: usize| LEFT + (WIDTH - LEFT) * second as f64 / (count - 1) as f64;
    let y = |value: f64| (HEIGHT - BOTTOM) * (1.0 - value / top);
    let _ = write!(
        out,
        "<figure style=\"margin:0\"><h2>{title}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
    );
    for part in [0.0, 0.5, 1.0] {
        let at = y(top * part);
        let number = top * part;
        let text = if number >= 10.0 {
            format!("{number:.0}")
        } else {
            format!("{number:.1}")
        };
        let _ = write!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"var(--line)\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            LEFT - 6.0,
            (at + 4.0).clamp(10.0, HEIGHT - BOTTOM + 4.0),
        );
    }
    let lens = state.wide_lens();
    for mark in state.marks.between(account.from, account.to) {
        let Some(column) = column_of(mark.at, lens, count) else {
            continue;
        };
        let colour = match mark.kind {
            Kind::Fault => "red",
            Kind::Action => "dim",
            Kind::Recovery => "green",
        };
        let at = x(column);
        let _ = write!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{}\" stroke=\"var(--{colour})\" stroke-dasharray=\"2 3\"><title>{}</title></line>",
            HEIGHT - BOTTOM,
            escaped(&mark.text),
        );
    }
    for (series, colour, values) in &values {
        // A gap where nothing was known: a line of its own on each side.
        let mut path = String::new();
        let mut pen_down = false;
        for (second, value) in values.iter().enumerate() {
            match value {
                Some(value) => {
                    let command = if pen_down { 'L' } else { 'M' };
                    let _ = write!(
                        path,
                        "{command}{:.1} {:.1}",
                        x(second),
                        y(value * scale(series))
                    );
                    pen_down = true;
                }
                None => pen_down = false,
            }
        }
        let _ = write!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"var(--{colour})\" stroke-width=\"1.6\"><title>{}</title></path>",
            series.name()
        );
    }
    let mut at = LEFT;
    for (series, colour, _) in &values {
        let name = series.name();
        let _ = write!(
            out,
            "<rect x=\"{at:.0}\" y=\"{}\" width=\"10\" height=\"3\" fill=\"var(--{colour})\"/><text x=\"{:.0}\" y=\"{}\">{name}</text>",
            HEIGHT - 10.0,
            at + 14.0,
            HEIGHT - 5.0,
        );
        at += 30.0 + 6.5 * name.len() as f64;
    }
    out.push_str("</svg></figure>\n");
}

fn numbers(out: &mut String, state: &State) {
    let latency = state.latency();
    out.push_str("<h2>Latency of the last ten seconds, ms</h2>\n<table><tr><th>Requests</th><th class=\"n\">p50</th><th class=\"n\">p95</th><th class=\"n\">p99</th><th class=\"n\">samples</th></tr>\n");
    for (name, found) in [
        ("at the front door", latency.all),
        ("cached", latency.cached),
        ("not cached", latency.uncached),
    ] {
        let cells = match found {
            Some(p) => {
                [p.p50, p.p95, p.p99]
                    .map(|seconds| format!("<td class=\"n\">{:.2}</td>", seconds * 1e3))
                    .concat()
                    + &format!("<td class=\"n\">{}</td>", p.samples)
            }
            None => "<td class=\"n\">–</td>".repeat(4),
        };
        let _ = writeln!(out, "<tr><td>{name}</td>{cells}</tr>");
    }
    out.push_str("</table>\n");
    let cache = state.cache();
    let percent = |ratio: Option<crate::state::overview::Ratio>| {
        ratio.map_or_else(
            || "–".to_owned(),
            |ratio| format!("{:.1} % of {}", ratio.value * 100.0, ratio.events),
        )
    };
    let _ = writeln!(
        out,
        "<p>Cache hits: {} in the last ten seconds, {} since the start.</p>",
        percent(cache.now),
        percent(cache.ever)
    );
}

fn instances(out: &mut String, state: &State) {
    out.push_str("<h2>Instances</h2>\n<table><tr><th>Name</th><th>State</th><th class=\"n\">requests/s</th><th class=\"n\">share</th><th class=\"n\">restarts</th></tr>\n");
    let lens = state.lens();
    for instance in &state.instances {
        let status = instance.status(lens.at);
        let number = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
        };
        let share = state
            .share(instance)
            .observed
            .filter(|_| status == Status::Up);
        let share = match instance.place.role {
            crate::state::instance::Role::Gateway => {
                share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
            }
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{share}</td><td class=\"n\">{}</td></tr>",
            escaped(instance.name()),
            status.word(),
            number(instance.rate(&crate::state::sample::Counter::Requests, lens)),
            instance.place.restarts,
        );
    }
    out.push_str("</table>\n");
}

fn marks(out: &mut String, state: &State, account: &Account) {
    let mut marks = state.marks.between(account.from, account.to).peekable();
    if marks.peek().is_none() {
        return;
    }
    out.push_str("<h2>What happened</h2>\n<table>\n");
    for mark in marks {
        let glyph = match mark.kind {
            Kind::Fault => "▲",
            Kind::Action => "◆",
            Kind::Recovery => "●",
        };
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{glyph} {}</td></tr>",
            state.clock(mark.at).format("%H:%M:%S"),
            escaped(&mark.text)
        );
    }
    out.push_str("</table>\n");
}

fn journal(out: &mut String, state: &State) {
    if state.journal.entries().len() == 0 {
        return;
    }
    out.push_str("<h2>What was done</h2>\n<table>\n");
    for entry in state.journal.entries() {
        let text = match &entry.end {
            End::UnderWay => "under way",
            End::Done(text) => text,
            End::Failed(why) => why,
        };
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td></tr>",
            entry.at.format("%H:%M:%S"),
            escaped(&entry.action.command_line()),
            escaped(text)
        );
    }
    out.push_str("</table>\n");
}
