//! Where a lab's processes are, and what whoever asks may do.

use std::path::PathBuf;

use kit::{
    Topology,
    client::Transport,
    tls::{MutualTlsArgs, OPERATOR, Tiers},
    topology::State,
};

use crate::Door;

/// A lab, as far as its levers are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lab {
    /// The balancer's front door, such as `http://127.0.0.1:8000`.
    pub public_url: String,
    pub cache_url: String,
    pub queue_url: String,
    pub worker_url: String,
    pub instances: Vec<Place>,
    /// Whether something starts an instance again that has ended.
    pub supervised: bool,
    /// Where the supervisor is steered over HTTP, if it is.
    pub supervisor_url: Option<String>,
    /// The folder with the certificates by which the tiers know each other, if they do.
    pub mutual_tls: Option<PathBuf>,
}

/// One instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub role: String,
    pub name: String,
    /// Its public address, `host:port`, where it is known.
    pub listen: Option<String>,
    /// Its admin surface's, `host:port`.
    pub admin: String,
    /// Whether its process runs, as far as the supervisor knows.
    pub running: bool,
}

impl Lab {
    /// The instances of a role.
    pub fn of_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Place> {
        self.instances
            .iter()
            .filter(move |place| place.role == role)
    }

    /// The way through a door where the tiers take TLS only; none where every client may pass.
    pub fn transport(&self, door: &Door) -> Result<Option<Transport>, kit::Error> {
        let (Some(folder), Some(role)) = (&self.mutual_tls, self.tier(door)) else {
            return Ok(None);
        };
        let tiers = Tiers::load(&MutualTlsArgs::of(folder, OPERATOR))?;
        Transport::to(role, &tiers).map(Some)
    }

    /// Which tier is behind a door; none behind the front door.
    fn tier(&self, door: &Door) -> Option<&str> {
        match door {
            Door::Public => None,
            Door::Cache => Some("cache"),
            Door::Queue => Some("queue"),
            Door::Worker => Some("worker"),
            Door::Instance(name) => {
                let place = self.instances.iter().find(|place| place.name == *name)?;
                Some(place.role.as_str()).filter(|role| *role != "balancer")
            }
        }
    }

    /// The roles, in the order of the instances.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        let mut roles: Vec<String> = Vec::new();
        for place in &self.instances {
            if !roles.contains(&place.role) {
                roles.push(place.role.clone());
            }
        }
        roles
    }
}

impl From<&Topology> for Lab {
    fn from(topology: &Topology) -> Self {
        Self {
            public_url: topology.public_url.clone(),
            cache_url: topology.cache_url.clone(),
            queue_url: topology.queue_url.clone(),
            worker_url: topology.worker_url.clone(),
            supervised: topology.supervisor_pid.is_some(),
            supervisor_url: topology.supervisor_url.clone(),
            mutual_tls: topology.mutual_tls.clone(),
            instances: topology
                .instances
                .iter()
                .map(|instance| Place {
                    role: instance.role.clone(),
                    name: instance.name.clone(),
                    listen: Some(instance.listen.to_string()),
                    admin: instance.admin.to_string(),
                    running: instance.state == State::Running,
                })
                .collect(),
        }
    }
}

/// What whoever asks may do, and what he knows.
#[derive(Clone, Default)]
pub struct Rights {
    /// For the admin surfaces.
    pub operator_token: Option<String>,
    /// For labs whose auth is strict, where nobody gets a demo token.
    pub operator_password: Option<String>,
    /// Whether calls and traffic may go to another machine.
    pub allow_remote: bool,
    /// Refuse whatever changes anything.
    pub read_only: bool,
}

/// Without the secrets.
impl std::fmt::Debug for Rights {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Rights")
            .field("operator_token", &self.operator_token.is_some())
            .field("operator_password", &self.operator_password.is_some())
            .field("allow_remote", &self.allow_remote)
            .field("read_only", &self.read_only)
            .finish()
    }
}
