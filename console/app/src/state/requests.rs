//! The last sampled requests: kept as they came, so that a chosen one stays; and the calls that were fired from here.

use std::{cmp::Reverse, collections::BTreeMap};

use actions::{Action, Answer, Span, waterfall};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::{
    State,
    details::Topic,
    editor::Editor,
    logs::printable,
    overlay::{Choice, Item, Overlay, Page, Palette},
    traffic::Notice,
    view::{Panel, View},
};

/// Samples kept.
const MOST: usize = 500;

/// Bars of one waterfall.
const BARS: usize = 64;

/// Characters of any text of a sample.
const LONGEST: usize = 512;

/// Columns that samples can be ordered by.
pub const COLUMNS: usize = 8;

/// The key of the row of the call that was fired from here.
const FIRED: &str = "fired";

/// Lines of a body that are shown.
const MOST_LINES: usize = 2_000;

/// One request; what was not told is unknown.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_field_names,
    reason = "a request's id is called so everywhere"
)]
pub struct Request {
    /// Who sampled it.
    pub balancer: String,
    pub id: u64,
    pub request_id: Option<String>,
    /// When it came, RFC 3339 in UTC.
    pub at: String,
    /// `regular`, `error` or `slow`.
    pub why: Option<String>,
    pub method: String,
    pub path: String,
    pub status: Option<u64>,
    pub cache: Option<String>,
    pub milliseconds: Option<f64>,
    pub gateway: Option<String>,
    pub attempts: Option<u64>,
    pub spans: Vec<Span>,
    /// Whether the beginnings of its bars were measured, not guessed.
    pub measured: bool,
    /// What the row is known by.
    pub key: String,
    /// All of the row, as filters see it.
    whole: String,
}

impl Request {
    fn read(balancer: &str, value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(short);
        let (spans, measured) = spans(&value["timing"]);
        let request = Self {
            balancer: short(balancer),
            // Zero is the one from here.
            id: value["id"].as_u64().filter(|id| *id > 0)?,
            request_id: text("request_id"),
            at: text("at")?,
            why: text("why"),
            method: text("method")?,
            path: text("path")?,
            status: value["status"].as_u64(),
            cache: text("cache"),
            milliseconds: value["duration_ms"].as_f64().filter(|ms| ms.is_finite()),
            gateway: text("upstream"),
            attempts: value["attempts"].as_u64(),
            spans,
            measured,
            key: String::new(),
            whole: String::new(),
        };
        Some(request.known())
    }

    /// What was fired from here, as far as its answer tells.
    fn fired(answer: &Answer, at: DateTime<Utc>) -> Self {
        let path = match answer.url.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
            None => &answer.url,
        };
        let header = |name: &str| answer.header(name).map(short);
        Self {
            balancer: "this console".to_owned(),
            id: 0,
            request_id: header("x-request-id"),
            at: at.to_rfc3339_opts(SecondsFormat::Micros, true),
            why: None,
            method: answer.method.to_owned(),
            path: short(path),
            status: Some(answer.status.into()),
            cache: header("x-cache").map(|word| word.to_lowercase()),
            milliseconds: Some(answer.elapsed.as_secs_f64() * 1e3),
            gateway: header("x-gateway"),
            attempts: None,
            spans: answer.waterfall.clone(),
            measured: false,
            key: String::new(),
            whole: String::new(),
        }
        .known()
    }

    /// With its key and its text: both are looked at in every frame.
    fn known(mut self) -> Self {
        self.key = if self.id == 0 {
            FIRED.to_owned()
        } else {
            format!("{} {} {}", self.at, self.balancer, self.id)
        };
        let status = self.status.map(|status| status.to_string());
        let words = [
            Some(self.method.as_str()),
            Some(self.path.as_str()),
            status.as_deref(),
            self.gateway.as_deref(),
            self.cache.as_deref(),
            self.why.as_deref(),
            self.request_id.as_deref(),
            Some(self.balancer.as_str()),
        ];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        self.whole = words.join(" ");
        self
    }

    /// `HH:MM:SS.mmm`.
    pub fn clock(&self) -> &str {
        self.at.get(11..23).unwrap_or("–")
    }

    /// How long all of it took, in milliseconds: what the bars are drawn against.
    pub fn extent(&self) -> f64 {
        let ends = self
            .spans
            .iter()
            .map(|span| span.starts_at + span.milliseconds);
        ends.chain(self.milliseconds).fold(0.0, f64::max)
    }
}

