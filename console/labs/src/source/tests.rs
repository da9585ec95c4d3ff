//! Files that are read, and what is said about those that are not.

use proptest::prelude::*;

use super::read;
use crate::script::{Amount, Caller, Kind, Lab};

const HEAD: &str =
    "schema = 1\nname = \"mine\"\ntitle = \"Mine\"\ngoal = \"To see.\"\nminutes = 2\n";

fn lab(rest: &str) -> Result<Lab, Vec<String>> {
    let text = format!("{HEAD}{rest}");
    read("mine.toml", &text)
        .map_err(|mistakes| mistakes.0.iter().map(ToString::to_string).collect())
}

#[test]
fn a_whole_lab_is_read() {
    let lab = lab(r#"needs = ["gateway >= 2", "supervisor", "database"]
clean_up = ["delay data 100ms"]
[[step]]
kind = "predict"
question = "What?"
choices = ["this", "that"]
right = 2
[[step]]
kind = "act"
do = 'call POST /book body={"student_id":1,"tutor_id":2}'
name = "booked"
[[step]]
kind = "measure"
name = "slow"
calls = ["GET /bookings/<booked:/booking_id>", "GET /data?key=<n>-<run>-<1..5>"]
as = "student1"
rate = 20
for = "1.5s"
keep = { state = "json /notification/state", age = "header Age" }
background = true
[[step]]
kind = "stop"
name = "slow"
[[step]]
kind = "observe"
call = "GET /health"
that = "status(response) == 200 and slow.p99 < 5s and holds(2) and share(slow.state, 'sent') == 1"
within = "5s"
table = { columns = ["what", "p50"], rows = [["slow", "slow.p50"]] }
[[step]]
kind = "explain"
text = "So."
[[series]]
name = "requests"
of = "rate(gateway.recarga_http_requests_total, 5s)"
unit = "1/s"
"#)
    .unwrap();
    assert_eq!(
        (lab.needs.len(), lab.steps.len(), lab.series.len()),
        (3, 6, 1)
    );
    assert!(lab.metrics.contains("recarga_http_requests_total"));
    let Kind::Measure(measure) = &lab.steps[2].kind else {
        panic!("no measurement")
    };
    assert_eq!(measure.caller, Caller::Student1);
    assert_eq!(
        measure.amount,
        Amount::For(std::time::Duration::from_millis(1_500))
    );
    assert_eq!(measure.at_once, 64);
}

#[test]
fn mistakes_are_told_with_line_and_reason() {
    // The first line after the head is line 6.
    for (rest, place, reason) in [
        (
            "[[step]]\nkind = \"act\"\ndo = \"kil gateway-2\"\n",
            "8:7",
            "is kill meant",
        ),
        (
            "[[step]]\nkind = \"act\"\ndo = \"drain gatway-2\"\n",
            "8:13",
            "did you mean \"gateway-2\"?",
        ),
        (
            "[[step]]\nkind = \"act\"\ndo = \"fault gateway-2\"\n",
            "8:7",
            "say what breaks",
        ),
        ("[[step]]\nkind = \"atc\"\n", "7:9", "did you mean \"act\"?"),
        ("[[step]]\nkind = \"act\"\n", "6:1", "needs do"),
        (
            "[[step]]\nkind = \"act\"\ndo = \"cache off\"\nthat = \"1 == 1\"\n",
            "9:8",
            "has no \"that\"",
        ),
        (
            "[[step]]\nkind = \"explain\"\ntxet = \"a\"\n",
            "8:1",
            "did you mean `text`?",
        ),
        (
            "[[step]]\nkind = \"observe\"\nthat = \"slow.p99 < 2s\"\n",
            "8:9",
            "there is no measurement and no role \"slow\"",
        ),
        (
            "[[step]]\nkind = \"observe\"\nthat = \"1 < gatewy.recarga_retries_total\"\n",
            "8:13",
            "did you mean \"gateway\"?",
        ),
        (
            "[[step]]\nkind = \"observe\"\nthat = '''\ngateway.recarga_retris_total < 2'''\n",
            "9:1",
            "did you mean \"recarga_retries_total\"?",
        ),
        (
            "[[step]]\nkind = \"observe\"\nthat = \"holds(1)\"\n",
            "8:8",
            "needs = [\"database\"]",
        ),
        (
            "[[step]]\nkind = \"observe\"\nthat = \"1 == 1\"\nwithin = \"5 parsecs\"\n",
            "9:11",
            "is no time",
        ),
        (
            "[[step]]\nkind = \"measure\"\nname = \"Slow\"\ncalls = [\"GET /data\"]\n",
            "8:9",
            "is no name",
        ),
        (
            "[[step]]\nkind = \"measure\"\nname = \"gateway\"\ncalls = [\"GET /data\"]\n",
            "8:9",
            "has a meaning of its own",
        ),
        (
            "[[step]]\nkind = \"measure\"\nname = \"a\"\ncalls = [\"FETCH /data\"]\n",
            "9:11",
            "the methods are GET",
        ),
        (
            "[[step]]\nkind = \"measure\"\nname = \"a\"\ncalls = [\"GET /data?key=<m>\"]\n",
            "9:25",
            "<m> is no placeholder",
        ),
        (
            "[[step]]\nkind = \"measure\"\nname = \"a\"\ncalls = [\"GET /b/<x:/id>\"]\n",
            "9:18",
            "keeps an answer \"x\"",
        ),
        (
            "[[step]]\nkind = \"measure\"\nname = \"a\"\ncalls = [\"GET /data\"]\ntimes = 3\nfor = \"3s\"\n",
            "11:7",
            "not both",
        ),
        (
            "[[step]]\nkind = \"measure\"\nname = \"a\"\ncalls = [\"GET /data\"]\ntimes = 0\n",
            "10:9",
            "1 to 20000",
        ),
        (
            "[[step]]\nkind = \"measure\"\nname = \"a\"\ncalls = [\"GET /data\"]\nas = \"bob\"\n",
            "10:7",
            "anonymous, demo, student1",
        ),
        (
            "[[step]]\nkind = \"stop\"\nname = \"a\"\n",
            "8:9",
            "runs in the background",
        ),
        (
            "[[step]]\nkind = \"predict\"\nquestion = \"a\"\nchoices = [\"b\", \"c\"]\nright = 3\n",
            "10:9",
            "from 1 to 2",
        ),
        (
            "needs = [\"gatewai >= 2\"]\n[[step]]\nkind = \"explain\"\ntext = \"a\"\n",
            "6:11",
            "did you mean \"gateway\"?",
        ),
        (
            "clean_up = [\"clear-fault\"]\n[[step]]\nkind = \"explain\"\ntext = \"a\"\n",
            "6:14",
            "is clear-faults meant",
        ),
        (
            "[[step]]\nkind = \"explain\"\ntext = \"a\"\n[[series]]\nname = \"a\"\nof = \"rate(x.y, 5s)\"\n",
            "11:12",
            "a metric is wanted",
        ),
        ("step = 1\n", "6:8", "invalid type"),
        ("[[step]]\nkind = \"explain\ntext = \"a\"\n", "7:16", ""),
    ] {
        let mistakes = lab(rest).unwrap_err();
        let wanted = format!("mine.toml:{place}: ");
        assert!(
            mistakes
                .iter()
                .any(|text| text.starts_with(&wanted) && text.contains(reason)),
            "{rest}\nwanted {wanted}{reason}\ngot {mistakes:#?}"
        );
    }
    let several =
        lab("needs = [\"x\"]\n[[step]]\nkind = \"atc\"\n[[step]]\nkind = \"act\"\ndo = \"x\"\n");
    assert_eq!(several.unwrap_err().len(), 3);
    let text = HEAD
        .replace("schema = 1", "schema = 2")
        .replace("\"mine\"", "\"My lab\"");
    assert_eq!(
        read("a", &text).unwrap_err().0.len(),
        3,
        "schema, name and no step"
    );
}

#[test]
fn the_schema_agrees_with_the_reader() {
    let schema = jsonschema::validator_for(&crate::schema()).unwrap();
    let as_json = |text: &str| -> serde_json::Value {
        let table: toml::Table = toml::from_str(text).unwrap();
        serde_json::to_value(table).unwrap()
    };
    for lab in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/labs")).unwrap() {
        let path = lab.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let errors: Vec<String> = schema
            .iter_errors(&as_json(&text))
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    for rest in [
        "",
        "[[step]]\nkind = \"atc\"\n",
        "[[step]]\nkind = \"act\"\n",
        "[[step]]\nkind = \"act\"\ndo = \"cache off\"\nthat = \"1 == 1\"\n",
        "[[step]]\nkind = \"explain\"\ntext = \"a\"\nnonsense = 1\n",
        "[[step]]\nkind = \"measure\"\nname = \"Slow\"\ncalls = [\"GET /data\"]\n",
        "[[step]]\nkind = \"measure\"\nname = \"a\"\ncalls = []\n",
        "[[step]]\nkind = \"observe\"\nthat = \"1 == 1\"\nwithin = \"5 parsecs\"\n",
        "needs = [\"x\"]\n[[step]]\nkind = \"explain\"\ntext = \"a\"\n",
        "[[step]]\nkind = \"explain\"\ntext = \"a\"\n[[series]]\nname = \"a\"\n",
    ] {
        let text = format!("{HEAD}{rest}");
        assert!(!schema.is_valid(&as_json(&text)), "{rest}");
        assert!(read("a", &text).is_err(), "{rest}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(rest in "(\\[\\[step\\]\\]\n|kind = \"(act|observe|measure)\"\n|do = |that = |\"[a-z<>=.: ]{0,9}\"\n|calls = |[0-9]+\n|\\[|é){0,12}") {
        let _ = lab(&rest);
    }
}
