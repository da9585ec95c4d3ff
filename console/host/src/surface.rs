//! The lab's processes over HTTP, on loopback: who runs, and restart, kill and scale for who has the operator's token.
//!
//! | call | answers |
//! | --- | --- |
//! | `GET /livez` | `ok` |
//! | `GET /admin/topology` | where everything runs, as the lab's file has it |
//! | `GET /admin/processes` | every process and how many of each role there are and may be |
//! | `POST /admin/processes/{name}/restart` | drains it, ends it, starts it, and waits until its callers are back; the process |
//! | `POST /admin/processes/{name}/kill` | 202: it is killed (SIGKILL) and will be started again; the process as it was |
//! | `POST /admin/roles/{role}/restart` | the same as a restart of each of its instances, one after the other |
//! | `PUT /admin/roles/{role}` `{"count": 5}` | another number of instances, when the new ones are ready or the old ones gone |
//!
//! What was begun is finished, also when the one who asked has left. One change is carried out at a time; others wait.

use std::net::Ipv4Addr;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use kit::{Problem, extract, topology};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::mpsc::unbounded_channel};

use crate::{
    control::same,
    error::{Error, Result},
    layout::Secrets,
    processes,
    roles::{self, Role, Target},
    supervisor::Supervisor,
};

/// The surface, listening.
pub(crate) struct Surface {
    listener: TcpListener,
    state: Shared,
}

#[derive(Clone)]
struct Shared {
    supervisor: Supervisor,
    token: String,
}

impl Surface {
    /// Listens on a loopback port and writes its address into the topology.
    pub async fn listen(supervisor: &Supervisor, secrets: &Secrets) -> Result<Self> {
        let port = supervisor.ports().any("supervisor", None)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(Error::doing(format!("listening on port {port}")))?;
        supervisor.set_surface(format!("http://127.0.0.1:{port}"));
        Ok(Self {
            listener,
            state: Shared {
                supervisor: supervisor.clone(),
                token: secrets.operator_token.clone(),
            },
        })
    }

    /// Serves until dropped.
    pub async fn serve(self) {
        // Ends with an error never; it is aborted.
        let _ = axum::serve(self.listener, router(self.state)).await;
    }
}

fn router(state: Shared) -> Router {
    let levers = Router::new()
        .route("/admin/processes/{name}/restart", post(restart))
        .route("/admin/processes/{name}/kill", post(kill))
        .route("/admin/roles/{role}/restart", post(restart_role))
        .route("/admin/roles/{role}", put(scale))
        .layer(middleware::from_fn_with_state(state.clone(), guard));
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/admin/processes", get(show))
        .route("/admin/topology", get(topology))
        .merge(levers)
        .fallback(async || Problem::not_found("The supervisor has no such path"))
        .layer(middleware::from_fn(kit::observe::identify))
        .with_state(state)
}

/// Lets only the operator's token through; in a read-only lab nobody.
async fn guard(State(state): State<Shared>, request: Request, next: Next) -> Response {
    if state.supervisor.topology().read_only {
        return Problem::read_only().into_response();
    }
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .map(|token| token.strip_prefix("Bearer ").unwrap_or(token));
    match token {
        None => {
            Problem::unauthorized("This needs the operator's token: Authorization: Bearer <token>")
                .into_response()
        }
        Some(token) if same(token.as_bytes(), state.token.as_bytes()) => next.run(request).await,
        Some(_) => Problem::forbidden("This is not the operator's token").into_response(),
    }
}

async fn topology(State(state): State<Shared>) -> Json<topology::Topology> {
    Json(state.supervisor.topology().clone())
}

/// A process of the lab.
#[derive(Clone, Debug, Serialize)]
struct Process {
    name: String,
    /// A service's role; a store's kind.
    role: String,
    /// `service` or `store`.
    kind: &'static str,
    /// `starting`, `running`, `restarting` or `stopped`; `external` for a store that the lab did not start.
    state: &'static str,
    pid: Option<u32>,
    /// How often it came back after it died; null for a store.
    restarts: Option<u32>,
    /// Since when it is in this state.
    since: Option<String>,
    /// Where it listens.
    address: String,
    /// Its admin port; null for a store.
    admin: Option<String>,
}

#[derive(Debug, Serialize)]
struct Instances {
    role: &'static str,
    count: usize,
    least: usize,
    most: usize,
}

#[derive(Debug, Serialize)]
struct Everything {
    supervisor_pid: u32,
    read_only: bool,
    processes: Vec<Process>,
    roles: Vec<Instances>,
}

