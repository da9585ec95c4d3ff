//! Faults as words: `latency=200ms errors=0.5 status=503 for=60s route=/data`.

use std::time::Duration;

use kit::faults::Fault;

use crate::{ParseError, number::span, reader::Reader};

/// How long a fault lasts that does not say.
const USUAL: u64 = 60;
/// The longest, a day.
const LONGEST: u64 = 86_400;
/// The most milliseconds that can be added to a request.
const SLOWEST: u128 = 600_000;

pub(crate) fn read(reader: &mut Reader) -> Result<Fault, ParseError> {
    let mut milliseconds = |name: &str| -> Result<u64, ParseError> {
        let Some(time) = reader.time(name)? else {
            return Ok(0);
        };
        if time.as_millis() > SLOWEST {
            return Err(ParseError::new(
                &format!("{name}={}", span(time)),
                "ten minutes at most",
            ));
        }
        Ok(time.as_millis() as u64)
    };
    let (latency_ms, jitter_ms) = (milliseconds("latency")?, milliseconds("jitter")?);
    let hold_ms = milliseconds("hold")?;
    let error_rate = match reader.option("errors")? {
        None => 0.0,
        Some(text) => share("errors", &text)?,
    };
    let lose_rate = match reader.option("lose")? {
        None => 0.0,
        Some(text) => share("lose", &text)?,
    };
    let error_status = reader
        .number("status", 400..=599)?
        .map(|status| status as u16);
    let route = reader.option("route")?;
    if let Some(route) = route.as_ref().filter(|route| !route.starts_with('/')) {
        return Err(ParseError::new(
            route,
            "a route begins with /, such as route=/data",
        ));
    }
    let fault = Fault {
        route,
        latency_ms,
        jitter_ms,
        hold_ms,
        error_rate,
        error_status,
        lose_rate,
        hang: reader.flag("hang"),
        refuse: reader.flag("refuse"),
        expires_in_seconds: lasts(reader)?,
    };
    if fault.latency_ms == 0
        && fault.jitter_ms == 0
        && fault.hold_ms == 0
        && fault.error_rate == 0.0
        && fault.lose_rate == 0.0
        && !fault.hang
        && !fault.refuse
    {
        return Err(ParseError::new(
            "fault",
            "say what breaks: latency=200ms, jitter=50ms, hold=200ms, errors=0.5 (with status=503), lose=0.5, hang or refuse",
        ));
    }
    Ok(fault)
}

fn share(name: &str, text: &str) -> Result<f64, ParseError> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse::<f64>(),
    };
    match number {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err(ParseError::new(
            &format!("{name}={text}"),
            format!("a share above 0 and up to 1 is wanted, such as {name}=0.5 or {name}=50%"),
        )),
    }
}

fn lasts(reader: &mut Reader) -> Result<Option<u64>, ParseError> {
    let Some(text) = reader.option("for")? else {
        return Ok(Some(USUAL));
    };
    if text == "forever" {
        return Ok(None);
    }
    let time = crate::number::duration(&text).filter(|time| time.subsec_nanos() == 0);
    match time.map(|time| time.as_secs()) {
        Some(seconds @ 1..=LONGEST) => Ok(Some(seconds)),
        _ => Err(ParseError::new(
            &format!("for={text}"),
            "whole seconds up to a day are wanted, such as for=60s, or for=forever",
        )),
    }
}

pub(crate) fn words(fault: &Fault) -> Vec<String> {
    let mut words = Vec::new();
    for (name, milliseconds) in [
        ("latency", fault.latency_ms),
        ("jitter", fault.jitter_ms),
        ("hold", fault.hold_ms),
    ] {
        if milliseconds > 0 {
            words.push(format!(
                "{name}={}",
                span(Duration::from_millis(milliseconds))
            ));
        }
    }
    if fault.error_rate > 0.0 {
        words.push(format!("errors={}", fault.error_rate));
    }
    if fault.lose_rate > 0.0 {
        words.push(format!("lose={}", fault.lose_rate));
    }
    words.extend(fault.error_status.map(|status| format!("status={status}")));
    words.extend(fault.route.as_ref().map(|route| format!("route={route}")));
    if fault.hang {
        words.push("hang".to_owned());
    }
    if fault.refuse {
        words.push("refuse".to_owned());
    }
    words.push(match fault.expires_in_seconds {
        Some(seconds) => format!("for={seconds}s"),
        None => "for=forever".to_owned(),
    });
    words
}

/// What it does, for people.
pub(crate) fn describe(fault: &Fault) -> String {
    let mut effects = Vec::new();
    match (fault.latency_ms, fault.jitter_ms) {
        (0, 0) => {}
        (latency, 0) => effects.push(format!("{latency} ms slower")),
        (latency, jitter) => effects.push(format!("{latency} to {} ms slower", latency + jitter)),
    }
    if fault.hold_ms > 0 {
        effects.push(format!(
            "answers held back {} ms after the work",
            fault.hold_ms
        ));
    }
    if fault.error_rate > 0.0 {
        effects.push(format!(
            "{}% answered {}",
            fault.error_rate * 100.0,
            fault.error_status.unwrap_or(500)
        ));
    }
    if fault.lose_rate > 0.0 {
        effects.push(format!(
            "{}% carried out and the answer lost",
            fault.lose_rate * 100.0
        ));
    }
    if fault.hang {
        effects.push("never answered".to_owned());
    }
    if fault.refuse {
        effects.push("connections closed".to_owned());
    }
    let whose = fault.route.as_ref().map_or_else(
        || "every request".to_owned(),
        |route| format!("requests for {route}…"),
    );
    let until = fault.expires_in_seconds.map_or_else(
        || "until it is cleared".to_owned(),
        |seconds| format!("for {seconds} s"),
    );
    format!("{whose}: {} {until}", effects.join(", "))
}
