//! Reports of runs: Markdown, a page, data and charts in a folder, from the record alone.

mod canvas;
mod charts;
pub mod comparison;
mod content;
mod csv;
mod document;
mod figures;
mod html;
mod markdown;
mod picture;
#[cfg(test)]
mod samples;
mod scale;
mod source;
pub mod statistics;
#[cfg(test)]
mod tests;
mod words;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::record::Run;

use document::Document;
pub use source::{RECORD, Unreadable, find, newest, read};

/// The file that says that a folder is a report's, so that nothing of others is lost when it is written again.
const SIGN: &str = ".recarga-report";

#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    #[error("{} cannot be written: {source}; name another folder with --out", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("a chart could not be drawn: {0}")]
    Chart(String),
    #[error("the record cannot be written as JSON: {0}")]
    Record(#[from] serde_json::Error),
}

/// Writes the report of a run into a folder, which is made; files there that are not of a report are left alone.
pub fn write(run: &Run, record: &Path, folder: &Path) -> Result<(), Unwritten> {
    let document = content::of(run, &record.display().to_string());
    let place = Folder::open(folder)?;
    place.document(&document)?;
    for (number, measurement) in run.measurements.iter().enumerate() {
        let name = content::file(number, measurement);
        place.put(&format!("data/{name}"), csv::samples(measurement))?;
    }
    for (number, series) in run.series.iter().enumerate() {
        let name = format!("data/s{}-{}.csv", number + 1, charts::slug(&series.name));
        place.put(&name, csv::series(series))?;
    }
    place.put("data/marks.csv", csv::marks(run))?;
    place.put(RECORD, serde_json::to_vec(run)?)
}

/// Writes the comparison of two runs into a folder.
pub fn write_comparison(
    a: &Run,
    b: &Run,
    records: [&Path; 2],
    folder: &Path,
) -> Result<(), Unwritten> {
    let named = records.map(|record| record.display().to_string());
    let (document, figures) = comparison::of(a, b, [&named[0], &named[1]]);
    let place = Folder::open(folder)?;
    place.document(&document)?;
    place.put("comparison.csv", comparison::csv(&figures))?;
    let about = |run: &Run| json!({ "lab": run.lab, "started_at": run.started_at, "version": run.version, "seed": run.seed, "outcome": run.outcome, "settings": run.settings });
    let data = json!({ "a": about(a), "b": about(b), "confidence": statistics::CONFIDENCE, "figures": figures });
    place.put("comparison.json", serde_json::to_vec_pretty(&data)?)
}

/// A report's folder.
struct Folder<'a> {
    path: &'a Path,
}

impl<'a> Folder<'a> {
    /// Makes it; what an earlier report left in its own folders goes, so that no old chart stays beside new ones.
    fn open(path: &'a Path) -> Result<Self, Unwritten> {
        let folder = Self { path };
        let sign = path.join(SIGN);
        if let Ok(old) = fs::read_to_string(&sign) {
            for name in old.lines().filter(|name| is_ours(name)) {
                // It may have been taken away since.
                let _ = fs::remove_file(path.join(name));
            }
            let _ = fs::remove_file(&sign);
        }
        Self::make(path)?;
        Ok(folder)
    }

    fn make(path: &Path) -> Result<(), Unwritten> {
        fs::create_dir_all(path).map_err(|source| Unwritten::Io {
            path: path.to_owned(),
            source,
        })
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), Unwritten> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            Self::make(parent)?;
        }
        let failed = |source| Unwritten::Io {
            path: path.clone(),
            source,
        };
        fs::write(&path, bytes).map_err(failed)?;
        if is_ours(name) {
            use io::Write as _;
            let sign = self.path.join(SIGN);
            let list = fs::OpenOptions::new().create(true).append(true).open(sign);
            list.and_then(|mut list| writeln!(list, "{name}"))
                .map_err(failed)?;
        }
        Ok(())
    }

    fn document(&self, document: &Document) -> Result<(), Unwritten> {
        self.put("report.md", markdown::write(document))?;
        self.put(
            "report.html",
            html::write(document).map_err(Unwritten::Chart)?,
        )?;
        for picture in document.pictures() {
            let svg = canvas::svg(picture).map_err(Unwritten::Chart)?;
            self.put(&format!("charts/{}.svg", picture.name), svg)?;
            let png = canvas::png(picture).map_err(Unwritten::Chart)?;
            self.put(&format!("charts/{}.png", picture.name), png)?;
        }
        Ok(())
    }
}

/// Whether a name on the list of an earlier report may be taken away: one file in its folders of charts and data.
fn is_ours(name: &str) -> bool {
    let file = name
        .strip_prefix("charts/")
        .or_else(|| name.strip_prefix("data/"));
    file.is_some_and(|file| {
        !file.is_empty() && !file.contains(['/', '\\']) && !file.starts_with('.')
    })
}
