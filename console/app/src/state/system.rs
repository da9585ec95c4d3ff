//! Processes, machine and stores: what each of them uses, and of how much.

use std::time::Duration;

use super::{
    Moment, State,
    alerts::age,
    instance::{Instance, Status, Supervised},
    lens::Lens,
    overlay::Page,
    overview::{Ratio, Store},
    sample::{Counter, Gauge, Keeper, Level, Sum},
    series::Series,
    view::Panel,
};

/// One process; what it does not say is unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    pub name: String,
    pub status: Status,
    /// Of one core.
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
    pub threads: Option<f64>,
    pub files: Option<f64>,
    pub most_files: Option<f64>,
    pub sockets: Option<f64>,
    pub restarts: u32,
    pub uptime: Option<Duration>,
    pub version: Option<String>,
    pub log_level: Option<String>,
    pub faults: usize,
    /// Seconds until the last of its faults ends; none where one of them stays.
    pub faults_left: Option<u64>,
}

impl Process {
    /// Of the files that it may open, those that it has, 0 to 1.
    pub fn files_part(&self) -> Option<f64> {
        let most = self.most_files.filter(|most| *most > 0.0)?;
        Some(self.files? / most)
    }

    fn text(&self) -> String {
        let status = match &self.status {
            Status::Starting => "starting",
            Status::Up => "up",
            Status::NotReady(_) => "not ready",
            Status::Draining => "draining",
            Status::Stale(_) => "stale",
            Status::Down { .. } => "down",
        };
        format!(
            "{} {status} {} {} {}",
            self.name,
            self.version.as_deref().unwrap_or_default(),
            self.log_level.as_deref().unwrap_or_default(),
            if self.faults > 0 { "fault" } else { "" },
        )
    }
}

/// Columns of the table of processes that it can be ordered by.
pub const PROCESS_COLUMNS: usize = 12;

/// What the console itself uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own {
    /// When it was read last, and the processor's seconds then.
    read: Option<(Moment, f64)>,
    /// Of one core.
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
}

/// What PostgreSQL says of itself, by the word of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Postgres {
    pub connections: Vec<(String, f64)>,
    pub most_connections: Option<f64>,
    /// Per second.
    pub committed: Option<f64>,
    pub rolled_back: Option<f64>,
    /// Blocks found in its memory, over the chart window.
    pub found: Option<Ratio>,
    pub locks_waiting: Option<f64>,
    /// Seconds.
    pub oldest_transaction: Option<f64>,
    pub bytes: Option<f64>,
    /// Bytes per second.
    pub wal: Option<f64>,
    pub temporary: Option<f64>,
    /// Over the chart window.
    pub deadlocks: Option<f64>,
    pub checkpoints: Option<f64>,
}

/// What a Redis says of itself, by the word of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redis {
    pub bytes: Option<f64>,
    pub resident: Option<f64>,
    /// None where there is no limit, or none is known.
    pub most_bytes: Option<f64>,
    pub keys: Option<f64>,
    pub clients: Option<f64>,
    pub blocked: Option<f64>,
    /// Per second.
    pub commands: Option<f64>,
    pub expired: Option<f64>,
    pub received: Option<f64>,
    pub sent: Option<f64>,
    /// Over the chart window.
    pub found: Option<Ratio>,
    pub evicted: Option<f64>,
    pub rejected: Option<f64>,
    pub delayed_syncs: Option<f64>,
    pub aof: Option<bool>,
    pub aof_ok: Option<bool>,
    pub aof_bytes: Option<f64>,
    pub snapshot_ok: Option<bool>,
    /// Seconds.
    pub last_fork: Option<f64>,
}

