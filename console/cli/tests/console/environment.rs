//! What the console makes of its surroundings: pipes, poor terminals, `NO_COLOR`, locales.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use pty::{Program, Seen};
use vt100::Color;

use crate::desk::{HELP, PATIENCE, RECARGA, console, lab_that_is_away, left_in_order, open};

#[test]
fn pitfall_14_environment_assumptions_escapes_to_pipes() {
    let lab = lab_that_is_away();
    let output = Command::new(RECARGA)
        .arg("--dir")
        .arg(lab.path())
        .arg("console")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(!output.stderr.contains(&0x1b), "{output:?}");
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("recarga status"), "{words}");
}

#[test]
fn pitfall_14_environment_assumptions_half_a_pipe() {
    let lab = lab_that_is_away();
    let script =
        "\"$0\" --dir \"$1\" console | cat; \"$0\" --dir \"$1\" console </dev/null; exit 0";
    let session = Program::new("sh")
        .arguments(["-c", script, RECARGA])
        .arguments([lab.path()])
        .start()
        .unwrap();
    left_in_order(&session, 0);
    session.look(|seen| {
        assert!(!seen.since(0).contains(&0x1b), "{}", seen.text());
        assert_eq!(seen.text().matches("needs a terminal").count(), 2);
    });
}

#[test]
fn pitfall_14_environment_assumptions_a_dumb_terminal() {
    let lab = lab_that_is_away();
    let session = console(&lab).environment("TERM", "dumb").start().unwrap();
    left_in_order(&session, 1);
    session.look(|seen| assert!(!seen.since(0).contains(&0x1b), "{}", seen.text()));
    session.until_shown("recarga status").unwrap();
}

#[test]
fn pitfall_14_environment_assumptions_a_locale_without_unicode() {
    let lab = lab_that_is_away();
    let session = open(console(&lab).environment("LC_ALL", "C"));
    session.keys("?").unwrap();
    session.until_shown(HELP).unwrap();
    session.look(|seen| assert!(seen.since(0).is_ascii(), "{}", seen.text()));
    // A locale that this machine does not have is no reason to refuse.
    let session = open(console(&lab).environment("LC_ALL", "xx_XX.nothing"));
    session.keys("q").unwrap();
    left_in_order(&session, 0);
}

#[test]
fn pitfall_14_environment_assumptions_a_terminal_without_a_size() {
    let lab = lab_that_is_away();
    // An emulator without a size shows nothing: the bytes tell.
    let session = console(&lab).size(0, 0).start().unwrap();
    let shown = |position, text: &'static str| {
        let says = move |bytes: &[u8]| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        session
            .wait_for(text, PATIENCE, |seen| {
                says(seen.since(position)).then_some(())
            })
            .unwrap();
    };
    shown(0, "recarga");
    let position = session.written();
    session.resize(100, 30).unwrap();
    shown(position, "recarga");
    let position = session.written();
    session.keys("?").unwrap();
    shown(position, HELP);
    session.keys("\x03").unwrap();
    left_in_order(&session, 0);
}

/// Every number in the parameters of SGR sequences.
fn renditions(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for part in bytes.split(|byte| *byte == 0x1b).skip(1) {
        let Some((b'[', parameters)) = part.split_first() else {
            continue;
        };
        let end = parameters.iter().position(u8::is_ascii_alphabetic);
        if let Some(end) = end.filter(|end| parameters[*end] == b'm') {
            found.push(String::from_utf8_lossy(&parameters[..end]).into_owned());
        }
    }
    found
}

#[test]
fn pitfall_07_no_color_hides_selection() {
    let lab = lab_that_is_away();
    let session = open(console(&lab).environment("NO_COLOR", "1"));
    session.keys("?").unwrap();
    session.until_shown(HELP).unwrap();
    session.look(|seen| {
        for parameters in renditions(seen.since(0)) {
            // An empty one is a reset, and would take the emphasis of the selection away.
            assert!(!parameters.is_empty());
            for number in parameters.split(';') {
                let number: u16 = number.parse().unwrap();
                // 39 and 49 are the terminal's own colours.
                let coloured = matches!(number, 30..=38 | 40..=48 | 90..=107);
                assert!(!coloured, "{parameters:?}");
            }
        }
        let screen = seen.screen();
        let (rows, columns) = screen.size();
        let emphasised = (0..rows.get())
            .flat_map(|row| (0..columns.get()).map(move |column| (row, column)))
            .filter_map(|(row, column)| screen.cell(row, column))
            .any(|cell| cell.has_contents() && (cell.inverse() || cell.bold()));
        assert!(emphasised, "nothing stands out in\n{}", seen.text());
    });
}

#[test]
fn pitfall_08_hard_coded_colours() {
    let lab = lab_that_is_away();
    for colours in ["", "truecolor"] {
        let session = open(
            console(&lab)
                .environment("COLORTERM", colours)
                .size(120, 40),
        );
        for view in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "?"] {
            session.keys(view).unwrap();
            session.until_quiet(Duration::from_millis(50)).unwrap();
            session.look(|seen| is_legible(seen, (120, 40)));
        }
    }
}

fn is_legible(seen: &Seen, (columns, rows): (u16, u16)) {
    let screen = seen.screen();
    for row in 0..rows {
        for column in 0..columns {
            let cell = screen.cell(row, column).unwrap();
            let (ink, paper) = (cell.fgcolor(), cell.bgcolor());
            if paper == Color::Default && cell.has_contents() {
                // The paper is the reader's, so neither its black nor its white may be the ink.
                let extreme = matches!(
                    ink,
                    Color::Idx(0 | 7 | 15 | 16 | 231)
                        | Color::Rgb(0, 0, 0)
                        | Color::Rgb(255, 255, 255)
                );
                assert!(!extreme, "{ink:?} at {column},{row}:\n{}", seen.text());
            } else if paper != Color::Default && cell.has_contents() {
                assert_ne!(ink, Color::Default, "at {column},{row}:\n{}", seen.text());
            }
        }
    }
}
