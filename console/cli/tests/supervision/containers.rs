//! What the files for containers say is what the program takes, and what both engines that read them take.

use std::process::Command;

use host::Role;

use crate::lab::RECARGA;

const SHARED: &str = include_str!("../../../../compose.yaml");
const OF_COMPOSE: &str = include_str!("../../../../compose.override.yaml");

/// A service: its name, and the lines below it.
fn services(text: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, below) = text.split_once("\nservices:\n").unwrap();
    let mut services: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in below.lines() {
        match (line.strip_prefix("  "), services.last_mut()) {
            (None, _) if line.ends_with(':') => break,
            (Some(name), _) if !name.starts_with([' ', '#']) => {
                services.push((name.trim_end_matches(':'), Vec::new()));
            }
            (Some(line), Some((_, lines))) => lines.push(line.trim()),
            _ => {}
        }
    }
    services
}

/// The words of the command that a service of ours runs.
fn command(lines: &[&str]) -> Option<Vec<String>> {
    let words = lines
        .iter()
        .find_map(|line| line.strip_prefix("command: ["))?;
    let words = words.trim_end_matches(']').split(", ");
    Some(
        words
            .map(|word| word.trim_matches('"').to_owned())
            .collect(),
    )
}

fn help(command: &[String]) -> String {
    let words = command.iter().take_while(|word| !word.starts_with('-'));
    let output = Command::new(RECARGA)
        .args(words)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}");
    // Lines are as wide as a terminal.
    let help = String::from_utf8_lossy(&output.stdout);
    help.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Values of secrets are not told.
fn takes(help: &str, variable: &str) -> bool {
    ["=", "]"]
        .iter()
        .any(|end| help.contains(&format!("[env: {variable}{end}")))
}

/// The variables that are set in these lines, by the names that `--help` tells.
fn variables<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let name = |line: &'a str| {
        let (name, _) = line.trim().split_once(": ")?;
        let name = name.strip_suffix("_FILE").unwrap_or(name);
        name.starts_with("RECARGA_").then_some(name)
    };
    lines.into_iter().filter_map(name).collect()
}

#[test]
fn what_containers_are_told_their_commands_take() {
    let mut all = String::new();
    for text in [SHARED, OF_COMPOSE] {
        for (name, lines) in services(text) {
            let told = variables(lines.iter().copied());
            if told.is_empty() {
                continue;
            }
            let command = command(&lines).unwrap_or_else(|| panic!("{name} has a command"));
            let help = help(&command);
            for variable in told {
                assert!(
                    takes(&help, variable),
                    "{name}: {variable} is nothing to {command:?}"
                );
            }
            all.push_str(&help);
        }
    }
    // What several of them are told.
    let (common, _) = SHARED.split_once("\nservices:\n").unwrap();
    for variable in variables(common.lines()) {
        assert!(takes(&all, variable), "{variable}");
    }
    for role in Role::ALL {
        assert!(
            services(SHARED).iter().any(|(_, lines)| {
                command(lines).is_some_and(|words| words == ["serve", role.name()])
            }),
            "{} has a container",
            role.name()
        );
    }
}

#[test]
fn a_swarm_takes_the_file_that_compose_takes() {
    // What a stack refuses, or leaves out with a warning.
    let foreign = [
        "build",
        "container_name",
        "depends_on",
        "mem_limit",
        "name",
        "pids_limit",
        "profiles",
        "restart",
        "security_opt",
        "shm_size",
    ];
    for line in SHARED.lines() {
        let key = line.trim().split(':').next().unwrap_or_default();
        assert!(!foreign.contains(&key), "{line}");
    }
    // A port that is published on loopback is published everywhere by a swarm: only the front door's is here.
    let published = SHARED
        .lines()
        .filter(|line| line.trim().starts_with("ports:"));
    assert_eq!(published.count(), 1);
}
