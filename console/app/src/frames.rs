//! How long frames take, for benchmarks: the real wire, model and views, drawn without a terminal.

use std::time::{Duration, Instant};

use ratatui::layout::Size;
use tokio_util::sync::CancellationToken;

use crate::{
    Options, net,
    state::{State, view::View},
    terminal, view,
};

/// Between two frames: as often as the console draws at most.
const BETWEEN: Duration = Duration::from_millis(100);

/// Follows the lab and draws so many frames of `width` and `height` cells with what has come since the last one, first without
/// showing anything for `warm_up`. The views take turns. How long each frame took to build, to compare with the one before and
/// to encode.
pub async fn time_frames(
    options: Options,
    (width, height): (u16, u16),
    warm_up: Duration,
    count: usize,
) -> anyhow::Result<Vec<Duration>> {
    let stop = CancellationToken::new();
    let look = options.look(|name| match name {
        "TERM" => Some("xterm-256color".to_owned()),
        "LANG" => Some("C.UTF-8".to_owned()),
        _ => None,
    });
    let mut wire = net::Wire::start(
        options.topology.clone(),
        options.rights()?,
        None,
        stop.clone(),
    )?;
    let mut state = State::default();
    let mut terminal = terminal::unseen(Size::new(width, height))?;
    let started = Instant::now();
    let mut times = Vec::with_capacity(count);
    while times.len() < count {
        let until = Instant::now() + BETWEEN;
        loop {
            state.tick(started.elapsed());
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => break,
                Some(update) = wire.updates.recv() => state.apply(update),
                Some(line) = wire.lines.recv() => state.log(line),
            }
        }
        if started.elapsed() < warm_up {
            continue;
        }
        // A view is drawn several times before the next has its turn: whole changes are rare.
        if times.len().is_multiple_of(10) {
            state.go(View::ALL[times.len() / 10 % View::ALL.len()]);
        }
        wire.wanted.send_replace(state.wanted());
        let begun = Instant::now();
        terminal.draw(|frame| drop(view::draw(frame, &state, &look)))?;
        times.push(begun.elapsed());
    }
    stop.cancel();
    wire.close().await;
    Ok(times)
}
