//! From keys to what they do: to the console here, to the lab as commands for the world.

use actions::{Action, Danger};
use crossterm::event::KeyCode;

use super::{
    BURST, Command, State,
    details::Topic,
    editor::Editor,
    intent::Intent,
    logs::Direction,
    overlay::{Answer, Choice, FilterLine, Overlay, Page, Palette, Question, Reading, scrolled},
    traffic::Notice,
    view::{Panel, View},
};
use crate::keys::{Chord, Found};

/// Rows of a page.
const PAGE: isize = 10;

impl State {
    /// A key was pressed.
    pub fn key(&mut self, chord: Chord) {
        // A terminal sends Alt and a key as Escape and the key. Where Alt means nothing, it was Escape and then the key.
        if let Some(rest) = chord.without_alt()
            && (self.overlay.is_some() || self.keymap.find(&[chord]) == Found::Nothing)
        {
            self.key(Chord::new(KeyCode::Esc.into()));
            self.key(rest);
            return;
        }
        if self.presenter {
            let printed = crate::keys::print(&[chord]);
            self.pressed.push((self.now, printed));
            if self.pressed.len() > 8 {
                self.pressed.remove(0);
            }
        }
        if self.overlay.is_some() && !self.is_always(chord) {
            self.overlay_key(chord);
            return;
        }
        if self.pending.is_empty() && self.lab_key(chord) {
            return;
        }
        self.pending.push(chord);
        match self.keymap.find(&self.pending) {
            Found::Prefix => {}
            Found::Nothing if self.pending.len() > 1 => {
                // No such sequence: the key counts for itself.
                self.pending.clear();
                self.key(chord);
            }
            Found::Nothing => self.pending.clear(),
            Found::Intent(intent) => {
                self.pending.clear();
                self.intend(intent);
            }
        }
    }

    /// Whether a key works under every overlay.
    fn is_always(&self, chord: Chord) -> bool {
        let always = [Intent::Quit, Intent::Repaint, Intent::Suspend];
        let Found::Intent(intent) = self.keymap.find(&[chord]) else {
            return false;
        };
        always.contains(&intent) && chord.plain().is_none()
    }

    /// Text that was pasted goes where text is typed, and nowhere else.
    pub fn paste(&mut self, text: &str) {
        match &mut self.overlay {
            Some(Overlay::Palette(palette)) => palette.line.paste(text),
            Some(Overlay::Filter(filter)) => {
                filter.line.paste(text);
                self.try_filter();
            }
            Some(Overlay::Help(help)) => help.search.paste(text),
            Some(Overlay::Confirm(question)) => question.typed.paste(text),
            _ => {}
        }
    }

    /// Keys that begin a sequence, and the last keys for the presenter's audience.
    pub fn echo(&self) -> impl Iterator<Item = &str> {
        self.pressed.iter().map(|(_, key)| key.as_str())
    }

    /// The panel that keys move about in.
    pub fn panel(&self) -> Panel {
        let panels = self.view.panels();
        let focus = self.focus.get(&self.view).copied().unwrap_or(0);
        panels[focus.min(panels.len() - 1)]
    }

    pub fn has_focus(&self, panel: Panel) -> bool {
        self.panel() == panel
    }

    pub fn focus_on(&mut self, panel: Panel) {
        for view in View::ALL {
            if let Some(place) = view.panels().iter().position(|own| *own == panel) {
                self.go(view);
                self.focus.insert(view, place);
            }
        }
    }

    pub fn go(&mut self, view: View) {
        if view == self.view {
            return;
        }
        self.trail.retain(|came_from| *came_from != view);
        if view == View::Overview {
            self.trail.clear();
        } else {
            self.trail.push(self.view);
        }
        self.view = view;
        self.expanded = false;
    }

