//! Reads actions from a line or from words.

use std::collections::BTreeMap;

use kit::safeguards::{MOST_SECONDS, Safeguard, USUAL_SECONDS};
use load::Mix;

use crate::{
    Action, Delayed, Door, FlushScope, Method, POLICIES, TABLE, Target, TrafficPlan, entry, fault,
    names::{LEVELS, nearest},
    number,
    reader::{self, Reader},
    words,
};

/// The most requests of one burst.
const BURST: u64 = 10_000;
/// The most actions of one line.
const ACTIONS: usize = 1_000;
/// The longest body of a call, in bytes.
const BODY: usize = 1 << 20;

/// A line that is no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?}: {reason}")]
pub struct ParseError {
    /// The word that cannot be used.
    pub word: String,
    /// Why not, and what would do.
    pub reason: String,
}

impl ParseError {
    pub(crate) fn new(word: &str, reason: impl Into<String>) -> Self {
        // A word may be a whole body.
        let short: String = word.chars().take(80).collect();
        let word = if short.len() < word.len() {
            format!("{short}…")
        } else {
            short
        };
        Self {
            word,
            reason: reason.into(),
        }
    }
}

impl Action {
    /// Reads a line such as `drain gateway-2`, `fault gateway-2 latency=200ms for=60s route=/data` or
    /// `cache off; traffic ramp rate=500 for=60s`.
    pub fn parse(line: &str) -> Result<Self, ParseError> {
        Self::of_actions(words::split(line)?)
    }

    /// Reads words that a shell has split already; `;` as a word of its own stands between actions. A single word with blanks
    /// in it is read as a line.
    pub fn parse_words<S: AsRef<str>>(words: &[S]) -> Result<Self, ParseError> {
        if let [line] = words {
            return Self::parse(line.as_ref());
        }
        let mut actions = vec![Vec::new()];
        for word in words.iter().map(AsRef::as_ref) {
            if word == words::SEPARATOR {
                actions.push(Vec::new());
            } else if let Some(action) = actions.last_mut() {
                action.push(word.to_owned());
            }
        }
        Self::of_actions(actions)
    }

    fn of_actions(mut actions: Vec<Vec<String>>) -> Result<Self, ParseError> {
        if actions.len() > ACTIONS {
            return Err(ParseError::new(
                words::SEPARATOR,
                format!("{ACTIONS} actions at most"),
            ));
        }
        // A `;` at the end is a habit.
        if actions.len() > 1 && actions.last().is_some_and(Vec::is_empty) {
            actions.pop();
        }
        let actions: Vec<Self> = actions.into_iter().map(single).collect::<Result<_, _>>()?;
        Self::several(actions).ok_or_else(|| ParseError::new("", nothing()))
    }
}

fn nothing() -> String {
    let verbs: Vec<&str> = TABLE.iter().map(|entry| entry.verb).collect();
    format!("an action is wanted: {}", verbs.join(", "))
}

fn single(words: Vec<String>) -> Result<Action, ParseError> {
    let mut words = words.into_iter();
    let verb = words.next().unwrap_or_default();
    let Some(entry) = entry(&verb) else {
        let near = nearest(&verb, TABLE.iter().map(|entry| entry.verb));
        return Err(ParseError::new(
            &verb,
            near.map_or_else(nothing, |near| {
                format!("there is no such action; is {near} meant?")
            }),
        ));
    };
    let mut reader = Reader::new(entry.verb, entry.arguments, words.collect());
    let action = read(entry.verb, &mut reader)?;
    reader.end()?;
    Ok(action)
}