impl State {
    fn process(&self, instance: &Instance) -> Process {
        let at = self.at();
        let gauge = |gauge: Gauge| instance.gauge(&gauge, at);
        let fresh = instance.is_fresh(at);
        let info = &instance.info;
        let told = |text: &Option<String>| text.clone().filter(|_| fresh);
        let left: Option<Vec<u64>> = info.faults_told.iter().map(|(_, left)| *left).collect();
        let since = self.now.saturating_sub(at);
        Process {
            name: instance.name().to_owned(),
            status: instance.status(at),
            cpu: instance.rate(&Counter::CpuSeconds, self.lens()),
            memory: gauge(Gauge::ResidentBytes),
            threads: gauge(Gauge::Threads),
            files: gauge(Gauge::OpenFiles),
            most_files: gauge(Gauge::MostFiles),
            sockets: gauge(Gauge::Sockets),
            restarts: instance.place.restarts,
            uptime: info
                .uptime_seconds
                .filter(|_| fresh)
                .and_then(|seconds| Duration::from_secs(seconds).checked_sub(since)),
            version: told(&info.version),
            log_level: told(&info.log_level),
            faults: instance.faults(at),
            faults_left: left
                .and_then(|left| left.into_iter().max())
                .filter(|_| fresh),
        }
    }

    /// The processes on show, filtered and ordered.
    pub fn processes(&self) -> Vec<Process> {
        let cursor = self.cursors.get(&Panel::Processes);
        let filter = cursor.and_then(|cursor| cursor.filter.as_ref());
        let mut processes: Vec<Process> = self
            .instances
            .iter()
            .map(|instance| self.process(instance))
            .filter(|process| filter.is_none_or(|filter| filter.lets_through(&process.text())))
            .collect();
        let (sort, reversed) = cursor.map_or((None, false), |c| (c.sort, c.reversed));
        let number = |process: &Process| {
            let value = match sort {
                Some(1) => Some(f64::from(weight(&process.status))),
                Some(2 | 3) => process.cpu,
                Some(4) => process.memory,
                Some(5) => process.files,
                Some(6) => process.sockets,
                Some(7) => process.threads,
                Some(8) => Some(f64::from(process.restarts)),
                Some(9) => process.uptime.map(|uptime| uptime.as_secs_f64()),
                Some(11) => Some(process.faults as f64),
                _ => None,
            };
            value.unwrap_or(-1.0)
        };
        match sort {
            None => {}
            Some(0) => processes.sort_by(|a, b| a.name.cmp(&b.name)),
            Some(10) => processes.sort_by(|a, b| a.log_level.cmp(&b.log_level)),
            // The greatest first.
            Some(_) => processes.sort_by(|a, b| number(b).total_cmp(&number(a))),
        }
        if reversed {
            processes.reverse();
        }
        processes
    }

