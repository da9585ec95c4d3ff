//! What the report of one run says.

use std::fmt::Write as _;

use crate::record::{Condition, Measurement, Outcome, Prediction, Run, Step, StepOutcome};

use super::{
    charts,
    document::{Document, Grid, Line, Piece, code, link, plain, strong},
    figures::{self, Figures},
    words,
};

/// The report of a run. `record` is the folder to name in the command that makes the report again.
#[must_use]
pub fn of(run: &Run, record: &str) -> Document {
    let title = if run.lab.title.is_empty() {
        run.lab.name.clone()
    } else {
        run.lab.title.clone()
    };
    let mut document = Document {
        title,
        ..Document::default()
    };
    summary(run, &mut document);
    predictions(run, &mut document);
    steps(run, &mut document);
    measurements(run, &mut document);
    series(run, &mut document);
    circumstances(run, &mut document);
    repeat(run, record, &mut document);
    document
}

/// How it ended, in a sentence.
#[must_use]
pub fn outcome(run: &Run) -> String {
    let observed = run.steps.iter().filter(|step| step.kind == "observe");
    let (held, all) = observed.fold((0, 0), |(held, all), step| {
        (
            held + usize::from(step.outcome == StepOutcome::Passed),
            all + 1,
        )
    });
    let mut sentence = match run.outcome {
        Outcome::Passed if all == 0 => {
            "Passed: everything was done, and the baseline was there again".to_owned()
        }
        Outcome::Passed => format!(
            "Passed: {}, and the baseline was there again",
            if all == 1 {
                "its condition held".to_owned()
            } else {
                format!("all {all} conditions held")
            }
        ),
        Outcome::Failed => format!("Failed: {held} of {} held", words::count(all, "condition")),
        Outcome::Broken => "Broken: something could not be done".to_owned(),
        Outcome::Interrupted => {
            let reached = run
                .steps
                .iter()
                .filter(|step| step.outcome != StepOutcome::Skipped);
            format!(
                "Interrupted after {} of {}",
                reached.count(),
                words::count(run.steps.len(), "step")
            )
        }
    };
    let _ = write!(sentence, ", after {}.", words::time(run.seconds * 1e3));
    if let Some(reason) = &run.reason {
        let _ = write!(sentence, " {reason}");
    }
    sentence
}

fn summary(run: &Run, document: &mut Document) {
    if !run.lab.goal.is_empty() {
        document.paragraph(vec![strong("Goal. "), plain(" "), plain(&run.lab.goal)]);
    }
    let sign = if run.outcome == Outcome::Passed {
        "✓ "
    } else {
        "✗ "
    };
    document.paragraph(vec![
        strong("Outcome. "),
        plain(format!(" {sign}{}", outcome(run))),
    ]);
    document.paragraph(vec![
        plain(format!(
            "Run at {} with version {} and seed {} on {}. ",
            run.started_at,
            run.version,
            run.seed,
            machine(run)
        )),
        plain("Data: "),
        link("run.json", "run.json"),
        plain(", and as CSV in "),
        link("data/", "data/"),
        plain("; every chart as SVG and PNG in "),
        link("charts/", "charts/"),
        plain("."),
    ]);
}

fn machine(run: &Run) -> String {
    let machine = &run.machine;
    let mut parts = Vec::new();
    if !machine.cpu.is_empty() {
        parts.push(machine.cpu.clone());
    }
    parts.push(words::count(machine.cores as usize, "logical processor"));
    parts.push(words::bytes(machine.memory_bytes));
    if !machine.system.is_empty() {
        parts.push(machine.system.clone());
    }
    parts.join(", ")
}

