//! The rows of every panel that has some, by key: what the cursor moves over and what is acted on.

use super::{
    State,
    cursor::Cursor,
    instance::Role,
    intent::Intent,
    overlay::{Overlay, Page},
    view::{Panel, View},
};

impl State {
    pub fn cursor(&self, panel: Panel) -> Cursor {
        self.cursors.get(&panel).cloned().unwrap_or_default()
    }

    pub fn cursor_mut(&mut self, panel: Panel) -> &mut Cursor {
        self.cursors.entry(panel).or_default()
    }

    /// The keys of a panel's rows as they are on show: filtered and ordered.
    pub fn rows(&self, panel: Panel) -> Vec<String> {
        let rows = match panel {
            Panel::Path => self.instance_names(|_| true),
            // These are held against the filter as whole rows.
            Panel::Gateways => return keys_of(self.backends(), |row| row.name),
            Panel::Picks => return keys_of(self.picks(), |row| row.key),
            Panel::Routes => return keys_of(self.routes(), |row| row.route),
            Panel::Processes => return keys_of(self.processes(), |process| process.name),
            Panel::Keys => return keys_of(self.keys().keys, |key| key.key),
            Panel::Queues => return keys_of(self.queue_figures(), |figures| figures.queue.name),
            Panel::DeadLetters => return keys_of(self.dead_letters(), |letter| letter.position),
            _ => Vec::new(),
        };
        let filter = self
            .cursors
            .get(&panel)
            .and_then(|cursor| cursor.filter.clone());
        match filter {
            Some(filter) => rows
                .into_iter()
                .filter(|row| filter.lets_through(row))
                .collect(),
            None => rows,
        }
    }

    fn instance_names(&self, wanted: impl Fn(&Role) -> bool) -> Vec<String> {
        self.instances
            .iter()
            .filter(|instance| wanted(&instance.place.role))
            .map(|instance| instance.name().to_owned())
            .collect()
    }

    /// The key of a panel's chosen row.
    pub fn chosen(&self, panel: Panel) -> Option<String> {
        let rows = self.rows(panel);
        self.cursor(panel).chosen(&rows).map(str::to_owned)
    }

    /// Orders the panel's rows by the next of its columns, and after the last in its own order again.
    pub(super) fn sort_by_next(&mut self) {
        let panel = self.panel();
        let columns = Self::sortable(panel);
        let cursor = self.cursor_mut(panel);
        cursor.sort = match cursor.sort {
            None if columns > 0 => Some(0),
            Some(column) if column + 1 < columns => Some(column + 1),
            _ => None,
        };
    }

    /// How many columns a panel's rows can be ordered by.
    fn sortable(panel: Panel) -> usize {
        match panel {
            Panel::Gateways => super::balancer::COLUMNS,
            Panel::Routes => super::latency::COLUMNS,
            Panel::Processes => super::system::PROCESS_COLUMNS,
            Panel::Keys => super::cache::KEY_COLUMNS,
            Panel::Queues => super::queue::QUEUE_COLUMNS,
            Panel::DeadLetters => super::queue::LETTER_COLUMNS,
            _ => 0,
        }
    }

    /// Looks into what is chosen.
    pub(super) fn open(&mut self) {
        let panel = self.panel();
        match panel {
            Panel::Path => {
                let Some(name) = self.chosen(Panel::Path) else {
                    return;
                };
                let role = self
                    .instance(&name)
                    .map(|instance| instance.place.role.clone());
                let (panel, view) = match role {
                    Some(Role::Gateway | Role::Balancer) => (Panel::Gateways, View::Balancer),
                    Some(Role::Cache) => (Panel::Keys, View::Cache),
                    Some(Role::Queue) => (Panel::Queues, View::Queue),
                    _ => (Panel::Processes, View::System),
                };
                self.go(view);
                self.focus_on(panel);
                self.cursor_mut(panel).choose(&name);
            }
            Panel::RequestRate => self.go(View::Traffic),
            Panel::HitRatio => self.go(View::Cache),
            Panel::Percentiles => self.go(View::Latency),
            Panel::Host => self.go(View::System),
            Panel::Log => self.go(View::Logs),
            Panel::Lines => self.logs.follow_request(),
            _ => match self.page(panel) {
                Some(page) => self.overlay = Some(Overlay::Text(page)),
                None if !self.expanded => self.intend(Intent::Expand),
                None => {}
            },
        }
    }

    /// The whole of a panel's chosen row, to read.
    fn page(&self, panel: Panel) -> Option<Page> {
        match panel {
            Panel::Gateways => self.backend_page(&self.chosen(panel)?),
            Panel::Picks => self.pick_page(&self.chosen(panel)?),
            Panel::Keys => self.key_page(),
            Panel::Queues => self.queue_page(),
            Panel::DeadLetters => self.letter_page(),
            Panel::Processes => self.process_page(),
            _ => None,
        }
    }

    /// What is copied: the chosen row, or the chosen line of the log.
    pub(super) fn copied(&self) -> Option<String> {
        let panel = self.panel();
        match panel {
            Panel::Log | Panel::Lines => self.logs.chosen_text(),
            _ => {
                let rows = self.rows(panel);
                let meant = self.cursor(panel).meant(&rows).join("\n");
                (!meant.is_empty()).then_some(meant)
            }
        }
    }
}

fn keys_of<T>(rows: Vec<T>, key: impl Fn(T) -> String) -> Vec<String> {
    rows.into_iter().map(key).collect()
}
