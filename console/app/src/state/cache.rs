//! What the cache answers, what it misses and why, what it saves the services, and what is in it.

use serde_json::Value;

use super::{
    State,
    details::{Known, Topic},
    instance::Role,
    lens::Lens,
    logs::printable,
    overlay::Page,
    overview::Ratio,
    sample::{Cause, Counter, Gauge, Lookup},
    series::Series,
    view::Panel,
};

/// What the gateways and the cache service counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheFigures {
    /// Over the chart window.
    pub window: Option<Ratio>,
    pub ever: Option<Ratio>,
    /// Of the reads, those that a gateway's own memory answered; and of the rest those that the cache service did.
    pub first_level: Option<Ratio>,
    pub second_level: Option<Ratio>,
    /// Per second over the last seconds.
    pub hits: Option<f64>,
    pub stale: Option<f64>,
    pub misses: Option<f64>,
    pub bypasses: Option<f64>,
    /// By cause: over the chart window, and since the start.
    pub causes: Vec<(Cause, Option<f64>, Option<f64>)>,
    /// The reasons of the gateways to go past the cache, with how often in the chart window.
    pub bypass_reasons: Vec<(String, f64)>,
    pub saved: Option<Saved>,
    pub entries: Option<f64>,
    pub bytes: Option<f64>,
    pub first_level_entries: Option<f64>,
    pub first_level_bytes: Option<f64>,
    /// Over the chart window.
    pub early: Option<f64>,
    pub fills: Option<f64>,
    pub invalidations: Option<f64>,
    pub flushes: Option<f64>,
    pub evictions: Option<f64>,
    pub lease_waits: Option<f64>,
}

/// What the services were spared over the chart window: every hit would have been a rebuild.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Saved {
    /// Requests per second that they did not get.
    pub requests: f64,
    /// Of all that they would have got, 0 to 1.
    pub part: f64,
    /// Seconds that a rebuild took on average.
    pub rebuild: Option<f64>,
}

impl Saved {
    /// Requests that would have been in work at a time: their rate by the time that each takes.
    pub fn at_a_time(self) -> Option<f64> {
        self.rebuild.map(|seconds| self.requests * seconds)
    }
}

/// One key of the cache; what was not told is unknown.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_field_names, reason = "a key is what it is called by")]
pub struct Key {
    pub key: String,
    /// Seconds that it stays fresh, and that it is kept at all.
    pub ttl: Option<f64>,
    pub kept: Option<f64>,
    pub age: Option<f64>,
    pub bytes: Option<f64>,
    pub variants: Option<f64>,
    /// Remembered absences among the variants.
    pub absent: Option<f64>,
    pub leased: Option<bool>,
    /// Seconds that the lease lasts.
    pub lease: Option<f64>,
}

impl Key {
    fn parse(entry: &Value) -> Option<Self> {
        let number = |name: &str| entry[name].as_f64().filter(|value| value.is_finite());
        Some(Self {
            key: printable(entry["key"].as_str()?),
            ttl: number("ttl_seconds"),
            kept: number("kept_seconds"),
            age: number("age_seconds"),
            bytes: number("size_bytes"),
            variants: number("variants"),
            absent: number("absent"),
            leased: entry["leased"].as_bool(),
            lease: number("lease_seconds"),
        })
    }

    /// How it stands, in a word.
    pub fn word(&self) -> &'static str {
        match (self.leased, self.ttl) {
            (Some(true), _) => "rebuilding",
            (_, Some(ttl)) if ttl <= 0.0 => "stale",
            (_, Some(_)) => "fresh",
            (_, None) => "",
        }
    }
}

/// The keys that were told, and whether there are more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keys {
    pub keys: Vec<Key>,
    pub more: bool,
}

/// Columns of the table of keys that it can be ordered by.
pub const KEY_COLUMNS: usize = 7;

