//! Rounds in which each contender is measured once, in turn, and the medians over them.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Result;
use load::raw::{Closed, Expected, Measured, Request};
use serde::Serialize;

use super::{
    aside,
    usage::{self, Cpu},
};
use crate::arguments::bench::Method;

/// How long first connections and last answers are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is measured: where to, with what, and whose processor time counts.
#[derive(Clone, Debug)]
pub struct Contender {
    pub target: SocketAddr,
    pub request: Request,
    pub expected: Expected,
    /// Processes by what they are in the request's way.
    pub roles: Vec<(&'static str, Vec<u32>)>,
}

/// How it is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Settings {
    pub rounds: u32,
    pub duration: Duration,
    pub warm_up: Duration,
    pub threads: usize,
    pub connections: usize,
}

impl Settings {
    pub fn new(method: &Method, connections: u16) -> Self {
        Self {
            rounds: method.rounds(),
            duration: method.duration(),
            warm_up: method.warm_up(),
            threads: method.threads as usize,
            connections: usize::from(connections).max(method.threads as usize),
        }
    }

    /// What so many contenders take.
    pub fn takes(&self, contenders: usize) -> Duration {
        (self.duration + self.warm_up) * self.rounds * contenders as u32
    }
}

/// Processor time of one role for a request, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CpuFigure {
    pub total: f64,
    pub user: f64,
}

/// One contender's figures: of one round, or the medians of all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Good answers a second.
    pub rate: f64,
    /// The rate as a part of the reference's in the same round.
    pub of_reference: Option<f64>,
    pub p50_us: f64,
    pub p99_us: f64,
    /// By role; empty where the system does not tell.
    pub cpu_us: BTreeMap<&'static str, CpuFigure>,
    /// Of all roles together, with the connections still open. Shared pages count in part.
    pub memory_bytes: Option<f64>,
    /// Processor time of the load generator for a request, in microseconds.
    pub generator_us: Option<f64>,
    /// Of all rounds, warm-up included.
    pub errors: u64,
    pub first_error: Option<String>,
}

impl Figures {
    /// Microseconds of all roles together, in all and in user code.
    pub fn cpu(&self) -> Option<CpuFigure> {
        (!self.cpu_us.is_empty()).then(|| CpuFigure {
            total: self.cpu_us.values().map(|figure| figure.total).sum(),
            user: self.cpu_us.values().map(|figure| figure.user).sum(),
        })
    }
}

/// Runs all rounds. A contender that cannot be measured has words instead of figures; the others go on.
pub async fn race(
    contenders: &[Contender],
    reference: Option<usize>,
    settings: Settings,
    told: impl Fn(u32),
) -> Result<Vec<Result<Figures, String>>> {
    let mut all: Vec<Result<Vec<Figures>, String>> =
        contenders.iter().map(|_| Ok(vec![])).collect();
    for round in 0..settings.rounds {
        told(round + 1);
        let count = contenders.len();
        // Who comes first differs from round to round, so that nobody has the cold machine always.
        for index in (0..count).map(|index| (index + round as usize) % count) {
            let Ok(rounds) = &mut all[index] else {
                continue;
            };
            match measure(&contenders[index], settings).await? {
                Ok(figures) => rounds.push(figures),
                Err(error) => all[index] = Err(error.to_string()),
            }
        }
        let base = reference.and_then(|index| Some(all[index].as_ref().ok()?.last()?.rate));
        for rounds in all.iter_mut().flatten() {
            if let Some(last) = rounds.last_mut() {
                last.of_reference = base.filter(|base| *base > 0.0).map(|base| last.rate / base);
            }
        }
    }
    Ok(all
        .into_iter()
        .map(|rounds| rounds.map(|rounds| medians(&rounds)))
        .collect())
}

/// What is read of the contender's processes when the counting begins and when it ends.
struct Sample {
    cpu: Vec<Option<Cpu>>,
    memory: Option<u64>,
}

async fn measure(
    contender: &Contender,
    settings: Settings,
) -> Result<Result<Figures, load::Error>> {
    let Contender {
        target,
        request,
        expected,
        roles,
        ..
    } = contender.clone();
    let plan = Closed {
        target,
        request,
        expected,
        connections: settings.connections,
        threads: settings.threads,
        warm_up: settings.warm_up,
        duration: settings.duration,
        patience: PATIENCE,
    };
    let work = move || {
        let pids: Vec<u32> = roles.iter().flat_map(|(_, pids)| pids.clone()).collect();
        let ended = std::sync::atomic::AtomicBool::new(false);
        let sample = || {
            let cpu = roles.iter().map(|(_, pids)| Cpu::of(pids)).collect();
            // Only at the end, because it takes a millisecond and the connections are there anyway.
            let end = ended.swap(true, std::sync::atomic::Ordering::SeqCst);
            let memory = if end { usage::memory(&pids) } else { None };
            Sample { cpu, memory }
        };
        let run = plan.run(sample)?;
        let names = roles.iter().map(|(name, _)| *name);
        Ok(figures(&run, names))
    };
    aside(work).await
}