fn short(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

/// The bars of `[{name, start_ms, duration_ms}]`, and whether their beginnings are known.
fn spans(timing: &Value) -> (Vec<Span>, bool) {
    let entries: Vec<(String, Option<f64>, f64)> = timing
        .as_array()
        .into_iter()
        .flatten()
        .take(BARS)
        .filter_map(|entry| {
            let sensible = |value: &Value| value.as_f64().filter(|ms| ms.is_finite() && *ms >= 0.0);
            let name: String = entry["name"]
                .as_str()?
                .chars()
                .filter(|c| !matches!(c, ',' | ';') && !c.is_whitespace())
                .take(40)
                .collect();
            (!name.is_empty()).then_some(())?;
            Some((
                printable(&name),
                sensible(&entry["start_ms"]),
                sensible(&entry["duration_ms"])?,
            ))
        })
        .collect();
    // Nesting is read as the header of the same entries is read.
    let headers: Vec<String> = entries
        .iter()
        .map(|(name, _, ms)| format!("{name};dur={ms}"))
        .collect();
    let mut spans = waterfall(headers.iter().map(String::as_str));
    let measured = !entries.is_empty() && entries.iter().all(|(_, start, _)| start.is_some());
    if spans.len() == entries.len() {
        for (span, (_, start, _)) in spans.iter_mut().zip(&entries) {
            span.starts_at = start.unwrap_or(span.starts_at);
        }
    }
    (spans, measured)
}

/// The requests that were seen.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// By time, balancer and number.
    seen: BTreeMap<(String, String, u64), Request>,
    /// The last one that was fired from here.
    fired: Option<Request>,
    /// From how many milliseconds on a request counts as slow, and how many are sampled a second.
    pub slow_ms: Option<u64>,
    pub per_second: Option<u64>,
}

impl Requests {
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.fired.is_none()
    }
}

impl State {
    /// Takes in what the balancers sampled. What is known stays, the chosen request the longest.
    pub(super) fn take_requests(&mut self, answer: Option<&Value>) {
        let balancers = answer.and_then(Value::as_object);
        for (balancer, told) in balancers.into_iter().flatten() {
            self.requests.slow_ms = told["slow_ms"].as_u64().or(self.requests.slow_ms);
            self.requests.per_second = told["per_second"].as_u64().or(self.requests.per_second);
            for value in told["requests"].as_array().into_iter().flatten() {
                if let Some(request) = Request::read(balancer, value) {
                    let key = (request.at.clone(), request.balancer.clone(), request.id);
                    self.requests.seen.entry(key).or_insert(request);
                }
            }
        }
        let chosen = self.cursor(Panel::Samples).key().map(str::to_owned);
        while self.requests.seen.len() > MOST {
            let oldest = self
                .requests
                .seen
                .iter()
                .find(|(_, request)| chosen.as_deref() != Some(&request.key))
                .map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.requests.seen.remove(&oldest);
        }
    }

    /// A call that was fired from here was answered: it is what one wants to see now, wherever one is.
    pub(super) fn answered(&mut self, answer: Box<Answer>, is_call: bool) {
        let at = self.clock(self.now) - answer.elapsed;
        self.requests.fired = Some(Request::fired(&answer, at));
        self.answer = Some(answer);
        self.cursor_mut(Panel::Samples).choose(FIRED);
        if is_call && self.view != View::Requests && self.overlay.is_none() {
            self.overlay = self.request_page().map(Overlay::Text);
        }
    }

    /// The requests on show: the one that was fired from here, then the sampled ones, the newest first.
    pub fn samples(&self) -> Vec<&Request> {
        let cursor = self.cursor(Panel::Samples);
        let wanted = |request: &&Request| {
            cursor
                .filter
                .as_ref()
                .is_none_or(|filter| filter.lets_through(&request.whole))
        };
        let mut rows: Vec<&Request> = self.requests.seen.values().rev().filter(wanted).collect();
        let down = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
        match cursor.sort {
            Some(1) => rows.sort_by(|a, b| a.method.cmp(&b.method)),
            Some(2) => rows.sort_by(|a, b| a.path.cmp(&b.path)),
            Some(3) => rows.sort_by_key(|row| Reverse(row.status)),
            Some(4) => rows.sort_by(|a, b| down(a.milliseconds, b.milliseconds)),
            Some(5) => rows.sort_by(|a, b| a.gateway.cmp(&b.gateway)),
            Some(6) => rows.sort_by(|a, b| a.cache.cmp(&b.cache)),
            Some(7) => rows.sort_by_key(|row| Reverse(row.attempts)),
            _ => {}
        }
        if cursor.reversed {
            rows.reverse();
        }
        let fired = self.requests.fired.iter().filter(wanted);
        fired.chain(rows).collect()
    }

