//! The worker's flags and environment variables.

use kit::discovery::Source;

/// The longest a task may be made to take, in seconds.
pub const TASK_SECONDS_LIMIT: f64 = 600.0;

/// Configuration of one worker instance.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: kit::Common,
    #[command(flatten)]
    pub database: kit::DatabaseArgs,
    /// Where the queue service is.
    #[arg(long, env = "RECARGA_QUEUE", default_value = "127.0.0.1:5006")]
    pub queue: Source,
    #[command(flatten)]
    pub retention: kit::retention::Retention,
    /// Seconds of pretended work per task, until an operator changes it.
    #[arg(long, env = "RECARGA_TASK_SECONDS", default_value_t = 5.0, value_parser = task_seconds)]
    pub task_seconds: f64,
    /// How many tasks run at a time.
    #[arg(long, env = "RECARGA_TASK_CONCURRENCY", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// Attempts after which a task that fails has failed for good.
    #[arg(long, env = "RECARGA_TASK_ATTEMPTS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub attempts: u32,
    /// Seconds after which the task of a worker that died is given to another; a living one keeps extending it.
    #[arg(long, env = "RECARGA_TASK_VISIBILITY_SECONDS", default_value_t = 10.0, value_parser = visibility)]
    pub visibility_seconds: f64,
    /// Seconds that a task may still take to end after a stop was asked for; then it is given back.
    #[arg(long, env = "RECARGA_TASK_FINISH_SECONDS", default_value_t = 2.0, value_parser = finish)]
    pub finish_seconds: f64,
}

fn finish(text: &str) -> Result<f64, String> {
    within(text, 0.0, 600.0)
}

fn task_seconds(text: &str) -> Result<f64, String> {
    within(text, 0.0, TASK_SECONDS_LIMIT)
}

fn visibility(text: &str) -> Result<f64, String> {
    within(text, 0.1, 3_600.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let value: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is not a number"))?;
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("must be from {least} to {most} seconds"))
    }
}
