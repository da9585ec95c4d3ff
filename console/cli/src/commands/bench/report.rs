//! Where results go: the terminal, a file, a script.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    machine::Machine,
    race::Figures,
    table::{Row, Table, decimal, whole},
};
use crate::terminal::say;

/// Everything that one command has measured.
pub struct Report {
    pub machine: Machine,
    pub tables: Vec<Table>,
    /// What a reader has to know about the figures.
    pub notes: Vec<String>,
    /// The same for scripts, without the machine.
    pub document: Value,
}

impl Report {
    pub fn publish(mut self, json: bool, output: Option<&Path>) -> Result<()> {
        if let Some(file) = output {
            std::fs::write(file, self.markdown())
                .with_context(|| format!("writing {}", file.display()))?;
        }
        if json {
            self.document["machine"] = serde_json::to_value(&self.machine)?;
            self.document["notes"] = serde_json::to_value(&self.notes)?;
            say(serde_json::to_string_pretty(&self.document)?);
            return Ok(());
        }
        say(self.machine.line());
        for table in &self.tables {
            say("");
            say(table.text().trim_end());
        }
        if !self.notes.is_empty() {
            say("");
        }
        for note in &self.notes {
            say(note);
        }
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut parts = vec![format!("{}\n", self.machine.line())];
        parts.extend(self.tables.iter().map(Table::markdown));
        parts.extend(self.notes.iter().map(|note| format!("- {note}\n")));
        parts.join("\n")
    }
}

/// A row of figures, or the words that take their place.
pub fn row(
    name: &str,
    result: &Result<Figures, String>,
    cells: impl Fn(&Figures) -> Vec<String>,
) -> Row {
    match result {
        Ok(figures) => {
            let mut row = vec![name.to_owned()];
            row.extend(cells(figures));
            Row::Cells(row)
        }
        Err(words) => Row::Words(name.to_owned(), words.clone()),
    }
}

pub fn errors(figures: &Figures) -> String {
    whole(figures.errors as f64)
}

pub fn mebibytes(figures: &Figures) -> String {
    decimal(figures.memory_bytes.map(|bytes| bytes / 1_048_576.0), 1)
}

/// The first error of each that had any.
pub fn explanations<'a>(
    rows: impl Iterator<Item = (&'a str, &'a Result<Figures, String>)>,
) -> Vec<String> {
    rows.filter_map(|(name, result)| {
        let figures = result.as_ref().ok()?;
        let error = figures.first_error.as_ref()?;
        Some(format!(
            "{name}: {} errors, the first: {error}",
            figures.errors
        ))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_explained_and_words_stand_alone() {
        let figures = Figures {
            rate: 1.0,
            of_reference: None,
            p50_us: 1.0,
            p99_us: 1.0,
            cpu_us: [].into(),
            memory_bytes: Some(3.0 * 1_048_576.0),
            generator_us: None,
            errors: 1200,
            first_error: Some("it broke".to_owned()),
        };
        assert_eq!(
            (errors(&figures), mebibytes(&figures)),
            ("1,200".to_owned(), "3.0".to_owned())
        );
        let results = [Ok(figures), Err("not installed".to_owned())];
        let named = || ["a", "b"].into_iter().zip(&results);
        assert_eq!(
            explanations(named()),
            ["a: 1200 errors, the first: it broke"]
        );
        let rows: Vec<Row> = named()
            .map(|(name, result)| row(name, result, |f| vec![errors(f)]))
            .collect();
        assert_eq!(
            rows[0],
            Row::Cells(vec!["a".to_owned(), "1,200".to_owned()])
        );
        assert_eq!(
            rows[1],
            Row::Words("b".to_owned(), "not installed".to_owned())
        );
    }
}
