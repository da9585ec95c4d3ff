//! `recarga scale`: another number of instances, while everything runs.

use std::path::Path;

use anyhow::Result;
use host::control::Client;

use super::note;
use crate::{arguments::Scale, exit, terminal::say};

pub async fn run(directory: &Path, arguments: &Scale) -> Result<u8> {
    let mut client = Client::connect(directory, note).await?;
    for &count in &arguments.counts {
        let topology = client.scale(count).await?;
        let role = count.role.name();
        let names: Vec<&str> = topology
            .of_role(role)
            .map(|instance| instance.name.as_str())
            .collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(" ")
        };
        say(format_args!("{role}: {names}"));
    }
    Ok(exit::SUCCESS)
}
