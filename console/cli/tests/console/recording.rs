//! What `console --record` writes is what was seen, and `replay` shows it again without any lab.

use std::process::{Command, Output};

use pty::Program;

use crate::desk::{
    ALL_UP, HELP, ONE_DOWN, PATIENCE, RECARGA, console, eventually, first_frame, left_in_order,
    open, place, small_lab,
};

fn replay(file: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(RECARGA)
        .arg("replay")
        .arg(file)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_session_is_seen_again_without_its_lab() {
    let (lab, instances) = small_lab();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("class.cast");
    let record = || {
        let console = console(&lab).size(80, 24);
        console.arguments(["--record".as_ref(), file.as_os_str()])
    };
    let session = open(record());
    session.until_shown(ALL_UP).unwrap();
    session.until_shown("rec").unwrap();
    session.keys("?").unwrap();
    session.until_shown(HELP).unwrap();
    session.keys("\x1b").unwrap();
    let [gone, stays] = instances;
    drop(gone);
    session.until_shown(ONE_DOWN).unwrap();
    eventually("the recording has a mark", || {
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("\"gateway-1 down\"")
    });
    let seen = session.text();
    session.keys("q").unwrap();
    left_in_order(&session, 0);
    place(&lab, &[]);
    drop(stays);

    let moment = replay(&file, &["--at", "1h"]);
    let moment = String::from_utf8(moment.stdout).unwrap();
    assert!(moment.contains(ONE_DOWN), "{moment}\nas seen:\n{seen}");
    let first = replay(&file, &["--at", "0s"]);
    assert!(!String::from_utf8(first.stdout).unwrap().contains(ONE_DOWN));
    let marks = replay(&file, &["--marks"]);
    let marks = String::from_utf8(marks.stdout).unwrap();
    assert!(marks.contains("gateway-1"), "{marks}");
    let picture = folder.path().join("class.svg");
    let made = replay(&file, &["--at", "1h", "--svg", picture.to_str().unwrap()]);
    assert!(made.status.success());
    assert!(
        std::fs::read_to_string(&picture)
            .unwrap()
            .contains(ONE_DOWN)
    );

    let again = Program::new(RECARGA)
        .arguments(["replay".as_ref(), file.as_os_str()])
        .size(80, 25);
    let player = again.start().unwrap();
    first_frame(&player);
    player.until_shown("space pause").unwrap();
    for _ in 0..9 {
        player.keys("\x1b[C").unwrap();
    }
    player.until_shown(ONE_DOWN).unwrap();
    player.until_shown("end 0:").unwrap();
    player
        .wait_for("the first frame again", PATIENCE, |seen| {
            let _ = player.keys("\x1b[H");
            (!seen.shows(ONE_DOWN)).then_some(())
        })
        .unwrap();
    player.keys("q").unwrap();
    left_in_order(&player, 0);

    // Nothing that is there is written over, and a smaller terminal is told what it needs.
    let refused = record().start().unwrap();
    assert_ne!(refused.until_left().unwrap(), 0);
    assert!(
        refused.text().contains("is there already"),
        "{}",
        refused.text()
    );
    let small = Program::new(RECARGA)
        .arguments(["replay".as_ref(), file.as_os_str()])
        .size(60, 20)
        .start()
        .unwrap();
    assert_ne!(small.until_left().unwrap(), 0);
    assert!(
        small.text().contains("recorded at 80x24"),
        "{}",
        small.text()
    );
}
