//! Queues one by one: what waits, what goes in and out, when they will be empty, and what died in them.

use std::{fmt::Write as _, io, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    State,
    alerts::age,
    cursor::Filter,
    details::{Known, Topic},
    instance::Role,
    lens::Lens,
    logs::printable,
    overlay::Page,
    overview::QueueView,
    sample::{Counter, Gauge},
    view::Panel,
};

/// Over which the rates are taken that an estimate stands on: single seconds jump too much.
const ESTIMATE: Duration = Duration::from_secs(30);

/// Characters of a payload that a row knows.
const PREVIEW: usize = 240;

/// Lines of a payload on a page.
const MOST_LINES: usize = 2_000;

/// When a queue will be empty at the rates of now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Drain {
    #[default]
    Unknown,
    Empty,
    /// Seconds.
    In(f64),
    /// More goes in than out, or nothing goes out.
    Never,
    Paused,
}

impl Drain {
    /// `depth` messages wait; `sent` come and `ended` go per second.
    pub fn estimate(depth: Option<f64>, sent: Option<f64>, ended: Option<f64>) -> Self {
        let Some(depth) = depth else {
            return Self::Unknown;
        };
        if depth <= 0.0 {
            return Self::Empty;
        }
        let (Some(sent), Some(ended)) = (sent, ended) else {
            return Self::Unknown;
        };
        let net = ended - sent;
        if net > 1e-6 {
            Self::In(depth / net)
        } else {
            Self::Never
        }
    }

    /// Where there is little room.
    pub fn short(self) -> String {
        match self {
            Self::Unknown => "–".to_owned(),
            Self::Empty => "empty".to_owned(),
            Self::In(seconds) => age(seconds.ceil() as u64),
            Self::Never => "never".to_owned(),
            Self::Paused => "paused".to_owned(),
        }
    }

    pub fn long(self) -> String {
        match self {
            Self::Unknown => "not known".to_owned(),
            Self::Empty => "it is empty".to_owned(),
            Self::In(seconds) => format!("empty in {} at this rate", age(seconds.ceil() as u64)),
            Self::Never => "never empty at this rate".to_owned(),
            Self::Paused => "paused: nobody receives".to_owned(),
        }
    }
}

/// One queue: from the metrics, and from its settings where they were told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueFigures {
    pub queue: QueueView,
    /// Messages that are not due yet, and those behind another one with their key.
    pub delayed: Option<f64>,
    pub behind: Option<f64>,
    pub bytes: Option<f64>,
    /// Per second.
    pub received: Option<f64>,
    pub redelivered: Option<f64>,
    pub drain: Drain,
    pub paused: Option<bool>,
    /// `durable`, `fast`, or `default` where the queue says nothing of its own.
    pub durability: Option<String>,
    /// Its own settings in words.
    pub settings: Vec<String>,
}

/// One message that was given up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeadLetter {
    /// Its place among the dead: what it is known by.
    pub position: String,
    pub id: String,
    pub died_at: Option<DateTime<Utc>>,
    pub reason: String,
    pub deliveries: Option<f64>,
    /// The beginning of its payload on one line.
    pub preview: String,
}

/// Columns of the tables that they can be ordered by.
pub const QUEUE_COLUMNS: usize = 12;
pub const LETTER_COLUMNS: usize = 5;

impl State {
    /// What was heard last of the queues' settings.
    pub fn queues_known(&self) -> Option<&Known> {
        self.details.get(&Topic::Queues)
    }

