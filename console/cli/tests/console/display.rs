//! What is shown is true, harmless, and sent no more often than it changes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use pty::{Instance, Lab, Session};

use crate::desk::{
    ALL_DOWN, ALL_UP, ONE_DOWN, PATIENCE, WHILE_OPEN, console, eventually, left_in_order, open,
    small_lab,
};

/// Waits until the instance has been asked so many times more.
fn asked(instance: &Instance, times: u64) {
    let before = instance.asked();
    eventually("it is asked again", || instance.asked() >= before + times);
}

#[test]
fn pitfall_12_wasteful_redraw_of_nothing() {
    // A lab without instances: nothing happens in it.
    let lab = Lab::new().unwrap();
    lab.place(&[]).unwrap();
    let session = open(console(&lab));
    session.until_quiet(Duration::from_millis(1_500)).unwrap();
    let before = session.written();
    session.until_quiet(Duration::from_millis(3_500)).unwrap();
    assert_eq!(session.written(), before, "bytes without news");
    session.keys("q").unwrap();
    left_in_order(&session, 0);
}

#[test]
fn pitfall_12_wasteful_redraw_flickers() {
    let (lab, instances) = small_lab();
    let session = open(console(&lab));
    session.until_shown("gateway-2").unwrap();
    let position = session.written();
    for instance in &instances {
        asked(instance, 6);
    }
    session.look(|seen| {
        let bytes = seen.since(position);
        assert!(!bytes.is_empty());
        let count = |wanted: &[u8]| {
            bytes
                .windows(wanted.len())
                .filter(|window| *window == wanted)
                .count()
        };
        assert_eq!(count(b"\x1b[2J"), 0, "the screen is never cleared");
        let (begun, ended) = (count(b"\x1b[?2026h"), count(b"\x1b[?2026l"));
        assert!(begun > 0 && begun.abs_diff(ended) <= 1);
        // Nothing is outside of a synchronized update.
        let text = String::from_utf8_lossy(bytes).into_owned();
        for piece in text.split("\x1b[?2026l").skip(1) {
            assert!(
                piece.is_empty() || piece.starts_with("\x1b[?2026h"),
                "{piece:?}"
            );
        }
    });
}

#[test]
fn pitfall_11_the_observer_loads_the_observed() {
    let (lab, instances) = small_lab();
    let session = open(console(&lab));
    session.until_shown("gateway-2").unwrap();
    let started = Instant::now();
    let before = instances[0].asked();
    asked(&instances[0], 9);
    let seconds = started.elapsed().as_secs_f64();
    let asked = (instances[0].asked() - before) as f64;
    // At 2 Hz, metrics and information each.
    assert!(asked / seconds < 4.5, "{asked} questions in {seconds} s");
    assert_eq!(instances[0].readers(), 1);
    session.keys("q").unwrap();
    left_in_order(&session, 0);
    eventually("its connections end with it", || {
        instances[0].readers() == 0
    });
}

#[test]
fn pitfall_13_copying_blocked() {
    let (lab, _instances) = small_lab();
    let session = open(console(&lab));
    for key in ["?", "\x1b", "7", "k", "G", "1"] {
        session.keys(key).unwrap();
        session.until_quiet(Duration::from_millis(30)).unwrap();
    }
    session.until_shown("gateway-1").unwrap();
    // The terminal's own selection works: nobody takes its mouse.
    between_frames(&session);
    // What is chosen goes to the terminal's clipboard, over ssh as well.
    session.keys("y").unwrap();
    session
        .wait_for("the name is on the clipboard", PATIENCE, |seen| {
            let name = b"Z2F0ZXdheS0x".to_vec();
            seen.clipboard().contains(&name).then_some(())
        })
        .unwrap();
    // The mouse is taken when it is asked for, and given back.
    session.keys("\x1bOQ").unwrap();
    session
        .wait_for("the mouse is taken", PATIENCE, |seen| {
            let mouse = |what: &String| what.contains("mouse");
            seen.left_open().iter().any(mouse).then_some(())
        })
        .unwrap();
    session.keys("q").unwrap();
    left_in_order(&session, 0);
}

#[test]
fn pitfall_15_untrue_display_of_what_vanishes() {
    let (lab, instances) = small_lab();
    let addresses = instances.each_ref().map(Instance::address);
    let [first, second] = instances;
    let session = open(console(&lab).size(120, 40));
    session.until_shown(ALL_UP).unwrap();
    drop(second);
    session.until_shown(ONE_DOWN).unwrap();
    drop(first);
    session.until_shown(ALL_DOWN).unwrap();
    let names = ["gateway-1", "gateway-2"];
    let _back: Vec<_> = names
        .into_iter()
        .zip(addresses)
        .map(|(name, address): (_, SocketAddr)| Instance::start_at(name, address).unwrap())
        .collect();
    session.until_shown(ALL_UP).unwrap();
    session.keys("q").unwrap();
    left_in_order(&session, 0);
}

