//! Lines: what is printed is read back, every row of the table works, and no line breaks the reader.

use std::{collections::BTreeMap, time::Duration};

use actions::{
    Action, Danger, Delayed, Door, Fault, FlushScope, Manners, Method, POLICIES, Safeguard, TABLE,
    Target, TrafficPlan,
};
use load::{Kind, Mix, Profile, Retries};
use proptest::{option, prelude::*, sample::select};

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.@-]{1,20}"
}

/// Whatever a value may be.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{1,30}",
        "[ -~]{1,30}",
        any::<String>().prop_filter("empty", |text| !text.is_empty())
    ]
}

fn mix() -> impl Strategy<Value = Mix> {
    let weights = prop::collection::vec((select(Kind::ALL.to_vec()), 1..1_000_u32), 1..5);
    prop_oneof![
        select(Mix::NAMED.to_vec()).prop_map(|(name, _)| Mix::named(name).expect("a mix")),
        weights.prop_map(|weights| Mix::of(&weights)),
    ]
}

fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![
        0.0..TrafficPlan::MOST_RATE,
        (0..20_000_u32).prop_map(f64::from)
    ]
}

fn manners() -> impl Strategy<Value = Manners> {
    let budget = option::of((0..=1_000_u32).prop_map(|tenths| f64::from(tenths) / 10.0));
    let retries = (0..=20_u32, budget).prop_map(|(most, budget_percent)| Retries {
        most,
        budget_percent,
    });
    (1..=10_000_u32, 1..=60_000_u64, retries, any::<bool>()).prop_map(
        |(connections, milliseconds, retries, keyed)| Manners {
            connections,
            timeout: Duration::from_millis(milliseconds),
            retries,
            keyed,
        },
    )
}

fn plan() -> impl Strategy<Value = TrafficPlan> {
    (
        select(Profile::ALL.to_vec()),
        mix(),
        rate(),
        1..86_400_u64,
        any::<u64>(),
        prop_oneof![Just(Manners::default()), manners()],
    )
        .prop_map(|(profile, mix, rate, seconds, seed, manners)| TrafficPlan {
            profile,
            mix,
            rate,
            seconds,
            seed,
            manners,
        })
}

fn fault() -> impl Strategy<Value = Fault> {
    let route = option::of(text().prop_map(|text| format!("/{text}")));
    let times = (0..600_000_u64, 1..600_000_u64, 0..600_000_u64);
    let error = (0.0..1.0_f64, option::of(400..=599_u16), 0.0..1.0_f64);
    (
        route,
        times,
        error,
        any::<bool>(),
        any::<bool>(),
        option::of(1..86_400_u64),
    )
        .prop_map(
            |(
                route,
                (latency_ms, jitter_ms, hold_ms),
                (error_rate, error_status, lose_rate),
                hang,
                refuse,
                expires_in_seconds,
            )| Fault {
                route,
                latency_ms,
                jitter_ms,
                hold_ms,
                error_rate,
                error_status,
                lose_rate,
                hang,
                refuse,
                expires_in_seconds,
            },
        )
}

fn call() -> impl Strategy<Value = Action> {
    let door = prop_oneof![
        Just(Door::Public),
        Just(Door::Cache),
        Just(Door::Queue),
        Just(Door::Worker),
        name()
            .prop_filter("a door of its own", |name| !["cache", "queue", "worker"]
                .contains(&name.as_str()))
            .prop_map(Door::Instance),
    ];
    let path = "/[a-zA-Z0-9_.~%?=&:'-][!-\"$-~]{0,20}";
    let parts = (
        select(Method::ALL.to_vec()),
        door,
        path,
        option::of(text()),
        any::<bool>(),
    );
    parts.prop_map(|(method, door, path, body, token)| Action::Call {
        method,
        target: Target { door, path },
        body,
        token,
    })
}

