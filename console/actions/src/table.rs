//! The table: every action with its words, its meaning and an example.

use kit::safeguards::Safeguard;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub verb: &'static str,
    /// What follows the verb; brackets mean that it may be left out.
    pub arguments: &'static str,
    pub meaning: &'static str,
    /// A line that [`crate::Action::parse`] reads.
    pub example: &'static str,
    pub group: Group,
    /// What each word may be, for completion.
    pub(crate) slots: &'static [Slot],
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Calls,
    Traffic,
    Cache,
    Instances,
    Faults,
    Balancing,
    Queues,
    Logs,
    Everything,
}

impl Group {
    pub const ALL: [Self; 9] = [
        Self::Calls,
        Self::Traffic,
        Self::Cache,
        Self::Instances,
        Self::Faults,
        Self::Balancing,
        Self::Queues,
        Self::Logs,
        Self::Everything,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Traffic => "traffic",
            Self::Cache => "cache",
            Self::Instances => "instances",
            Self::Faults => "faults",
            Self::Balancing => "balancing",
            Self::Queues => "queues",
            Self::Logs => "logs",
            Self::Everything => "everything",
        }
    }
}

/// What a word may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Instance,
    Role,
    Queue,
    Policy,
    Level,
    Path,
    /// One of these.
    Word(&'static [&'static str]),
    Mix,
    /// `name=`, with what its value may be.
    Option(&'static str, Value),
    /// A word that stands for itself.
    Flag(&'static str),
}

/// What the value of an option may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Free,
    Pool,
    Key,
    Prefix,
    Mix,
    Path,
    /// One of these, or something like them.
    Such(&'static [&'static str]),
}

/// The row of a verb.
#[must_use]
pub fn entry(verb: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.verb == verb)
}

const fn row(
    group: Group,
    verb: &'static str,
    arguments: &'static str,
    meaning: &'static str,
    example: &'static str,
    slots: &'static [Slot],
) -> Entry {
    Entry {
        verb,
        arguments,
        meaning,
        example,
        group,
        slots,
    }
}

const TIMES: Value = Value::Such(&["10s", "60s", "5m"]);
const POOL: Slot = Slot::Option("pool", Value::Pool);

