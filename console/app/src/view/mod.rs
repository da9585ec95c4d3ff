//! Drawing: pure functions of state, theme and area. Knows no runtime and changes nothing.

mod ascii;
mod bars;
mod footer;
mod format;
mod header;
mod logs;
mod overlay;
mod panels;
mod path;
mod remarks;
mod rows;
mod status;
mod strip;
pub mod theme;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
};

use crate::state::State;
use rows::Detail;
use theme::Theme;

/// How the console looks in this terminal.
#[derive(Clone, Debug)]
pub struct Look {
    pub theme: Theme,
    /// Whether to keep to ASCII.
    pub ascii: bool,
}

/// From here on the panels stand beside the path.
const WIDE: (u16, u16) = (120, 30);

/// Below this there is one line of status and nothing else.
const LEAST: (u16, u16) = (40, 6);

/// Draws everything.
///
/// ```text
/// header   what is wrong, traffic, target
/// body     the overview
/// notice   what the last action led to (takes the keys' line where lines are few)
/// footer   keys
/// ```
pub fn draw(frame: &mut Frame, state: &State, look: &Look) {
    let area = frame.area();
    let theme = &look.theme;
    if area.width < LEAST.0 || area.height < LEAST.1 {
        header::one_line(frame, state, theme, area);
    } else {
        let notice_line = u16::from(area.height >= WIDE.1);
        let [top, body, notice, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(notice_line),
            Constraint::Length(1),
        ])
        .areas(area);
        header::draw(frame, state, theme, top);
        if area.width >= WIDE.0 && area.height >= WIDE.1 {
            wide(frame, state, theme, body);
        } else {
            narrow(frame, state, theme, body);
        }
        if notice_line > 0 {
            footer::keys(frame, theme, bottom);
            footer::notice(frame, state, theme, notice);
        } else if state.notice().is_some() {
            footer::notice(frame, state, theme, bottom);
        } else {
            footer::keys(frame, theme, bottom);
        }
    }
    overlay::draw(frame, state, theme, area);
    if look.ascii {
        ascii::reduce(frame.buffer_mut());
    }
}

/// ```text
/// ╭ Request path ───────────────╮╭ Requests ─────╮
/// │ client                      ││               │
/// │ balancer                    │├ Cache hits ───┤
/// │ ├─ gateways                 │├ Latency ──────┤
/// │ │  ├─ cache, services, …    │├ Host ─────────┤
/// ╰─────────────────────────────╯╰───────────────╯
/// ╭ Log ─────────────────────────────────────────╮
/// ╰──────────────────────────────────────────────╯
/// ```
fn wide(frame: &mut Frame, state: &State, theme: &Theme, area: Rect) {
    let least_log = (area.height / 5).max(5);
    let most = area.height - least_log;
    let detail = [
        Detail::Queues,
        Detail::Full,
        Detail::Grouped,
        Detail::Gateways,
    ]
    .into_iter()
    .find(|detail| path::height(state, *detail, theme) + 2 <= most)
    .unwrap_or(Detail::Tiers);
    let needed = path::height(state, detail, theme) + 2;
    let height = needed.max(20).min(most);
    let [upper, log] =
        Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
    let side = (area.width * 3 / 10).max(42);
    let [left, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(side)]).areas(upper);
    let title = panels::title(theme, "Request path", "rates over the last 10 s");
    let inside = panels::framed(frame, theme, left, title);
    path::draw(frame, state, theme, inside, detail);
    let [requests, cache, latency, host] = Layout::vertical([
        Constraint::Fill(2),
        Constraint::Fill(1),
        Constraint::Length(6),
        Constraint::Length(4),
    ])
    .areas(right);
    panels::requests(frame, state, theme, requests);
    panels::cache(frame, state, theme, cache);
    panels::latency(frame, state, theme, latency);
    panels::host(frame, state, theme, host);
    logs::draw(frame, state, theme, log, true);
}

/// ```text
/// path    client, balancer, gateways, cache, services, queue, stores
/// strip   requests and host, latency cached and not
/// log     what is left
/// ```
fn narrow(frame: &mut Frame, state: &State, theme: &Theme, area: Rect) {
    const LEAST_LOG: u16 = 3;
    let room = area.height.saturating_sub(strip::HEIGHT + LEAST_LOG);
    let detail = [
        Detail::Queues,
        Detail::Full,
        Detail::Grouped,
        Detail::Gateways,
    ]
    .into_iter()
    .find(|detail| path::height(state, *detail, theme) <= room)
    .unwrap_or(Detail::Tiers);
    let needed = path::height(state, detail, theme);
    let [path, strip, log] = Layout::vertical([
        Constraint::Max(needed),
        Constraint::Length(strip::HEIGHT.min(area.height.saturating_sub(needed))),
        Constraint::Fill(1),
    ])
    .areas(area);
    path::draw(frame, state, theme, path, detail);
    strip::draw(frame, state, theme, strip);
    if log.height >= 2 {
        logs::draw(frame, state, theme, log, false);
    }
}

#[cfg(test)]
mod tests;