    /// Everything known of the chosen process, to read.
    pub(super) fn process_page(&self) -> Option<Page> {
        let name = self.chosen(Panel::Processes)?;
        let instance = self.instance(&name)?;
        let process = self.process(instance);
        let info = &instance.info;
        let unknown = || "–".to_owned();
        let text = |text: &Option<String>| text.clone().unwrap_or_else(unknown);
        let whole = |value: Option<f64>| value.map_or_else(unknown, |value| format!("{value:.0}"));
        let mebibytes = |value: Option<f64>| {
            value.map_or_else(unknown, |bytes| format!("{:.1} MiB", bytes / 1_048_576.0))
        };
        let supervised = match instance.place.supervised {
            Supervised::Unknown => "nobody here",
            Supervised::Starting => "the supervisor: starting",
            Supervised::Running => "the supervisor: running",
            Supervised::Restarting => "the supervisor: restarting",
            Supervised::Stopped => "the supervisor: stopped",
        };
        let cpu = process
            .cpu
            .map_or_else(unknown, |cpu| format!("{:.1}% of a core", cpu * 100.0));
        let uptime = process.uptime.map(|uptime| age(uptime.as_secs()));
        let mut lines = vec![
            format!("role          {}", instance.place.role.name()),
            format!("state         {}", described(&process.status)),
            format!("version       {}", text(&info.version)),
            format!("pid           {}", whole(info.pid.map(|pid| pid as f64))),
            format!("up for        {}", text(&uptime)),
            format!("admin         {}", instance.place.admin),
            format!("listens on    {}", text(&instance.place.listen)),
            format!("started by    {supervised}"),
            format!("restarts      {}", process.restarts),
            format!("log level     {}", text(&info.log_level)),
            String::new(),
            format!("cpu           {cpu}"),
            format!("memory        {}", mebibytes(process.memory)),
            format!("threads       {}", whole(process.threads)),
            format!(
                "files         {} of {}",
                whole(process.files),
                whole(process.most_files)
            ),
            format!("sockets       {}", whole(process.sockets)),
            format!(
                "tasks         {}",
                whole(instance.gauge(&Gauge::RuntimeTasks, self.at()))
            ),
            format!(
                "in flight     {}",
                whole(instance.gauge(&Gauge::InFlight, self.at()))
            ),
        ];
        let mut block = |title: &str, told: Vec<String>, none: &str| {
            lines.extend([String::new(), title.to_owned()]);
            if told.is_empty() {
                lines.push(format!("  {none}"));
            }
            lines.extend(told.into_iter().map(|line| format!("  {line}")));
        };
        let checks = info.checks.iter().map(|(name, ok)| {
            let (glyph, word) = if *ok {
                ("●", "good")
            } else {
                ("✖", "failed")
            };
            format!("{glyph} {name}: {word}")
        });
        block("Checks", checks.collect(), "none");
        let faults = info.faults_told.iter().map(|(text, left)| match left {
            Some(left) => format!("↯ {text}, ends in {left} s"),
            None => format!("↯ {text}, until it is cleared"),
        });
        block("Faults on purpose", faults.collect(), "none");
        let levers = info
            .levers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"));
        block("Levers", levers.collect(), "none told");
        if !info.safeguards_off.is_empty() {
            let off = info.safeguards_off.iter().map(|(name, left)| match left {
                Some(left) => format!("▲ {name}, comes back in {left} s"),
                None => format!("▲ {name}, until the process ends"),
            });
            block("Safeguards switched off", off.collect(), "none");
        }
        let lives: Vec<String> = instance
            .lives()
            .rev()
            .take(20)
            .map(|(since, status)| {
                let clock = self.clock(*since).format("%H:%M:%S");
                format!("{clock}  {}", described(status))
            })
            .collect();
        block(
            "Changes of state, the last one first (UTC)",
            lives,
            "none seen",
        );
        Some(Page {
            title: name,
            lines,
            scroll: 0,
        })
    }

    /// Takes in what this process has used so far: seconds of processor time, and bytes.
    pub fn used(&mut self, cpu_seconds: f64, resident_bytes: u64) {
        let now = self.now;
        // Where the operating system tells nothing, all is zero.
        if resident_bytes == 0 {
            return;
        }
        self.own.memory = Some(resident_bytes as f64);
        match self.own.read {
            Some((at, before)) => {
                let seconds = now.saturating_sub(at).as_secs_f64();
                if seconds < 0.5 {
                    return;
                }
                self.own.cpu = Some(((cpu_seconds - before) / seconds).max(0.0));
            }
            None => self.own.cpu = None,
        }
        self.own.read = Some((now, cpu_seconds));
        let second = now.as_secs();
        self.charts.put(Series::OwnCpu, second, self.own.cpu);
        self.charts.put(Series::OwnMemory, second, self.own.memory);
    }

    /// What the console used at the moment that is looked at.
    pub fn own(&self) -> (Option<f64>, Option<f64>) {
        let value = |series| self.charts.value(&series, self.lens());
        (value(Series::OwnCpu), value(Series::OwnMemory))
    }

    /// Who tells of a store: the first of those that do.
    fn teller(&self, gauge: &Gauge) -> Option<&Instance> {
        let at = self.at();
        self.instances
            .iter()
            .find(|instance| instance.gauge(gauge, at).is_some())
    }

