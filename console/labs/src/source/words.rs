//! The little words inside of values: times, names, instances, placeholders.

use std::time::Duration;

use actions::{Action, nearest};

use crate::{
    expression::{FUNCTIONS, Scope},
    metrics::ROLES,
};

/// `300ms`, `5s`, `1.5s` or `1m`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time, such as 300ms, 5s or 1m");
    let text = text.trim();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match &text[digits.len()..] {
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        _ => return Err(wrong()),
    };
    if !(0.0..=600.0).contains(&seconds) {
        return Err(format!(
            "{text:?} is more than ten minutes, or less than nothing"
        ));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Names of measurements and answers, and of what is kept.
pub(super) fn name(text: &str) -> Result<(), String> {
    let sound = text.len() <= 30
        && text.starts_with(|letter: char| letter.is_ascii_lowercase())
        && text
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if !sound {
        return Err(format!(
            "{text:?} is no name: small letters, digits and _ after a letter, at most 30"
        ));
    }
    let taken = ROLES
        .into_iter()
        .chain(FUNCTIONS.iter().map(|(function, ..)| *function))
        .chain([
            "response", "service", "and", "or", "not", "true", "false", "n", "run",
        ])
        .any(|word| word == text);
    if taken {
        return Err(format!(
            "{text:?} has a meaning of its own; choose another name"
        ));
    }
    Ok(())
}

/// The one instance that an action is about, where it must be an instance.
pub(super) fn instance(action: &Action) -> Option<&str> {
    match action {
        Action::Drain(name)
        | Action::Restore(name)
        | Action::Fault { instance: name, .. }
        | Action::Weight { instance: name, .. } => Some(name),
        Action::Kill(name) if !["postgres", "redis", "queue"].contains(&name.as_str()) => {
            Some(name)
        }
        Action::Restart(name) | Action::Scale { role: name, .. }
            if !ROLES.contains(&name.as_str()) =>
        {
            Some(name)
        }
        Action::ClearFaults { instance } | Action::CacheSwitch { instance, .. } => {
            instance.as_deref()
        }
        _ => None,
    }
}

/// Whether a lab may have an instance of this name.
pub(super) fn check_instance(name: &str) -> Result<(), String> {
    let (role, number) = name.rsplit_once('-').unwrap_or((name, ""));
    let numbered = number.parse::<u32>().is_ok_and(|number| number > 0);
    if ROLES.contains(&role) && numbered {
        return Ok(());
    }
    let hint = nearest(role, ROLES.into_iter()).map_or(String::new(), |role| {
        let number = if numbered { number } else { "1" };
        format!("; did you mean \"{role}-{number}\"?")
    });
    Err(format!(
        "{name:?} is no instance, such as \"gateway-2\"{hint}"
    ))
}

/// What stands between `<` and `>` in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    Number,
    Run,
    Between(u64, u64),
    Answer { name: String, pointer: String },
}

/// Cuts a text at its placeholders: plain text, then a placeholder, and so on. What is none is the error.
pub(crate) fn placeholders(text: &str) -> Result<Vec<(String, Option<Placeholder>)>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let Some(length) = rest[open..].find('>') else {
            break;
        };
        let inner = &rest[open + 1..open + length];
        let Some(placeholder) = placeholder(inner) else {
            return Err(rest[open..=open + length].to_owned());
        };
        parts.push((rest[..open].to_owned(), Some(placeholder)));
        rest = &rest[open + length + 1..];
    }
    parts.push((rest.to_owned(), None));
    Ok(parts)
}

fn placeholder(text: &str) -> Option<Placeholder> {
    match text {
        "n" => return Some(Placeholder::Number),
        "run" => return Some(Placeholder::Run),
        _ => {}
    }
    if let Some((low, high)) = text.split_once("..") {
        let (low, high) = (low.parse().ok()?, high.parse().ok()?);
        return (low <= high).then_some(Placeholder::Between(low, high));
    }
    let (name, pointer) = text.split_once(':')?;
    pointer.starts_with('/').then(|| Placeholder::Answer {
        name: name.to_owned(),
        pointer: pointer.to_owned(),
    })
}

/// The placeholders of a text, and that the answers are there; the word that is wrong, and why.
pub(super) fn check_placeholders(text: &str, scope: &Scope) -> Result<(), (String, String)> {
    let parts = placeholders(text).map_err(|word| {
        let reason =
            format!("{word} is no placeholder: there are <n>, <run>, <1..100> and <name:/pointer>");
        (word, reason)
    })?;
    for (_, placeholder) in parts {
        if let Some(Placeholder::Answer { name, .. }) = placeholder
            && !scope.answers.contains(&name)
            && !scope.measurements.contains_key(&name)
        {
            let known = scope.answers.iter().chain(scope.measurements.keys());
            let near = nearest(&name, known.map(String::as_str));
            let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            let reason = format!("no step before this one keeps an answer {name:?}{hint}");
            return Err((format!("<{name}:"), reason));
        }
    }
    Ok(())
}