fn predictions(run: &Run, document: &mut Document) {
    let asked: Vec<&Prediction> = run
        .steps
        .iter()
        .filter_map(|step| step.prediction.as_ref())
        .collect();
    if asked.is_empty() {
        return;
    }
    document.heading(2, "Predictions and outcomes");
    let mut grid = Grid::new(&["Question", "Predicted", "What is so", ""], false);
    let choice = |prediction: &Prediction, number: Option<usize>| {
        let place = number.and_then(|number| number.checked_sub(1));
        place
            .and_then(|place| prediction.choices.get(place))
            .cloned()
    };
    for prediction in &asked {
        let chosen = choice(prediction, prediction.chosen);
        let verdict = match &chosen {
            None => "–",
            Some(_) if prediction.chosen == Some(prediction.right) => "✓ right",
            Some(_) => "✗ wrong",
        };
        grid.row(vec![
            prediction.question.clone(),
            chosen.unwrap_or_else(|| "nobody said".to_owned()),
            choice(prediction, Some(prediction.right)).unwrap_or_default(),
            verdict.to_owned(),
        ]);
    }
    document.table(grid);
    let said = asked
        .iter()
        .filter(|prediction| prediction.chosen.is_some())
        .count();
    if said > 0 {
        let right = asked
            .iter()
            .filter(|prediction| prediction.chosen == Some(prediction.right))
            .count();
        document.say(format!(
            "{right} of {} right.",
            words::count(said, "prediction")
        ));
    }
}

fn sign(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Skipped => "– not reached",
        StepOutcome::Done => "✓ done",
        StepOutcome::Passed => "✓ held",
        StepOutcome::Failed => "✗ failed",
    }
}

fn steps(run: &Run, document: &mut Document) {
    if run.steps.is_empty() {
        return;
    }
    document.heading(2, "Steps");
    for step in &run.steps {
        one_step(step, document);
    }
}

fn one_step(step: &Step, document: &mut Document) {
    let title = if step.title.is_empty() {
        &step.kind
    } else {
        &step.title
    };
    document.heading(3, format!("{}. {title}", step.number));
    let is_deed = matches!(step.kind.as_str(), "act" | "measure" | "stop");
    let verdict = if step.prediction.is_some() && step.outcome == StepOutcome::Skipped {
        "– not answered"
    } else {
        sign(step.outcome)
    };
    let mut line: Line = vec![plain(format!("{}: {verdict}", step.kind))];
    if step.outcome != StepOutcome::Skipped && step.took_ms >= 1.0 {
        line.push(plain(format!(", took {}", words::time(step.took_ms))));
    }
    if let Some(measurement) = &step.measurement {
        line.push(plain(", measurement "));
        line.push(code(measurement));
    }
    document.paragraph(line);
    // The question is shown with its choices below.
    let is_question = step
        .prediction
        .as_ref()
        .is_some_and(|prediction| prediction.question == step.text);
    if !step.text.is_empty() && !is_question {
        for text in step.text.split("\n\n") {
            document.paragraph(vec![if is_deed { code(text) } else { plain(text) }]);
        }
    }
    if let Some(said) = &step.said {
        document.paragraph(vec![strong("Said:"), plain(" "), plain(said)]);
    }
    if let Some(prediction) = &step.prediction {
        // A step without a title of its own has the question's.
        if *title != prediction.question {
            document.say(&prediction.question);
        }
        let choices = prediction
            .choices
            .iter()
            .enumerate()
            .map(|(place, choice)| {
                let number = place + 1;
                let mut line: Line = vec![plain(format!("({number}) ")), plain(choice)];
                if prediction.chosen == Some(number) {
                    line.push(plain(" ← predicted"));
                }
                if prediction.right == number {
                    line.extend([plain(" — "), strong("this is so")]);
                }
                line
            });
        document.list(choices.collect());
    }
    if let Some(condition) = &step.condition {
        observed(condition, document);
    }
    if let Some(table) = &step.table {
        let heads: Vec<&str> = table.columns.iter().map(String::as_str).collect();
        let mut grid = Grid::new(&heads, true);
        for row in &table.rows {
            let mut cells = vec![row.name.clone()];
            cells.extend(row.cells.iter().map(|cell| cell.text.clone()));
            cells.resize(heads.len().max(cells.len()), String::new());
            grid.row(cells);
        }
        document.table(grid);
    }
}

