//! What can be done to what is chosen, and the profiles of traffic.

use actions::{Action, Fault, FlushScope, TrafficPlan};
use load::Profile;

use super::{
    State,
    instance::Role,
    intent::Intent,
    overlay::{Choice, Item, Menu, Overlay},
    traffic::Notice,
    view::{Panel, View},
};

/// How long a fault of the menu lasts, in seconds.
const FAULT_SECONDS: u64 = 60;

fn item(key: char, text: impl Into<String>, choice: Choice) -> Item {
    Item {
        key,
        text: text.into(),
        choice,
    }
}

impl State {
    /// The instance that actions are about now, if the chosen thing is one.
    pub fn chosen_instance(&self) -> Option<String> {
        let panel = match self.view {
            View::Overview => Panel::Path,
            View::Balancer => Panel::Gateways,
            View::System => Panel::Processes,
            _ => return None,
        };
        self.chosen(panel)
    }

    pub(super) fn open_menu(&mut self) {
        let (title, mut items) = match self.view {
            View::Cache => ("Cache".to_owned(), self.cache_items()),
            View::Queue => self.queue_items(),
            _ => match self.chosen_instance() {
                Some(name) => {
                    let items = self.instance_items(&name);
                    (name, items)
                }
                None if self.view == View::Balancer => {
                    ("Balancer".to_owned(), self.balancing_items(None))
                }
                None => ("Lab".to_owned(), Vec::new()),
            },
        };
        items.extend([
            item(
                'X',
                "stop all traffic, clear all faults",
                Choice::Intend(Intent::StopEverything),
            ),
            item('u', "undo the last action", Choice::Intend(Intent::Undo)),
            item(':', "every other action …", Choice::Intend(Intent::Palette)),
        ]);
        self.overlay = Some(Overlay::Menu(Menu {
            title,
            items,
            chosen: 0,
        }));
    }

    fn instance_items(&self, name: &str) -> Vec<Item> {
        let own = || name.to_owned();
        let role = self
            .instance(name)
            .map(|instance| instance.place.role.clone());
        let fault = |fault: Fault| {
            Choice::Act(Action::Fault {
                instance: own(),
                fault: Fault {
                    expires_in_seconds: Some(FAULT_SECONDS),
                    ..fault
                },
            })
        };
        let mut items = vec![
            item(
                'd',
                "drain: no new requests, finish those in flight",
                Choice::Act(Action::Drain(own())),
            ),
            item(
                'r',
                "restore: take requests again",
                Choice::Act(Action::Restore(own())),
            ),
            item(
                's',
                "restart: drain, stop, start",
                Choice::Act(Action::Restart(own())),
            ),
            item(
                'k',
                "kill: as kill -9 would",
                Choice::Act(Action::Kill(own())),
            ),
            item(
                'l',
                "fault: 200 ms slower for a minute",
                fault(Fault {
                    latency_ms: 200,
                    ..Fault::default()
                }),
            ),
            item(
                'e',
                "fault: every fifth request fails for a minute",
                fault(Fault {
                    error_rate: 0.2,
                    ..Fault::default()
                }),
            ),
            item(
                'h',
                "fault: never answer for a minute",
                fault(Fault {
                    hang: true,
                    ..Fault::default()
                }),
            ),
            item(
                'c',
                "clear its faults",
                Choice::Act(Action::ClearFaults {
                    instance: Some(own()),
                }),
            ),
            item(
                'v',
                "log level: debug",
                Choice::Act(Action::LogLevel {
                    instance: Some(own()),
                    level: "debug".to_owned(),
                }),
            ),
        ];
        match role {
            Some(Role::Balancer) => items.extend(self.balancing_items(None)),
            Some(Role::Gateway) => {
                items.extend(self.balancing_items(Some(name)));
                items.extend([
                    item(
                        'f',
                        "flush the whole cache",
                        Choice::Act(Action::Flush(FlushScope::All)),
                    ),
                    item(
                        'o',
                        "cache off for this gateway",
                        Choice::Act(Action::CacheSwitch {
                            instance: Some(own()),
                            on: false,
                        }),
                    ),
                ]);
            }
            Some(Role::Cache) => {
                items.push(item(
                    'f',
                    "flush the whole cache",
                    Choice::Act(Action::Flush(FlushScope::All)),
                ));
            }
            Some(Role::Notification | Role::Worker) => items.extend([
                item(
                    'p',
                    "pause: take no more messages",
                    Choice::Act(Action::PauseConsumers {
                        target: Some(own()),
                    }),
                ),
                item(
                    'g',
                    "go on taking messages",
                    Choice::Act(Action::ResumeConsumers {
                        target: Some(own()),
                    }),
                ),
            ]),
            _ => {}
        }
        if let Some(role) = role {
            let name = role.name();
            items.push(item(
                'n',
                format!("number of {name} instances …"),
                Choice::Type(format!("scale {name} ")),
            ));
        }
        items
    }