    /// The queues on show, filtered and ordered.
    pub fn queue_figures(&self) -> Vec<QueueFigures> {
        let told = self.details.value(&Topic::Queues);
        let cursor = self.cursors.get(&Panel::Queues);
        let filter = cursor.and_then(|cursor| cursor.filter.as_ref());
        let mut queues = self.queues();
        if queues.is_empty() {
            // The service is away: what it told last has names at least.
            let names = told
                .and_then(|told| told["queues"].as_array())
                .into_iter()
                .flatten();
            queues.extend(names.filter_map(|entry| {
                Some(QueueView {
                    name: printable(entry["name"].as_str()?),
                    ..QueueView::default()
                })
            }));
        }
        let mut figures: Vec<QueueFigures> = queues
            .into_iter()
            .map(|queue| {
                let entry = told.and_then(|told| {
                    let entries = told["queues"].as_array()?;
                    entries.iter().find(|entry| entry["name"] == *queue.name)
                });
                self.figures_of(queue, entry)
            })
            .filter(|figures| filter.is_none_or(|filter| lets_through(filter, figures)))
            .collect();
        let (sort, reversed) = cursor.map_or((None, false), |c| (c.sort, c.reversed));
        let number = |figures: &QueueFigures| {
            let queue = &figures.queue;
            let value = match sort {
                Some(2) => queue.depth,
                Some(3) => queue.in_flight,
                Some(4) => figures.delayed,
                Some(5) => queue.dead,
                Some(6) => queue.oldest_age,
                Some(7) => queue.sent,
                Some(8) => queue.acknowledged,
                Some(9) => match figures.drain {
                    Drain::Never | Drain::Paused => Some(f64::MAX),
                    Drain::In(seconds) => Some(seconds),
                    Drain::Empty => Some(0.0),
                    Drain::Unknown => None,
                },
                Some(10) => figures.bytes,
                _ => None,
            };
            value.unwrap_or(-1.0)
        };
        match sort {
            None | Some(0) => {}
            Some(1) => figures.sort_by_key(|figures| figures.paused != Some(true)),
            Some(11) => figures.sort_by(|a, b| a.durability.cmp(&b.durability)),
            Some(_) => figures.sort_by(|a, b| number(b).total_cmp(&number(a))),
        }
        if reversed {
            figures.reverse();
        }
        figures
    }

    fn figures_of(&self, queue: QueueView, told: Option<&Value>) -> QueueFigures {
        let of = |gauge: fn(String) -> Gauge| self.queue_gauge(&gauge(queue.name.clone()));
        let rate = |counter: fn(String) -> Counter, lens: Lens| {
            let counter = counter(queue.name.clone());
            let service = self.queue_service()?;
            service.rate(&counter, lens)
        };
        let (now, slow) = (
            self.lens(),
            Lens {
                at: self.at(),
                window: ESTIMATE,
            },
        );
        let paused = told.and_then(|told| told["paused"].as_bool());
        let drain = match paused {
            Some(true) if queue.depth.is_some_and(|depth| depth > 0.0) => Drain::Paused,
            _ => Drain::estimate(
                queue.depth,
                rate(Counter::QueueSent, slow),
                // A queue that nothing was ever taken from has no such count yet.
                rate(Counter::QueueAcknowledged, slow)
                    .or_else(|| self.queue_service().map(|_| 0.0)),
            ),
        };
        let settings = told.and_then(|told| told["settings"].as_object());
        QueueFigures {
            delayed: of(Gauge::QueueDelayed),
            behind: of(Gauge::QueueBehind),
            bytes: of(Gauge::QueueBytes),
            received: rate(Counter::QueueReceived, now),
            redelivered: rate(Counter::QueueRedelivered, now),
            drain,
            paused,
            durability: settings.map(|settings| {
                let own = settings.get("durability").and_then(Value::as_str);
                printable(own.unwrap_or("default"))
            }),
            settings: settings.map_or_else(Vec::new, |settings| {
                settings
                    .iter()
                    .map(|(name, value)| printable(&format!("{name} = {value}")))
                    .collect()
            }),
            queue,
        }
    }

    fn queue_service(&self) -> Option<&super::Instance> {
        let at = self.at();
        self.instances
            .iter()
            .find(|i| i.place.role == Role::Queue && i.is_fresh(at))
    }

    /// A gauge of the queue service, while it reaches its store.
    fn queue_gauge(&self, gauge: &Gauge) -> Option<f64> {
        let service = self.queue_service()?;
        let knows = service.gauge(&Gauge::RedisUp, self.at()) != Some(0.0);
        service.gauge(gauge, self.at()).filter(|_| knows)
    }

    /// The processes that take messages, and whether they were told to take none; unknown where they do not say.
    pub fn consumers(&self) -> Vec<(&str, Option<bool>)> {
        self.instances
            .iter()
            .filter(|i| matches!(i.place.role, Role::Worker | Role::Notification))
            .filter(|i| i.is_fresh(self.at()))
            .map(|i| {
                let lever = i.info.levers.iter().find(|(name, _)| name == "paused");
                (i.name(), lever.map(|(_, value)| value == "true"))
            })
            .collect()
    }