/// Everything that runs, services along a request's path and then stores.
fn list(supervisor: &Supervisor) -> Vec<Process> {
    let topology = supervisor.topology();
    let since = |name: &str| {
        let since = supervisor.since(name)?;
        Some(since.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    };
    let services = topology.instances.into_iter().map(|instance| Process {
        kind: "service",
        state: match instance.state {
            topology::State::Starting => "starting",
            topology::State::Running => "running",
            topology::State::Restarting => "restarting",
            topology::State::Stopped => "stopped",
        },
        pid: instance.pid,
        restarts: Some(instance.restarts),
        since: since(&instance.name),
        address: instance.listen.to_string(),
        admin: Some(instance.admin.to_string()),
        role: instance.role,
        name: instance.name,
    });
    let stores = topology.stores.into_iter().map(|store| Process {
        kind: "store",
        state: match (store.managed, store.pid) {
            (false, _) => "external",
            (true, Some(_)) => "running",
            (true, None) => "restarting",
        },
        pid: store.pid,
        restarts: None,
        since: since(&store.kind),
        address: store.address,
        admin: None,
        role: store.kind.clone(),
        name: store.kind,
    });
    services.chain(stores).collect()
}

async fn show(State(state): State<Shared>) -> Json<Everything> {
    let processes = list(&state.supervisor);
    let roles = Role::ALL.map(|role| Instances {
        role: role.name(),
        count: processes
            .iter()
            .filter(|it| it.role == role.name() && it.kind == "service")
            .count(),
        least: *role.allowed().start(),
        most: *role.allowed().end(),
    });
    Json(Everything {
        supervisor_pid: std::process::id(),
        read_only: state.supervisor.topology().read_only,
        processes,
        roles: roles.into(),
    })
}

fn find(supervisor: &Supervisor, name: &str) -> Result<Process, Problem> {
    let found = list(supervisor).into_iter().find(|it| it.name == name);
    found.ok_or_else(|| {
        Problem::not_found(format!(
            "There is no process {:?}; GET /admin/processes lists them",
            shown(name)
        ))
    })
}

/// What a client wrote, short enough to be shown.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

async fn kill(
    State(state): State<Shared>,
    extract::Path(name): extract::Path<String>,
) -> Result<(StatusCode, Json<Process>), Problem> {
    let process = find(&state.supervisor, &name)?;
    let Some(pid) = process.pid else {
        return Err(Problem::conflict(format!(
            "{name} has no process of this lab now: it is {}",
            process.state
        )));
    };
    processes::signal(pid, Signal::KILL);
    Ok((StatusCode::ACCEPTED, Json(process)))
}

async fn restart(
    State(state): State<Shared>,
    extract::Path(name): extract::Path<String>,
) -> Result<Json<Process>, Problem> {
    let process = find(&state.supervisor, &name)?;
    if process.kind == "store" {
        return Err(Problem::conflict(
            "A store is not restarted in order while services use it; it can be killed, and comes back",
        ));
    }
    let target: Target = name
        .parse()
        .map_err(|reason: String| Problem::conflict(reason))?;
    carry_out(&state, target).await?;
    find(&state.supervisor, &name).map(Json)
}

/// A role and its instances.
#[derive(Debug, Serialize)]
struct Changed {
    role: &'static str,
    count: usize,
    /// How many there were.
    previous: usize,
    processes: Vec<Process>,
}

fn instances(supervisor: &Supervisor, role: Role) -> Vec<Process> {
    let mut processes = list(supervisor);
    processes.retain(|it| it.kind == "service" && it.role == role.name());
    processes
}

fn role(name: &str) -> Result<Role, Problem> {
    shown(name)
        .parse()
        .map_err(|reason: String| Problem::not_found(reason))
}

async fn restart_role(
    State(state): State<Shared>,
    extract::Path(name): extract::Path<String>,
) -> Result<Json<Changed>, Problem> {
    let role = role(&name)?;
    let previous = instances(&state.supervisor, role).len();
    carry_out(&state, Target { role, number: None }).await?;
    Ok(Json(changed(&state.supervisor, role, previous)))
}

fn changed(supervisor: &Supervisor, role: Role, previous: usize) -> Changed {
    let processes = instances(supervisor, role);
    Changed {
        role: role.name(),
        count: processes.len(),
        previous,
        processes,
    }
}

/// Restarts, to the end also when the one who asked has left.
async fn carry_out(state: &Shared, target: Target) -> Result<(), Problem> {
    let supervisor = state.supervisor.clone();
    let work = async move {
        let (steps, _heard) = unbounded_channel();
        supervisor.restart(target, &steps).await
    };
    finished(tokio::spawn(work).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    count: usize,
}

async fn scale(
    State(state): State<Shared>,
    extract::Path(name): extract::Path<String>,
    extract::Json(wanted): extract::Json<Wanted>,
) -> Result<Json<Changed>, Problem> {
    let role = role(&name)?;
    roles::check(role, wanted.count).map_err(|reason| Problem::invalid("count", reason))?;
    let supervisor = state.supervisor.clone();
    let work = async move {
        let previous = instances(&supervisor, role).len();
        supervisor.scale(role, wanted.count).await?;
        Ok(changed(&supervisor, role, previous))
    };
    finished(tokio::spawn(work).await).map(Json)
}

fn finished<T>(work: Result<Result<T>, tokio::task::JoinError>) -> Result<T, Problem> {
    match work {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Error::Interrupted)) => Err(Problem::unavailable("The lab is being stopped")),
        Ok(Err(Error::Invalid(reason))) => Err(Problem::conflict(reason)),
        Ok(Err(error)) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )),
        Err(_) => Err(Problem::internal()),
    }
}