    pub(super) fn sample_keys(&self) -> Vec<String> {
        self.samples()
            .into_iter()
            .map(|request| request.key.clone())
            .collect()
    }

    /// The request that is looked into.
    pub fn chosen_request(&self) -> Option<&Request> {
        let samples = self.samples();
        let cursor = self.cursor(Panel::Samples);
        if let Some(key) = cursor.key()
            && let Some(chosen) = samples.iter().find(|request| request.key == key)
        {
            return Some(chosen);
        }
        let keys: Vec<String> = samples.iter().map(|request| request.key.clone()).collect();
        samples.get(cursor.place(&keys)?).copied()
    }

    /// Why there are no fresh samples, and how old the last ones are, in seconds.
    pub fn samples_problem(&self) -> Option<(&str, u64)> {
        let known = self.details.get(&Topic::Requests)?;
        let age = self.now.saturating_sub(known.at).as_secs();
        Some((known.problem.as_deref()?, age))
    }

    /// Shows the log of the chosen request, of all tiers.
    pub(super) fn follow_sample(&mut self) {
        let id = self
            .chosen_request()
            .and_then(|request| request.request_id.clone());
        match id {
            Some(id) => {
                self.go(View::Logs);
                self.logs.follow_id(&id);
            }
            None => self.notify(Notice::info("this request has no id to follow")),
        }
    }

    /// Opens the palette with a call that is to be completed.
    pub(super) fn begin_call(&mut self, line: &str) {
        self.overlay = Some(Overlay::Palette(Palette {
            line: Editor::with(line),
            ..Palette::default()
        }));
    }

    /// What can be done with the chosen request.
    pub(super) fn request_items(&self) -> (String, Vec<Item>) {
        use super::intent::Intent;
        let item = |key, text: &str, choice| Item {
            key,
            text: text.to_owned(),
            choice,
        };
        let mut items = vec![item(
            'c',
            "fire any call of the contract …",
            Choice::Intend(Intent::Call),
        )];
        let Some(request) = self.chosen_request() else {
            return ("Requests".to_owned(), items);
        };
        if let Some(again) = again(request) {
            items.push(item('a', "fire this call again …", Choice::Type(again)));
        }
        items.push(item(
            'o',
            "its lines in the log, over all tiers",
            Choice::Intend(Intent::NextOfRequest),
        ));
        items.push(item(
            'e',
            "all that is known of it",
            Choice::Intend(Intent::Open),
        ));
        (format!("{} {}", request.method, request.path), items)
    }

    /// All that is known of the chosen request, to read.
    pub(super) fn request_page(&self) -> Option<Page> {
        let request = self.chosen_request()?;
        let known = |text: Option<&str>| text.unwrap_or("–").to_owned();
        let number = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), |n| n.to_string());
        let mut lines = vec![
            format!("{} {}", request.method, request.path),
            format!("status    {}", number(request.status)),
            format!("time      {}", request.at),
            format!("took      {}", milliseconds(request.milliseconds)),
            format!("gateway   {}", known(request.gateway.as_deref())),
            format!("cache     {}", known(request.cache.as_deref())),
            format!("attempts  {}", number(request.attempts)),
            format!("request   {}", known(request.request_id.as_deref())),
            format!("seen by   {}", request.balancer),
        ];
        if let Some(why) = &request.why {
            lines.push(format!("sampled   {why}"));
        }
        lines.push(String::new());
        lines.extend(as_text(request));
        if request.id == 0
            && let Some(answer) = &self.answer
        {
            lines.push(String::new());
            lines.extend(
                answer
                    .headers
                    .iter()
                    .map(|(name, value)| printable(&format!("{name}: {value}"))),
            );
            lines.push(String::new());
            lines.extend(body(answer));
        }
        Some(Page {
            title: format!("{} {}", request.method, request.path),
            lines,
            scroll: 0,
        })
    }
}