#[test]
fn pitfall_15_untrue_display_when_the_topology_is_lost() {
    let (lab, _instances) = small_lab();
    let session = open(console(&lab).size(120, 40));
    session.until_shown(ALL_UP).unwrap();
    let file = lab.path().join("topology.json");
    let text = std::fs::read(&file).unwrap();
    std::fs::write(&file, "{").unwrap();
    session.until_shown("topology").unwrap();
    std::fs::write(&file, text).unwrap();
    session
        .wait_for("it is found again", PATIENCE, |seen| {
            (!seen.shows("not a topology")).then_some(())
        })
        .unwrap();
    session.keys("q").unwrap();
    left_in_order(&session, 0);
}

/// The log event with this message between its quotes, as it comes.
fn raw_event(message: &[u8]) -> Vec<u8> {
    let mut event = br#"data: {"timestamp":"2026-01-01T00:00:00Z","level":"ERROR","target":"x","instance":"gateway-1","message":""#.to_vec();
    event.extend_from_slice(message);
    event.extend_from_slice(b"\"}\n\n");
    event
}

#[test]
fn pitfall_15_hostile_display_of_log_lines() {
    let (lab, instances) = small_lab();
    let session = open(console(&lab).size(100, 40));
    session.until_shown(ALL_UP).unwrap();
    eventually("the console follows the logs", || {
        instances[0].readers() == 1
    });
    let megabyte = "x".repeat(1_000_000);
    let combining = format!("a{}", "\u{301}".repeat(500));
    let mut hostile: Vec<Vec<u8>> = [
        // JSON's own escapes: the console sees the control characters.
        r"\u001b[2J\u001b[?1049l\u001b[?1000h\u001bc",
        r"\u001b]0;title\u0007\u001b]52;c;ZXZpbA==\u0007",
        r"\u001bP+q544e\u001b\\ \u009b31m \u0090 \u0007\u0000\u007f",
        r"\u200b\u202e desrever \u202c\u2066 isolated \u2069\ufeff",
        r"\u0e49\u0e49\u0e49 \ud83d\udc69\u200d\ud83d\udc69\u200d\ud83d\udc67 \ud83c\udde8\ud83c\uddf4",
        r"wide: \u4f60\u597d\u4e16\u754c\uff01\u3000end",
        r"tab\tnew\nline\rreturn\u000bvertical\u0085next",
        &combining,
        &megabyte,
        &r"\u001b[31m".repeat(20_000),
    ]
    .iter()
    .map(|message| raw_event(message.as_bytes()))
    .collect();
    // Invalid UTF-8, bare control bytes, what is no JSON, what is no event stream.
    hostile.push(raw_event(b"\xff\xfe\xc3\x28\xf0\x9f"));
    hostile.push(raw_event(b"\x1b[2J\x1b[?1000h"));
    hostile.push(b"data: \x1b[2J\x1bc\n\n".to_vec());
    hostile.push(b"\x1b]52;c;ZXZpbA==\x07\n\n\0\0\0\n\n".to_vec());
    hostile.push([&b"data: "[..], &b"{".repeat(60_000), b"\n\n"].concat());
    hostile.push([&b"y".repeat(1_000_000)[..], b"\n\n"].concat());
    for event in &hostile {
        instances[0].send(event);
    }
    // Behind all of it, an honest line; and the terminal is as if nothing had been.
    instances[0].log("ERROR", "an honest line");
    session.until_shown("an honest line").unwrap();
    for keys in ["7", "w", "k", "k", "\x15", "\x15", "G", "w", "v", "\x0c"] {
        session.keys(keys).unwrap();
        session.until_quiet(Duration::from_millis(30)).unwrap();
    }
    session.until_shown("an honest line").unwrap();
    intact(&session);
    session.keys("\x03").unwrap();
    left_in_order(&session, 0);
}

/// Waits for a moment in which no frame is half there, and nothing is open that should not be.
fn between_frames(session: &Session) {
    session
        .wait_for("nothing is open but its own", PATIENCE, |seen| {
            (seen.left_open() == WHILE_OPEN).then_some(())
        })
        .unwrap();
}

fn intact(session: &Session) {
    between_frames(session);
    session.look(|seen| {
        assert_eq!(seen.untoward(), Vec::<String>::new());
        assert_eq!(seen.clipboard(), Vec::<Vec<u8>>::new());
        for hidden in ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}'] {
            assert!(!seen.text().contains(hidden));
        }
        // The frame around it stands where it stood.
        let first = seen.text().lines().next().unwrap_or_default().to_owned();
        assert!(first.contains("recarga"), "{}", seen.text());
    });
}

#[test]
fn two_consoles_watch_one_lab() {
    let (lab, instances) = small_lab();
    let sessions = [open(console(&lab)), open(console(&lab).size(120, 40))];
    for session in &sessions {
        session.until_shown(ALL_UP).unwrap();
    }
    eventually("both follow the logs", || instances[0].readers() == 2);
    for session in &sessions {
        session.keys("q").unwrap();
        left_in_order(session, 0);
    }
}
