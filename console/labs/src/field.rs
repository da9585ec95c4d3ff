//! The lab that a run is about, as far as it has to be touched: calls, levers, metrics, invariants, and the baseline.

mod baseline;
mod calls;
mod measure;
mod scrape;
mod unfinished;

use std::{
    collections::BTreeMap,
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use actions::{Action, Done, Levers, Rights};
use proof::verify::{self, Site};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    engine::{Heard, Order},
    memory::Answer,
    record::Machine,
    script::{Caller, Kind, Lab, Need},
};

/// Between two looks at a condition.
const AGAIN: Duration = Duration::from_millis(250);
/// The same where invariants are looked at, which costs the database something.
const AGAIN_DATABASE: Duration = Duration::from_secs(1);
/// How long an invariant may take to come to rest before it is judged.
const SETTLE: Duration = Duration::from_secs(20);

/// Says where everything is now.
pub type Where = Arc<dyn Fn() -> Result<actions::Lab, String> + Send + Sync>;
/// Says where the stores are now.
pub type Stores = Arc<dyn Fn() -> Result<Site, String> + Send + Sync>;

/// How a lab is reached.
#[derive(Clone)]
pub struct Setup {
    pub place: Where,
    /// Without it, labs that need the database cannot be run.
    pub stores: Option<Stores>,
    pub rights: Rights,
    /// Where runs leave what must be known after a crash; `labs` in the lab's folder. Without one, nothing is left.
    pub folder: Option<PathBuf>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Setup")
            .field("rights", &self.rights)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Why there is no field.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Place(String),
    #[error("another lab is being run here; wait for its end, or stop it")]
    Busy,
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("making an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Everything that runs touch. One run at a time; runs of several labs one after the other may share it.
#[derive(Debug)]
pub struct Field {
    http: reqwest::Client,
    setup: Setup,
    levers: Mutex<Levers>,
    tokens: Mutex<BTreeMap<Caller, (String, Instant)>>,
    traffic: Mutex<Option<load::Handle>>,
    /// Measurements under way.
    running: Mutex<BTreeMap<String, CancellationToken>>,
    tasks: TaskTracker,
    /// What takes back the first deeds of a line that failed later on.
    spare: Mutex<Vec<Action>>,
    /// Held during a round of scrapes: rounds are heard of in the order in which they were made.
    scraping: tokio::sync::Mutex<()>,
    /// How many instances of each role there were at the beginning.
    roles: BTreeMap<String, usize>,
    /// The settings of balancing as they are by default, by instance and pool.
    balancing: Mutex<BTreeMap<(String, String), serde_json::Value>>,
    current: Mutex<Current>,
    events: mpsc::UnboundedSender<Heard>,
    heard: tokio::sync::Mutex<mpsc::UnboundedReceiver<Heard>>,
    /// Held as long as this lives.
    _lock: Option<File>,
}

/// What the present run is about.
#[derive(Debug)]
struct Current {
    began: Instant,
    number: u64,
    seed: u64,
    needs: Vec<Need>,
    callers: Vec<Caller>,
    wanted: Arc<std::collections::BTreeSet<String>>,
    title: String,
}

impl Field {
    /// Finds the lab, and takes it for itself.
    ///
    /// # Errors
    /// When there is none, or another run has it.
    pub fn open(setup: Setup) -> Result<Arc<Self>, Error> {
        let lock = setup.folder.as_deref().map(unfinished::lock).transpose()?;
        let lab = (setup.place)().map_err(Error::Place)?;
        let mut roles = BTreeMap::<String, usize>::new();
        for place in &lab.instances {
            *roles.entry(place.role.clone()).or_default() += 1;
        }
        // A run that was killed may have left another scale than it found.
        if let Some(folder) = &setup.folder {
            roles.extend(unfinished::roles(folder));
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(512)
            .build()?;
        let levers = Levers::new(http.clone(), lab, setup.rights.clone());
        let (events, heard) = mpsc::unbounded_channel();
        Ok(Arc::new(Self {
            http,
            setup,
            levers: Mutex::new(levers),
            tokens: Mutex::default(),
            traffic: Mutex::default(),
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            spare: Mutex::default(),
            scraping: tokio::sync::Mutex::default(),
            roles,
            balancing: Mutex::default(),
            current: Mutex::new(Current {
                began: Instant::now(),
                number: 0,
                seed: 1,
                needs: Vec::new(),
                callers: Vec::new(),
                wanted: Arc::default(),
                title: String::new(),
            }),
            events,
            heard: tokio::sync::Mutex::new(heard),
            _lock: lock,
        }))
    }

    /// Begins the clock of a run. What the run before left unheard is forgotten.
    pub async fn begin(&self, lab: &Lab, number: u64, seed: u64) {
        let mut heard = self.heard.lock().await;
        while heard.try_recv().is_ok() {}
        let mut callers = vec![Caller::Demo];
        for step in &lab.steps {
            match &step.kind {
                Kind::Measure(measure) => callers.push(measure.caller),
                Kind::Observe {
                    call: Some((_, caller)),
                    ..
                } => callers.push(*caller),
                _ => {}
            }
        }
        callers.sort();
        callers.dedup();
        *lock(&self.current) = Current {
            began: Instant::now(),
            number,
            seed,
            needs: lab.needs.clone(),
            callers,
            wanted: Arc::new(lab.metrics.clone()),
            title: lab.name.clone(),
        };
    }

    /// Milliseconds since the run began.
    #[must_use]
    pub fn now_ms(&self) -> f64 {
        lock(&self.current).began.elapsed().as_secs_f64() * 1e3
    }

    /// What happened next.
    pub async fn hear(&self) -> Option<Heard> {
        self.heard.lock().await.recv().await
    }

    /// Begins to carry an order out; what becomes of it is heard.
    pub fn carry_out(self: &Arc<Self>, order: Order) {
        let field = Arc::clone(self);
        self.tasks.spawn(async move {
            match order {
                Order::Prepare => field.prepare().await,
                Order::Perform(action) => {
                    let result = field.perform(&action).await;
                    // What conditions look at next is as it is after the deed.
                    field.tell(Heard::Performed(Box::new(result)));
                }
                Order::Measure(measure) => field.measure(measure).await,
                Order::Stop(name) => field.stop(&name),
                Order::Look {
                    call,
                    invariants,
                    again,
                } => field.look(call, &invariants, again).await,
                Order::Restore(actions) => {
                    let baseline = field.restore(actions).await;
                    field.forget();
                    field.tell(Heard::Restored(baseline));
                }
            }
        });
    }

    /// Scrapes, so that series have points while nobody asks.
    pub async fn tick(&self) {
        self.scrape().await;
    }

    fn tell(&self, heard: Heard) {
        // Nobody listens only when the run is over.
        let _ = self.events.send(heard);
    }

    /// The levers on the lab as it is now.
    fn levers(&self) -> Levers {
        let mut levers = lock(&self.levers);
        if let Ok(lab) = (self.setup.place)()
            && lab != *levers.lab()
        {
            *levers = levers.with_lab(lab);
        }
        levers.clone()
    }

    async fn perform(&self, action: &Action) -> Result<Done, String> {
        let mut texts = Vec::new();
        let mut undo = Vec::new();
        let mut detail = None;
        for single in action.all() {
            let done = if single.is_traffic() {
                self.steer(single).await
            } else {
                let done = self.levers().perform(single).await;
                done.map_err(|failure| failure.to_string())
            };
            let done = match done {
                Ok(done) => done,
                Err(reason) => {
                    lock(&self.spare).splice(0..0, undo);
                    return Err(reason);
                }
            };
            texts.push(done.text);
            undo.splice(0..0, done.undo);
            detail = done.detail.or(detail);
        }
        Ok(Done {
            text: texts.join("; "),
            undo: Action::several(undo),
            detail,
        })
    }

    /// Steady traffic of the lab's own.
    async fn steer(&self, action: &Action) -> Result<Done, String> {
        let done = |text: &str| {
            Ok(Done {
                text: text.to_owned(),
                undo: None,
                detail: None,
            })
        };
        match action {
            Action::Traffic(plan) => {
                let levers = self.levers();
                let options = plan
                    .options(
                        &levers.lab().public_url,
                        levers.credentials().await,
                        self.setup.rights.allow_remote,
                    )
                    .map_err(|error| error.to_string())?;
                self.stop_traffic().await;
                let handle = load::Traffic::start(options).map_err(|error| error.to_string())?;
                *lock(&self.traffic) = Some(handle);
                Ok(Done {
                    undo: Some(Action::StopTraffic),
                    ..done("the traffic runs")?
                })
            }
            Action::TrafficRate(rate) => {
                lock(&self.traffic)
                    .as_ref()
                    .ok_or("no traffic runs")?
                    .set_rate(*rate);
                done("the traffic has another rate")
            }
            Action::TrafficMix(mix) => {
                let traffic = lock(&self.traffic);
                let traffic = traffic.as_ref().ok_or("no traffic runs")?;
                traffic
                    .set_mix(mix.clone())
                    .map_err(|error| error.to_string())?;
                done("the traffic has another mix")
            }
            _ => {
                self.stop_traffic().await;
                done("no traffic runs")
            }
        }
    }

    async fn stop_traffic(&self) -> bool {
        let handle = lock(&self.traffic).take();
        match handle {
            None => false,
            Some(handle) => {
                handle.stop().await;
                true
            }
        }
    }

    async fn prepare(&self) {
        let needs = lock(&self.current).needs.clone();
        if let Err(reason) = self.meets(&needs) {
            self.tell(Heard::Prepared {
                settings: Err(reason),
                baseline: None,
            });
            return;
        }
        let baseline = self.restore(self.left_over()).await;
        if baseline.verified {
            self.forget();
        }
        let callers = lock(&self.current).callers.clone();
        let mut settings = Ok(self.settings());
        for caller in callers {
            if let Err(reason) = self.token(caller).await {
                settings = Err(reason);
            }
        }
        self.scrape().await;
        self.tell(Heard::Prepared {
            settings,
            baseline: Some(baseline),
        });
    }

    /// Whether the lab has what is needed; says what is missing and what to do.
    fn meets(&self, needs: &[Need]) -> Result<(), String> {
        let lab = (self.setup.place)()?;
        for need in needs {
            match need {
                Need::Instances { role, least } => {
                    let count = lab.of_role(role).count() as u32;
                    if count < *least {
                        return Err(format!(
                            "it needs {least} instances of {role}, and {count} run; `recarga scale {role}={least}` starts them"
                        ));
                    }
                }
                Need::Supervisor if lab.supervisor_url.is_none() => {
                    return Err(
                        "it needs a supervisor that restarts what dies: a lab started by `recarga up`"
                            .to_owned(),
                    );
                }
                Need::Database if self.setup.stores.is_none() => {
                    return Err("it needs the address of the database".to_owned());
                }
                Need::Supervisor | Need::Database => {}
            }
        }
        Ok(())
    }

    fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        if let Ok(lab) = (self.setup.place)() {
            settings.insert("public_url".to_owned(), lab.public_url.clone());
            for role in lab.roles() {
                let count = lab.of_role(&role).count();
                settings.insert(role, count.to_string());
            }
        }
        for ((instance, pool), document) in &*lock(&self.balancing) {
            if pool.is_empty()
                && let Some(policy) = document["policy"].as_str()
            {
                settings.insert(format!("{instance} policy"), policy.to_owned());
            }
        }
        settings
    }

    async fn look(
        &self,
        call: Option<(crate::script::Call, Caller)>,
        invariants: &[usize],
        again: bool,
    ) {
        if again {
            let pause = if invariants.is_empty() {
                AGAIN
            } else {
                AGAIN_DATABASE
            };
            tokio::time::sleep(pause).await;
        }
        self.scrape().await;
        let answer = match &call {
            None => None,
            Some((call, caller)) => Some(self.once(call, *caller).await),
        };
        let invariants = self.invariants(invariants).await;
        self.tell(Heard::Looked { answer, invariants });
    }

    /// A call for a condition; without an answer its status is 0.
    async fn once(&self, call: &crate::script::Call, caller: Caller) -> Answer {
        let sent = calls::Sending::new(self, std::slice::from_ref(call), caller).await;
        match sent {
            Ok(sending) => sending.answer(call).await,
            Err(_) => Answer::default(),
        }
    }

    async fn invariants(&self, numbers: &[usize]) -> Vec<(usize, Result<bool, String>)> {
        if numbers.is_empty() {
            return Vec::new();
        }
        let checks = match &self.setup.stores {
            None => Err("the database's address is not known".to_owned()),
            Some(stores) => match stores() {
                Err(reason) => Err(reason),
                Ok(site) => check(&site, numbers).await,
            },
        };
        let judged = |number: usize| {
            let checks = checks.as_ref().map_err(Clone::clone)?;
            let of = checks.iter().filter(|check| check.number == Some(number));
            let mut seen = false;
            for check in of {
                seen = true;
                match check.verdict {
                    verify::Verdict::Holds => {}
                    verify::Verdict::Violated => return Ok(false),
                    verify::Verdict::Unchecked => return Err(check.notes.join("; ")),
                }
            }
            if seen {
                Ok(true)
            } else {
                Err("it was not checked".to_owned())
            }
        };
        numbers
            .iter()
            .map(|number| (*number, judged(*number)))
            .collect()
    }
}

/// The quick checks where they do, the whole verification otherwise.
async fn check(site: &Site, numbers: &[usize]) -> Result<Vec<verify::Check>, String> {
    if numbers.iter().all(|number| [1, 2].contains(number)) {
        return verify::glance(&site.database_url)
            .await
            .map_err(|error| error.to_string());
    }
    let options = verify::Options {
        journal: None,
        settle: SETTLE,
        reads: if numbers.contains(&3) { 200 } else { 0 },
    };
    let report = verify::verify(site, &options, |_| {}).await;
    Ok(report.map_err(|error| error.to_string())?.checks)
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The machine that this runs on.
#[must_use]
pub fn machine() -> Machine {
    let Ok(system) = sysinfo::System::new_all() else {
        return Machine::default();
    };
    Machine {
        cpu: system
            .cpus()
            .first()
            .map_or(String::new(), |cpu| cpu.brand().trim().to_owned()),
        cores: system.cpus().len() as u32,
        memory_bytes: system.total_memory(),
        system: sysinfo::System::long_os_version().unwrap_or_default(),
    }
}
