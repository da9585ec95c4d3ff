//! Where the lab is: a file that its supervisor rewrites, or the names that containers answer to.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use kit::topology::{State as ProcessState, Topology};

use crate::state::{
    instance::{Place, Role, Supervised},
    logs::printable,
};

/// Roles looked up by name where there is no file.
pub const ROLES: [&str; 10] = [
    "balancer",
    "gateway",
    "cache",
    "travel",
    "exercise",
    "search",
    "booking",
    "notification",
    "worker",
    "queue",
];

/// Where to find out what runs where.
#[derive(Clone, Debug)]
pub enum TopologySource {
    /// The file that `up` writes; read again whenever it changes.
    Path(PathBuf),
    /// A supervisor's `/admin/topology`, perhaps on another machine. Certificates are on this one.
    Url {
        url: String,
        certificates: Option<PathBuf>,
    },
    /// Names of a container network: every role's name resolves to its instances.
    Dns(Names),
}

impl TopologySource {
    /// The container network of the Compose file.
    #[must_use]
    pub fn dns(certificates: Option<PathBuf>) -> Self {
        Self::Dns(Names {
            certificates,
            ..Names::default()
        })
    }
}

/// How a container network is laid out.
#[derive(Clone, Debug)]
pub struct Names {
    pub public_url: String,
    pub cache_url: String,
    pub queue_url: String,
    pub worker_url: String,
    /// The port of every instance's admin surface.
    pub admin_port: u16,
    /// The folder with the certificates by which the tiers know each other, if they do.
    pub certificates: Option<PathBuf>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            public_url: "http://balancer:8000".into(),
            cache_url: "http://cache:5004".into(),
            queue_url: "http://queue:5006".into(),
            worker_url: "http://worker:5005".into(),
            admin_port: 9000,
            certificates: None,
        }
    }
}

/// How long a supervisor may take to say where everything is.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// A lab, in the console's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Lab {
    pub places: Vec<Place>,
    /// Whether it refuses every lever.
    pub read_only: bool,
    /// The same lab as those who act on it see it.
    pub levers: actions::Lab,
}

/// The lab as it is there now.
pub async fn find(
    source: &TopologySource,
    http: &reqwest::Client,
    resolved: &mut Resolved,
) -> Result<Lab, String> {
    match source {
        TopologySource::Path(path) => from_file(path),
        TopologySource::Url { url, certificates } => {
            let mut lab = from_url(http, url).await?;
            // The folder that it names is one of its own machine.
            lab.levers.mutual_tls.clone_from(certificates);
            Ok(lab)
        }
        TopologySource::Dns(names) => resolved.look_up(names).await,
    }
}

/// Where the instances of a lab are, for those who act on it.
///
/// # Errors
/// When it cannot be found out, in words.
pub async fn whereabouts(source: &TopologySource) -> Result<actions::Lab, String> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build();
    let http = http.map_err(|error| error.to_string())?;
    let lab = find(source, &http, &mut Resolved::default()).await?;
    Ok(lab.levers)
}

pub fn from_file(path: &Path) -> Result<Lab, String> {
    let topology = Topology::load(path).map_err(|error| printable(&error.to_string()))?;
    Ok(of(&topology))
}

pub async fn from_url(client: &reqwest::Client, url: &str) -> Result<Lab, String> {
    let body = super::scrape::fetch(client, url)
        .await
        .map_err(|reason| format!("{url}: {reason}"))?;
    let topology: Topology =
        serde_json::from_slice(&body).map_err(|_| format!("{url} is no topology"))?;
    if topology.version != kit::topology::VERSION {
        return Err(format!("{url} has format version {}", topology.version));
    }
    Ok(of(&topology))
}

fn of(topology: &Topology) -> Lab {
    let places = topology
        .instances
        .iter()
        .map(|instance| Place {
            role: Role::parse(&printable(&instance.role)),
            name: printable(&instance.name),
            listen: Some(instance.listen.to_string()),
            admin: instance.admin.to_string(),
            restarts: instance.restarts,
            supervised: match instance.state {
                ProcessState::Starting => Supervised::Starting,
                ProcessState::Running => Supervised::Running,
                ProcessState::Restarting => Supervised::Restarting,
                ProcessState::Stopped => Supervised::Stopped,
            },
        })
        .collect();
    Lab {
        places,
        read_only: topology.read_only,
        levers: actions::Lab::from(topology),
    }
}

/// Remembers the last addresses of each name: a hiccup of the resolver must not empty the screen.
#[derive(Debug, Default)]
pub struct Resolved {
    addresses: BTreeMap<&'static str, Vec<SocketAddr>>,
}

impl Resolved {
    pub async fn look_up(&mut self, names: &Names) -> Result<Lab, String> {
        for role in ROLES {
            if let Ok(found) = tokio::net::lookup_host((role, names.admin_port)).await {
                let mut found: Vec<_> = found.collect();
                found.sort();
                found.dedup();
                self.addresses.insert(role, found);
            }
        }
        if self.addresses.is_empty() {
            return Err("no service's name resolves here".into());
        }
        let places: Vec<Place> = self
            .addresses
            .iter()
            .flat_map(|(role, addresses)| addresses.iter().map(move |address| (role, address)))
            .map(|(role, address)| Place {
                role: Role::parse(role),
                name: format!("{role}@{}", address.ip()),
                listen: None,
                admin: address.to_string(),
                restarts: 0,
                supervised: Supervised::Unknown,
            })
            .collect();
        let instances = places
            .iter()
            .map(|place| actions::Place {
                role: place.role.name().to_owned(),
                name: place.name.clone(),
                listen: None,
                admin: place.admin.clone(),
                running: true,
            })
            .collect();
        Ok(Lab {
            places,
            read_only: false,
            levers: actions::Lab {
                public_url: names.public_url.clone(),
                cache_url: names.cache_url.clone(),
                queue_url: names.queue_url.clone(),
                worker_url: names.worker_url.clone(),
                instances,
                supervised: true,
                supervisor_url: None,
                mutual_tls: names.certificates.clone(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("topology.json");
        assert!(from_file(&path).unwrap_err().contains("cannot read"));
        std::fs::write(&path, "{").unwrap();
        assert!(from_file(&path).unwrap_err().contains("is not a topology"));
    }
}
