use super::*;

fn endpoint(port: u16, name: Option<&str>) -> Endpoint {
    Endpoint {
        name: name.map(str::to_owned),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
    }
}

fn pool(endpoints: &[Endpoint]) -> Pool {
    let pool = Pool::new(PoolSettings::new("gateway"), &Metrics::default());
    pool.set_endpoints(endpoints);
    pool
}

fn three() -> Pool {
    let pool = pool(&[
        endpoint(1, Some("gateway-1")),
        endpoint(2, Some("gateway-2")),
        endpoint(3, Some("gateway-3")),
    ]);
    for upstream in pool.upstreams() {
        pool.observe(&upstream, Observation::Passed);
    }
    pool
}

fn pick(pool: &Pool) -> Option<Lease> {
    pool.pick(&Selection::default(), Instant::now()).ok()
}

fn observe(pool: &Pool, name: &str, observation: Observation) {
    let upstream = pool
        .upstreams()
        .into_iter()
        .find(|upstream| *upstream.name() == *name)
        .expect("it is in the pool");
    pool.observe(&upstream, observation);
}

/// The names of the next `count` picks, each given back at once.
fn picks(pool: &Pool, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| pick(pool).map_or_else(|| "nobody".to_owned(), |lease| lease.name().to_string()))
        .collect()
}

#[test]
fn picks_take_turns_over_those_that_are_up() {
    let pool = three();
    assert_eq!(
        picks(&pool, 4),
        ["gateway-1", "gateway-2", "gateway-3", "gateway-1"]
    );
    observe(
        &pool,
        "gateway-2",
        Observation::Unreachable("refused".into()),
    );
    assert_eq!(picks(&pool, 3), ["gateway-3", "gateway-1", "gateway-3"]);
    observe(&pool, "gateway-2", Observation::Passed);
    assert_eq!(picks(&pool, 3), ["gateway-1", "gateway-2", "gateway-3"]);
}

#[test]
fn one_that_drains_gets_nothing_new_and_keeps_what_it_has() {
    let pool = three();
    let held = pick(&pool).expect("someone is up");
    assert_eq!(&*held.name(), "gateway-1");
    observe(&pool, "gateway-1", Observation::NotReady(503));
    assert_eq!(picks(&pool, 2), ["gateway-2", "gateway-3"]);
    let snapshot = pool.snapshot();
    assert_eq!(
        (snapshot.upstreams[0].state, snapshot.upstreams[0].in_flight),
        (State::Draining, 1)
    );
    drop(held);
    assert_eq!(pool.snapshot().upstreams[0].in_flight, 0);
}

#[test]
fn the_unknown_are_tried_only_when_nobody_is_up() {
    let pool = pool(&[
        endpoint(1, Some("gateway-1")),
        endpoint(2, Some("gateway-2")),
    ]);
    assert!(!pool.is_healthy());
    assert_eq!(picks(&pool, 2), ["gateway-1", "gateway-2"]);
    observe(&pool, "gateway-2", Observation::Passed);
    assert_eq!(picks(&pool, 2), ["gateway-2", "gateway-2"]);
    observe(
        &pool,
        "gateway-1",
        Observation::Unreachable("refused".into()),
    );
    observe(
        &pool,
        "gateway-2",
        Observation::Unreachable("refused".into()),
    );
    assert_eq!(picks(&pool, 1), ["nobody"]);
}

#[test]
fn a_repeat_goes_elsewhere_and_back_only_as_a_last_resort() {
    let pool = three();
    let ids: Vec<u64> = pool
        .upstreams()
        .iter()
        .map(|upstream| upstream.id)
        .collect();
    let avoiding = |avoid, last_resort| {
        let selection = Selection {
            avoid,
            last_resort,
            ..Selection::default()
        };
        pool.pick(&selection, Instant::now())
    };
    let elsewhere = avoiding(&ids[..2], false).expect("there is a third");
    assert_eq!(elsewhere.id(), ids[2]);
    assert_eq!(avoiding(&ids, false).err(), Some(Unavailable::NoneHealthy));
    assert!(avoiding(&ids, true).is_ok());
}

#[test]
fn those_that_stay_keep_what_is_known_of_them() {
    let pool = three();
    pool.set_endpoints(&[
        endpoint(2, Some("gateway-2")),
        endpoint(4, Some("gateway-4")),
    ]);
    assert_eq!(
        pool.health(),
        BTreeMap::from([
            ("gateway-2".to_owned(), true),
            ("gateway-4".to_owned(), false)
        ])
    );
    let before = *pool.changes().borrow();
    pool.set_endpoints(&[
        endpoint(2, Some("gateway-2")),
        endpoint(4, Some("gateway-4")),
    ]);
    assert_eq!(*pool.changes().borrow(), before, "nothing changed");
}

#[test]
fn an_instance_that_moved_keeps_its_series() {
    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = Metrics::register(&mut registry);
    let pool = Pool::new(PoolSettings::new("gateway"), &metrics);
    pool.set_endpoints(&[endpoint(1, Some("gateway-1"))]);
    observe(&pool, "gateway-1", Observation::Passed);
    drop(pick(&pool));
    pool.set_endpoints(&[endpoint(2, Some("gateway-1"))]);
    assert_eq!(pool.snapshot().upstreams[0].requests, 1);
    pool.set_endpoints(&[]);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(!text.contains("gateway-1"), "{text}");
}

#[test]
fn names_are_learnt_unless_discovery_gave_them() {
    let pool = pool(&[endpoint(1, None), endpoint(2, Some("gateway-2"))]);
    for upstream in pool.upstreams() {
        pool.learn_name(&upstream, "gateway-7");
    }
    let names: Vec<String> = pool.health().into_keys().collect();
    assert_eq!(names, ["gateway-2", "gateway-7"]);
}

#[test]
fn the_snapshot_tells_the_expected_share() {
    let pool = three();
    observe(
        &pool,
        "gateway-3",
        Observation::Unreachable("refused".into()),
    );
    let shares: Vec<Option<f64>> = pool
        .snapshot()
        .upstreams
        .iter()
        .map(|upstream| upstream.expected_share)
        .collect();
    assert_eq!(shares, [Some(0.5), Some(0.5), Some(0.0)]);
    assert_eq!(pool.snapshot().upstreams[2].reason, "unreachable: refused");
    let text = serde_json::to_string(&pool.snapshot()).unwrap();
    assert!(text.contains(r#""state":"down""#), "{text}");
}