    /// What was heard last of the chosen queue's dead letters.
    pub fn letters_known(&self) -> Option<&Known> {
        let queue = self.chosen(Panel::Queues)?;
        self.details.get(&Topic::DeadLetters(queue))
    }

    fn letters_told(&self) -> impl Iterator<Item = &Value> {
        let value = self.letters_known().and_then(|known| known.value.as_ref());
        value
            .and_then(|value| value["messages"].as_array())
            .into_iter()
            .flatten()
    }

    /// The dead letters on show of the chosen queue, filtered and ordered; the oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let cursor = self.cursors.get(&Panel::DeadLetters);
        let filter = cursor.and_then(|cursor| cursor.filter.as_ref());
        let mut letters: Vec<DeadLetter> = self
            .letters_told()
            .filter_map(DeadLetter::parse)
            .filter(|letter| {
                filter.is_none_or(|filter| {
                    let DeadLetter {
                        id,
                        reason,
                        preview,
                        ..
                    } = letter;
                    filter.lets_through(&format!("{id} {reason} {preview}"))
                })
            })
            .collect();
        let (sort, reversed) = cursor.map_or((None, false), |c| (c.sort, c.reversed));
        match sort {
            Some(0) => letters.sort_by_key(|letter| letter.died_at),
            Some(1) => letters.sort_by(|a, b| a.reason.cmp(&b.reason)),
            Some(2) => letters.sort_by(|a, b| {
                let of = |letter: &DeadLetter| letter.deliveries.unwrap_or(-1.0);
                of(b).total_cmp(&of(a))
            }),
            Some(3) => letters.sort_by(|a, b| a.preview.cmp(&b.preview)),
            Some(4) => letters.sort_by(|a, b| a.id.cmp(&b.id)),
            _ => {}
        }
        if reversed {
            letters.reverse();
        }
        letters
    }

    /// The whole of the chosen dead letter, to read.
    pub(super) fn letter_page(&self) -> Option<Page> {
        let position = self.chosen(Panel::DeadLetters)?;
        let letter = self.letters_told().find(|letter| {
            letter["position"].as_str().map(printable).as_deref() == Some(&position)
        })?;
        let text = |name: &str| match &letter[name] {
            Value::Null => "–".to_owned(),
            Value::String(text) => printable(text),
            other => printable(&other.to_string()),
        };
        let mut lines: Vec<String> = [
            ("id", "id"),
            ("position", "position"),
            ("sent", "sent_at"),
            ("died", "died_at"),
            ("reason", "reason"),
            ("deliveries", "deliveries"),
            ("crashes", "crashes"),
            ("redrives", "redrives"),
            ("ordering key", "ordering_key"),
        ]
        .iter()
        .map(|(title, name)| format!("{title:<13} {}", text(name)))
        .collect();
        lines.extend([String::new(), "Payload".to_owned()]);
        let payload = serde_json::to_string_pretty(&letter["body"]).unwrap_or_default();
        lines.extend(
            payload
                .lines()
                .take(MOST_LINES)
                .map(|line| format!("  {}", printable(line))),
        );
        let hidden = payload.lines().count().saturating_sub(MOST_LINES);
        if hidden > 0 {
            lines.push(format!("  … {hidden} more lines"));
        }
        lines.extend([String::new(), "History, oldest first".to_owned()]);
        for episode in letter["history"].as_array().into_iter().flatten() {
            let of = |name: &str| episode[name].as_str().map_or_else(String::new, printable);
            let mut line = format!("  {}  delivery {}", of("at"), episode["delivery"]);
            let _ = write!(line, "  {}", of("event"));
            if !of("reason").is_empty() {
                let _ = write!(line, ": {}", of("reason"));
            }
            lines.push(printable(&line));
        }
        Some(Page {
            title: format!("Dead letter {}", text("id")),
            lines,
            scroll: 0,
        })
    }

    /// All that is known of the chosen queue, to read.
    pub(super) fn queue_page(&self) -> Option<Page> {
        let name = self.chosen(Panel::Queues)?;
        let figures = self
            .queue_figures()
            .into_iter()
            .find(|figures| figures.queue.name == name)?;
        let queue = &figures.queue;
        let whole = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"))
        };
        let fine = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
        };
        let mut lines = vec![
            format!(
                "waiting        {}, {} of them not due yet, {} behind another of their key",
                whole(queue.depth),
                whole(figures.delayed),
                whole(figures.behind)
            ),
            format!("in flight      {}", whole(queue.in_flight)),
            format!("bytes          {}", whole(figures.bytes)),
            format!("oldest         {} s", fine(queue.oldest_age)),
            format!("dead           {}", whole(queue.dead)),
            format!("sent           {}/s", fine(queue.sent)),
            format!("received       {}/s", fine(figures.received)),
            format!("again          {}/s", fine(figures.redelivered)),
            format!("acknowledged   {}/s", fine(queue.acknowledged)),
            format!("drain          {}", figures.drain.long()),
            format!(
                "paused         {}",
                match figures.paused {
                    Some(true) => "yes",
                    Some(false) => "no",
                    None => "–",
                }
            ),
            String::new(),
            "Settings of its own; everything else is the service's default".to_owned(),
        ];
        lines.extend(figures.settings.iter().map(|line| format!("  {line}")));
        if figures.settings.is_empty() {
            lines.push("  none".to_owned());
        }
        Some(Page {
            title: format!("Queue {name}"),
            lines,
            scroll: 0,
        })
    }
}

