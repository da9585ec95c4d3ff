//! `recarga guard`: runs a store under the supervisor's eye.

use std::time::Duration;

use anyhow::Result;
use host::{
    Account,
    guard::{self, Options},
};

use crate::arguments::Guard;

pub async fn run(arguments: Guard) -> Result<u8> {
    let account = match (arguments.uid, arguments.gid) {
        (Some(uid), Some(gid)) => Some(Account { uid, gid }),
        _ => None,
    };
    let code = guard::run(Options {
        command: arguments.command,
        account,
        signal: arguments.signal,
        patience: Duration::from_secs(arguments.patience),
    })
    .await?;
    Ok(u8::try_from(code).unwrap_or(1))
}
