//! Services that an earlier, killed lab left behind: they end by themselves, but perhaps not before their ports are needed.

use std::time::Duration;

use kit::{Topology, topology::Instance};
use rustix::process::Signal;

use crate::{
    event::{Events, UpEvent},
    layout::Layout,
    processes,
};

/// They were told by the end of their pipe already, so this is only the rest of their drain.
const PATIENCE: Duration = Duration::from_secs(6);

/// Stops what the last topology names and is still this folder's.
pub(crate) async fn stop_services(layout: &Layout, events: &Events) {
    let Ok(topology) = Topology::load(&layout.topology()) else {
        return;
    };
    let mut tasks = tokio::task::JoinSet::new();
    for instance in topology.instances {
        let Some(pid) = instance.pid else { continue };
        if !is_ours(layout, &instance, pid) {
            continue;
        }
        let (layout, events) = (layout.clone(), events.clone());
        tasks.spawn(async move {
            let ours = || is_ours(&layout, &instance, pid);
            processes::stop(pid, Signal::TERM, PATIENCE, ours).await;
            events.send(UpEvent::LeftoverStopped {
                name: instance.name.clone(),
            });
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// A number may have been given to another process since: the words it was started with tell.
fn is_ours(layout: &Layout, instance: &Instance, pid: u32) -> bool {
    processes::origin(pid).is_some_and(|origin| {
        let folder = format!("RECARGA_LOG_DIR={}", layout.logs().display());
        origin.has_argument(&instance.name) && origin.has_variable(folder)
    })
}