impl State {
    /// The figures of the cache; rates are those of the last seconds, the rest is of the chart window.
    pub fn cache_figures(&self) -> CacheFigures {
        let (now, wide) = (self.lens(), self.wide_lens());
        let gateways =
            |counter: Counter, lens: Lens| self.sum_of(&Role::Gateway, |i| i.grown(&counter, lens));
        let per_second = |lookup: Lookup| {
            let counter = Counter::Lookup(lookup);
            self.sum_of(&Role::Gateway, |i| i.rate(&counter, now))
        };
        let served = |counter: Counter| self.sum_of(&Role::Cache, |i| i.grown(&counter, wide));
        let gauge = |role: &Role, gauge: Gauge| {
            self.sum_of(role, |i| {
                // Without its store the service only repeats what it saw last.
                let knows = i.gauge(&Gauge::RedisUp, wide.at) != Some(0.0);
                i.gauge(&gauge, wide.at).filter(|_| knows)
            })
        };
        let lookups = |lookup| gateways(Counter::Lookup(lookup), wide);
        let hits = add(lookups(Lookup::Hit), lookups(Lookup::Stale));
        let misses = lookups(Lookup::Miss);
        let ratio = |part: Option<f64>, rest: Option<f64>| {
            add(part, rest)
                .filter(|whole| *whole > 0.0)
                .map(|whole| Ratio {
                    value: part.unwrap_or(0.0) / whole,
                    events: whole as u64,
                })
        };
        let causes = Cause::ALL.map(|cause| {
            let counter = Counter::Missed(cause);
            let role = match cause {
                Cause::Bypass => Role::Gateway,
                _ => Role::Cache,
            };
            let fresh = |i: &super::Instance| i.is_fresh(wide.at);
            (
                cause,
                self.sum_of(&role, |i| i.grown(&counter, wide)),
                self.sum_of(&role, |i| {
                    fresh(i).then(|| i.history.total(&counter)).flatten()
                }),
            )
        });
        CacheFigures {
            window: ratio(hits, misses),
            ever: self.cache().ever,
            first_level: ratio(
                gateways(Counter::FirstLevelHits, wide),
                gateways(Counter::FirstLevelMisses, wide),
            ),
            second_level: ratio(served(Counter::CacheHits), served(Counter::CacheMisses)),
            hits: per_second(Lookup::Hit),
            stale: per_second(Lookup::Stale),
            misses: per_second(Lookup::Miss),
            bypasses: per_second(Lookup::Bypass),
            causes: causes.to_vec(),
            bypass_reasons: self.bypass_reasons(wide),
            saved: self.saved(wide),
            entries: gauge(&Role::Cache, Gauge::CacheEntries),
            bytes: gauge(&Role::Cache, Gauge::CacheBytes),
            first_level_entries: gauge(&Role::Gateway, Gauge::FirstLevelEntries),
            first_level_bytes: gauge(&Role::Gateway, Gauge::FirstLevelBytes),
            early: served(Counter::CacheEarly),
            fills: served(Counter::CacheFills),
            invalidations: served(Counter::CacheInvalidations),
            flushes: served(Counter::CacheFlushes),
            evictions: served(Counter::CacheEvictions),
            lease_waits: served(Counter::CacheLeaseWaits),
        }
    }

    fn sum_of(&self, role: &Role, value: impl Fn(&super::Instance) -> Option<f64>) -> Option<f64> {
        self.instances
            .iter()
            .filter(|instance| instance.place.role == *role)
            .filter_map(value)
            .reduce(|a, b| a + b)
    }

    fn bypass_reasons(&self, lens: Lens) -> Vec<(String, f64)> {
        let mut reasons = std::collections::BTreeMap::new();
        for gateway in &self.instances {
            let labels = gateway.history.labels(|counter| match counter {
                Counter::Bypassed(reason) => Some(reason.as_str()),
                _ => None,
            });
            for reason in labels {
                let grown = gateway.grown(&Counter::Bypassed(reason.to_owned()), lens);
                if let Some(grown) = grown.filter(|grown| *grown > 0.0) {
                    *reasons.entry(printable(reason)).or_default() += grown;
                }
            }
        }
        reasons.into_iter().collect()
    }

    /// Per gateway, so that each one's time between two readings counts for itself.
    fn saved(&self, lens: Lens) -> Option<Saved> {
        let rate = |counter: Counter| self.sum_of(&Role::Gateway, |i| i.rate(&counter, lens));
        let of = |lookup| rate(Counter::Lookup(lookup));
        let spared = add(of(Lookup::Hit), of(Lookup::Stale))?;
        let asked = add(of(Lookup::Miss), of(Lookup::Bypass)).unwrap_or(0.0);
        let grown = |counter| self.sum_of(&Role::Gateway, |i| i.grown(&counter, lens));
        let rebuild = grown(Counter::RebuildSeconds)
            .zip(grown(Counter::Rebuilds))
            .filter(|(_, count)| *count > 0.0)
            .map(|(seconds, count)| seconds / count);
        (spared + asked > 0.0).then(|| Saved {
            requests: spared,
            part: spared / (spared + asked),
            rebuild,
        })
    }

