//! Every size a terminal can have, while it changes.

use std::time::Duration;

use pty::Seen;

use crate::desk::{HELP, PATIENCE, console, eventually, left_in_order, open, small_lab};

const SIZES: [(u16, u16); 24] = [
    (1, 1),
    (2, 1),
    (1, 2),
    (3, 2),
    (1, 100),
    (300, 1),
    (5, 3),
    (10, 3),
    (12, 40),
    (20, 6),
    (39, 11),
    (40, 12),
    (41, 13),
    (59, 19),
    (60, 20),
    (79, 23),
    (80, 24),
    (119, 39),
    (120, 40),
    (200, 60),
    (300, 100),
    (300, 3),
    (7, 100),
    (80, 24),
];

/// Where the sequences that place the cursor go: column and row, from 1.
fn places(bytes: &[u8]) -> impl Iterator<Item = (u16, u16)> {
    bytes.split(|byte| *byte == 0x1b).filter_map(|part| {
        let text = part.strip_prefix(b"[")?;
        let end = text.iter().position(|byte| *byte == b'H')?;
        let (row, column) = str::from_utf8(&text[..end]).ok()?.split_once(';')?;
        Some((column.parse().ok()?, row.parse().ok()?))
    })
}

/// Whether everything since a position is on a screen of this size, or the first place that is not.
fn fits(seen: &Seen, position: usize, (columns, rows): (u16, u16)) -> Result<(), (u16, u16)> {
    let mut places = places(seen.since(position));
    let outside = places.find(|(column, row)| *column > columns || *row > rows);
    outside.map_or(Ok(()), Err)
}

#[test]
fn pitfall_06_small_size_crash_or_hang() {
    let (lab, instances) = small_lab();
    let session = open(console(&lab));
    // Faster than it can draw: it must not stumble over a size that is gone already.
    for width in (1..=300).step_by(13) {
        for height in (1..=100).step_by(11) {
            session.resize(width, height).unwrap();
        }
        instances[0].log("WARN", "a line while the terminal changes");
    }
    for (columns, rows) in SIZES {
        session.resize(columns, rows).unwrap();
        // It hears of the size a little later; what it was drawing then is of the size before.
        eventually("it draws for this size", || {
            let position = session.written();
            session.keys("\x0c").unwrap();
            session
                .wait_for("it is painted again", PATIENCE, |seen| {
                    places(seen.since(position)).next()
                })
                .unwrap();
            session.until_quiet(Duration::from_millis(20)).unwrap();
            session.look(|seen| fits(seen, position, (columns, rows)).is_ok())
        });
        let position = session.written();
        // Every view and dialog there is must fit as well.
        for keys in [
            "\x0c", "?", "\x1b", ":", "\x1b", "a", "\x1b", "2345678", "9z", "\x1b", "1\x0c",
        ] {
            session.keys(keys).unwrap();
            // Escape and what follows at once would be one key.
            session.until_quiet(Duration::from_millis(5)).unwrap();
        }
        session
            .wait_for("it is painted again", PATIENCE, |seen| {
                places(seen.since(position)).next()
            })
            .unwrap();
        session.until_quiet(Duration::from_millis(20)).unwrap();
        session.look(|seen| {
            if let Err((column, row)) = fits(seen, position, (columns, rows)) {
                panic!("{column};{row} is outside of {columns}x{rows}");
            }
        });
    }
    session.resize(80, 24).unwrap();
    session.keys("?").unwrap();
    session.until_shown(HELP).unwrap();
    session.keys("\x03").unwrap();
    left_in_order(&session, 0);
}