    /// Does what a key or a line of the palette means.
    pub fn intend(&mut self, intent: Intent) {
        match intent {
            Intent::Go(view) => self.go(view),
            Intent::NextPanel => self.turn(1),
            Intent::PreviousPanel => self.turn(-1),
            Intent::Up => self.step(-1),
            Intent::Down => self.step(1),
            Intent::PageUp => self.step(-PAGE),
            Intent::PageDown => self.step(PAGE),
            Intent::First => self.step(isize::MIN / 2),
            Intent::Last => self.step(isize::MAX / 2),
            Intent::Left if self.panel() == Panel::Calls => self.change_call_weight(-1),
            Intent::Right if self.panel() == Panel::Calls => self.change_call_weight(1),
            Intent::Left | Intent::Earlier => self.sight.scrub(1, self.now),
            Intent::Right | Intent::Later => self.sight.scrub(-1, self.now),
            Intent::Open => self.open(),
            Intent::Close => self.close(),
            Intent::Back => {
                if !self.out() {
                    self.commands.push(Command::Quit);
                }
            }
            Intent::Quit => self.commands.push(Command::Quit),
            Intent::Help => self.overlay = Some(Overlay::Help(Reading::default())),
            Intent::Palette => self.overlay = Some(Overlay::Palette(Palette::default())),
            Intent::Filter => self.begin_filter(),
            Intent::NextMatch => self.logs.seek_match(Direction::Later),
            Intent::PreviousMatch => self.logs.seek_match(Direction::Earlier),
            Intent::Freeze => self.sight.toggle(self.now),
            Intent::Expand if self.panel() == Panel::Lines => self.open_line(),
            Intent::Expand => self.expanded = !self.expanded,
            Intent::Wider => self.sight.wider(),
            Intent::Narrower => self.sight.narrower(),
            Intent::Mark => {
                let (panel, rows) = (self.panel(), self.rows(self.panel()));
                self.cursor_mut(panel).mark(&rows);
            }
            Intent::Sort => self.sort_by_next(),
            Intent::Reverse => {
                let panel = self.panel();
                let cursor = self.cursor_mut(panel);
                cursor.reversed = !cursor.reversed;
            }
            Intent::Menu => self.open_menu(),
            Intent::TrafficMenu => self.open_traffic_menu(),
            Intent::Recharge => self.ask(Action::Recharge {
                card: None,
                amount: None,
            }),
            Intent::Burst => self.ask(Action::Burst { requests: BURST }),
            Intent::ToggleTraffic if self.traffic.is_on() => self.ask(Action::StopTraffic),
            Intent::ToggleTraffic => {
                let plan = self.traffic.plan().clone();
                self.ask(Action::Traffic(plan));
            }
            Intent::Slower => self.change_rate(-1),
            Intent::Faster => self.change_rate(1),
            Intent::StopTraffic => self.ask(Action::StopTraffic),
            Intent::Call => self.begin_call("call GET /"),
            Intent::WeightUp if self.view == View::Traffic => self.change_call_weight(1),
            Intent::WeightDown if self.view == View::Traffic => self.change_call_weight(-1),
            Intent::WeightUp => self.change_weight(1),
            Intent::WeightDown => self.change_weight(-1),
            Intent::Undo => match self.journal.take_undo() {
                Some(action) => self.act(action),
                None => self.notify(Notice::info("there is nothing to undo")),
            },
            Intent::StopEverything => self.ask(Action::StopEverything),
            Intent::Level => self.logs.cycle_threshold(),
            Intent::NextError => {
                self.seek(|logs| logs.seek_error(Direction::Later), "no later error");
            }
            Intent::PreviousError => {
                self.seek(
                    |logs| logs.seek_error(Direction::Earlier),
                    "no earlier error",
                );
            }
            Intent::NextOfRequest | Intent::PreviousOfRequest if self.view == View::Requests => {
                self.follow_sample();
            }
            Intent::NextOfRequest => self.seek(
                |logs| logs.seek_request(Direction::Later),
                "no later line of this request",
            ),
            Intent::PreviousOfRequest => self.seek(
                |logs| logs.seek_request(Direction::Earlier),
                "no earlier line of this request",
            ),
            Intent::Wrap => self.logs.wrap = !self.logs.wrap,
            Intent::Copy => match self.copied() {
                Some(text) => self.commands.push(Command::Copy(text)),
                None => self.notify(Notice::info("there is nothing chosen to copy")),
            },
            Intent::Mouse => {
                self.mouse = !self.mouse;
                self.commands.push(Command::Mouse(self.mouse));
                let text = if self.mouse {
                    "mouse on: the terminal's own selection needs Shift now"
                } else {
                    "mouse off"
                };
                self.notify(Notice::info(text));
            }
            Intent::Journal => self.overlay = Some(Overlay::Journal { scroll: 0 }),
            Intent::Marks => self.overlay = Some(Overlay::Marks { scroll: 0 }),
            Intent::Labs => self.labs(),
            Intent::Presenter => self.presenter = !self.presenter,
            Intent::NextTheme => self.commands.push(Command::NextTheme),
            Intent::Export => {
                self.overlay = Some(Overlay::Palette(Palette {
                    line: Editor::with("export recarga.html"),
                    ..Palette::default()
                }));
            }
            Intent::Reset => self.reset(),
            Intent::Repaint => self.commands.push(Command::Repaint),
            Intent::Suspend => self.commands.push(Command::Suspend),
        }
    }