    /// The policies, the one in force marked; and the weight of a gateway, where one is chosen.
    fn balancing_items(&self, gateway: Option<&str>) -> Vec<Item> {
        let now = self.policy();
        let policies = ('1'..).zip(actions::POLICIES).map(|(key, policy)| {
            let sign = if now == Some(policy) { " (now)" } else { "" };
            let meaning = super::balancer::meaning_of(policy);
            item(
                key,
                format!("{policy}{sign}: {meaning}"),
                Choice::Act(Action::Policy {
                    policy: policy.to_owned(),
                    pool: None,
                }),
            )
        });
        let menu = Menu {
            title: "Policy of the balancer".to_owned(),
            items: policies.collect(),
            chosen: actions::POLICIES
                .iter()
                .position(|policy| now == Some(*policy))
                .unwrap_or(0),
        };
        let text = match now {
            Some(now) => format!("policy, now {now} …"),
            None => "policy …".to_owned(),
        };
        let mut items = vec![item('p', text, Choice::Menu(menu))];
        if let Some(name) = gateway {
            let weight = match self.weight_of(name) {
                Some(weight) => format!("weight, now {weight} …"),
                None => "weight …".to_owned(),
            };
            items.push(item('w', weight, Choice::Type(format!("weight {name} "))));
        }
        items
    }

