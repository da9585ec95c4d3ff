//! `recarga do`: one thing done to a running lab, as a key of the console does it.

use std::{path::Path, sync::Arc};

use actions::{
    Action, Answer, Danger, Done, Failure, Group, Lab, Levers, Rights, TABLE, TrafficPlan,
};
use anyhow::{Context as _, Result};
use host::{Layout, Secrets};
use serde_json::{Value, json};

use super::{console, load};
use crate::{
    arguments::Do,
    exit,
    terminal::{self, say, tell},
};

pub async fn run(directory: &Path, arguments: Do) -> Result<u8> {
    if arguments.list {
        list(arguments.json)?;
        return Ok(exit::SUCCESS);
    }
    let action = match Action::parse_words(&arguments.action) {
        Ok(action) => action,
        Err(error) => {
            tell(format_args!("recarga do: {error}"));
            return Ok(exit::USAGE);
        }
    };
    let levers = levers(directory, &arguments).await?;
    if arguments.dry_run {
        return Ok(match levers.impact(&action).await {
            Ok(impact) if arguments.json => {
                say(
                    json!({"action": action.to_string(), "danger": danger(&action), "impact": impact}),
                );
                exit::SUCCESS
            }
            Ok(impact) => {
                say(impact);
                exit::SUCCESS
            }
            Err(failure) => failed(&action, &failure, arguments.json),
        });
    }
    if !arguments.yes && action.danger() != Danger::None {
        if !terminal::is_interactive() {
            tell(format_args!(
                "recarga do: `{action}` asks before it is done, and there is no terminal to ask on; add --yes"
            ));
            return Ok(exit::USAGE);
        }
        if !agreed(&levers, &action).await? {
            tell("nothing was done");
            return Ok(exit::FAILURE);
        }
    }
    for single in action.all() {
        let code = match single {
            Action::Traffic(plan) => traffic(&levers, plan, &arguments).await?,
            single => match levers.perform(single).await {
                Ok(done) => {
                    print(single, &done, arguments.json)?;
                    exit::SUCCESS
                }
                Err(failure) => failed(single, &failure, arguments.json),
            },
        };
        if code != exit::SUCCESS {
            return Ok(code);
        }
    }
    Ok(exit::SUCCESS)
}

async fn levers(directory: &Path, arguments: &Do) -> Result<Levers> {
    let (lab, token, password) = if let Some(source) = console::elsewhere(&arguments.elsewhere) {
        let lab = app::whereabouts(&source)
            .await
            .map_err(anyhow::Error::msg)?;
        let operator = arguments.operator.clone();
        (lab, operator.token, operator.password)
    } else {
        let topology = host::running_topology(directory)?;
        let secrets = Secrets::load(&Layout::existing(directory)?)?;
        let (token, password) = (secrets.operator_token, secrets.operator_password);
        (Lab::from(&topology), Some(token), Some(password))
    };
    let rights = Rights {
        operator_token: token,
        operator_password: password,
        allow_remote: arguments.allow_remote,
        read_only: arguments.read_only,
    };
    let http = Levers::client().context("making an HTTP client")?;
    Ok(Levers::new(http, lab, rights).telling(Arc::new(|step| tell(step))))
}

/// Says what would happen, and asks. Enter means no.
async fn agreed(levers: &Levers, action: &Action) -> Result<bool> {
    match levers.impact(action).await {
        Ok(impact) => say(impact),
        Err(failure) => tell(format_args!("what it would do cannot be told: {failure}")),
    }
    let title = action.title();
    Ok(match action.danger() {
        Danger::None => true,
        Danger::Confirm => matches!(
            terminal::ask(&format!("{title} [y/N] "))?
                .to_lowercase()
                .as_str(),
            "y" | "yes"
        ),
        Danger::Typed(name) => terminal::ask(&format!("{title} Type {name} to do it: "))? == name,
    })
}

async fn traffic(levers: &Levers, plan: &TrafficPlan, arguments: &Do) -> Result<u8> {
    if arguments.read_only {
        return Ok(failed(
            &Action::Traffic(plan.clone()),
            &Failure::ReadOnly,
            arguments.json,
        ));
    }
    let credentials = levers.credentials().await;
    let options = plan.options(
        &levers.lab().public_url,
        credentials,
        arguments.allow_remote,
    )?;
    let shutdown = kit::Shutdown::on_signals()?;
    let traffic = ::load::Traffic::start(options)?;
    load::follow(&traffic, &shutdown).await;
    load::print(&traffic.stop().await, arguments.json)
}

fn print(action: &Action, done: &Done, json: bool) -> Result<()> {
    if json {
        say(json!({
            "action": action.to_string(),
            "done": true,
            "text": done.text,
            "undo": done.undo.as_ref().map(ToString::to_string),
            "answer": done.detail,
        }));
        return Ok(());
    }
    say(&done.text);
    if let Some(undo) = &done.undo {
        say(format_args!("undo: {}", undo.command_line()));
    }
    match &done.detail {
        Some(answer) if matches!(action, Action::Call { .. }) => show(answer),
        _ => Ok(()),
    }
}

/// An answer's waterfall, headers and body.
fn show(answer: &Answer) -> Result<()> {
    if !answer.waterfall.is_empty() {
        say("");
    }
    for span in &answer.waterfall {
        let name = format!("{}{}", "  ".repeat(span.depth), span.name);
        say(format_args!("{name:<24} {:>9.3} ms", span.milliseconds));
    }
    say("");
    for (name, value) in &answer.headers {
        say(format_args!("{name}: {}", printable(value)));
    }
    say("");
    match serde_json::from_str::<Value>(&answer.body) {
        Ok(document) => say(printable(&serde_json::to_string_pretty(&document)?)),
        Err(_) => say(printable(&answer.body)),
    }
    if answer.truncated {
        tell("there is more of the body than is shown");
    }
    Ok(())
}

/// Without what would steer a terminal.
fn printable(text: &str) -> String {
    let harmless = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    text.chars()
        .map(|letter| if harmless(letter) { letter } else { '\u{fffd}' })
        .collect()
}

fn failed(action: &Action, failure: &Failure, json: bool) -> u8 {
    if json {
        say(json!({"action": action.to_string(), "done": false, "error": failure.to_string()}));
    } else {
        tell(format_args!("recarga do: {failure}"));
    }
    exit::FAILURE
}

fn danger(action: &Action) -> Value {
    match action.danger() {
        Danger::None => json!("none"),
        Danger::Confirm => json!("confirm"),
        Danger::Typed(name) => json!({"type": name}),
    }
}

fn list(json: bool) -> Result<()> {
    if json {
        let rows: Vec<Value> = TABLE
            .iter()
            .map(|entry| {
                json!({
                    "verb": entry.verb,
                    "arguments": entry.arguments,
                    "meaning": entry.meaning,
                    "example": entry.example,
                    "group": entry.group.name(),
                })
            })
            .collect();
        say(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    for group in Group::ALL {
        say(group.name());
        for entry in TABLE.iter().filter(|entry| entry.group == group) {
            say(format_args!("  {} {}", entry.verb, entry.arguments));
            say(format_args!("      {}; {}", entry.meaning, entry.example));
        }
    }
    Ok(())
}