    /// Asks for an action: at once if it is safe, after a question otherwise.
    pub fn ask(&mut self, action: Action) {
        if self.read_only && action.changes() {
            self.notify(Notice::bad(
                "this console is read-only: start it without --read-only to act",
            ));
            return;
        }
        match action.danger() {
            Danger::None => self.act(action),
            Danger::Confirm | Danger::Typed(_) => {
                self.commands.push(Command::Weigh(action.clone()));
                self.overlay = Some(Overlay::Confirm(Question::new(action)));
            }
        }
    }

    /// Does an action that has been agreed to.
    fn act(&mut self, action: Action) {
        match &action {
            Action::Traffic(plan) => self.traffic.start(plan.clone()),
            Action::TrafficRate(rate) => self.traffic.set_rate(*rate),
            Action::TrafficMix(mix) if self.traffic.is_on() => self.traffic.set_mix(mix.clone()),
            Action::StopTraffic | Action::StopEverything => self.traffic.stop(),
            _ => self.notify(Notice::busy(format!("{action} …"))),
        }
        let number = self.journal.begin(action.clone(), self.clock(self.now));
        self.commands.push(Command::Do { number, action });
    }

    fn change_rate(&mut self, steps: i32) {
        let rate = self.traffic.stepped(steps);
        if self.traffic.is_on() {
            self.ask(Action::TrafficRate(rate));
        } else {
            self.traffic.set_rate(rate);
            self.notify(Notice::info(format!(
                "traffic would run at {rate}/s; {} starts it",
                self.keymap.key_of(Intent::TrafficMenu)
            )));
        }
    }

    fn turn(&mut self, by: isize) {
        let count = self.view.panels().len();
        let focus = self.focus.entry(self.view).or_default();
        *focus = focus.wrapping_add_signed(by).wrapping_add(count) % count;
    }

    fn step(&mut self, by: isize) {
        let panel = self.panel();
        if matches!(panel, Panel::Log | Panel::Lines) {
            self.logs.scroll(-by);
            return;
        }
        let rows = self.rows(panel);
        let far = by.unsigned_abs() >= PAGE.unsigned_abs();
        if self.view == View::Overview && far {
            // The log is always in sight there.
            self.logs.scroll(-by);
            return;
        }
        self.cursor_mut(panel).step(&rows, by);
    }

    fn seek(&mut self, seek: impl FnOnce(&mut super::Logs) -> bool, none: &str) {
        self.go(View::Logs);
        if !seek(&mut self.logs) {
            self.notify(Notice::info(none));
        }
    }

    /// Closes the topmost thing; Esc never quits.
    fn close(&mut self) {
        if !self.out() {
            self.notice = None;
        }
    }

    /// One step out: an expanded panel, a request that is followed, a filter, a frozen moment, a view. False on the bare overview.
    fn out(&mut self) -> bool {
        let panel = self.panel();
        if self.expanded {
            self.expanded = false;
        } else if matches!(panel, Panel::Lines) && self.logs.stop_following_request() {
        } else if self.cursors.get(&panel).is_some_and(|c| c.filter.is_some()) {
            self.cursor_mut(panel).filter = None;
        } else if self.sight.is_frozen() {
            self.sight.toggle(self.now);
        } else if let Some(view) = self.trail.pop() {
            self.view = view;
        } else if self.view != View::Overview {
            self.view = View::Overview;
        } else {
            return false;
        }
        true
    }

    fn reset(&mut self) {
        for instance in &mut self.instances {
            instance.history = super::history::History::default();
        }
        self.charts = super::Charts::default();
        self.marks
            .add(self.now, super::Kind::Action, "statistics begun anew");
        self.notify(Notice::info("statistics begin anew"));
    }

    fn begin_filter(&mut self) {
        let panel = match self.view {
            View::Overview => Panel::Log,
            _ => self.panel(),
        };
        let before = self.filter_text(panel);
        self.overlay = Some(Overlay::Filter(FilterLine {
            panel,
            line: Editor::with(&before),
            before,
        }));
    }

    fn filter_text(&self, panel: Panel) -> String {
        if matches!(panel, Panel::Log | Panel::Lines) {
            return self.logs.filter_text();
        }
        let filter = self.cursors.get(&panel).and_then(|c| c.filter.as_ref());
        filter.map_or_else(String::new, |filter| filter.text().to_owned())
    }

