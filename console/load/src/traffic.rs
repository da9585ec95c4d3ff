//! Starting traffic, steering it, and asking how it goes.

use std::sync::Arc;

use crate::engine::Engine;
use crate::{Error, Generator, Mix, Options, Report, Snapshot, State};

/// A lag of the generator above this (99th percentile, in microseconds) makes a report doubtful.
const LAG: u64 = 20_000;

/// Entry point of the crate.
#[derive(Debug)]
pub struct Traffic;

impl Traffic {
    /// Starts traffic on the current runtime and returns at once.
    ///
    /// # Errors
    /// When an option makes no sense, the target is another machine without leave, or there is no runtime.
    pub fn start(options: Options) -> Result<Handle, Error> {
        let target = options.validate()?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| Error::Start(error.to_string()))?;
        let engine = Arc::new(Engine::new(options, target, chrono::Utc::now())?);
        runtime.spawn(Arc::clone(&engine).conduct());
        Ok(Handle { engine })
    }
}

/// The controls of running traffic. Dropping it stops the traffic.
#[derive(Debug)]
pub struct Handle {
    engine: Arc<Engine>,
}

impl Handle {
    /// Requests per second from now on, at most the cap; zero pauses. Only an open loop has a rate.
    pub fn set_rate(&self, rate: f64) {
        self.engine.set_rate(rate);
    }

    /// Other calls from now on.
    ///
    /// # Errors
    /// When no call has a weight.
    pub fn set_mix(&self, mix: Mix) -> Result<(), Error> {
        if mix.is_empty() {
            return Err(Error::Option {
                option: "mix",
                reason: "must give at least one call a weight".to_owned(),
            });
        }
        self.engine.set_mix(mix);
        Ok(())
    }

    /// Connections from now on, 1 to 10,000. Those too many leave after their current request.
    pub fn set_connections(&self, connections: u32) {
        self.engine.set_connections(connections);
    }

    /// How it goes. Costs some tens of microseconds; ask a few times a second.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let engine = &self.engine;
        let elapsed = engine.elapsed();
        let generator = self.generator();
        let mut meter = engine.meter();
        meter.advance(elapsed);
        Snapshot {
            state: engine.state(),
            target: engine.target.to_string(),
            elapsed_seconds: elapsed.as_secs_f64(),
            mode: *engine.mode(),
            in_flight: engine.in_flight.load(std::sync::atomic::Ordering::Relaxed),
            totals: meter.totals(),
            latency: meter.latency(),
            window: meter.window(),
            gateways: meter.gateways(),
            cache: meter.cache(),
            calls: meter.call_counts(),
            generator: Generator {
                lag: meter.lag(),
                ..generator
            },
            last_error: meter.last_error.clone(),
        }
    }

    /// Ends the traffic within a quarter of a second: nothing new starts, and what is in flight after a
    /// short while is given up and counted as abandoned.
    pub async fn stop(self) -> Report {
        self.engine.hurry.cancel();
        self.engine.stop.cancel();
        self.wait().await
    }

    /// Waits for the time limit.
    pub async fn wait(self) -> Report {
        self.engine.finished.cancelled().await;
        self.report()
    }

    /// Resolves when the traffic has ended.
    pub async fn finished(&self) {
        self.engine.finished.cancelled().await;
    }

    /// What has been measured so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let engine = &self.engine;
        let elapsed = engine.elapsed();
        let generator = self.generator();
        let meter = engine.meter();
        let totals = meter.totals();
        let mut report = Report {
            target: engine.target.to_string(),
            started_at: engine
                .started_at
                .to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            elapsed_seconds: elapsed.as_secs_f64(),
            mode: *engine.mode(),
            profile: engine.options.profile,
            profile_version: crate::Profile::VERSION,
            seed: engine.options.seed,
            totals,
            rate: totals.answered as f64 / elapsed.as_secs_f64().max(1e-3),
            latency: meter.latency(),
            calls: meter.calls(),
            gateways: meter.gateways(),
            cache: meter.cache(),
            generator: Generator {
                lag: meter.lag(),
                ..generator
            },
            seconds: meter.series(),
            last_error: meter.last_error.clone(),
            warnings: Vec::new(),
        };
        drop(meter);
        report.warnings = warnings(&report);
        report
    }

    #[must_use]
    pub fn state(&self) -> State {
        self.engine.state()
    }

    fn generator(&self) -> Generator {
        let engine = &self.engine;
        Generator {
            waiting: engine.desk.waiting() as u64,
            connects: engine.connects.load(std::sync::atomic::Ordering::Relaxed),
            tokens: engine.tokens.fetched(),
            ..Generator::default()
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.engine.hurry.cancel();
        self.engine.stop.cancel();
    }
}

fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let totals = &report.totals;
    if totals.dropped > 0 {
        warnings.push(format!(
            "{} requests were due and never sent: all connections were busy for longer than the patience",
            totals.dropped
        ));
    }
    if report.generator.lag.p99 > LAG {
        warnings.push(format!(
            "the generator itself was late (p99 {:.1} ms): it had too little processor time for this rate",
            report.generator.lag.p99 as f64 / 1000.0
        ));
    }
    if totals.abandoned > 0 {
        warnings.push(format!(
            "{} requests were still without an answer at the end",
            totals.abandoned
        ));
    }
    if totals.answered == 0 {
        warnings.push("nothing was answered".to_owned());
    }
    warnings
}
