//! The routes file: read at the start, and again whenever it has changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use kit::Shutdown;
use tokio::io::AsyncReadExt as _;

use crate::{
    document,
    flaw::{Flaw, Flaws},
    matching::Table,
    running::{Origin, Running},
    table::RouteInfo,
};

/// How often the file is looked at. It is read whole and compared: times of change are coarse, and differ in meaning between file
/// systems and mounts.
const LOOK: Duration = Duration::from_secs(1);

/// The file's text.
pub async fn text(path: &Path) -> Result<String, Flaws> {
    let read = async {
        let file = tokio::fs::File::open(path).await?;
        let mut text = String::new();
        // One byte more than is taken, so that what is too large is noticed.
        let mut limited = file.take(document::LIMIT as u64 + 1);
        limited.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    read.await
        .map_err(|error| Flaw::general(format!("cannot be read: {error}")).into())
}

/// Reads and checks the file.
pub async fn load(path: &Path) -> Result<(String, Vec<RouteInfo>, Table), Flaws> {
    let text = text(path).await?;
    let (routes, table) = document::read(&text)?;
    Ok((text, routes, table))
}

/// Follows the file until the shutdown: good routes are put in force, of bad ones the log tells once and the old ones stay. `seen`
/// is the text in force.
pub async fn follow(running: Arc<Running>, path: PathBuf, seen: String, shutdown: Shutdown) {
    let mut seen = Ok(seen);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.requested() => return,
        }
        let text = text(&path).await;
        if text == seen {
            continue;
        }
        let read = text.clone().and_then(|text| document::read(&text));
        seen = text;
        match read {
            Ok((routes, table)) => {
                running.note(None);
                // Nobody is expected: the file says what it says.
                let _ = running.replace(routes, table, Origin::File, None, Utc::now());
            }
            Err(flaws) => {
                tracing::error!(
                    path = %path.display(),
                    problems = flaws.0.len(),
                    error = %flaws,
                    "the routes file has changed and cannot be used; the routes before stay"
                );
                running.note(Some(flaws));
            }
        }
    }
}
