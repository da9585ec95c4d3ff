use kit::record::CacheLabel;

use super::*;

const SLOW: Duration = Duration::from_millis(250);

fn samples(per_second: u32, now: Instant) -> Samples {
    Samples::new(
        SampleSettings {
            per_second,
            slow: SLOW,
        },
        now,
    )
}

fn keep(samples: &Samples, path: &str, timing: &[&[u8]]) {
    let exchange = Exchange {
        trace: None,
        id: "r-1",
        method: "GET",
        path,
        status: 200,
        cache: CacheLabel::Miss,
        elapsed: Duration::from_millis(5),
    };
    let details = Details {
        route: "/data",
        upstream: Some("gateway-2"),
        attempts: 1,
        sent_after: Duration::from_micros(20),
    };
    let now = DateTime::from_timestamp_millis(1_790_000_000_005).unwrap();
    samples.keep(
        Why::Regular,
        &exchange,
        &details,
        timing.iter().copied(),
        now,
    );
}

#[test]
fn so_many_a_second_are_admitted_and_failures_and_slow_ones_besides() {
    let start = Instant::now();
    let samples = samples(10, start);
    let second = |offset: u64, status, elapsed| {
        (0..1000)
            .filter(|millisecond| {
                let now = start + Duration::from_millis(offset * 1000 + millisecond);
                samples.admit(status, elapsed, now).is_some()
            })
            .count()
    };
    let quick = Duration::from_millis(1);
    // A full bucket comes on top of what flows in during the first second.
    assert_eq!(second(1, 200, quick), 19);
    assert_eq!(second(2, 404, quick), 10);
    assert_eq!(
        second(2, 503, quick),
        19,
        "failures have a bucket of their own"
    );
    assert_eq!(second(2, 200, SLOW), 19, "so have slow ones");
    let later = start + Duration::from_mins(1);
    assert_eq!(samples.admit(200, quick, later), Some(Why::Regular));
    assert_eq!(samples.admit(500, SLOW, later), Some(Why::Error));
    assert_eq!(samples.admit(200, SLOW, later), Some(Why::Slow));
}

#[test]
fn zero_a_second_samples_nothing() {
    let start = Instant::now();
    let samples = samples(0, start);
    for status in [200, 500] {
        assert_eq!(samples.admit(status, SLOW, start + SLOW), None);
    }
}

#[test]
fn the_newest_are_kept_and_read_from_where_the_reader_was() {
    let samples = samples(10, Instant::now());
    assert_eq!(samples.read(0, 10).last, 0);
    assert_eq!(samples.read(7, 10).skipped, 0);
    for _ in 0..300 {
        keep(&samples, "/data", &[]);
    }
    let ids = |after, limit| {
        let read = samples.read(after, limit);
        let ids: Vec<u64> = read.requests.iter().map(|sample| sample.id).collect();
        (ids, read.skipped)
    };
    assert_eq!(ids(297, 10), (vec![298, 299, 300], 0));
    assert_eq!(ids(290, 2), (vec![299, 300], 8));
    assert_eq!(ids(300, 10), (vec![], 0));
    let (all, skipped) = ids(0, SAMPLES);
    assert_eq!((all.len(), all[0], skipped), (SAMPLES, 45, 44));
    assert_eq!(ids(5_000, 2), (vec![299, 300], 298), "of an earlier life");
}

#[test]
fn a_waterfall_starts_where_the_request_came() {
    let samples = samples(10, Instant::now());
    let timing: &[&[u8]] = &[
        b"gateway;dur=4.000, cache;dur=0.5;start=0.250",
        b"odd;dur=1",
    ];
    keep(&samples, "/data", timing);
    let sample = samples.read(0, 1).requests.remove(0);
    assert_eq!(sample.at, "2026-09-21T14:13:20.000000Z");
    assert_eq!((sample.cache.as_str(), sample.duration_ms), ("miss", 5.0));
    let bars: Vec<_> = sample
        .timing
        .iter()
        .map(|entry| (entry.name.as_str(), entry.start_ms, entry.duration_ms))
        .collect();
    assert_eq!(
        bars,
        [
            ("balancer", Some(0.0), 5.0),
            ("gateway", Some(0.02), 4.0),
            ("cache", Some(0.27), 0.5),
            ("odd", None, 1.0)
        ]
    );
}

#[test]
fn what_clients_and_upstreams_send_is_bounded() {
    let samples = samples(10, Instant::now());
    let long = format!("/{}", "\u{e9}".repeat(10_000));
    let flood = b"a;dur=1,".repeat(10_000);
    keep(&samples, &long, &[&flood, b"\xff\xfe;dur=1", b"ok;dur=1"]);
    let sample = samples.read(0, 1).requests.remove(0);
    assert_eq!(sample.path.len(), PATH - 1);
    let names: Vec<_> = sample.timing.iter().map(|entry| &entry.name).collect();
    assert_eq!(names, ["balancer", "ok"]);
}
