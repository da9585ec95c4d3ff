//! What requests take while the pool is not busy, by class.

use std::time::{Duration, Instant};

use crate::hash::mix;

const CLASSES: usize = 32;
/// How much of what a window shows of a pool that is not busy goes into a baseline.
const DRIFT: f64 = 0.1;
/// A baseline is first learnt from the samples of this time: the fast ones come first, they alone would tell lies.
const LEARNING: Duration = Duration::from_millis(500);
/// A probe of as many samples counts as much as what was known before.
const PROBE_WEIGHT: f64 = 16.0;
/// A probe that moves a baseline by no more than this (its logarithm) found what was known. Downwards it is less: that is the way
/// out of a limit that is too high.
const KNOWN_LOWER: f64 = 0.1;
const KNOWN_HIGHER: f64 = 0.3;
/// Of fewer samples, a move says nothing.
const FEW: u32 = 8;

/// A mean, mostly of logarithms of seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    sum: f64,
    squares: f64,
    pub count: u32,
}

impl Mean {
    pub fn add(&mut self, value: f64) {
        self.sum += value;
        self.squares += value * value;
        self.count += 1;
    }

    /// The mean less its standard error: what is more than chance.
    pub fn at_least(&self) -> Option<f64> {
        let count = f64::from(self.count);
        let mean = self.get()?;
        let variance = (self.squares / count - mean * mean).max(0.0);
        Some(mean - (variance / count).sqrt())
    }

    pub fn get(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Class {
    baseline: Option<f64>,
    /// What it is learnt from at first, and since when.
    learning: Option<(Instant, Mean)>,
    window: Mean,
    probe: Mean,
}

/// The baselines of all classes. A class is a hash; there is room for some tens, those that fall together share one.
#[derive(Clone, Debug, Default)]
pub(super) struct Baselines {
    classes: [Class; CLASSES],
}

impl Baselines {
    /// Takes in the latency of a request, and tells it relative to its baseline; `None` while that is being learnt.
    pub fn observe(
        &mut self,
        class: u64,
        latency: f64,
        is_probe: bool,
        now: Instant,
    ) -> Option<f64> {
        let class = &mut self.classes[mix(class) as usize % CLASSES];
        class.window.add(latency);
        if is_probe {
            class.probe.add(latency);
        }
        if class.baseline.is_none() {
            let (since, mean) = class.learning.get_or_insert((now, Mean::default()));
            mean.add(latency);
            if now.saturating_duration_since(*since) >= LEARNING {
                class.baseline = mean.get();
            }
            return None;
        }
        class.baseline.map(|baseline| latency - baseline)
    }

    /// A window ended. What it shows of a pool that is not busy is taken for true, little by little.
    pub fn end_window(&mut self, is_busy: bool) {
        for class in &mut self.classes {
            let seen = std::mem::take(&mut class.window).get();
            if let (Some(seen), Some(baseline), false) = (seen, &mut class.baseline, is_busy) {
                *baseline += (seen - *baseline) * DRIFT;
            }
        }
    }

    /// A probe ended. Whether it found what was known.
    pub fn end_probe(&mut self) -> bool {
        let mut is_known = true;
        for class in &mut self.classes {
            let probe = std::mem::take(&mut class.probe);
            class.window = Mean::default();
            if let (Some(seen), Some(baseline)) = (probe.get(), &mut class.baseline) {
                let count = f64::from(probe.count);
                let by = (seen - *baseline) * count / (count + PROBE_WEIGHT);
                *baseline += by;
                is_known &= probe.count < FEW || (-KNOWN_LOWER..KNOWN_HIGHER).contains(&by);
            }
        }
        is_known
    }

    /// The fastest class's baseline in seconds.
    pub fn fastest(&self) -> Option<f64> {
        self.classes
            .iter()
            .filter_map(|class| class.baseline)
            .min_by(f64::total_cmp)
            .map(f64::exp)
    }
}