fn read(verb: &str, reader: &mut Reader) -> Result<Action, ParseError> {
    Ok(match verb {
        "recharge" => Action::Recharge {
            card: reader.number("card", 1..=u64::MAX >> 1)?,
            amount: reader
                .number("amount", 1..=u64::MAX >> 1)?
                .map(u64::cast_signed),
        },
        "burst" => Action::Burst {
            requests: reader.count("the number of requests", 1..=BURST)? as u32,
        },
        "call" => call(reader)?,
        "traffic" => Action::Traffic(TrafficPlan::read(reader)?),
        "traffic-rate" => Action::TrafficRate(rate(&reader.word("the rate")?)?),
        "traffic-mix" => Action::TrafficMix(mix(&reader.word("the mix")?)?),
        "stop-traffic" => Action::StopTraffic,
        "flush" => Action::Flush(scope(reader)?),
        "cache" => {
            let word = reader.word("on or off")?;
            let on = match word.as_str() {
                "on" => true,
                "off" => false,
                _ => return Err(ParseError::new(&word, "on or off is wanted")),
            };
            Action::CacheSwitch {
                instance: reader.optional_name("a gateway")?,
                on,
            }
        }
        "drain" => Action::Drain(reader.name("an instance")?),
        "restore" => Action::Restore(reader.name("an instance")?),
        "kill" => Action::Kill(reader.name("an instance")?),
        "restart" => Action::Restart(reader.name("an instance or a role")?),
        "scale" => scale(reader)?,
        "fault" => {
            let fault = fault::read(reader)?;
            Action::Fault {
                instance: reader.name("an instance")?,
                fault,
            }
        }
        "clear-faults" => Action::ClearFaults {
            instance: reader.optional_name("an instance")?,
        },
        "safeguard" => safeguard(reader)?,
        "policy" => {
            let pool = pool(reader)?;
            let word = reader.word("the policy")?;
            if !POLICIES.contains(&word.as_str()) {
                return Err(ParseError::new(
                    &word,
                    format!("the policies are {}", POLICIES.join(", ")),
                ));
            }
            Action::Policy { policy: word, pool }
        }
        "weight" => Action::Weight {
            instance: reader.name("an instance")?,
            weight: reader.count("the weight", 1..=1_000)? as u32,
        },
        "balancing" => Action::Balancing {
            pool: pool(reader)?,
            settings: settings(reader)?,
        },
        "delay" => delay(reader)?,
        "capacity" => {
            let word = reader.word("the number of places, or any")?;
            let places = word
                .parse()
                .ok()
                .filter(|places| (1..=10_000).contains(places));
            Action::Capacity(match (word.as_str(), places) {
                ("any", _) => 0,
                (_, Some(places)) => places,
                (_, None) => {
                    return Err(ParseError::new(
                        &word,
                        "1 to 10000 places are wanted, or any",
                    ));
                }
            })
        }
        "pause-queue" => Action::PauseQueue(reader.name("a queue")?),
        "resume-queue" => Action::ResumeQueue(reader.name("a queue")?),
        "pause-consumers" => Action::PauseConsumers {
            target: reader.optional_name("an instance or a role")?,
        },
        "resume-consumers" => Action::ResumeConsumers {
            target: reader.optional_name("an instance or a role")?,
        },
        "redrive" => Action::Redrive {
            rate: reader.option("rate")?.map(|text| rate(&text)).transpose()?,
            limit: reader
                .number("limit", 1..=10_000)?
                .map(|limit| limit as u32),
            queue: reader.name("a queue")?,
            ids: reader.names("the id of a dead letter")?,
        },
        "purge-dead" => Action::PurgeDead {
            queue: reader.name("a queue")?,
            ids: reader.names("the id of a dead letter")?,
        },
        "purge-queue" => Action::PurgeQueue(reader.name("a queue")?),
        "log-level" => log_level(reader)?,
        "stop-everything" => Action::StopEverything,
        _ => return Err(ParseError::new(verb, nothing())),
    })
}

fn call(reader: &mut Reader) -> Result<Action, ParseError> {
    let body = reader.option("body")?;
    if body.as_ref().is_some_and(|body| body.len() > BODY) {
        return Err(ParseError::new("body", "a mebibyte at most"));
    }
    let token = !reader.flag("anonymous");
    let word = reader.word("the method")?;
    let method = Method::ALL
        .into_iter()
        .find(|method| method.name().eq_ignore_ascii_case(&word));
    let method = method.ok_or_else(|| {
        let names: Vec<&str> = Method::ALL.into_iter().map(Method::name).collect();
        ParseError::new(&word, format!("the methods are {}", names.join(", ")))
    })?;
    let target = target(&reader.word("the path")?)?;
    Ok(Action::Call {
        method,
        target,
        body,
        token,
    })
}

fn target(word: &str) -> Result<Target, ParseError> {
    let wrong = || {
        ParseError::new(
            word,
            "a path is wanted, such as /data?key=a, or cache:/cache/stats, queue:/queues, worker:/tasks, gateway-2:/data",
        )
    };
    let (door, path) = if word.starts_with('/') {
        (Door::Public, word)
    } else {
        let at = word.find(":/").ok_or_else(wrong)?;
        let door = match &word[..at] {
            "cache" => Door::Cache,
            "queue" => Door::Queue,
            "worker" => Door::Worker,
            name => Door::Instance(reader::name(name, "an instance").map_err(|_| wrong())?),
        };
        (door, &word[at + 1..])
    };
    // `//host` would lead elsewhere; what is no ASCII must be percent-encoded.
    let sound = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if path.starts_with("//") || !sound {
        return Err(wrong());
    }
    Ok(Target {
        door,
        path: path.to_owned(),
    })
}

fn scope(reader: &mut Reader) -> Result<FlushScope, ParseError> {
    let scopes = (
        reader.option("key")?,
        reader.option("prefix")?,
        reader.flag("all"),
    );
    match scopes {
        (Some(key), None, false) => Ok(FlushScope::Key(key)),
        (None, Some(prefix), false) => Ok(FlushScope::Prefix(prefix)),
        (None, None, true) => Ok(FlushScope::All),
        _ => {
            let word = reader.optional().unwrap_or_else(|| "flush".to_owned());
            Err(ParseError::new(
                &word,
                "one of key=KEY, prefix=PREFIX and all is wanted",
            ))
        }
    }
}

fn scale(reader: &mut Reader) -> Result<Action, ParseError> {
    let word = reader.word("the role")?;
    let (role, count) = match word.split_once('=') {
        Some((role, count)) => (role.to_owned(), count.to_owned()),
        None => (word, reader.word("the number of instances")?),
    };
    let role = reader::name(&role, "a role")?;
    let known = count.parse::<u32>().ok().filter(|count| *count <= 20);
    let count =
        known.ok_or_else(|| ParseError::new(&count, "0 to 20 instances can be asked for"))?;
    Ok(Action::Scale { role, count })
}

