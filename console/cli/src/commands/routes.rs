//! `recarga routes`: the gateway's route table, as it decides.

use anyhow::Result;

use crate::{arguments::Routes, exit, terminal::say};

pub fn run(arguments: &Routes) -> Result<u8> {
    let routes = gateway::routes();
    if arguments.json {
        say(serde_json::to_string_pretty(&routes)?);
        return Ok(exit::SUCCESS);
    }
    say(format_args!(
        "{:6} {:28} {:8} {:9} {:>8}  CACHED AS",
        "METHOD", "PATH", "AUTH", "SERVICE", "TIME-OUT"
    ));
    for route in &routes {
        let cached = route.cache.as_ref().map_or_else(
            || "–".to_owned(),
            |cache| format!("{}, {} s", cache.key, cache.ttl_seconds),
        );
        say(format_args!(
            "{:6} {:28} {:8} {:9} {:>5} ms  {cached}",
            route.method,
            route.path,
            word(route.level)?,
            route.upstream.name(),
            route.timeout_ms,
        ));
    }
    Ok(exit::SUCCESS)
}

/// A level as the JSON form spells it.
fn word(level: gateway::Level) -> Result<String> {
    let value = serde_json::to_value(level)?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}