fn single() -> impl Strategy<Value = Action> {
    let ids = || prop::collection::vec("[0-9a-f-]{1,20}", 0..4);
    let settings = prop::collection::btree_map("[a-z]{2,8}", text(), 1..4);
    prop_oneof![
        (option::of(1..u64::MAX >> 1), option::of(1..i64::MAX))
            .prop_map(|(card, amount)| Action::Recharge { card, amount }),
        (1..10_000_u32).prop_map(|requests| Action::Burst { requests }),
        call(),
        plan().prop_map(Action::Traffic),
        rate().prop_map(Action::TrafficRate),
        mix().prop_map(Action::TrafficMix),
        Just(Action::StopTraffic),
        prop_oneof![
            text().prop_map(FlushScope::Key),
            text().prop_map(FlushScope::Prefix),
            Just(FlushScope::All)
        ]
        .prop_map(Action::Flush),
        (option::of(name()), any::<bool>())
            .prop_map(|(instance, on)| Action::CacheSwitch { instance, on }),
        name().prop_map(Action::Drain),
        name().prop_map(Action::Restore),
        name().prop_map(Action::Kill),
        name().prop_map(Action::Restart),
        (name(), 0..=20_u32).prop_map(|(role, count)| Action::Scale { role, count }),
        (name(), fault()).prop_map(|(instance, fault)| Action::Fault { instance, fault }),
        option::of(name()).prop_map(|instance| Action::ClearFaults { instance }),
        (select(Safeguard::ALL.to_vec()), option::of(1..=3_600_u64))
            .prop_map(|(safeguard, off)| Action::Safeguard { safeguard, off }),
        (select(POLICIES.to_vec()), option::of(name())).prop_map(|(policy, pool)| Action::Policy {
            policy: policy.to_owned(),
            pool
        }),
        (name(), 1..=1_000_u32).prop_map(|(instance, weight)| Action::Weight { instance, weight }),
        (option::of(name()), settings).prop_map(|(pool, mut settings): (_, BTreeMap<_, _>)| {
            settings.remove("pool");
            settings.insert("retries.percent".to_owned(), "null".to_owned());
            settings.remove("retries");
            Action::Balancing { pool, settings }
        }),
        (select(Delayed::ALL.to_vec()), 0..60_000_u64).prop_map(|(of, lasts)| Action::Delay {
            of,
            lasts: Duration::from_millis(lasts)
        }),
        (0..=10_000_u32).prop_map(Action::Capacity),
        name().prop_map(Action::PauseQueue),
        name().prop_map(Action::ResumeQueue),
        option::of(name()).prop_map(|target| Action::PauseConsumers { target }),
        option::of(name()).prop_map(|target| Action::ResumeConsumers { target }),
        (
            name(),
            ids(),
            option::of(rate()),
            option::of(1..=10_000_u32)
        )
            .prop_map(|(queue, ids, rate, limit)| Action::Redrive {
                queue,
                ids,
                rate,
                limit
            }),
        (name(), ids()).prop_map(|(queue, ids)| Action::PurgeDead { queue, ids }),
        name().prop_map(Action::PurgeQueue),
        (
            option::of(name()),
            "info|debug|info,travel=debug|[a-z]{2,5}=trace"
        )
            .prop_map(|(instance, level)| Action::LogLevel { instance, level }),
        Just(Action::StopEverything),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => single(),
        1 => prop::collection::vec(single(), 2..4).prop_map(Action::Several),
    ]
}

