//! `recarga health`: what a container's health check runs, so that the image needs no curl.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{arguments::Health, exit, terminal::tell};

const PATIENCE: Duration = Duration::from_secs(3);

pub async fn run(arguments: &Health) -> Result<u8> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()?;
    let response = client
        .get(&arguments.url)
        .send()
        .await
        .with_context(|| format!("asking {}", arguments.url))?;
    if response.status().is_success() {
        return Ok(exit::SUCCESS);
    }
    tell(format_args!(
        "{} answers {}",
        arguments.url,
        response.status()
    ));
    Ok(exit::FAILURE)
}