/// The line that makes the same call, where it needs no body that is not known.
fn again(request: &Request) -> Option<String> {
    let line = format!("call {} {}", request.method, request.path);
    matches!(Action::parse(&line), Ok(Action::Call { .. })).then_some(line)
}

pub fn milliseconds(ms: Option<f64>) -> String {
    ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.3} ms"))
}

/// The waterfall as lines of text.
fn as_text(request: &Request) -> Vec<String> {
    let extent = request.extent();
    if request.spans.is_empty() {
        return vec!["it told nothing of where its time went".to_owned()];
    }
    request
        .spans
        .iter()
        .map(|span| {
            let name = format!("{}{}", "  ".repeat(span.depth.min(12)), span.name);
            let share = if extent > 0.0 {
                span.milliseconds / extent * 100.0
            } else {
                0.0
            };
            format!(
                "{name:<24} {:>12}  {share:>3.0}%  from {:.3} ms",
                milliseconds(Some(span.milliseconds)),
                span.starts_at
            )
        })
        .collect()
}

/// A body as it is read best.
pub fn body(answer: &Answer) -> Vec<String> {
    let pretty = serde_json::from_str::<Value>(&answer.body)
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok());
    let text = pretty.as_deref().unwrap_or(&answer.body);
    if text.is_empty() {
        return vec!["no body".to_owned()];
    }
    let mut lines: Vec<String> = text.lines().take(MOST_LINES).map(printable).collect();
    if answer.truncated || text.lines().nth(MOST_LINES).is_some() {
        lines.push("… there is more than is shown".to_owned());
    }
    lines
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "times are exact fractions")]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::state::testing::{at, trace::sampled};

    fn sample(id: u64, second: u64) -> Value {
        json!({
            "id": id, "request_id": format!("r-{id}"), "at": format!("2026-03-02T14:05:{second:02}.123456Z"),
            "why": "regular", "method": "GET", "path": "/data", "route": "/data", "status": 200,
            "cache": "miss", "duration_ms": 10.5, "upstream": "gateway-1", "attempts": 1,
            "timing": [
                {"name": "balancer", "start_ms": 0.0, "duration_ms": 10.5},
                {"name": "gateway", "start_ms": 0.5, "duration_ms": 9.0},
                {"name": "pg", "start_ms": 3.0, "duration_ms": 4.0},
            ],
        })
    }

    fn put(state: &mut State, ids: std::ops::Range<u64>) {
        let requests: Vec<Value> = ids.map(|id| sample(id, id % 60)).collect();
        state.take_requests(Some(
            &json!({"balancer-1": {"slow_ms": 250, "requests": requests}}),
        ));
    }

    #[test]
    fn the_newest_is_first_and_a_chosen_one_stays() {
        let mut state = State::default();
        put(&mut state, 1..4);
        assert_eq!(state.samples()[0].id, 3);
        assert_eq!(state.chosen_request().unwrap().id, 3);
        put(&mut state, 2..6);
        assert_eq!(
            state.chosen_request().unwrap().id,
            5,
            "nothing is chosen yet"
        );
        assert_eq!(state.samples().len(), 5);
        state.focus_on(Panel::Samples);
        state.intend(crate::state::intent::Intent::Down);
        assert_eq!(state.chosen_request().unwrap().id, 4);
        let chosen = state.chosen_request().unwrap().key.clone();
        for second in 0..60 {
            let more: Vec<Value> = (0..100)
                .map(|n| sample(1_000 + second * 100 + n, second))
                .collect();
            state.take_requests(Some(&json!({"balancer-1": {"requests": more}})));
        }
        assert_eq!(state.requests.seen.len(), MOST);
        assert_eq!(state.chosen_request().unwrap().key.clone(), chosen);
    }

    #[test]
    fn rows_are_filtered_by_all_they_say_and_ordered() {
        let mut state = sampled();
        let all = state.samples().len();
        state.set_filter(Panel::Samples, "503");
        assert!(!state.samples().is_empty() && state.samples().len() < all);
        state.set_filter(Panel::Samples, "!gateway-");
        assert!(state.samples().iter().all(|r| r.gateway.is_none()));
        state.set_filter(Panel::Samples, "");
        state.cursor_mut(Panel::Samples).sort = Some(4);
        let took: Vec<_> = state.samples().iter().map(|r| r.milliseconds).collect();
        assert!(took.windows(2).all(|pair| pair[0] >= pair[1]), "{took:?}");
        assert_eq!(state.rows(Panel::Samples).len(), took.len());
    }

    #[test]
    fn measured_beginnings_are_kept_and_others_guessed() {
        let request = Request::read("b", &sample(1, 1)).unwrap();
        assert!(request.measured);
        assert_eq!(request.spans[2].starts_at, 3.0);
        assert_eq!(
            (request.spans[2].depth, request.spans[2].is_hop),
            (2, false)
        );
        assert_eq!(request.extent(), 10.5);
        let mut guessed = sample(1, 1);
        guessed["timing"][1]["start_ms"] = Value::Null;
        let request = Request::read("b", &guessed).unwrap();
        assert!(!request.measured);
        assert_eq!(request.spans[1].starts_at, 0.75);
    }

    #[test]
    fn a_call_from_here_is_looked_into_with_headers_and_body() {
        let mut state = sampled();
        state.tick(at(60));
        state.answered(
            Box::new(Answer {
                method: "GET",
                url: "http://127.0.0.1:8000/data?key=a".into(),
                status: 200,
                headers: vec![
                    ("x-gateway".into(), "gateway-2".into()),
                    ("x-request-id".into(), "mine".into()),
                    ("x-hostile".into(), "\x1b[2J".into()),
                ],
                body: r#"{"data":"x","cached":true}"#.into(),
                truncated: false,
                elapsed: Duration::from_millis(8),
                waterfall: waterfall(["balancer;dur=7, gateway;dur=5"]),
            }),
            true,
        );
        assert!(matches!(&state.overlay, Some(Overlay::Text(page)) if page.lines.len() > 10));
        state.overlay = None;
        let request = state.chosen_request().unwrap();
        assert_eq!((request.path.as_str(), request.id), ("/data?key=a", 0));
        let page = state.request_page().unwrap();
        assert!(
            page.lines.iter().any(|line| line == "  \"cached\": true,"),
            "{page:?}"
        );
        assert!(page.lines.iter().any(|line| line == "x-gateway: gateway-2"));
        assert!(!page.lines.join("").contains('\x1b'));
        state.focus_on(Panel::Samples);
        state.intend(crate::state::intent::Intent::NextOfRequest);
        assert_eq!(
            (state.view, state.logs.request()),
            (View::Logs, Some("mine"))
        );
    }

    #[test]
    fn a_request_is_fired_again_and_other_calls_are_proposed() {
        let mut state = sampled();
        state.focus_on(Panel::Samples);
        let (_, items) = state.request_items();
        assert!(
            items.iter().any(
                |item| matches!(&item.choice, Choice::Type(line) if line.starts_with("call "))
            )
        );
        state.intend(crate::state::intent::Intent::Call);
        let Some(Overlay::Palette(palette)) = &state.overlay else {
            panic!()
        };
        let proposals = state.proposals(palette.line.text());
        assert!(
            proposals
                .iter()
                .any(|p| p.line == "call GET /cards/7/balance" && !p.meaning.is_empty())
        );
        let post = state.proposals("call POST /recharges");
        assert!(post[0].line.contains("amount"), "{post:?}");
        let lines: std::collections::BTreeSet<_> = proposals.iter().map(|p| &p.line).collect();
        assert_eq!(lines.len(), proposals.len(), "each is proposed once");
    }

    proptest! {
        #[test]
        fn no_answer_breaks_it(text in "\\PC{0,20}", number: f64, negative: i64) {
            let mut state = State::default();
            for value in [json!(text), json!(number), json!(negative), Value::Null, json!([]), json!({})] {
                let mut hostile = sample(1, 1);
                for field in ["id", "at", "method", "status", "duration_ms", "timing", "attempts"] {
                    hostile[field] = value.clone();
                    state.take_requests(Some(&json!({"b": {"requests": [hostile.clone(), value.clone()]}})));
                }
                let mut timing = sample(2, 2);
                timing["timing"][0]["name"] = value.clone();
                timing["timing"][1]["duration_ms"] = value.clone();
                state.take_requests(Some(&json!({"b": {"requests": [timing]}})));
                state.take_requests(Some(&value));
            }
            for request in state.samples() {
                prop_assert!(request.extent().is_finite());
            }
            state.request_page();
        }
    }
}