/// The words that a shell makes of a line.
fn shell(line: &str) -> Vec<String> {
    let script = format!("for word in {line}; do printf '%s\\0' \"$word\"; done");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{line}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.split_terminator('\0').map(str::to_owned).collect()
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(action in action()) {
        let line = action.to_string();
        prop_assert_eq!(Action::parse(&line), Ok(action), "{}", line);
    }

    #[test]
    fn a_hostile_line_is_refused_and_nothing_else(line in any::<String>()) {
        if let Ok(action) = Action::parse(&line) {
            prop_assert_eq!(Action::parse(&action.to_string()), Ok(action));
        }
    }

    #[test]
    fn a_nearly_right_line_is_refused_or_means_what_it_prints(
        verb in select(TABLE.iter().map(|entry| entry.verb).collect::<Vec<_>>()),
        rest in "([ =;,'\"]|gateway-2|/data|latency|for|rate|key|all|[0-9.-]{1,6}|on|GET|p2c|[a-z]{1,3}){0,12}",
    ) {
        match Action::parse(&format!("{verb} {rest}")) {
            Ok(action) => prop_assert_eq!(Action::parse(&action.to_string()), Ok(action)),
            Err(error) => prop_assert!(!error.reason.is_empty()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_shell_gives_the_command_line_back(action in action().prop_filter("no shell takes NUL", |action| !action.to_string().contains("\\u{0}"))) {
        let line = action.command_line();
        let words = shell(&line);
        prop_assert_eq!(&words[..2], ["recarga", "do"]);
        prop_assert_eq!(Action::parse_words(&words[2..]), Ok(action), "{}", line);
    }
}

#[test]
fn every_row_of_the_table_has_an_example_that_works() {
    for entry in TABLE {
        let action = Action::parse(entry.example)
            .unwrap_or_else(|error| panic!("{}: {error}", entry.example));
        assert_eq!(action.verb(), entry.verb);
        assert!(
            action.title().ends_with('?') && action.title().len() <= 60,
            "{}",
            action.title()
        );
        assert!(
            !entry.meaning.is_empty() && !entry.meaning.ends_with('.'),
            "{}",
            entry.verb
        );
    }
    let mut verbs: Vec<&str> = TABLE.iter().map(|entry| entry.verb).collect();
    verbs.sort_unstable();
    verbs.dedup();
    assert_eq!(verbs.len(), TABLE.len(), "a verb twice");
}

#[test]
fn every_action_has_a_row() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2_000 {
        let action = single().new_tree(&mut runner).unwrap().current();
        assert!(actions::entry(action.verb()).is_some(), "{action:?}");
        seen.insert(action.verb());
    }
    let verbs: std::collections::BTreeSet<&str> = TABLE.iter().map(|entry| entry.verb).collect();
    assert_eq!(seen, verbs);
}

#[test]
fn lines_mean_what_they_say() {
    let slow = |expires_in_seconds| Action::Fault {
        instance: "gateway-2".to_owned(),
        fault: Fault {
            route: Some("/data".to_owned()),
            latency_ms: 200,
            expires_in_seconds,
            ..Fault::default()
        },
    };
    for (line, action) in [
        ("drain gateway-2", Action::Drain("gateway-2".to_owned())),
        (
            "fault gateway-2 latency=200ms for=60s route=/data",
            slow(Some(60)),
        ),
        ("fault gateway-2 route=/data latency=200ms", slow(Some(60))),
        (
            "fault latency=200ms gateway-2 route=/data for=forever",
            slow(None),
        ),
        (
            "scale gateway=5",
            Action::Scale {
                role: "gateway".to_owned(),
                count: 5,
            },
        ),
        (
            "scale gateway 5;",
            Action::Scale {
                role: "gateway".to_owned(),
                count: 5,
            },
        ),
        (
            "safeguard retry-budget off",
            Action::Safeguard {
                safeguard: Safeguard::RetryBudget,
                off: Some(300),
            },
        ),
        (
            "safeguard leases off for=90s; safeguard leases on",
            Action::Several(vec![
                Action::Safeguard {
                    safeguard: Safeguard::Leases,
                    off: Some(90),
                },
                Action::Safeguard {
                    safeguard: Safeguard::Leases,
                    off: None,
                },
            ]),
        ),
        (
            "cache off; cache on gateway-1",
            Action::Several(vec![
                Action::CacheSwitch {
                    instance: None,
                    on: false,
                },
                Action::CacheSwitch {
                    instance: Some("gateway-1".to_owned()),
                    on: true,
                },
            ]),
        ),
        (
            "traffic ramp/1 rate=500 for=60s",
            Action::Traffic(TrafficPlan {
                seconds: 60,
                ..TrafficPlan::new(Profile::Ramp, 500.0)
            }),
        ),
        (
            r#"call post /recharges body={"card_id":7,"amount":2000}"#,
            Action::Call {
                method: Method::Post,
                target: Target {
                    door: Door::Public,
                    path: "/recharges".to_owned(),
                },
                body: Some(r#"{"card_id":7,"amount":2000}"#.to_owned()),
                token: true,
            },
        ),
    ] {
        assert_eq!(Action::parse(line), Ok(action), "{line}");
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    for (line, word, reason) in [
        ("", "", "an action is wanted"),
        (" ; ", "", "an action is wanted"),
        ("drian gateway-2", "drian", "drain"),
        ("explode", "explode", "an action is wanted"),
        ("drain", "drain", "an instance is missing"),
        ("drain gateway-2 now", "now", "drain takes INSTANCE"),
        ("drain ../x", "../x", "cannot be an instance"),
        ("fault gateway-2", "fault", "say what breaks"),
        (
            "fault gateway-2 latency=soon",
            "latency=soon",
            "a time is wanted",
        ),
        ("fault gateway-2 latency=1h", "latency=3600s", "ten minutes"),
        ("fault gateway-2 hang for=0s", "for=0s", "for=60s"),
        ("fault gateway-2 errors=2", "errors=2", "a share"),
        ("fault gateway-2 hang route=data", "data", "begins with /"),
        ("fault gateway-2 hang latncy=2s", "latncy=2s", "fault takes"),
        ("fault a latency=1s latency=2s", "latency=2s", "twice"),
        ("safeguard", "safeguard", "the safeguard is missing"),
        ("safeguard lease off", "lease", "is leases meant"),
        (
            "safeguard seatbelt off",
            "seatbelt",
            "the safeguards are inbox",
        ),
        ("safeguard leases", "safeguard", "on or off is missing"),
        ("safeguard leases maybe", "maybe", "on or off is wanted"),
        ("safeguard leases off for=2h", "for=2h", "up to an hour"),
        (
            "safeguard leases off for=forever",
            "for=forever",
            "up to an hour",
        ),
        ("safeguard leases on for=5s", "for=5s", "only what is off"),
        ("scale gateway 21", "21", "0 to 20"),
        ("scale gateway -1", "-1", "0 to 20"),
        ("weight gateway-2 0", "0", "from 1 to 1000"),
        ("policy best", "best", "round_robin"),
        ("flush", "flush", "one of key="),
        ("flush all key=a", "flush", "one of key="),
        ("flush everything", "everything", "one of key="),
        ("call GET data", "data", "a path is wanted"),
        (
            "call GET //example.com/",
            "//example.com/",
            "a path is wanted",
        ),
        (
            "call GET http://example.com/",
            "http://example.com/",
            "a path is wanted",
        ),
        ("call FETCH /data", "FETCH", "GET, POST"),
        ("traffic ramp", "traffic", "the rate is missing"),
        ("traffic wave rate=5", "wave", "constant, ramp"),
        ("traffic ramp/2 rate=5", "ramp/2", "version"),
        ("traffic ramp rate=1e9", "1e9", "from 0 to 20000"),
        ("traffic ramp rate=NaN", "NaN", "from 0 to 20000"),
        ("traffic ramp rate=5 mix=walk", "walk", "is no call"),
        ("traffic ramp rate=5 for=2d", "for=2d", "a time is wanted"),
        ("traffic ramp rate=5 retries=21", "retries=21", "0 to 20"),
        (
            "traffic ramp rate=5 budget=200%",
            "budget=200%",
            "hundred requests",
        ),
        ("traffic ramp rate=5 keys=maybe", "keys=maybe", "on or off"),
        ("traffic ramp rate=5 timeout=2m", "timeout=120s", "a minute"),
        ("log-level loud", "loud", "error, warn"),
        ("balancing", "balancing", "a setting is missing"),
        ("balancing a..b=1", "a..b=1", "look like"),
        ("balancing a=1 a.b=2", "a.b", "inside"),
        ("delay data 2h", "2h", "up to 60 s"),
        ("capacity 0", "0", "1 to 10000"),
        ("burst 0", "0", "from 1 to 10000"),
        ("burst +5", "+5", "from 1 to 10000"),
        ("flush key='a", "'", "does not end"),
        ("drain a; explode", "explode", "an action is wanted"),
    ] {
        let error = Action::parse(line).expect_err(line);
        assert_eq!(error.word, word, "{line}: {error}");
        assert!(error.reason.contains(reason), "{line}: {error}");
    }
    let long = format!("drain {}", "x".repeat(100_000));
    assert!(Action::parse(&long).unwrap_err().to_string().len() < 400);
    assert!(Action::parse(&"drain a;".repeat(100_000)).is_err());
}

#[test]
fn a_kill_and_a_purge_need_the_name_typed() {
    let danger = |line: &str| Action::parse(line).unwrap().danger();
    for (line, name) in [
        ("kill travel-2", "travel-2"),
        ("purge-queue tasks", "tasks"),
        ("purge-dead tasks", "tasks"),
        ("scale worker 0", "worker"),
        ("restore a; kill travel-2", "travel-2"),
    ] {
        assert_eq!(danger(line), Danger::Typed(name.to_owned()), "{line}");
    }
    for line in [
        "drain a",
        "flush all",
        "fault a hang",
        "cache off",
        "safeguard claim off",
        "purge-dead tasks 1-1",
        "restore a; flush all",
    ] {
        assert_eq!(danger(line), Danger::Confirm, "{line}");
    }
    for line in [
        "restore a",
        "cache on",
        "safeguard claim on",
        "clear-faults",
        "stop-everything",
        "stop-traffic",
        "resume-queue q",
    ] {
        assert_eq!(danger(line), Danger::None, "{line}");
    }
}

#[test]
fn only_reading_changes_nothing() {
    let reads = [
        "call GET /data",
        "stop-traffic",
        "call GET cache:/cache/stats",
    ];
    for entry in TABLE {
        let action = Action::parse(entry.example).unwrap();
        let expected = !matches!(entry.verb, "call" | "stop-traffic");
        assert_eq!(action.changes(), expected, "{}", entry.example);
    }
    for line in reads {
        assert!(!Action::parse(line).unwrap().changes(), "{line}");
    }
    for line in [
        "call POST /book",
        "call GET queue:/dequeue",
        "call GET queue:/queues/a/messages?max=1",
        "call GET /data; kill a",
    ] {
        assert!(Action::parse(line).unwrap().changes(), "{line}");
    }
}

#[test]
fn traffic_becomes_options() {
    let plan = TrafficPlan::new(Profile::Spike, 100.0);
    let options = plan
        .options("http://127.0.0.1:8000", load::Credentials::Demo, false)
        .unwrap();
    assert_eq!(options.profile, Profile::Spike);
    assert_eq!(options.time_limit, Duration::from_mins(1));
    let remote = plan.options("http://192.0.2.1:8000", load::Credentials::Demo, false);
    assert!(matches!(remote, Err(load::Error::Remote { .. })));
}
