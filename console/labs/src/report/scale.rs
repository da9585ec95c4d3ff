//! Axes: from values to places, and where the marks go that people like to read.

/// A value's place on the paper.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Of `low` and `high`.
    from: f64,
    to: f64,
}

impl Scale {
    /// From zero to a little more than the highest value.
    #[must_use]
    pub fn from_zero(highest: f64, from: f64, to: f64) -> Self {
        let highest = if highest.is_finite() && highest > 0.0 {
            highest.min(1e15)
        } else {
            1.0
        };
        let step = step(highest, 5);
        Self {
            low: 0.0,
            high: (highest / step - 1e-9).ceil().max(1.0) * step,
            logarithmic: false,
            from,
            to,
        }
    }

    /// Between two values, which may be one.
    #[must_use]
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = ordered(low, high);
        let high = if high > low { high } else { low + 1.0 };
        Self {
            low,
            high,
            logarithmic: false,
            from,
            to,
        }
    }

    /// Logarithmic, for times; with a little room on both sides.
    #[must_use]
    pub fn times(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = ordered(low, high);
        let low = low.max(1e-3);
        let high = high.max(low);
        let room = (high / low).powf(0.03).max(1.1);
        Self {
            low: low / room,
            high: high * room,
            logarithmic: true,
            from,
            to,
        }
    }

    /// Values beyond the ends are put at the ends.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let share = if share.is_nan() { 0.0 } else { share };
        self.from + (self.to - self.from) * share.clamp(0.0, 1.0)
    }

    #[must_use]
    pub fn low(&self) -> f64 {
        self.low
    }

    #[must_use]
    pub fn high(&self) -> f64 {
        self.high
    }

    /// The ends of bins of the same width on the paper, some for each factor of two where it is logarithmic.
    #[must_use]
    pub fn bins(&self, count: usize) -> Vec<f64> {
        let count = count.max(1);
        (0..=count)
            .map(|bin| {
                let share = bin as f64 / count as f64;
                if self.logarithmic {
                    self.low * (self.high / self.low).powf(share)
                } else {
                    self.low + (self.high - self.low) * share
                }
            })
            .collect()
    }

    /// Values to write beside the axis, about as many as asked for.
    #[must_use]
    pub fn marks(&self, about: usize) -> Vec<f64> {
        if !self.logarithmic {
            return linear_marks(self.low, self.high, about);
        }
        for digits in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
            let marks = decades(self.low, self.high, digits);
            if (3..=about.max(3) + 1).contains(&marks.len()) {
                return marks;
            }
        }
        let marks = decades(self.low, self.high, &[1.0]);
        if marks.len() > 3 {
            let every = marks.len().div_ceil(about.max(1));
            return marks.into_iter().step_by(every).collect();
        }
        linear_marks(self.low, self.high, about)
    }
}

fn ordered(low: f64, high: f64) -> (f64, f64) {
    // Beyond that a value and the next cannot be told apart, and an axis has no end.
    let finite = |value: f64| {
        if value.is_finite() {
            value.clamp(-1e12, 1e12)
        } else {
            0.0
        }
    };
    let (low, high) = (finite(low), finite(high));
    (low.min(high), low.max(high))
}

fn decades(low: f64, high: f64, digits: &[f64]) -> Vec<f64> {
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    (first..=last)
        .flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)))
        .filter(|value| (low..=high).contains(value))
        .collect()
}

fn linear_marks(low: f64, high: f64, about: usize) -> Vec<f64> {
    let step = step(high - low, about);
    let first = (low / step - 1e-9).ceil();
    (0..=3 * about.max(1))
        .map(|mark| (first + mark as f64) * step)
        .take_while(|value| *value <= high + step * 1e-9)
        .collect()
}

/// One, two or five times a power of ten.
fn step(range: f64, about: usize) -> f64 {
    let rough = (range / about.max(1) as f64).max(1e-12);
    let power = 10_f64.powf(rough.log10().floor());
    let digit = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|digit| digit * power >= rough * 0.999);
    digit.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_are_round() {
        assert_eq!(
            Scale::from_zero(93.0, 0.0, 1.0).marks(5),
            [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
        );
        assert_eq!(
            Scale::times(0.9, 60.0, 0.0, 1.0).marks(8),
            [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
        );
        assert_eq!(
            Scale::times(0.5, 50_000.0, 0.0, 1.0).marks(7),
            [1.0, 10.0, 100.0, 1_000.0, 10_000.0]
        );
    }

    proptest! {
        #[test]
        fn places_are_on_the_paper_and_marks_in_the_range(
            low in prop::num::f64::ANY, high in prop::num::f64::ANY, value in prop::num::f64::ANY, logarithmic: bool,
        ) {
            let scale = if logarithmic { Scale::times(low, high, 10.0, 90.0) } else { Scale::linear(low, high, 10.0, 90.0) };
            let place = scale.place(value);
            prop_assert!((9.9..=90.1).contains(&place), "{place}");
            let marks = scale.marks(6);
            prop_assert!(marks.len() <= 20, "{marks:?}");
            prop_assert_eq!(scale.bins(10).len(), 11);
        }
    }
}
