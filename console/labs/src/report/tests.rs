//! Whole reports: of everything, of nothing, of what nobody expects.

use std::fs;

use proptest::prelude::*;

use super::{
    canvas, charts, content, document::Document, html, markdown, picture::Picture, samples, write,
    write_comparison,
};
use crate::record::{Mark, Measurement, Outcome, Run, Series, TextColumn};

/// That every tag is closed by its own, no attribute is open, and no control character is there.
fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        assert!(
            !rest[..start].contains('>'),
            "a bare > in {}",
            &rest[..start]
        );
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(
        !svg.chars()
            .any(|letter| letter.is_control() && letter != '\n')
    );
    for part in svg.split('&').skip(1) {
        let name = part.split(';').next().unwrap_or_default();
        assert!(
            name.len() < 6 && part.contains(';'),
            "a bare & before {part}"
        );
    }
}

fn assert_drawn(picture: &Picture) {
    assert_well_formed(&canvas::svg(picture).unwrap());
    assert_well_formed(&canvas::inline_svg(picture).unwrap());
    let png = canvas::png(picture).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&png))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(
        (info.width, info.height),
        ((picture.width * 2.0) as u32, (picture.height * 2.0) as u32)
    );
    assert!(pixels.iter().any(|part| *part < 100), "nothing is drawn");
}

fn pictures(run: &Run) -> Vec<Picture> {
    let places = 0..run.measurements.len();
    let mut all: Vec<Picture> = places
        .flat_map(|place| charts::of_measurement(run, place))
        .collect();
    all.extend(charts::of_series(run));
    all
}

#[test]
fn a_run_with_everything_gives_every_chart() {
    let all = pictures(&samples::run());
    let names: Vec<&str> = all.iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "m1-reads-gateway",
            "m1-reads-latency",
            "m1-reads-cache",
            "m1-reads-tiers",
            "m1-reads-over-time",
            "s1-reads-that-reach-the-service",
        ]
    );
    all.iter().for_each(assert_drawn);
}

#[test]
fn odd_data_are_drawn() {
    let hostile = "<script>\"&'\u{1b}[31m\n|`=1+1 ñ 漢 🚌";
    let one = Measurement {
        name: hostile.to_owned(),
        calls: vec![hostile.to_owned()],
        rate: Some(f64::NAN),
        at_ms: vec![0.0],
        latency_ms: vec![0.0],
        service_ms: vec![f64::INFINITY],
        status: vec![0],
        texts: [(
            "gateway".to_owned(),
            TextColumn {
                values: vec![hostile.to_owned()],
                index: vec![Some(0)],
            },
        )]
        .into(),
        tiers: [
            (hostile.to_owned(), vec![Some(f64::NAN)]),
            ("x".to_owned(), vec![Some(0.0)]),
        ]
        .into(),
        ..Measurement::default()
    };
    let nowhere = Measurement {
        at_ms: vec![f64::NAN, 1e300, -5.0],
        latency_ms: vec![1.0, 1e300],
        texts: [(
            "cache".to_owned(),
            TextColumn {
                values: Vec::new(),
                index: vec![Some(9); 3],
            },
        )]
        .into(),
        ..one.clone()
    };
    let mut open = samples::measurement("open", &[(&["a"; 40], 15)]);
    open.rate = Some(100.0);
    for (call, time) in open.latency_ms.iter_mut().enumerate() {
        *time += call as f64;
    }
    open.status[7] = 503;
    let mark = |at_ms| Mark {
        at_ms,
        until_ms: at_ms + 100.0,
        text: hostile.to_owned(),
    };
    let run = Run {
        measurements: vec![Measurement::default(), one, nowhere, open],
        series: vec![
            Series::default(),
            Series {
                points: vec![(0.0, f64::NAN), (f64::INFINITY, 1.0)],
                ..Series::default()
            },
            Series {
                name: hostile.to_owned(),
                unit: hostile.to_owned(),
                points: vec![(5.0, -5.0)],
                ..Series::default()
            },
            Series {
                unit: "ms".to_owned(),
                points: (0..50_000)
                    .map(|n| (f64::from(n), f64::from(n % 77)))
                    .collect(),
                ..Series::default()
            },
        ],
        marks: (0..60)
            .map(|n| mark(f64::from(n) * 300.0))
            .chain([mark(f64::NAN)])
            .collect(),
        ..samples::run()
    };
    let all = pictures(&run);
    assert!(all.len() >= 9, "{}", all.len());
    for picture in &all {
        assert!(
            picture.shapes.len() < 12_000,
            "{} has {}",
            picture.name,
            picture.shapes.len()
        );
        assert_drawn(picture);
    }
    let document = content::of(&run, "x");
    let page = html::write(&document).unwrap();
    assert!(!page.contains("<script"), "a text became a tag");
    let text = markdown::write(&document);
    // As code it is shown as it is.
    for line in text.lines().filter(|line| line.contains("<script")) {
        assert!(
            line.starts_with('-') && line.contains("`` <script"),
            "{line}"
        );
    }
}

