//! `recarga replay`: plays what `console --record` wrote, or shows one moment of it.

mod picture;

use std::{num::NonZeroU16, time::Duration};

use anyhow::{Context as _, Result, ensure};
use app::{Recording, What};
use kit::Shutdown;

use crate::{arguments::Replay, exit, terminal};

pub async fn run(arguments: &Replay) -> Result<u8> {
    let recording = Recording::read(&arguments.file)?;
    if arguments.marks {
        for (at, text) in recording.marks() {
            terminal::say(format!("{:>9.3}s  {text}", at.as_secs_f64()));
        }
    } else if let Some(at) = arguments.at {
        let screen = screen(&recording, at)?;
        match &arguments.svg {
            Some(path) => std::fs::write(path, picture::of(screen.screen()))
                .with_context(|| format!("cannot write {}", path.display()))?,
            None => terminal::say(text(screen.screen())),
        }
    } else {
        ensure!(
            terminal::is_interactive(),
            "playing needs a terminal; --at TIME prints one moment, --marks what happened when"
        );
        let shutdown = Shutdown::on_signals()?;
        app::play(
            &recording,
            arguments.from,
            arguments.speed,
            shutdown.token(),
        )
        .await?;
    }
    Ok(exit::SUCCESS)
}

/// What a terminal shows that got everything up to a moment.
fn screen(recording: &Recording, at: Duration) -> Result<vt100::Parser> {
    let side = |side| NonZeroU16::new(side).context("a screen without a size");
    let mut terminal =
        vt100::Parser::new(side(recording.size.height)?, side(recording.size.width)?, 0);
    for event in &recording.events {
        if event.at > at {
            break;
        }
        match &event.what {
            What::Output(text) => terminal.process(text.as_bytes()),
            What::Resize(size) => terminal
                .screen_mut()
                .set_size(side(size.height)?, side(size.width)?),
            What::Mark(_) => {}
        }
    }
    Ok(terminal)
}

fn text(screen: &vt100::Screen) -> String {
    let (_, width) = screen.size();
    let rows: Vec<String> = screen
        .rows(0, width.get())
        .map(|row| row.trim_end().to_owned())
        .collect();
    rows.join("\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn recording(events: &str) -> Recording {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        write!(
            file,
            "{{\"version\":2,\"width\":20,\"height\":3}}\n{events}"
        )
        .expect("room");
        Recording::read(file.path()).expect("a recording")
    }

    #[test]
    fn a_moment_is_what_was_on_the_screen_then() {
        let events = concat!(
            "[0.5,\"o\",\"\\u001b[1;1H\\u001b[1;31mone\\u001b[m\"]\n",
            "[2,\"o\",\"\\u001b[2;3H<two> & \\u001b[7mthree\"]\n",
        );
        let recording = recording(events);
        let at = |seconds| screen(&recording, Duration::from_secs(seconds)).expect("a screen");
        assert_eq!(text(at(1).screen()), "one\n\n");
        assert_eq!(text(at(2).screen()), "one\n  <two> & three\n");
        let picture = picture::of(at(2).screen());
        for part in [
            "<svg",
            "font-weight=\"bold\"",
            "&lt;two&gt; &amp; ",
            "</svg>",
        ] {
            assert!(picture.contains(part), "{part} is missing in {picture}");
        }
    }
}
