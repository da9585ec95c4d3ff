//! Reads a lab's file: TOML into what it says, and that into a checked lab.

mod fields;
mod steps;
mod words;

use std::{collections::BTreeSet, ops::Range, path::Path};

use actions::{Action, nearest};
use toml::Spanned;

pub(crate) use steps::KINDS;
pub(crate) use words::{Placeholder, placeholders};

use crate::{
    expression::{Expression, Flaw, Scope},
    metrics::ROLES,
    mistake::{Mistake, Mistakes, position},
    script::{Lab, Need, Series},
};
use fields::File;

/// The version of the format that this program reads.
pub const SCHEMA: i64 = 1;
/// The largest file, in bytes.
const LARGEST: u64 = 256 * 1024;
/// The most steps.
const STEPS: usize = 200;

/// Reads a file.
///
/// # Errors
/// Everything that is wrong with it, or that it cannot be read.
pub fn read_file(path: &Path) -> Result<Lab, Mistakes> {
    let file = path.display().to_string();
    let wrong = |reason: String| {
        Mistakes(vec![Mistake {
            file: file.clone(),
            line: 1,
            column: 1,
            reason,
        }])
    };
    let size = std::fs::metadata(path)
        .map_err(|error| wrong(format!("it cannot be read: {error}")))?
        .len();
    if size > LARGEST {
        return Err(wrong(format!(
            "a lab is at most {LARGEST} bytes long, and this is {size}"
        )));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let mut lab = read(&file, &text)?;
    lab.file = Some(file);
    Ok(lab)
}

/// Reads a text; `file` is only for messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(file: &str, text: &str) -> Result<Lab, Mistakes> {
    let mut notes = Notes {
        file,
        text,
        mistakes: Vec::new(),
    };
    let parsed: Result<File, _> = toml::from_str(text);
    match parsed {
        Ok(parsed) => {
            let lab = check(parsed, &mut notes);
            let mut mistakes = notes.mistakes;
            mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
            if mistakes.is_empty() {
                Ok(lab)
            } else {
                Err(Mistakes(mistakes))
            }
        }
        Err(error) => {
            let place = error.span().unwrap_or(0..0);
            notes.add(place, reason(error.message()));
            Err(Mistakes(notes.mistakes))
        }
    }
}

/// What the TOML reader says, with a hint for a word that was mistyped.
fn reason(message: &str) -> String {
    let mut words = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field")
        && let Some(unknown) = words.next()
        && let Some(near) = nearest(unknown, words)
    {
        return format!("unknown field `{unknown}`; did you mean `{near}`?");
    }
    message.trim().to_owned()
}

/// Collects mistakes.
struct Notes<'a> {
    file: &'a str,
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl Notes<'_> {
    fn add(&mut self, place: Range<usize>, reason: impl Into<String>) {
        let (line, column) = position(self.text, place.start);
        self.mistakes.push(Mistake {
            file: self.file.to_owned(),
            line,
            column,
            reason: reason.into(),
        });
    }

    /// A mistake inside of a text value, `at` bytes after its beginning.
    fn inside(&mut self, value: &Spanned<String>, at: usize, reason: impl Into<String>) {
        let place = value.span();
        let raw = self.text.get(place.clone()).unwrap_or_default();
        let quotes = match raw {
            raw if raw.starts_with("\"\"\"\n") || raw.starts_with("'''\n") => 4,
            raw if raw.starts_with("\"\"\"") || raw.starts_with("'''") => 3,
            _ => 1,
        };
        // With escapes in it, bytes do not match: then its beginning must do.
        let exact = raw
            .get(quotes..)
            .is_some_and(|raw| raw.starts_with(value.get_ref().as_str()));
        let start = if exact {
            place.start + quotes + at
        } else {
            place.start
        };
        self.add(start..place.end, reason);
    }

    fn expression(
        &mut self,
        value: &Spanned<String>,
        scope: &Scope,
        is_condition: bool,
    ) -> Option<Expression> {
        let read = if is_condition {
            Expression::condition(value.get_ref(), scope)
        } else {
            Expression::read(value.get_ref(), scope)
        };
        match read {
            Ok(expression) => Some(expression),
            Err(Flaw { place, reason }) => {
                self.inside(value, place.start, reason);
                None
            }
        }
    }

    /// An action's line, with the instances that it names.
    fn action(&mut self, value: &Spanned<String>, known: &Scope) -> Option<Action> {
        let line = value.get_ref();
        match Action::parse(line) {
            Ok(action) => {
                for single in action.all() {
                    self.placeholders_of(value, single, known);
                    if let Some(name) = words::instance(single)
                        && let Err(reason) = words::check_instance(name)
                    {
                        self.inside(value, line.find(name).unwrap_or(0), reason);
                        return None;
                    }
                }
                Some(action)
            }
            Err(error) => {
                let at = line.find(&error.word).unwrap_or(0);
                self.inside(value, at, error.to_string());
                None
            }
        }
    }

    fn placeholders_of(&mut self, value: &Spanned<String>, action: &Action, known: &Scope) {
        if let Action::Call { target, body, .. } = action {
            let texts = [Some(&target.path), body.as_ref()];
            for text in texts.into_iter().flatten() {
                if let Err((word, reason)) = words::check_placeholders(text, known) {
                    let at = value.get_ref().find(&word).unwrap_or(0);
                    self.inside(value, at, reason);
                }
            }
        }
    }
}