    fn cache_items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        let rows = self.rows(Panel::Keys);
        let keys = self.cursor(Panel::Keys);
        let flushes: Vec<Action> = keys
            .meant(&rows)
            .into_iter()
            .map(|key| Action::Flush(FlushScope::Key(key.to_owned())))
            .collect();
        let count = flushes.len();
        if let Some(flush) = Action::several(flushes) {
            let text = match count {
                1 => "flush the chosen key".to_owned(),
                many => format!("flush the {many} marked keys"),
            };
            items.push(item('d', text, Choice::Act(flush)));
        }
        let switch = |on| Choice::Act(Action::CacheSwitch { instance: None, on });
        items.extend([
            item(
                'p',
                "flush a prefix …",
                Choice::Type(format!("flush prefix={}", self.key_prefix())),
            ),
            item(
                'f',
                "flush all",
                Choice::Act(Action::Flush(FlushScope::All)),
            ),
            item('o', "cache off for all gateways", switch(false)),
            item('i', "cache on for all gateways", switch(true)),
        ]);
        items
    }

    fn queue_items(&self) -> (String, Vec<Item>) {
        let Some(queue) = self.chosen(Panel::Queues) else {
            return ("Queues".to_owned(), Vec::new());
        };
        let rows = self.rows(Panel::DeadLetters);
        let cursor = self.cursor(Panel::DeadLetters);
        // Only what is on show is meant: those that came later are not.
        let ids: Vec<String> = cursor.meant(&rows).into_iter().map(str::to_owned).collect();
        let mut items = vec![
            item(
                'p',
                "pause: nobody receives",
                Choice::Act(Action::PauseQueue(queue.clone())),
            ),
            item(
                'g',
                "go on",
                Choice::Act(Action::ResumeQueue(queue.clone())),
            ),
        ];
        if !ids.is_empty() {
            let letters = match ids.len() {
                1 => "the chosen dead letter".to_owned(),
                many => format!("the {many} marked dead letters"),
            };
            items.extend([
                item(
                    'r',
                    format!("redrive {letters}: deliver again"),
                    Choice::Act(Action::Redrive {
                        queue: queue.clone(),
                        ids: ids.clone(),
                        rate: None,
                        limit: None,
                    }),
                ),
                item(
                    'D',
                    format!("end {letters} for good"),
                    Choice::Act(Action::PurgeDead {
                        queue: queue.clone(),
                        ids,
                    }),
                ),
            ]);
        }
        if rows.len() > 1 {
            items.push(item(
                'a',
                format!("redrive the {} dead letters on show", rows.len()),
                Choice::Act(Action::Redrive {
                    queue: queue.clone(),
                    ids: rows,
                    rate: None,
                    limit: None,
                }),
            ));
        }
        items.push(item(
            'P',
            "purge: end all messages that wait",
            Choice::Act(Action::PurgeQueue(queue.clone())),
        ));
        (queue, items)
    }

    pub(super) fn open_traffic_menu(&mut self) {
        let mut items = Vec::new();
        if self.traffic.is_on() {
            items.push(item('x', "stop", Choice::Act(Action::StopTraffic)));
        }
        let rate = self.traffic.rate();
        for (key, profile, text) in [
            ('t', Profile::Constant, "constant"),
            ('r', Profile::Ramp, "ramp: from nothing to the rate"),
            (
                's',
                Profile::Spike,
                "spike: the rate, for a moment much more, the rate again",
            ),
            (
                'b',
                Profile::Burst,
                "burst: all at once, then nothing, and again",
            ),
            ('k', Profile::Soak, "soak: for long"),
        ] {
            let plan = TrafficPlan::new(profile, rate);
            items.push(item(
                key,
                format!("{text}, {rate}/s"),
                Choice::Act(Action::Traffic(plan)),
            ));
        }
        items.extend([
            item(
                'm',
                "another rate, mix, seed or time …",
                Choice::Type(format!("traffic constant rate={rate} ")),
            ),
            item(
                '6',
                "look at the traffic",
                Choice::Intend(Intent::Go(View::Traffic)),
            ),
        ]);
        self.overlay = Some(Overlay::Menu(Menu {
            title: "Traffic".to_owned(),
            items,
            chosen: 0,
        }));
    }

    pub(super) fn change_weight(&mut self, by: i64) {
        let Some(name) = self.chosen_instance().filter(|name| {
            self.instance(name)
                .is_some_and(|instance| instance.place.role == Role::Gateway)
        }) else {
            self.notify(Notice::info("choose a gateway first: weights are theirs"));
            return;
        };
        let Some(weight) = self.weight_of(&name) else {
            self.notify(Notice::info(format!(
                "the weight of {name} is not known now"
            )));
            return;
        };
        let step = if weight - i64::from(by < 0) >= 10 {
            10
        } else {
            1
        };
        let to = (weight + by * step).clamp(1, 1_000);
        if let Ok(weight) = u32::try_from(to) {
            self.ask(Action::Weight {
                instance: name,
                weight,
            });
        }
    }

    /// The weight that the balancers give an instance.
    fn weight_of(&self, name: &str) -> Option<i64> {
        let instance = self.instance(name)?;
        let weights = self.instances.iter().filter(|balancer| {
            balancer.place.role == Role::Balancer && balancer.is_fresh(self.now)
        });
        for balancer in weights {
            for (gauge, weight) in balancer.history.gauges() {
                if let super::Gauge::UpstreamWeight(label) = gauge
                    && instance.is_called(label)
                {
                    return Some(*weight as i64);
                }
            }
        }
        None
    }
}