    /// PostgreSQL's vitals; none where nobody tells of them.
    pub fn postgres(&self) -> Option<Postgres> {
        let teller = self.teller(&Gauge::Postgres(Level::Bytes))?;
        let (now, wide) = (self.lens(), self.wide_lens());
        let level = |level| teller.gauge(&Gauge::Postgres(level), now.at);
        let rate = |sum, lens: Lens| teller.rate(&Counter::Postgres(sum), lens);
        let grown = |sum| teller.grown(&Counter::Postgres(sum), wide);
        let states = teller.history.gauges().keys().filter_map(|gauge| {
            let Gauge::Postgres(Level::Connections(state)) = gauge else {
                return None;
            };
            let count = teller.gauge(gauge, now.at)?;
            Some((super::logs::printable(state), count))
        });
        Some(Postgres {
            connections: states.collect(),
            most_connections: level(Level::MostConnections),
            committed: rate(Sum::Committed, now),
            rolled_back: rate(Sum::RolledBack, now),
            found: ratio(grown(Sum::Found), grown(Sum::Missing)),
            locks_waiting: level(Level::LocksWaiting),
            oldest_transaction: level(Level::OldestTransaction),
            bytes: level(Level::Bytes),
            wal: rate(Sum::WalBytes, now),
            temporary: rate(Sum::TemporaryBytes, now),
            deadlocks: grown(Sum::Deadlocks),
            checkpoints: grown(Sum::Checkpoints),
        })
    }

    /// A Redis' vitals; none where nobody tells of them.
    pub fn redis(&self, keeper: Keeper) -> Option<Redis> {
        let teller = self.teller(&Gauge::Redis(keeper, Level::Bytes))?;
        let (now, wide) = (self.lens(), self.wide_lens());
        let level = |level| teller.gauge(&Gauge::Redis(keeper, level), now.at);
        let word = |of| level(of).map(|value| value > 0.0);
        let rate = |sum| teller.rate(&Counter::Redis(keeper, sum), now);
        let grown = |sum| teller.grown(&Counter::Redis(keeper, sum), wide);
        Some(Redis {
            bytes: level(Level::Bytes),
            resident: level(Level::ResidentBytes),
            most_bytes: level(Level::MostBytes).filter(|most| *most > 0.0),
            keys: level(Level::Keys),
            clients: level(Level::Connections(String::new())),
            blocked: level(Level::Blocked),
            commands: rate(Sum::Commands),
            expired: rate(Sum::Expired),
            received: rate(Sum::ReceivedBytes),
            sent: rate(Sum::SentBytes),
            found: ratio(grown(Sum::Found), grown(Sum::Missing)),
            evicted: grown(Sum::Evicted),
            rejected: grown(Sum::Rejected),
            delayed_syncs: grown(Sum::DelayedSyncs),
            aof: word(Level::AofEnabled),
            aof_ok: word(Level::AofOk),
            aof_bytes: level(Level::AofBytes),
            snapshot_ok: word(Level::SnapshotOk),
            last_fork: level(Level::LastFork),
        })
    }

    /// Whether the queue has a Redis of its own, as far as anybody tells.
    pub fn queue_has_own_store(&self) -> bool {
        self.store(&Gauge::QueueRedisUp) != Store::Unknown
    }

    /// What the charts of the machine keep of this second.
    pub(super) fn chart_machine(&self, put: &mut Vec<(Series, Option<f64>)>) {
        put.push((Series::HostMemory, self.host().memory_used));
    }
}

fn ratio(part: Option<f64>, rest: Option<f64>) -> Option<Ratio> {
    let whole = part? + rest?;
    (whole > 0.0).then(|| Ratio {
        value: part.unwrap_or(0.0) / whole,
        events: whole as u64,
    })
}

/// The worse, the greater.
fn weight(status: &Status) -> u8 {
    match status {
        Status::Up => 0,
        Status::Starting => 1,
        Status::Draining => 2,
        Status::NotReady(_) => 3,
        Status::Stale(_) => 4,
        Status::Down { .. } => 5,
    }
}