fn observed(condition: &Condition, document: &mut Document) {
    let mut line = vec![plain("Condition: "), code(&condition.expression)];
    if condition.within_ms > 0.0 {
        line.push(plain(format!(
            " within {}",
            words::time(condition.within_ms)
        )));
    }
    document.paragraph(line);
    let readings = condition.readings.iter().map(|reading| {
        let sign = if reading.holds { "✓ " } else { "✗ " };
        let mut line: Vec<Piece> = vec![plain(sign), code(&reading.what), plain(" was ")];
        line.push(strong(&reading.seen));
        if !reading.operator.is_empty() {
            line.push(plain(", asked for "));
            line.push(code(format!("{} {}", reading.operator, reading.bound)));
        }
        line
    });
    document.list(readings.collect());
}

fn measurements(run: &Run, document: &mut Document) {
    if run.measurements.is_empty() {
        return;
    }
    document.heading(2, "Measurements");
    document.say(
        "Times are of all calls, from the moment a call was due to the end of its answer. Percentiles are samples (nearest rank), never \
         averages. Errors are calls without an answer or with a status of 500 and above; refused are those with 400 to 499.",
    );
    for (place, measurement) in run.measurements.iter().enumerate() {
        document.heading(3, &measurement.name);
        document.say(course(measurement));
        if !measurement.calls.is_empty() {
            document.list(
                measurement
                    .calls
                    .iter()
                    .map(|call| vec![code(call)])
                    .collect(),
            );
        }
        if measurement.is_empty() {
            document.say("No call was made.");
            continue;
        }
        document.table(table(measurement));
        if figures::is_corrected(measurement) {
            document.say(
                "Some calls were sent later than the schedule wanted. What is counted from the moment a call was due holds that wait; what is \
                 counted from when it was sent leaves it out, as a closed loop does (coordinated omission).",
            );
        }
        document.paragraph(vec![
            plain("All samples: "),
            link(
                file(place, measurement),
                format!("data/{}", file(place, measurement)),
            ),
        ]);
        document.charts(charts::of_measurement(run, place));
    }
}

/// The CSV file of a measurement.
#[must_use]
pub fn file(place: usize, measurement: &Measurement) -> String {
    format!("m{}-{}.csv", place + 1, charts::slug(&measurement.name))
}

fn course(measurement: &Measurement) -> String {
    let pace = match measurement.rate {
        Some(rate) => format!(
            "{} calls a second by schedule (open loop), at most {} at once",
            words::number(rate),
            measurement.at_once
        ),
        None => format!(
            "{} at once, each after the answer to the last (closed loop)",
            measurement.at_once
        ),
    };
    format!(
        "{} as {}: {pace}; began at {}, took {}.",
        words::count(measurement.len(), "call"),
        measurement.caller,
        words::time(measurement.started_ms),
        words::time(measurement.took_ms)
    )
}

fn table(measurement: &Measurement) -> Grid {
    let mut grid = Grid::new(
        &[
            "Calls", "n", "Errors", "Refused", "Mean", "p50", "p95", "p99", "Max",
        ],
        true,
    );
    let mut add = |name: String, times: &[f64], calls: &[usize]| {
        let figures = Figures::of(measurement, times, calls);
        let time = |time: Option<f64>| time.map_or_else(|| "–".to_owned(), words::time);
        grid.row(vec![
            name,
            figures.calls.to_string(),
            figures.errors.to_string(),
            figures.refused.to_string(),
            time(figures.mean),
            time(figures.p50),
            time(figures.p95),
            time(figures.p99),
            time(figures.max),
        ]);
    };
    let all = figures::all(measurement);
    let latency = &measurement.latency_ms;
    add("all".to_owned(), latency, &all);
    if figures::is_corrected(measurement) {
        add(
            "all, from when sent".to_owned(),
            &measurement.service_ms,
            &all,
        );
    }
    if measurement.calls.len() > 1 {
        for (place, call) in measurement.calls.iter().enumerate() {
            let of_call = |at: &usize| {
                measurement
                    .call
                    .get(*at)
                    .is_some_and(|call| usize::from(*call) == place)
            };
            let calls: Vec<usize> = all.iter().copied().filter(of_call).collect();
            add(call.clone(), latency, &calls);
        }
    }
    let mut columns = vec!["cache"];
    columns.extend(figures::answerers(measurement));
    for column in columns {
        for (value, calls) in figures::by(measurement, column).into_iter().take(24) {
            add(format!("{column} {value}"), latency, &calls);
        }
    }
    for (value, calls) in figures::by(measurement, "error").into_iter().take(8) {
        add(format!("error {value}"), latency, &calls);
    }
    grid
}