    pub(super) fn set_filter(&mut self, panel: Panel, text: &str) {
        if matches!(panel, Panel::Log | Panel::Lines) {
            self.logs.set_filter(text);
        } else {
            self.cursor_mut(panel).filter = super::cursor::Filter::new(text);
        }
    }

    fn try_filter(&mut self) {
        if let Some(Overlay::Filter(filter)) = &self.overlay {
            let (panel, text) = (filter.panel, filter.line.text().to_owned());
            self.set_filter(panel, &text);
        }
    }

    fn overlay_key(&mut self, chord: Chord) {
        let Some(mut overlay) = self.overlay.take() else {
            return;
        };
        let closes = chord.code() == KeyCode::Esc;
        let stays = match &mut overlay {
            Overlay::Help(help) => {
                if let Some(scroll) = scrolled(help.scroll, chord) {
                    help.scroll = scroll;
                    true
                } else if closes
                    || matches!(chord.code(), KeyCode::Enter | KeyCode::F(1))
                    || help.search.text().is_empty() && matches!(chord.plain(), Some('?' | 'q'))
                {
                    false
                } else {
                    help.scroll = 0;
                    help.search.key(chord)
                }
            }
            Overlay::Journal { scroll }
            | Overlay::Marks { scroll }
            | Overlay::Text(Page { scroll, .. }) => {
                let moved = match chord.plain() {
                    Some('j') => Some(scroll.saturating_add(1)),
                    Some('k') => Some(scroll.saturating_sub(1)),
                    _ => scrolled(*scroll, chord),
                };
                if let Some(to) = moved {
                    *scroll = to;
                }
                if chord.plain() == Some('y')
                    && let Overlay::Text(page) = &overlay
                {
                    self.commands.push(Command::Copy(page.lines.join("\n")));
                }
                moved.is_some()
            }
            Overlay::Menu(menu) => match menu.key(chord) {
                Some(choice) => {
                    self.chose(choice);
                    return;
                }
                None => !closes && chord.plain() != Some('q'),
            },
            Overlay::Confirm(question) => match question.key(chord) {
                Answer::Wait => true,
                Answer::Do => {
                    let action = question.action.clone();
                    self.act(action);
                    return;
                }
                Answer::Cancel => {
                    let text = format!("cancelled: {} was not done", question.action);
                    self.notify(Notice::info(text));
                    false
                }
            },
            Overlay::Filter(filter) => {
                if closes {
                    let (panel, before) = (filter.panel, filter.before.clone());
                    self.set_filter(panel, &before);
                    false
                } else if chord.code() == KeyCode::Enter {
                    false
                } else {
                    filter.line.key(chord);
                    let (panel, text) = (filter.panel, filter.line.text().to_owned());
                    self.set_filter(panel, &text);
                    true
                }
            }
            Overlay::Palette(palette) => {
                let mut palette = std::mem::take(palette);
                self.palette_key(&mut palette, chord);
                return;
            }
        };
        // A step that was taken may have opened something else.
        if stays && self.overlay.is_none() {
            self.overlay = Some(overlay);
        }
    }

    pub(super) fn chose(&mut self, choice: Choice) {
        match choice {
            Choice::Act(action) => self.ask(action),
            Choice::Intend(intent) => self.intend(intent),
            Choice::Lab(name) => self.start_lab(name),
            Choice::Menu(menu) => self.overlay = Some(Overlay::Menu(menu)),
            Choice::Type(line) => {
                self.overlay = Some(Overlay::Palette(Palette {
                    line: Editor::with(&line),
                    ..Palette::default()
                }));
            }
        }
    }

    /// What must be asked of the lab for what is on the screen now.
    pub fn wanted(&self) -> std::collections::BTreeSet<Topic> {
        let mut wanted = std::collections::BTreeSet::new();
        if self.sight.is_frozen() {
            return wanted;
        }
        match self.view {
            View::Balancer => {
                wanted.insert(Topic::Upstreams);
                wanted.insert(Topic::Balancing);
                wanted.insert(Topic::Picks);
            }
            View::Cache => {
                wanted.insert(Topic::Keys(self.key_prefix()));
            }
            View::Queue => {
                wanted.insert(Topic::Queues);
                if let Some(queue) = self.chosen(Panel::Queues) {
                    wanted.insert(Topic::DeadLetters(queue));
                }
            }
            View::Requests => {
                wanted.insert(Topic::Requests);
            }
            View::Overview | View::Latency | View::Traffic | View::Logs | View::System => {}
        }
        wanted
    }
}