    /// What the charts of the cache keep of this second.
    pub(super) fn chart_cache(&self, put: &mut Vec<(Series, Option<f64>)>) {
        let latest = |role: Role, counter: Counter| {
            let fresh = self
                .instances
                .iter()
                .filter(|i| i.place.role == role && i.is_fresh(self.now));
            fresh
                .filter_map(|i| i.history.latest_rate(&counter))
                .reduce(|a, b| a + b)
        };
        for lookup in [Lookup::Hit, Lookup::Miss, Lookup::Stale, Lookup::Bypass] {
            let rate = latest(Role::Gateway, Counter::Lookup(lookup));
            put.push((Series::Lookups(lookup), rate));
        }
        let missed = latest(Role::Cache, Counter::CacheMisses);
        put.push((Series::Missed, missed));
    }

    /// What the cache's keys on show begin with: a filter that says so, because it begins with `^` or holds a colon,
    /// and is no expression otherwise.
    pub fn key_prefix(&self) -> String {
        let filter = self
            .cursors
            .get(&Panel::Keys)
            .and_then(|cursor| cursor.filter.as_ref());
        let Some(text) = filter.map(super::cursor::Filter::text) else {
            return String::new();
        };
        let (anchored, plain) = match text.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let is_plain = !plain
            .chars()
            .any(|c| "\\.+*?()|[]{}^$!".contains(c) || c.is_control());
        if is_plain && (anchored || plain.contains(':')) {
            plain.to_owned()
        } else {
            String::new()
        }
    }

    /// What was heard last of the keys that are looked at.
    pub fn keys_known(&self) -> Option<&Known> {
        self.details.get(&Topic::Keys(self.key_prefix()))
    }

    /// The keys on show, filtered and ordered; times have run on since they were told.
    pub fn keys(&self) -> Keys {
        let Some(known) = self.keys_known() else {
            return Keys::default();
        };
        let Some(value) = &known.value else {
            return Keys::default();
        };
        let cursor = self.cursors.get(&Panel::Keys);
        let filter = cursor.and_then(|cursor| cursor.filter.as_ref());
        let gone = self.at().saturating_sub(known.at).as_secs_f64();
        let entries = value["entries"].as_array().into_iter().flatten();
        let mut keys: Vec<Key> = entries
            .filter_map(Key::parse)
            .filter(|key| filter.is_none_or(|filter| filter.lets_through(&key.key)))
            .map(|key| Key {
                ttl: key.ttl.map(|ttl| (ttl - gone).max(0.0)),
                kept: key.kept.map(|kept| (kept - gone).max(0.0)),
                age: key.age.map(|age| age + gone),
                ..key
            })
            .collect();
        let (sort, reversed) = cursor.map_or((None, false), |c| (c.sort, c.reversed));
        let number = |key: &Key| {
            let value = match sort {
                Some(1) => key.ttl,
                Some(2) => key.age,
                Some(3) => key.bytes,
                Some(4) => key.variants,
                Some(5) => key.lease,
                _ => None,
            };
            value.unwrap_or(-1.0)
        };
        match sort {
            None | Some(0) => keys.sort_by(|a, b| a.key.cmp(&b.key)),
            Some(6) => keys.sort_by(|a, b| (a.word(), &a.key).cmp(&(b.word(), &b.key))),
            // The greatest first.
            Some(_) => keys.sort_by(|a, b| {
                let order = number(b).total_cmp(&number(a));
                order.then_with(|| a.key.cmp(&b.key))
            }),
        }
        if reversed {
            keys.reverse();
        }
        // A page may tell a key twice while keys come and go.
        let mut seen = std::collections::HashSet::new();
        keys.retain(|key| seen.insert(key.key.clone()));
        Keys {
            keys,
            more: value["cursor"].is_string(),
        }
    }

    /// All that is known of the chosen key, to read.
    pub(super) fn key_page(&self) -> Option<Page> {
        let chosen = self.chosen(Panel::Keys)?;
        let key = self.keys().keys.into_iter().find(|key| key.key == chosen)?;
        let seconds = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s"))
        };
        let whole = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"))
        };
        let lease = match (key.leased, key.lease) {
            (Some(true), lease) => format!("held, {} left: somebody rebuilds it", seconds(lease)),
            (Some(false), _) => "none".to_owned(),
            (None, _) => "–".to_owned(),
        };
        Some(Page {
            title: key.key.clone(),
            lines: vec![
                format!("key        {}", key.key),
                format!("state      {}", key.word()),
                format!("fresh for  {}", seconds(key.ttl)),
                format!("kept for   {}", seconds(key.kept)),
                format!("age        {}", seconds(key.age)),
                format!("size       {} bytes of JSON", whole(key.bytes)),
                format!(
                    "variants   {}, {} of them remembered absences",
                    whole(key.variants),
                    whole(key.absent)
                ),
                format!("lease      {lease}"),
            ],
            scroll: 0,
        })
    }
}