fn check(file: File, notes: &mut Notes) -> Lab {
    if *file.schema.get_ref() != SCHEMA {
        notes.add(
            file.schema.span(),
            format!(
                "this program reads schema {SCHEMA}, not {}",
                file.schema.get_ref()
            ),
        );
    }
    let name = file.name.get_ref();
    let sound =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.is_empty() || name.len() > 40 || !name.chars().all(sound) || name == "all" {
        notes.add(
            file.name.span(),
            "a name is made of small letters, digits and -, at most 40, and is not \"all\"",
        );
    }
    for (field, text) in [("title", &file.title), ("goal", &file.goal)] {
        if text.get_ref().trim().is_empty() {
            notes.add(text.span(), format!("{field} is empty"));
        }
    }
    if !(1..=180).contains(file.minutes.get_ref()) {
        notes.add(file.minutes.span(), "1 to 180 minutes are wanted");
    }
    let needs: Vec<Need> = file
        .needs
        .iter()
        .filter_map(|text| need(text, notes))
        .collect();
    if file.step.is_empty() {
        notes.add(0..0, "a lab has at least one [[step]]");
    }
    if file.step.len() > STEPS {
        notes.add(0..0, format!("a lab has at most {STEPS} steps"));
    }
    let mut scope = Scope::default();
    let steps = steps::check(&file.step, &mut scope, notes);
    let clean_up: Vec<Action> = file
        .clean_up
        .iter()
        .filter_map(|line| notes.action(line, &scope))
        .collect();
    let series = series(&file, &scope, notes);

    let mut metrics = BTreeSet::new();
    let mut keep = |expression: &Expression| {
        expression.metrics(&mut |_, metric| {
            metrics.insert(metric.to_owned());
        });
    };
    for step in &steps {
        step.expressions().for_each(&mut keep);
    }
    for series in &series {
        keep(&series.of);
    }
    if let Some(place) = steps::asks_the_database(&steps, &file.step)
        && !needs.contains(&Need::Database)
    {
        notes.add(
            place,
            "holds( ) asks the database: say needs = [\"database\"]",
        );
    }
    Lab {
        name: file.name.into_inner(),
        title: file.title.into_inner(),
        goal: file.goal.into_inner().trim().to_owned(),
        minutes: u32::try_from(file.minutes.into_inner()).unwrap_or(1),
        needs,
        steps,
        clean_up,
        series,
        file: None,
        metrics,
    }
}

fn need(text: &Spanned<String>, notes: &mut Notes) -> Option<Need> {
    let words: Vec<&str> = text.get_ref().split_whitespace().collect();
    let found = match words.as_slice() {
        ["supervisor"] => Some(Need::Supervisor),
        ["database"] => Some(Need::Database),
        [role, ">=", least] if ROLES.contains(role) => {
            let least = least.parse().ok().filter(|least| (1..=20).contains(least));
            least.map(|least| Need::Instances {
                role: (*role).to_owned(),
                least,
            })
        }
        _ => None,
    };
    if found.is_none() {
        let role = words.first().copied().unwrap_or_default();
        let known = ROLES.into_iter().chain(["supervisor", "database"]);
        let near = nearest(role, known).filter(|near| *near != role);
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        notes.inside(
            text,
            0,
            format!(
                "a need is \"supervisor\", \"database\" or like \"gateway >= 2\" (1 to 20){hint}"
            ),
        );
    }
    found
}

fn series(file: &File, scope: &Scope, notes: &mut Notes) -> Vec<Series> {
    let mut names = BTreeSet::new();
    let mut series = Vec::new();
    for one in &file.series {
        if one.name.get_ref().trim().is_empty() || !names.insert(one.name.get_ref().clone()) {
            notes.add(one.name.span(), "each series has a name of its own");
        }
        if let Some(of) = notes.expression(&one.of, scope, false) {
            series.push(Series {
                name: one.name.get_ref().clone(),
                of,
                unit: one.unit.clone().unwrap_or_default(),
            });
        }
    }
    series
}

/// The fields of the format's tables.
#[cfg(test)]
pub(crate) fn fields() -> [(&'static str, &'static [&'static str]); 3] {
    [
        ("lab", fields::LAB_FIELDS),
        ("step", fields::STEP_FIELDS),
        ("series", fields::SERIES_FIELDS),
    ]
}

/// What the TOML reader says about a text with a field that it does not know.
#[cfg(test)]
pub(crate) fn unknown_field(text: &str) -> String {
    let parsed: Result<File, _> = toml::from_str(text);
    parsed.map_or_else(|error| error.message().to_owned(), |_| String::new())
}

#[cfg(test)]
mod tests;
