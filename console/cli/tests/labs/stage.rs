//! A whole lab that labs are run on.

use std::{
    collections::BTreeSet,
    ops::Deref,
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use serde_json::Value;

use crate::whole::Whole;

/// The lab of this test binary, for one test at a time: labs must have the machine for themselves.
pub struct Stage(Whole);

/// The lab, started by whoever asks first.
pub fn stage() -> MutexGuard<'static, Stage> {
    static STAGE: OnceLock<Mutex<Stage>> = OnceLock::new();
    STAGE
        .get_or_init(|| Mutex::new(Stage(Whole::start())))
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

impl Deref for Stage {
    type Target = Whole;

    fn deref(&self) -> &Whole {
        &self.0
    }
}

impl Stage {
    /// What goes on while the test looks.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Arranges something from outside, as trouble does.
    pub fn arrange(&self, action: &[&str]) {
        let output = self.recarga(&[&["do", "--yes"], action].concat());
        assert!(output.status.success(), "{action:?}: {}", words(&output));
    }

    fn admins(&self, role: Option<&str>) -> Vec<String> {
        let topology = kit::Topology::load(&self.path().join("topology.json")).unwrap();
        let instances = topology.instances.into_iter();
        let meant = instances.filter(|it| role.is_none_or(|role| it.role == role));
        meant.map(|it| it.admin.to_string()).collect()
    }

    /// How many instances of a role there are.
    pub fn count(&self, role: &str) -> usize {
        self.admins(Some(role)).len()
    }

    /// The delays of the first exercise instance.
    pub fn delays(&self) -> Value {
        let info = get(&self.admins(Some("exercise"))[0], "/admin/info");
        serde_json::from_str::<Value>(&info).unwrap()["levers"]["delays"].clone()
    }

    /// The names of everything that is exported.
    pub fn metrics(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for admin in self.admins(None) {
            let text = get(&admin, "/metrics");
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
            names.extend(lines.map(name).filter(|name| !name.is_empty()));
        }
        names
    }
}

fn get(admin: &str, path: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let answer = reqwest::get(format!("http://{admin}{path}")).await.unwrap();
        answer.text().await.unwrap()
    })
}

pub fn signal(child: &Child, name: &str) {
    let done = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status();
    assert!(done.unwrap().success());
}

pub fn words(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(error)
    )
}
