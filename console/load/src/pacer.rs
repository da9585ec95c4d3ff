//! The clock of an open loop: a thread, because the runtime's timers are only good to a millisecond.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::pace::Pace;
use crate::{Error, Profile, Schedule};

/// Between two looks at the schedule when requests are due faster than this; each look costs a switch of
/// threads, which the system under test would have to pay for.
const SHORTEST_NAP: Duration = Duration::from_micros(200);
/// Between two looks when nothing is due, so that waiting requests expire in time.
const LONGEST_NAP: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Plan {
    pace: Pace,
    rng: ChaCha8Rng,
    stopped: bool,
}

/// The controls of the running clock.
#[derive(Debug)]
pub(crate) struct Pacer {
    shared: Arc<(Mutex<Plan>, Condvar)>,
    origin: Instant,
}

impl Pacer {
    /// Starts the clock. `ring` is called on its thread with each due time, and with none now and then.
    pub fn start(
        origin: Instant,
        (profile, whole): (Profile, Duration),
        schedule: Schedule,
        rate: f64,
        seed: u64,
        mut ring: impl FnMut(Option<Duration>) + Send + 'static,
    ) -> Result<(Self, std::thread::JoinHandle<()>), Error> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pace = Pace::along(profile, whole, schedule, rate, &mut rng);
        let shared = Arc::new((
            Mutex::new(Plan {
                pace,
                rng,
                stopped: false,
            }),
            Condvar::new(),
        ));
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("load-pacer".into())
            .spawn(move || run(&theirs, origin, &mut ring))
            .map_err(|error| Error::Start(format!("its clock: {error}")))?;
        Ok((Self { shared, origin }, thread))
    }

    pub fn set_rate(&self, rate: f64) {
        let mut plan = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Plan { pace, rng, .. } = &mut *plan;
        pace.set_rate(self.origin.elapsed(), rate, rng);
        self.shared.1.notify_one();
    }

    pub fn stop(&self) {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stopped = true;
        self.shared.1.notify_one();
    }
}

fn run(shared: &(Mutex<Plan>, Condvar), origin: Instant, ring: &mut impl FnMut(Option<Duration>)) {
    let (plan, changed) = shared;
    let mut due = Vec::new();
    let mut looked = origin.elapsed();
    loop {
        {
            let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if plan.stopped {
                    return;
                }
                let now = origin.elapsed();
                let Plan { pace, rng, .. } = &mut *plan;
                due.extend(std::iter::from_fn(|| pace.take(now, rng)));
                if !due.is_empty() || now.saturating_sub(looked) >= LONGEST_NAP {
                    looked = now;
                    break;
                }
                let nap = pace
                    .next()
                    .map_or(LONGEST_NAP, |next| next.saturating_sub(now));
                let fast = pace.rate() * SHORTEST_NAP.as_secs_f64() > 1.0;
                let nap = nap.clamp(
                    if fast { SHORTEST_NAP } else { Duration::ZERO },
                    LONGEST_NAP,
                );
                plan = changed
                    .wait_timeout(plan, nap)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        }
        ring(None);
        for at in due.drain(..) {
            ring(Some(at));
        }
    }
}