#[test]
fn an_empty_run_and_one_that_was_stopped_are_reported() {
    let empty = Run {
        outcome: Outcome::Interrupted,
        seconds: f64::NAN,
        steps: Vec::new(),
        measurements: Vec::new(),
        series: Vec::new(),
        marks: Vec::new(),
        baselines: Vec::new(),
        ..samples::run()
    };
    let text = markdown::write(&content::of(&empty, "x"));
    assert!(text.contains("Interrupted after 0 of 0 steps"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    write(&empty, "x".as_ref(), &folder.path().join("out")).unwrap();
    write_comparison(
        &empty,
        &samples::run(),
        ["a".as_ref(), "b".as_ref()],
        &folder.path().join("two"),
    )
    .unwrap();
    let text = fs::read_to_string(folder.path().join("two/report.md")).unwrap();
    assert!(text.contains("nothing to compare"), "{text}");
}

#[test]
fn a_report_is_a_folder_that_can_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("deep/report");
    fs::create_dir_all(out.join("charts")).unwrap();
    fs::write(out.join("charts/mine.png"), "mine").unwrap();
    let run = samples::run();
    write(&run, "x".as_ref(), &out).unwrap();
    let again = crate::report::read(&out.join("run.json")).unwrap();
    assert_eq!(again, run);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(
        !page.contains("http://")
            || page.matches("http://").count()
                == page.matches("http://www.w3.org/2000/svg").count()
    );
    assert_eq!(page.matches("<svg").count(), 6);
    let text = fs::read_to_string(out.join("report.md")).unwrap();
    for line in text.lines().filter(|line| line.starts_with("![")) {
        let file = line.rsplit_once('(').unwrap().1.trim_end_matches(')');
        assert!(out.join(file).is_file(), "{file}");
        assert!(out.join(file.replace(".svg", ".png")).is_file(), "{file}");
    }
    let less = Run {
        series: Vec::new(),
        ..run
    };
    write(&less, "x".as_ref(), &out).unwrap();
    assert!(
        !out.join("charts/s1-reads-that-reach-the-service.svg")
            .exists()
    );
    assert!(
        !out.join("data/s1-reads-that-reach-the-service.csv")
            .exists()
    );
    assert!(out.join("charts/m1-reads-latency.svg").exists());
    assert_eq!(
        fs::read_to_string(out.join("charts/mine.png")).unwrap(),
        "mine"
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let told = write(&samples::run(), "x".as_ref(), &file.join("report")).unwrap_err();
    assert!(
        told.to_string().contains("name another folder with --out"),
        "{told}"
    );
}

#[test]
fn two_runs_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let a = samples::run();
    let mut b = samples::run();
    b.settings.insert("gateways".to_owned(), "5".to_owned());
    b.measurements[0]
        .latency_ms
        .iter_mut()
        .for_each(|time| *time *= 3.0);
    write_comparison(&a, &b, ["a".as_ref(), "b".as_ref()], folder.path()).unwrap();
    let text = fs::read_to_string(folder.path().join("report.md")).unwrap();
    assert!(text.contains("times as high in B"), "{text}");
    assert!(text.contains("bootstrap"), "{text}");
    let data = fs::read(folder.path().join("comparison.json")).unwrap();
    let data: serde_json::Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(data["figures"][0]["figure"], "p50");
    for name in ["ecdf", "latency"] {
        assert!(
            folder
                .path()
                .join(format!("charts/c1-reads-{name}.png"))
                .is_file()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_text_breaks_out_of_the_page(text in ".{0,40}") {
        let mut document = Document { title: text.clone(), ..Document::default() };
        document.say(text.clone());
        document.list(vec![vec![super::document::code(text.clone())]]);
        let page = html::write(&document).unwrap();
        let tags = page.split_once("<main>").unwrap().1;
        let allowed = ["h1", "/h1", "p", "/p", "ul", "/ul", "li", "/li", "code", "/code", "/main", "/body", "/html"];
        for part in tags.split('<').skip(1) {
            let tag = part.split('>').next().unwrap();
            prop_assert!(allowed.contains(&tag), "{}", tag);
        }
    }
}
