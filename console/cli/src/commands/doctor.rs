//! `recarga doctor`: what a lab needs from this machine, and how to get what is missing.

use std::path::Path;

use anyhow::Result;
use host::{
    find::{self, Finding},
    install::{self, Consent, Missing},
};

use crate::{
    arguments::Doctor,
    exit,
    terminal::{self, say},
};

pub fn run(directory: &Path, arguments: &Doctor) -> Result<u8> {
    let missing = Missing::look();
    if arguments.install && !missing.nothing() {
        ensure(arguments.yes)?;
    }
    match find::postgres() {
        Finding::Found(tool) => say(format_args!(
            "ok       PostgreSQL {} at {}",
            tool.version,
            tool.programs.join("postgres").display()
        )),
        other => say(complaint("PostgreSQL", find::POSTGRES_MAJOR, other)),
    }
    match find::redis() {
        Finding::Found(tool) => say(format_args!(
            "ok       Redis {} at {}",
            tool.version,
            tool.program.display()
        )),
        other => say(complaint("Redis", find::REDIS_MAJOR, other)),
    }
    match host::Layout::open(directory).and_then(|layout| layout.check_space()) {
        Ok(()) => say(format_args!(
            "ok       {} can hold a lab",
            directory.display()
        )),
        Err(error) => say(format_args!("trouble  {error}")),
    }
    let missing = Missing::look();
    if missing.nothing() {
        return Ok(exit::SUCCESS);
    }
    say("");
    say("To install what is missing:");
    say(format_args!("    {}", install::command_text(missing)));
    say("or let `recarga doctor --install` do it.");
    Ok(exit::MISSING)
}

fn complaint<T>(what: &str, needed: u32, finding: Finding<T>) -> String {
    match finding {
        Finding::TooOld(path, version) => format!(
            "too old  {what} {version} at {}; {needed} or newer is needed",
            path.display()
        ),
        _ => format!("missing  {what} ({needed} or newer)"),
    }
}

/// Installs what is missing, asking first unless told not to.
pub fn ensure(yes: bool) -> Result<()> {
    let ask = |missing: Missing, command: &str| ask(yes, &missing.to_string(), command);
    install::ensure(ask, |command| say(format_args!("running {command}")))?;
    Ok(())
}

/// The same for the browser of the web page's tests. False when this system has none to offer.
pub fn ensure_browser(yes: bool) -> Result<bool> {
    let ask = |command: &str| ask(yes, "Chromium, which the web page is tested in,", command);
    Ok(install::ensure_browser(ask, |command| {
        say(format_args!("running {command}"));
    })?)
}

fn ask(yes: bool, missing: &str, command: &str) -> Consent {
    if yes {
        return Consent::Given;
    }
    if !terminal::is_interactive() {
        return Consent::Unasked;
    }
    say(format_args!("{missing} is missing. This would install it:"));
    say(format_args!("    {command}"));
    match terminal::confirm("Run it now?") {
        Ok(true) => Consent::Given,
        Ok(false) | Err(_) => Consent::Refused,
    }
}