fn series(run: &Run, document: &mut Document) {
    let pictures = charts::of_series(run);
    if pictures.is_empty() && run.marks.is_empty() {
        return;
    }
    document.heading(2, "Over time");
    document.charts(pictures);
    if !run.marks.is_empty() {
        document.heading(3, "What was done when");
        let mut grid = Grid::new(&["At", "Took", "What"], false);
        for mark in run.marks.iter().take(200) {
            let took = mark.until_ms - mark.at_ms;
            grid.row(vec![
                format!("{:.1} s", mark.at_ms / 1e3),
                if took >= 1.0 {
                    words::time(took)
                } else {
                    "–".to_owned()
                },
                mark.text.clone(),
            ]);
        }
        document.table(grid);
        if run.marks.len() > 200 {
            document.say(format!(
                "And {} more, in data/marks.csv.",
                run.marks.len() - 200
            ));
        }
    }
}

fn circumstances(run: &Run, document: &mut Document) {
    document.heading(2, "Circumstances");
    let mut grid = Grid::new(&["What", "Value"], false);
    let mut add = |name: &str, value: String| grid.row(vec![name.to_owned(), value]);
    add("lab", run.lab.name.clone());
    if let Some(file) = &run.lab.file {
        add("file", file.clone());
    }
    add("started", run.started_at.clone());
    add("took", words::time(run.seconds * 1e3));
    add("version", run.version.clone());
    add("seed", run.seed.to_string());
    add("machine", machine(run));
    for (name, value) in &run.settings {
        add(name, value.clone());
    }
    document.table(grid);
    if !run.baselines.is_empty() {
        document.heading(3, "Baseline");
        let mut lines = Vec::new();
        for look in &run.baselines {
            let sign = if look.verified {
                "✓ verified"
            } else {
                "✗ not as it must be"
            };
            lines.push(vec![plain(format!(
                "{sign} at {:.1} s, took {}",
                look.at_ms / 1e3,
                words::time(look.took_ms)
            ))]);
            lines.extend(
                look.restored
                    .iter()
                    .map(|what| vec![plain(format!("put back: {what}"))]),
            );
            let bad = look.findings.iter().filter(|finding| !finding.good);
            lines.extend(
                bad.map(|finding| vec![plain(format!("✗ {}: {}", finding.what, finding.seen))]),
            );
        }
        document.list(lines);
    }
}

fn repeat(run: &Run, record: &str, document: &mut Document) {
    document.heading(2, "How to repeat it");
    let lab = run.lab.file.as_ref().unwrap_or(&run.lab.name);
    let chosen: Vec<String> = run
        .steps
        .iter()
        .filter_map(|step| step.prediction.as_ref())
        .map_while(|prediction| prediction.chosen)
        .map(|choice| choice.to_string())
        .collect();
    let mut line = format!("recarga lab run {} --seed {}", quoted(lab), run.seed);
    if !chosen.is_empty() {
        let _ = write!(line, " --answer {}", chosen.join(","));
    }
    document.blocks.push(super::document::Block::Commands(vec![
        line,
        format!("recarga lab report {}", quoted(record)),
    ]));
}

/// As a shell takes it for one word.
#[must_use]
pub fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:+@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) && !word.starts_with('-') {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{markdown, samples};

    #[test]
    fn a_small_run_is_told() {
        insta::assert_snapshot!(markdown::write(&of(
            &samples::run(),
            "labs/20261121-224607-caching"
        )));
    }

    #[test]
    fn an_interrupted_run_says_how_far_it_came() {
        let mut run = samples::run();
        run.outcome = Outcome::Interrupted;
        run.reason = Some("somebody stopped it".to_owned());
        run.steps[2].outcome = StepOutcome::Skipped;
        assert_eq!(
            outcome(&run),
            "Interrupted after 2 of 3 steps, after 12.5 s. somebody stopped it"
        );
    }

    #[test]
    fn words_of_a_shell_are_one() {
        assert_eq!(quoted("my lab.toml"), "'my lab.toml'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("caching"), "caching");
    }
}
