//! Drawing: pure functions of state, theme and area. Knows no runtime and changes nothing.

mod ascii;
mod balancer;
mod bars;
mod big;
mod cache;
mod canvas;
mod chart;
mod figures;
mod footer;
pub mod format;
mod header;
mod lab;
mod latency;
mod logs;
mod overlay;
mod panels;
mod path;
mod queues;
mod remarks;
mod requests;
mod rows;
mod status;
mod strip;
mod system;
mod table;
pub mod theme;
mod traffic;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
};

use crate::state::{
    State,
    view::{Panel, View},
};
use canvas::Canvas;
pub use canvas::{Target, Targets};
use rows::Detail;
use theme::{Depth, Scheme, Theme};

/// How the console looks in this terminal.
#[derive(Clone, Debug)]
pub struct Look {
    pub theme: Theme,
    scheme: Scheme,
    depth: Depth,
    /// Whether to keep to ASCII.
    pub ascii: bool,
}

impl Look {
    pub fn new(scheme: Scheme, depth: Depth, ascii: bool) -> Self {
        Self {
            theme: Theme::new(scheme, depth),
            scheme,
            depth,
            ascii,
        }
    }

    /// Another theme: the named one, or the next. Its name; none where no theme is called so.
    pub fn change(&mut self, name: Option<&str>) -> Option<&'static str> {
        let scheme = match name {
            Some(name) => Scheme::named(name)?,
            None => self.scheme.next(),
        };
        *self = Self::new(scheme, self.depth, self.ascii);
        Some(scheme.name())
    }
}

/// From here on the panels stand beside the path.
const WIDE: (u16, u16) = (120, 30);

/// From here on the views stand in a line of their own.
const TABS: u16 = 20;

/// Below this there is one line of status and nothing else.
const LEAST: (u16, u16) = (40, 6);

/// Draws everything; what the mouse can reach is returned.
///
/// ```text
/// header   what is wrong, traffic, target
/// tabs     the views, and the time that is looked at
/// body     the view
/// lab      the lab that is being run, if one is
/// notice   what the last action led to (takes the keys' line where lines are few)
/// footer   keys
/// ```
pub fn draw(frame: &mut Frame, state: &State, look: &Look) -> Targets {
    let area = frame.area();
    let mut canvas = Canvas {
        frame,
        state,
        theme: &look.theme,
        ascii: look.ascii,
        targets: Targets::default(),
    };
    if area.width < LEAST.0 || area.height < LEAST.1 {
        header::one_line(canvas.frame, state, &look.theme, area);
    } else {
        let tabs_line = u16::from(area.height >= TABS);
        let notice_line = u16::from(area.height >= WIDE.1);
        let [top, tabs, body, notice, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(tabs_line),
            Constraint::Fill(1),
            Constraint::Length(notice_line),
            Constraint::Length(1),
        ])
        .areas(area);
        header::draw(canvas.frame, state, &look.theme, top);
        if tabs_line > 0 {
            header::tabs(&mut canvas, tabs);
        }
        // The presenter's audience sees the numbers from the back of the room.
        let band = if state.presenter && body.height >= 3 * big::HEIGHT && body.width >= 76 {
            big::HEIGHT
        } else {
            0
        };
        let [numbers, body] =
            Layout::vertical([Constraint::Length(band), Constraint::Fill(1)]).areas(body);
        if band > 0 {
            big::band(&mut canvas, numbers);
        }
        let stage = lab::height(state, body.height);
        let [body, stage] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(stage)]).areas(body);
        if body.height > 0 {
            view(&mut canvas, body);
        }
        lab::draw(&mut canvas, stage);
        if notice_line > 0 {
            footer::keys(&mut canvas, bottom);
            footer::notice(&mut canvas, notice);
        } else if state.notice().is_some() {
            footer::notice(&mut canvas, bottom);
        } else {
            footer::keys(&mut canvas, bottom);
        }
        if state.presenter {
            footer::echo(&mut canvas, bottom);
        }
    }
    overlay::cover(&mut canvas, area);
    overlay::draw(&mut canvas, area);
    if look.ascii {
        ascii::reduce(canvas.buffer());
    }
    canvas.targets
}

/// A text with everything that is not ASCII replaced; shapes keep their meaning.
pub fn ascii(text: &str) -> String {
    ascii::text(text)
}

/// The view, or the one panel of it that fills the screen.
fn view(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let state = canvas.state;
    if state.expanded {
        panel(canvas, state.panel(), area);
        return;
    }
    match state.view {
        View::Overview if area.width >= WIDE.0 && area.height + 7 >= WIDE.1 => wide(canvas, area),
        View::Overview => narrow(canvas, area),
        View::Balancer => balancer::view(canvas, area),
        View::Cache => cache::view(canvas, area),
        View::Queue => queues::view(canvas, area),
        View::Latency => latency::view(canvas, area),
        View::Traffic => traffic::view(canvas, area),
        View::Requests => requests::view(canvas, area),
        View::System => system::view(canvas, area),
        View::Logs => logs::view(canvas, area),
    }
}

/// Draws one panel, whatever room it is given.
fn panel(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect) {
    match panel {
        Panel::Path => {
            let inside = canvas.panel(panel, area, "Request path", "rates over the last 10 s");
            path::draw(canvas, inside, Detail::Queues);
        }
        Panel::RequestRate => panels::requests(canvas, area),
        Panel::HitRatio => panels::cache(canvas, area),
        Panel::Percentiles => panels::latency(canvas, area),
        Panel::Host => panels::host(canvas, area),
        Panel::Log | Panel::Lines => logs::draw(canvas, panel, area, true),
        Panel::Gateways | Panel::Split | Panel::Picks => balancer::panel(canvas, panel, area),
        Panel::CacheRatio | Panel::Misses | Panel::Keys => cache::panel(canvas, panel, area),
        Panel::Queues | Panel::Depth | Panel::DeadLetters => queues::panel(canvas, panel, area),
        Panel::Quantiles | Panel::HeatMap | Panel::Routes => latency::panel(canvas, panel, area),
        Panel::Plan | Panel::TrafficRate | Panel::Calls => traffic::panel(canvas, panel, area),
        Panel::Samples | Panel::Waterfall => requests::panel(canvas, panel, area),
        Panel::Processes | Panel::Machine | Panel::Stores => system::panel(canvas, panel, area),
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
fn wide(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
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
    let inside = canvas.panel(
        Panel::Path,
        left,
        "Request path",
        "rates over the last 10 s",
    );
    path::draw(canvas, inside, detail);
    let [requests, cache, latency, host] = Layout::vertical([
        Constraint::Fill(2),
        Constraint::Fill(1),
        Constraint::Length(6),
        Constraint::Length(4),
    ])
    .areas(right);
    panels::requests(canvas, requests);
    panels::cache(canvas, cache);
    panels::latency(canvas, latency);
    panels::host(canvas, host);
    logs::draw(canvas, Panel::Log, log, true);
}

/// ```text
/// path    client, balancer, gateways, cache, services, queue, stores
/// strip   requests and host, latency cached and not
/// log     what is left
/// ```
fn narrow(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    const LEAST_LOG: u16 = 3;
    let (state, theme) = (canvas.state, canvas.theme);
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
    path::draw(canvas, path, detail);
    strip::draw(canvas.frame, state, theme, strip);
    if log.height >= 2 {
        logs::draw(canvas, Panel::Log, log, false);
    }
}

#[cfg(test)]
mod tests;