fn figures(run: &Measured<Sample>, names: impl Iterator<Item = &'static str>) -> Figures {
    let requests = run.tally.good;
    let latency = run.tally.latency();
    let cpu_us = names
        .zip(run.begin.cpu.iter().zip(&run.end.cpu))
        .filter_map(|(name, (begin, end))| {
            let (total, user) = (*end)?.since((*begin)?, requests);
            Some((name, CpuFigure { total, user }))
        })
        .collect();
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / requests.max(1) as f64;
    Figures {
        rate: run.rate,
        of_reference: None,
        p50_us: latency.p50 as f64,
        p99_us: latency.p99 as f64,
        cpu_us,
        memory_bytes: run.end.memory.map(|bytes| bytes as f64),
        generator_us: run.generator_cpu.map(micros),
        errors: run.tally.errors(),
        first_error: run.tally.first_error.clone(),
    }
}

/// Each figure's own median; errors are added up.
fn medians(rounds: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> Option<f64>| median(rounds.iter().filter_map(figure));
    let roles = rounds.first().map(|round| round.cpu_us.keys().copied());
    let cpu_us = roles
        .into_iter()
        .flatten()
        .filter_map(|role| {
            let of = |figure: fn(&CpuFigure) -> f64| {
                median(
                    rounds
                        .iter()
                        .filter_map(|round| round.cpu_us.get(role))
                        .map(figure),
                )
            };
            let (total, user) = (of(|cpu| cpu.total)?, of(|cpu| cpu.user)?);
            Some((role, CpuFigure { total, user }))
        })
        .collect();
    Figures {
        rate: of(|round| Some(round.rate)).unwrap_or_default(),
        of_reference: of(|round| round.of_reference),
        p50_us: of(|round| Some(round.p50_us)).unwrap_or_default(),
        p99_us: of(|round| Some(round.p99_us)).unwrap_or_default(),
        cpu_us,
        memory_bytes: of(|round| round.memory_bytes),
        generator_us: of(|round| round.generator_us),
        errors: rounds.iter().map(|round| round.errors).sum(),
        first_error: rounds.iter().find_map(|round| round.first_error.clone()),
    }
}

/// The middle one, or the mean of the two in the middle; none of none.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one() {
        for (values, expected) in [
            (&[][..], None),
            (&[3.0], Some(3.0)),
            (&[9.0, 1.0, 3.0], Some(3.0)),
            (&[1.0, 9.0, 3.0, 5.0], Some(4.0)),
        ] {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }

    fn round(rate: f64, total: f64, errors: u64) -> Figures {
        let cpu = CpuFigure { total, user: 1.0 };
        Figures {
            rate,
            of_reference: Some(rate / 100.0),
            p50_us: 1.0,
            p99_us: 2.0,
            cpu_us: [("proxy", cpu), ("redis", cpu)].into(),
            memory_bytes: None,
            generator_us: Some(5.0),
            errors,
            first_error: (errors > 0).then(|| format!("error {errors}")),
        }
    }

    #[test]
    fn each_figure_has_a_median_of_its_own() {
        let all = medians(&[
            round(30.0, 9.0, 0),
            round(10.0, 7.0, 2),
            round(20.0, 8.0, 1),
        ]);
        assert_eq!((all.rate, all.of_reference), (20.0, Some(0.2)));
        let both = all.cpu().unwrap();
        assert_eq!((both.total, both.user), (16.0, 2.0));
        assert_eq!(all.memory_bytes, None);
        assert_eq!(
            (all.errors, all.first_error.as_deref()),
            (3, Some("error 2"))
        );
    }

    #[tokio::test]
    async fn who_cannot_be_measured_does_not_stop_the_others() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let stub = load::raw::Stub {
            bodies: vec![5],
            service_time: Duration::ZERO,
            at_a_time: None,
        };
        let server = tokio::spawn(stub.serve(listener));
        let nowhere = kit::testing::free_address();
        let contender = |target| Contender {
            target,
            request: Request::get(target, "/5", &[]).unwrap(),
            expected: Expected::ok(Some(5)),
            roles: vec![("proxy", vec![std::process::id()])],
        };
        let settings = Settings {
            rounds: 2,
            duration: Duration::from_millis(50),
            warm_up: Duration::ZERO,
            threads: 1,
            connections: 2,
        };
        let contenders = [contender(there), contender(nowhere)];
        let results = race(&contenders, Some(0), settings, |_| ()).await.unwrap();
        server.abort();
        let figures = results[0].as_ref().unwrap();
        assert!(figures.rate > 0.0 && figures.errors == 0, "{figures:?}");
        assert_eq!(figures.of_reference, Some(1.0));
        assert!(figures.memory_bytes.is_some() || !cfg!(target_os = "linux"));
        assert!(
            results[1]
                .as_ref()
                .is_err_and(|error| error.contains("connect"))
        );
    }
}