fn described(status: &Status) -> String {
    match status {
        Status::Starting => "starting".to_owned(),
        Status::Up => "up".to_owned(),
        Status::NotReady(check) if check.is_empty() => "not ready".to_owned(),
        Status::NotReady(check) => format!("not ready: {check}"),
        Status::Draining => "draining".to_owned(),
        Status::Stale(old) => format!("silent for {}", age(old.as_secs())),
        Status::Down { since, reason } => {
            let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            format!("down for {}{why}", age(since.as_secs()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::stores::{stocked, troubled};
    use super::*;

    fn named<'a>(processes: &'a [Process], name: &str) -> &'a Process {
        processes
            .iter()
            .find(|process| process.name == name)
            .unwrap()
    }

    #[test]
    fn processes_tell_what_they_use_and_of_how_much() {
        let processes = stocked().processes();
        assert_eq!(processes.len(), 15);
        let gateway = named(&processes, "gateway-2");
        assert!((gateway.cpu.unwrap() - 0.03).abs() < 1e-9);
        assert_eq!(gateway.files, Some(102.0));
        assert_eq!(gateway.most_files, Some(1024.0));
        assert_eq!(gateway.uptime, Some(Duration::from_secs(7_272)));
        assert_eq!(gateway.log_level.as_deref(), Some("info"));
    }

    #[test]
    fn processes_are_ordered_by_what_they_use() {
        let mut state = stocked();
        let order = |state: &mut State, column| {
            state.cursor_mut(Panel::Processes).sort = Some(column);
            state.rows(Panel::Processes)
        };
        assert_eq!(order(&mut state, 4).first().unwrap(), "gateway-3");
        assert_eq!(order(&mut state, 2).first().unwrap(), "gateway-3");
        assert_eq!(order(&mut state, 0).first().unwrap(), "balancer-1");
        state.cursor_mut(Panel::Processes).reversed = true;
        assert_eq!(order(&mut state, 0).first().unwrap(), "worker-1");
        state.set_filter(Panel::Processes, "gateway");
        assert_eq!(state.rows(Panel::Processes).len(), 3);
    }

    #[test]
    fn what_is_down_has_no_figures_and_faults_have_an_end() {
        let state = troubled();
        let processes = state.processes();
        let down = named(&processes, "gateway-2");
        assert!(matches!(down.status, Status::Down { .. }));
        assert_eq!((down.cpu, down.memory, down.uptime), (None, None, None));
        assert_eq!(down.version, None);
        let faulty = named(&processes, "travel-2");
        assert_eq!((faulty.faults, faulty.faults_left), (2, None));
        let faulty = named(&processes, "exercise-1");
        assert_eq!((faulty.faults, faulty.faults_left), (1, Some(41)));
    }

    #[test]
    fn the_page_of_a_process_tells_everything() {
        let mut state = troubled();
        state.cursor_mut(Panel::Processes).choose("travel-2");
        let page = state.process_page().unwrap().lines.join("\n");
        for part in [
            "admin         127.0.0.1:9107",
            "pid           4107",
            "↯ latency_ms=200 route=/recharges, ends in 41 s",
            "↯ hang, until it is cleared",
            "● postgres: good",
            "Changes of state",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn a_store_is_told_of_once_however_many_tell() {
        let postgres = stocked().postgres().unwrap();
        let total: f64 = postgres.connections.iter().map(|(_, count)| count).sum();
        assert!((total - 23.0).abs() < 1e-9);
        assert_eq!(postgres.committed, Some(120.0));
        assert_eq!(postgres.wal, Some(204_800.0));
        assert!((postgres.found.unwrap().value - 0.99).abs() < 1e-9);
        let redis = stocked().redis(Keeper::Shared).unwrap();
        assert_eq!(redis.commands, Some(900.0));
        assert_eq!(redis.aof, Some(false));
        let queue = stocked().redis(Keeper::Queue).unwrap();
        assert_eq!((queue.aof, queue.aof_ok), (Some(true), Some(true)));
        assert_eq!(super::super::testing::starting().postgres(), None);
    }

    #[test]
    fn the_console_knows_what_it_uses_itself() {
        let mut state = State::default();
        assert_eq!(state.own(), (None, None));
        for second in 1..=5 {
            state.tick(Duration::from_secs(second));
            state.used(second as f64 * 0.02, 9 << 20);
        }
        let (cpu, memory) = state.own();
        assert!((cpu.unwrap() - 0.02).abs() < 1e-6);
        assert_eq!(memory, Some(f64::from(9 << 20)));
    }
}
