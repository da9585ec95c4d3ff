//! `recarga routes`: the public calls, as the API pages document them.

use anyhow::Result;
use utoipa::openapi::PathItem;

use crate::{arguments::Routes, documents, exit, terminal::say};

pub fn run(arguments: &Routes) -> Result<u8> {
    let document = documents::merged();
    if arguments.json {
        say(document.to_pretty_json()?);
        return Ok(exit::SUCCESS);
    }
    for (path, item) in &document.paths.paths {
        for (method, summary) in operations(item) {
            say(format_args!("{method:6} {path:34} {summary}"));
        }
    }
    Ok(exit::SUCCESS)
}

fn operations(item: &PathItem) -> Vec<(&'static str, &str)> {
    [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("DELETE", &item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| {
        let operation = operation.as_ref()?;
        Some((method, operation.summary.as_deref().unwrap_or_default()))
    })
    .collect()
}