fn lets_through(filter: &Filter, figures: &QueueFigures) -> bool {
    let paused = match figures.paused {
        Some(true) => "paused",
        _ => "",
    };
    let class = figures.durability.as_deref().unwrap_or_default();
    filter.lets_through(&format!("{} {paused} {class}", figures.queue.name))
}

impl DeadLetter {
    fn parse(letter: &Value) -> Option<Self> {
        let text = |name: &str| letter[name].as_str().map_or_else(String::new, printable);
        let time = letter["died_at"].as_str();
        Some(Self {
            position: printable(letter["position"].as_str()?),
            id: text("id"),
            died_at: time.and_then(|time| time.parse().ok()),
            reason: text("reason"),
            deliveries: letter["deliveries"].as_f64(),
            preview: preview(&letter["body"]),
        })
    }
}

/// The beginning of a payload: however large it is, no more than that is written.
fn preview(body: &Value) -> String {
    struct Short(Vec<u8>);
    impl io::Write for Short {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() >= PREVIEW {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.0.extend_from_slice(&bytes[..bytes.len().min(PREVIEW)]);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut short = Short(Vec::new());
    let _ = serde_json::to_writer(&mut short, body);
    printable(String::from_utf8_lossy(&short.0).trim_end_matches('\u{fffd}'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::testing::stores::{lost, stocked, troubled};
    use super::*;

    #[test]
    fn a_queue_drains_at_what_goes_out_more_than_comes_in() {
        let estimate = |depth, sent, ended| Drain::estimate(Some(depth), Some(sent), Some(ended));
        assert_eq!(estimate(0.0, 9.0, 1.0), Drain::Empty);
        assert_eq!(estimate(120.0, 1.0, 3.0), Drain::In(60.0));
        assert_eq!(estimate(1.0, 2.0, 2.0), Drain::Never);
        assert_eq!(estimate(1.0, 0.0, 0.0), Drain::Never);
        assert_eq!(Drain::estimate(None, Some(1.0), Some(1.0)), Drain::Unknown);
        assert_eq!(Drain::estimate(Some(4.0), None, Some(1.0)), Drain::Unknown);
        assert_eq!(estimate(120.0, 1.0, 3.0).short(), "60s");
        assert_eq!(estimate(120.0, 4.0, 3.0).long(), "never empty at this rate");
    }

    proptest! {
        #[test]
        fn an_estimate_keeps_its_promise(depth in 1.0..1e6_f64, sent in 0.0..1e4_f64, ended in 0.0..1e4_f64) {
            match Drain::estimate(Some(depth), Some(sent), Some(ended)) {
                Drain::In(seconds) => {
                    let left = depth + (sent - ended) * seconds;
                    prop_assert!(left.abs() < depth * 1e-6 + 1e-6, "{left}");
                }
                Drain::Never => prop_assert!(ended <= sent + 1e-6),
                other => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn previews_are_short_whatever_the_payload(text in "\\PC{0,2000}", many in 0_usize..200) {
            let body = json!({"text": text, "list": vec![text.clone(); many]});
            let preview = preview(&body);
            prop_assert!(preview.chars().count() <= 2 * PREVIEW);
            prop_assert!(!preview.contains('\n'));
        }
    }

    #[test]
    fn queues_are_known_from_metrics_and_settings() {
        let mut state = stocked();
        let figures = state.queue_figures();
        let names: Vec<&str> = figures.iter().map(|f| f.queue.name.as_str()).collect();
        assert_eq!(names, ["bookings", "recharges", "tasks"]);
        assert_eq!(figures[0].drain, Drain::Empty);
        assert_eq!(figures[0].durability.as_deref(), Some("durable"));
        assert_eq!(figures[1].paused, Some(true));
        assert_eq!(figures[1].drain, Drain::Paused);
        assert!(
            matches!(figures[2].drain, Drain::In(seconds) if (40.0..50.0).contains(&seconds)),
            "{figures:?}"
        );
        assert_eq!(figures[2].delayed, Some(2.0));
        state.cursor_mut(Panel::Queues).sort = Some(2);
        assert_eq!(
            state.rows(Panel::Queues),
            ["tasks", "recharges", "bookings"]
        );
        state.set_filter(Panel::Queues, "paused");
        assert_eq!(state.rows(Panel::Queues), ["recharges"]);
        assert!(
            state
                .queue_page()
                .unwrap()
                .lines
                .join("\n")
                .contains("max_deliveries = 3")
        );
    }

    #[test]
    fn dead_letters_are_known_by_their_place_and_read_as_a_whole() {
        let mut state = stocked();
        state.cursor_mut(Panel::Queues).choose("tasks");
        let letters = state.dead_letters();
        assert_eq!(letters.len(), 3);
        assert_eq!(letters[0].position, "1767225600000-0");
        assert_eq!(letters[0].deliveries, Some(5.0));
        assert!(letters[0].preview.starts_with("{\"card\":"), "{letters:?}");
        let page = state.letter_page().unwrap().lines.join("\n");
        for part in [
            "reason        the estación does not exist",
            "    \"kind\": \"study\"",
            "delivery 5  dead: the estación",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
        state.set_filter(Panel::DeadLetters, "timeout");
        assert_eq!(state.rows(Panel::DeadLetters), ["1767225600000-2"]);
        state.set_filter(Panel::DeadLetters, "");
        state.cursor_mut(Panel::Queues).choose("bookings");
        assert_eq!(state.dead_letters(), []);
        assert_eq!(state.letter_page(), None);
    }

    #[test]
    fn nonsense_is_no_letter_and_harms_nobody() {
        let mut state = stocked();
        state.cursor_mut(Panel::Queues).choose("tasks");
        for answer in [
            json!(3),
            json!({"messages": {}}),
            json!({"messages": [null, {}, {"position": 1}]}),
            json!({"messages": [{"position": "1-1", "history": [1, {"at": 7}], "body": "\u{1b}]0;x"}]}),
        ] {
            let topic = Topic::DeadLetters("tasks".into());
            state.details.put(topic, state.now, Ok(answer));
            let letters = state.dead_letters();
            assert!(letters.len() <= 1);
            if let Some(page) = state.letter_page() {
                assert!(page.lines.iter().all(|line| !line.contains('\u{1b}')));
            }
        }
    }

    #[test]
    fn consumers_that_take_nothing_are_told() {
        assert!(stocked().consumers().contains(&("notification-1", None)));
        assert!(
            troubled()
                .consumers()
                .contains(&("notification-1", Some(true)))
        );
    }

    #[test]
    fn queues_keep_their_names_when_their_service_is_away() {
        let figures = lost().queue_figures();
        let names: Vec<&str> = figures.iter().map(|f| f.queue.name.as_str()).collect();
        assert_eq!(names, ["bookings", "recharges", "tasks"]);
        assert!(figures.iter().all(|f| f.queue.depth.is_none()));
        assert_eq!(lost().dead_letters().len(), 3);
    }

    #[test]
    fn without_its_store_the_service_knows_of_no_queue_what_waits() {
        for figures in troubled().queue_figures() {
            assert_eq!(figures.queue.depth, None);
            assert_eq!(figures.drain, Drain::Unknown);
        }
    }
}
