//! One task per process: starts it, watches it, starts it again when it dies, and stops it when told.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use kit::topology::State;
use rustix::process::Signal;
use tokio::{process::Child, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{backoff::Backoff, event::UpEvent, job::Job, processes, supervisor::Inner};

/// How often a process that is coming up is asked whether it is ready.
const PROBE_INTERVAL: Duration = Duration::from_millis(40);

/// How far a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Not ready yet, and how often it has died on the way.
    Starting {
        deaths: u32,
    },
    Ready,
}

/// The handle of a kept process.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub job: Job,
    stop: CancellationToken,
    pub progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

impl Keeper {
    pub fn start(inner: Arc<Inner>, job: Job) -> Self {
        let stop = CancellationToken::new();
        let (sender, progress) = watch::channel(Progress::Starting { deaths: 0 });
        let task = tokio::spawn(keep(inner, job.clone(), stop.clone(), sender));
        Self {
            job,
            stop,
            progress,
            task,
        }
    }

    /// Stops the process in order and waits for its end.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

async fn keep(
    inner: Arc<Inner>,
    job: Job,
    stop: CancellationToken,
    progress: watch::Sender<Progress>,
) {
    let mut backoff = Backoff::default();
    let mut deaths = 0;
    loop {
        if job.prepare().await {
            inner.events.send(UpEvent::LeftoverStopped {
                name: job.name().to_owned(),
            });
        }
        if stop.is_cancelled() {
            break;
        }
        let began = Instant::now();
        let how = match job.command(&inner).map(|mut command| command.spawn()) {
            Err(error) => error.to_string(),
            Ok(Err(error)) => format!("cannot start {}: {error}", inner.program.display()),
            Ok(Ok(mut child)) => {
                inner.set_process(&job, State::Starting, child.id());
                // Kept to the end: waiting for a child closes what is left in it, and the end of this pipe means
                // "stop", which after a signal would count as the second word and mean "now".
                let _pipe = child.stdin.take();
                let came_up = |pid| {
                    inner.set_process(&job, State::Running, pid);
                    progress.send_replace(Progress::Ready);
                    if deaths > 0 {
                        inner.events.send(UpEvent::Recovered {
                            name: job.name().to_owned(),
                            restarts: deaths,
                        });
                    }
                };
                if let Some(status) = watch_over(&inner, &job, &mut child, &stop, came_up).await {
                    describe(status)
                } else {
                    terminate(&inner, &job, child).await;
                    break;
                }
            }
        };
        deaths += 1;
        let ran = began.elapsed();
        let wait = backoff.after(ran, &mut rand::rng());
        progress.send_replace(Progress::Starting { deaths });
        inner.restarting(&job);
        inner.events.send(UpEvent::Exited {
            name: job.name().to_owned(),
            how,
            ran,
            wait,
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => break,
        }
    }
    inner.set_process(&job, State::Stopped, None);
    inner.events.send(UpEvent::Stopped {
        name: job.name().to_owned(),
    });
}

/// Waits for the process's end, and says once when it is ready; `None` when it is to be stopped.
async fn watch_over(
    inner: &Inner,
    job: &Job,
    child: &mut Child,
    stop: &CancellationToken,
    came_up: impl FnOnce(Option<u32>),
) -> Option<ExitStatus> {
    let pid = child.id();
    let ready = async {
        while !job.is_ready(inner).await {
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    };
    tokio::pin!(ready);
    let mut came_up = Some(came_up);
    loop {
        tokio::select! {
            status = child.wait() => return Some(status.unwrap_or_default()),
            () = stop.cancelled() => return None,
            () = &mut ready, if came_up.is_some() => {
                if let Some(came_up) = came_up.take() {
                    came_up(job.working_pid(pid));
                }
            }
        }
    }
}

/// Asks the process to stop, and kills it when it takes too long or everybody is in a hurry.
async fn terminate(inner: &Inner, job: &Job, mut child: Child) {
    if let Some(pid) = child.id() {
        processes::signal(pid, Signal::TERM);
    }
    tokio::select! {
        _ = child.wait() => return,
        () = tokio::time::sleep(job.patience()) => {
            inner.events.send(UpEvent::Warning(format!(
                "{} did not stop within {} s and was killed",
                job.name(),
                job.patience().as_secs()
            )));
        }
    }
    let _ = child.kill().await;
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}
