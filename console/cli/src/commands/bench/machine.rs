//! What was measured on, and what with: a figure without these is none.

use std::{path::Path, process::Command};

use serde::Serialize;

use super::process::find;

/// The machine and the versions.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: Option<String>,
    pub kernel: Option<String>,
    pub recarga: String,
    pub nginx: Option<String>,
    pub haproxy: Option<String>,
    /// A build without optimisation says little.
    pub optimised: bool,
}

impl Machine {
    pub fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let processor = read("/proc/cpuinfo").and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor,
            kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            recarga: version(),
            nginx: said("nginx", "-v").and_then(|text| word_after(&text, "nginx/")),
            haproxy: said("haproxy", "-v").and_then(|text| word_after(&text, "version ")),
            optimised: !cfg!(debug_assertions),
        }
    }

    pub fn line(&self) -> String {
        let or =
            |value: &Option<String>, other: &str| value.clone().unwrap_or_else(|| other.to_owned());
        let build = if self.optimised {
            ""
        } else {
            " (a debug build: its figures say little)"
        };
        format!(
            "{} cores ({}), Linux {}, recarga {}{build}, nginx {}, HAProxy {}; load, upstreams and proxies share the cores",
            self.cores,
            or(&self.processor, "of an unknown kind"),
            or(&self.kernel, "of another kind"),
            self.recarga,
            or(&self.nginx, "not installed"),
            or(&self.haproxy, "not installed"),
        )
    }
}

/// The version, and the commit of the checkout it was built in when that is still there.
fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let commit = Command::new("git")
        .arg("-C")
        .arg(source)
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match commit {
        Some(commit) => format!("{version} at {commit}"),
        None => version.to_owned(),
    }
}

fn said(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(find(program)?).arg(flag).output().ok()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Some(text)
}

fn word_after(text: &str, mark: &str) -> Option<String> {
    let rest = text.split_once(mark)?.1;
    let word = rest.split([' ', '\n', '-', '(']).next()?;
    (!word.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_programs_print_them() {
        for (text, mark, expected) in [
            ("nginx version: nginx/1.22.1\n", "nginx/", Some("1.22.1")),
            (
                "nginx version: nginx/1.24.0 (Ubuntu)\n",
                "nginx/",
                Some("1.24.0"),
            ),
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/",
                "version ",
                Some("2.6.12"),
            ),
            ("something else", "nginx/", None),
        ] {
            assert_eq!(word_after(text, mark).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn this_machine_has_a_line() {
        let line = Machine::look().line();
        assert!(
            line.contains("cores") && line.contains(env!("CARGO_PKG_VERSION")),
            "{line}"
        );
    }
}