/// Everything an operator can do.
pub const TABLE: &[Entry] = &[
    row(
        Group::Calls,
        "recharge",
        "[card=ID] [amount=PESOS]",
        "Recharge a card; what is left out is drawn by chance",
        "recharge card=7 amount=20000",
        &[
            Slot::Option("card", Value::Free),
            Slot::Option("amount", Value::Such(&["5000", "20000"])),
        ],
    ),
    row(
        Group::Calls,
        "call",
        "METHOD [cache:|queue:|worker:|INSTANCE:]PATH [body=JSON] [anonymous]",
        "Make any call of the contract, and show the answer",
        "call GET /cards/7/balance",
        &[
            Slot::Word(&["GET", "POST", "PUT", "PATCH", "DELETE"]),
            Slot::Path,
            Slot::Option("body", Value::Free),
            Slot::Flag("anonymous"),
        ],
    ),
    row(
        Group::Calls,
        "burst",
        "REQUESTS",
        "Send so many requests at once",
        "burst 200",
        &[Slot::Word(&["50", "200", "1000"])],
    ),
    row(
        Group::Traffic,
        "traffic",
        "constant|ramp|spike|burst|soak rate=PER_SECOND [for=TIME] [mix=MIX] [seed=NUMBER] [connections=NUMBER] [timeout=TIME] [retries=NUMBER] [budget=PERCENT] [keys=off]",
        "Start steady traffic; it ends by itself",
        "traffic ramp rate=500 for=60s mix=contract",
        &[
            Slot::Word(&["constant", "ramp", "spike", "burst", "soak"]),
            Slot::Option("rate", Value::Such(&["10", "100", "500"])),
            Slot::Option("for", TIMES),
            Slot::Option("mix", Value::Mix),
            Slot::Option("seed", Value::Free),
            Slot::Option("connections", Value::Such(&["64", "1000"])),
            Slot::Option("timeout", Value::Such(&["500ms", "1s"])),
            Slot::Option("retries", Value::Such(&["3"])),
            Slot::Option("budget", Value::Such(&["10%", "none"])),
            Slot::Option("keys", Value::Such(&["on", "off"])),
        ],
    ),
    row(
        Group::Traffic,
        "traffic-rate",
        "PER_SECOND",
        "Change the rate of the traffic that runs; 0 pauses it",
        "traffic-rate 250",
        &[Slot::Word(&["0", "10", "100", "500"])],
    ),
    row(
        Group::Traffic,
        "traffic-mix",
        "MIX",
        "Change the calls of the traffic that runs",
        "traffic-mix balance=3,recharge=1",
        &[Slot::Mix],
    ),
    row(
        Group::Traffic,
        "stop-traffic",
        "",
        "Stop the traffic that runs",
        "stop-traffic",
        &[],
    ),
    row(
        Group::Cache,
        "flush",
        "key=KEY | prefix=PREFIX | all",
        "Delete values from the cache",
        "flush prefix=card:",
        &[
            Slot::Option("key", Value::Key),
            Slot::Option("prefix", Value::Prefix),
            Slot::Flag("all"),
        ],
    ),
    row(
        Group::Cache,
        "cache",
        "on|off [GATEWAY]",
        "Switch the use of the cache, in one gateway or in all",
        "cache off",
        &[Slot::Word(&["on", "off"]), Slot::Instance],
    ),
    row(
        Group::Instances,
        "drain",
        "INSTANCE",
        "Take an instance out of work, and wait until it is idle",
        "drain gateway-2",
        &[Slot::Instance],
    ),
    row(
        Group::Instances,
        "restore",
        "INSTANCE",
        "Let a drained instance take work again",
        "restore gateway-2",
        &[Slot::Instance],
    ),
    row(
        Group::Instances,
        "kill",
        "INSTANCE",
        "Let an instance crash, with all it is doing",
        "kill travel-2",
        &[Slot::Instance],
    ),
    row(
        Group::Instances,
        "restart",
        "INSTANCE|ROLE",
        "Restart instances in order, one after the other",
        "restart gateway",
        &[Slot::Role],
    ),
    row(
        Group::Instances,
        "scale",
        "ROLE COUNT",
        "Run another number of instances",
        "scale worker 3",
        &[Slot::Role, Slot::Word(&["1", "2", "3", "5"])],
    ),
    row(
        Group::Instances,
        "delay",
        "data|process|task TIME",
        "Let the lab's pretended work take another time",
        "delay data 500ms",
        &[
            Slot::Word(&["data", "process", "task"]),
            Slot::Word(&["0ms", "100ms", "500ms", "5s"]),
        ],
    ),
    row(
        Group::Instances,
        "capacity",
        "PLACES|any",
        "Change how many requests for /process an exercise instance works on at a time",
        "capacity 8",
        &[Slot::Word(&["8", "any"])],
    ),
    row(
        Group::Faults,
        "fault",
        "INSTANCE [latency=TIME] [jitter=TIME] [hold=TIME] [errors=SHARE] [status=CODE] [lose=SHARE] [hang] [refuse] [route=PATH] [for=TIME|forever]",
        "Break an instance on purpose, for a minute unless told",
        "fault gateway-2 latency=200ms for=60s route=/data",
        &[
            Slot::Instance,
            Slot::Option("latency", Value::Such(&["50ms", "200ms", "2s"])),
            Slot::Option("jitter", Value::Such(&["20ms", "100ms"])),
            Slot::Option("hold", Value::Such(&["1s"])),
            Slot::Option("errors", Value::Such(&["10%", "50%", "1"])),
            Slot::Option("status", Value::Such(&["500", "503", "429"])),
            Slot::Option("lose", Value::Such(&["50%", "1"])),
            Slot::Flag("hang"),
            Slot::Flag("refuse"),
            Slot::Option("route", Value::Path),
            Slot::Option("for", Value::Such(&["10s", "60s", "5m", "forever"])),
        ],
    ),
    row(
        Group::Faults,
        "clear-faults",
        "[INSTANCE]",
        "End the faults of an instance, or all",
        "clear-faults",
        &[Slot::Instance],
    ),
    row(
        Group::Faults,
        "safeguard",
        "NAME off|on [for=]",
        "Go without a safeguard for a while (five minutes), wherever it matters, to see what it is for",
        "safeguard leases off for=60s",
        &[
            Slot::Word(&Safeguard::NAMES),
            Slot::Word(&["off", "on"]),
            Slot::Option("for", TIMES),
        ],
    ),
    row(
        Group::Balancing,
        "policy",
        "POLICY [pool=SERVICE]",
        "Change who picks: the balancers', or the gateways' for a service",
        "policy p2c",
        &[Slot::Policy, POOL],
    ),
    row(
        Group::Balancing,
        "weight",
        "INSTANCE WEIGHT",
        "Change the weight of an instance, for policies that look at weights",
        "weight gateway-2 3",
        &[Slot::Instance, Slot::Word(&["1", "2", "3", "5", "10"])],
    ),
    row(
        Group::Balancing,
        "balancing",
        "SETTING=VALUE… [pool=SERVICE]",
        "Change any setting of balancing; null is the default",
        "balancing admission.enabled=true",
        &[
            Slot::Option("admission.enabled", Value::Such(&["true", "false"])),
            Slot::Option("outlier.max_ejection_percent", Value::Such(&["0", "50"])),
            Slot::Option("retries.percent", Value::Such(&["0", "20", "null"])),
            Slot::Option("sticky", Value::Such(&["true", "false"])),
            POOL,
        ],
    ),
    row(
        Group::Queues,
        "pause-queue",
        "QUEUE",
        "Let receivers of a queue get nothing; what is sent waits",
        "pause-queue bookings",
        &[Slot::Queue],
    ),
    row(
        Group::Queues,
        "resume-queue",
        "QUEUE",
        "Let receivers of a queue get messages again",
        "resume-queue bookings",
        &[Slot::Queue],
    ),
    row(
        Group::Queues,
        "pause-consumers",
        "[INSTANCE|ROLE]",
        "Let consumers take no more work",
        "pause-consumers worker",
        &[Slot::Role],
    ),
    row(
        Group::Queues,
        "resume-consumers",
        "[INSTANCE|ROLE]",
        "Let consumers take work again",
        "resume-consumers worker",
        &[Slot::Role],
    ),
    row(
        Group::Queues,
        "redrive",
        "QUEUE [ID…] [rate=PER_SECOND] [limit=COUNT]",
        "Send dead letters again: those named, or the oldest",
        "redrive bookings rate=50",
        &[
            Slot::Queue,
            Slot::Option("rate", Value::Such(&["10", "50"])),
            Slot::Option("limit", Value::Such(&["1", "100"])),
        ],
    ),
    row(
        Group::Queues,
        "purge-dead",
        "QUEUE [ID…]",
        "End dead letters: those named, or all",
        "purge-dead bookings",
        &[Slot::Queue],
    ),
    row(
        Group::Queues,
        "purge-queue",
        "QUEUE",
        "End all messages of a queue but the dead letters",
        "purge-queue tasks",
        &[Slot::Queue],
    ),
    row(
        Group::Logs,
        "log-level",
        "[INSTANCE] LEVEL",
        "Change what is logged, by one instance or by all",
        "log-level travel-1 debug",
        &[Slot::Level],
    ),
    row(
        Group::Everything,
        "stop-everything",
        "",
        "Stop own traffic, clear all faults and switch all safeguards on, everywhere",
        "stop-everything",
        &[],
    ),
];