fn pool(reader: &mut Reader) -> Result<Option<String>, ParseError> {
    reader
        .option("pool")?
        .map(|pool| reader::name(&pool, "a pool"))
        .transpose()
}

fn settings(reader: &mut Reader) -> Result<BTreeMap<String, String>, ParseError> {
    let mut settings = BTreeMap::new();
    for word in reader.rest() {
        let wrong = || ParseError::new(&word, "settings look like retries.percent=0");
        let (path, value) = word.split_once('=').ok_or_else(wrong)?;
        let sound = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-@:".contains(&byte);
            !part.is_empty() && part.bytes().all(allowed)
        };
        if !path.split('.').all(sound) || value.is_empty() {
            return Err(wrong());
        }
        if settings.insert(path.to_owned(), value.to_owned()).is_some() {
            return Err(ParseError::new(&word, format!("{path} was said twice")));
        }
    }
    let inside = |outer: &String| {
        let dotted = format!("{outer}.");
        settings
            .keys()
            .find(|path| path.starts_with(&dotted))
            .cloned()
    };
    if let Some(path) = settings.keys().find_map(inside) {
        return Err(ParseError::new(
            &path,
            "what it is inside of has a value of its own here",
        ));
    }
    if settings.is_empty() {
        return Err(ParseError::new(
            "balancing",
            "a setting is missing, such as retries.percent=0",
        ));
    }
    Ok(settings)
}

fn safeguard(reader: &mut Reader) -> Result<Action, ParseError> {
    let time = reader.option("for")?;
    let word = reader.word("the safeguard")?;
    let safeguard = word.parse().map_err(|_| {
        let near = nearest(&word, Safeguard::NAMES.into_iter());
        let reason = near.map_or_else(
            || format!("the safeguards are {}", Safeguard::NAMES.join(", ")),
            |near| format!("there is no such safeguard; is {near} meant?"),
        );
        ParseError::new(&word, reason)
    })?;
    let word = reader.word("on or off")?;
    let off = match (word.as_str(), time) {
        ("on", None) => None,
        ("on", Some(time)) => {
            return Err(ParseError::new(
                &format!("for={time}"),
                "only what is off comes back after a time",
            ));
        }
        ("off", None) => Some(USUAL_SECONDS),
        ("off", Some(time)) => {
            let lasts = number::duration(&time).filter(|lasts| lasts.subsec_nanos() == 0);
            match lasts.map(|lasts| lasts.as_secs()) {
                Some(seconds @ 1..=MOST_SECONDS) => Some(seconds),
                _ => {
                    return Err(ParseError::new(
                        &format!("for={time}"),
                        "whole seconds up to an hour are wanted, such as for=60s",
                    ));
                }
            }
        }
        _ => return Err(ParseError::new(&word, "on or off is wanted")),
    };
    Ok(Action::Safeguard { safeguard, off })
}

fn delay(reader: &mut Reader) -> Result<Action, ParseError> {
    let word = reader.word("what takes so long")?;
    let of = Delayed::ALL
        .into_iter()
        .find(|delayed| delayed.name() == word);
    let of = of.ok_or_else(|| ParseError::new(&word, "data, process or task is wanted"))?;
    let time = reader.word("the time")?;
    let most = if of == Delayed::Task { 600_000 } else { 60_000 };
    match number::duration(&time) {
        Some(lasts) if lasts.as_millis() <= most => Ok(Action::Delay { of, lasts }),
        _ => Err(ParseError::new(
            &time,
            format!("a time up to {} s is wanted, such as 500ms", most / 1_000),
        )),
    }
}

fn log_level(reader: &mut Reader) -> Result<Action, ParseError> {
    let first = reader.word("the level")?;
    let (instance, level) = match reader.optional() {
        None => (None, first),
        Some(level) => (Some(reader::name(&first, "an instance")?), level),
    };
    // The services know the directives; a word that is none at all is told from here.
    let sound = !level.is_empty()
        && level.len() <= 1_000
        && level
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b';');
    let plain = level.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !sound || (plain && !LEVELS.contains(&level.as_str())) {
        return Err(ParseError::new(
            &level,
            format!(
                "the levels are {}, also by module: info,travel=debug",
                LEVELS.join(", ")
            ),
        ));
    }
    Ok(Action::LogLevel { instance, level })
}

pub(crate) fn rate(text: &str) -> Result<f64, ParseError> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=TrafficPlan::MOST_RATE).contains(&rate) => Ok(rate.abs()),
        _ => Err(ParseError::new(
            text,
            format!(
                "a number a second from 0 to {} is wanted",
                TrafficPlan::MOST_RATE
            ),
        )),
    }
}

pub(crate) fn mix(text: &str) -> Result<Mix, ParseError> {
    text.parse().map_err(|error: load::Error| match error {
        load::Error::Option { reason, .. } => ParseError::new(text, reason),
        other => ParseError::new(text, other.to_string()),
    })
}