fn add(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::stores::stocked;
    use super::*;

    fn filtered(text: &str) -> State {
        let mut state = stocked();
        state.set_filter(Panel::Keys, text);
        state
    }

    #[test]
    fn a_plain_prefix_is_sent_to_the_server_and_nothing_else_is() {
        for (filter, prefix) in [
            ("", ""),
            ("card", ""),
            ("card:", "card:"),
            ("card:7:", "card:7:"),
            ("^card", "card"),
            ("^card.*", ""),
            ("card:[0-9]", ""),
            ("!card:", ""),
            ("bal|stat", ""),
        ] {
            assert_eq!(filtered(filter).key_prefix(), prefix, "{filter}");
        }
    }

    #[test]
    fn ratios_stand_on_the_window_and_name_their_look_ups() {
        let figures = stocked().cache_figures();
        let window = figures.window.unwrap();
        // Half of each gateway's twelve look-ups a second were misses in the last half minute at most.
        assert!(
            window.value > 0.5 && window.value < figures.ever.unwrap().value + 0.2,
            "{figures:?}"
        );
        assert!(window.events > 1_000, "{window:?}");
        assert!((figures.first_level.unwrap().value - 0.75).abs() < 0.01);
        assert_eq!(figures.entries, Some(231.0));
    }

    #[test]
    fn the_causes_of_misses_add_up_to_the_misses() {
        let state = stocked();
        let figures = state.cache_figures();
        let told: f64 = figures
            .causes
            .iter()
            .filter(|(cause, ..)| *cause != Cause::Bypass)
            .filter_map(|(_, window, _)| *window)
            .sum();
        let role = Role::Cache;
        let all = state
            .sum_of(&role, |i| i.grown(&Counter::CacheMisses, state.wide_lens()))
            .unwrap();
        assert!((told - all).abs() < 1e-6, "{told} of {all}");
        let bypass = figures.causes.last().unwrap();
        assert!(bypass.1.unwrap() > 0.0, "{bypass:?}");
        assert_eq!(figures.bypass_reasons[0].0, "away");
    }

    #[test]
    fn what_is_saved_is_the_hits_by_the_time_of_a_rebuild() {
        let saved = stocked().cache_figures().saved.unwrap();
        assert!(saved.part > 0.5 && saved.part < 1.0, "{saved:?}");
        assert!((saved.rebuild.unwrap() - 0.02).abs() < 1e-9);
        let expected = saved.requests * 0.02;
        assert!((saved.at_a_time().unwrap() - expected).abs() < 1e-9);
        let nothing = super::super::testing::starting().cache_figures();
        assert_eq!(nothing.saved, None);
    }

    #[test]
    fn keys_are_ordered_and_filtered_and_their_time_runs() {
        let mut state = stocked();
        let first = state.keys();
        assert!(first.more);
        assert_eq!(first.keys[0].key, "card:1:balance");
        let ttl = first.keys[0].ttl.unwrap();
        state.tick(state.now + std::time::Duration::from_secs(3));
        assert!((ttl - state.keys().keys[0].ttl.unwrap() - 3.0).abs() < 1e-9);
        state.cursor_mut(Panel::Keys).sort = Some(3);
        let sizes: Vec<f64> = state.keys().keys.iter().filter_map(|k| k.bytes).collect();
        assert!(sizes.windows(2).all(|pair| pair[0] >= pair[1]));
        state.cursor_mut(Panel::Keys).reversed = true;
        let rows = state.rows(Panel::Keys);
        assert_eq!(rows.len(), first.keys.len());
        state.set_filter(Panel::Keys, "stations");
        assert_eq!(state.rows(Panel::Keys), ["stations"]);
        assert_eq!(state.keys().keys[0].word(), "rebuilding");
    }

    #[test]
    fn what_is_not_told_is_unknown_and_hostile_keys_are_harmless() {
        let mut state = stocked();
        for answer in [
            json!(null),
            json!([1, 2]),
            json!({"entries": 7}),
            json!({"entries": [7, {}, {"key": 9}, {"key": "a\u{1b}[2J", "ttl_seconds": "soon"}]}),
        ] {
            state
                .details
                .put(Topic::Keys(String::new()), state.now, Ok(answer));
            for key in state.keys().keys {
                assert_eq!(key.key, "a\u{fffd}[2J");
                assert_eq!((key.ttl, key.leased, key.word()), (None, None, ""));
            }
        }
        assert!(state.key_page().is_some());
    }
}
