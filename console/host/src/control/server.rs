//! The lab's end: takes requests, carries them out, and gives signs of life meanwhile.

use std::fs;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, UnixListener},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};

use super::{Address, Command, Line, Request, SIGN_OF_LIFE};
use crate::{
    error::{Error, Result},
    layout::{Layout, Secrets, write_private},
    roles::{Role, Target},
    supervisor::Supervisor,
};

/// The longest path that a Unix socket may have everywhere.
const LONGEST_SOCKET_PATH: usize = 100;
/// The pause after a connection that could not be accepted.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// The lab's end, listening.
#[derive(Debug)]
pub(crate) struct Control {
    listener: Listener,
    token: String,
}

#[derive(Debug)]
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Control {
    /// Listens on a socket in the lab's folder, or on a loopback port where the path is too long for one.
    pub async fn listen(layout: &Layout, secrets: &Secrets) -> Result<Self> {
        let path = layout.control_socket();
        // Only the holder of the lab's lock comes here, so a socket that is there is a dead lab's.
        let _ = fs::remove_file(&path);
        let short = path.as_os_str().len() <= LONGEST_SOCKET_PATH;
        let unix = if short {
            UnixListener::bind(&path).ok()
        } else {
            None
        };
        let (listener, address) = if let Some(listener) = unix {
            (Listener::Unix(listener), Address::Unix(path))
        } else {
            let failed = || Error::doing("listening for control on loopback");
            let listener = TcpListener::bind(("127.0.0.1", 0))
                .await
                .map_err(failed())?;
            let address = listener.local_addr().map_err(failed())?;
            (Listener::Tcp(listener), Address::Tcp(address))
        };
        let text = serde_json::to_vec(&address).expect("an address serialises");
        write_private(&layout.control(), &text)?;
        Ok(Self {
            listener,
            token: secrets.operator_token.clone(),
        })
    }

    /// Serves requests until dropped. `stop` begins the lab's shutdown.
    pub async fn serve(self, supervisor: Supervisor, stop: kit::Shutdown) {
        loop {
            let server = Conversation {
                supervisor: supervisor.clone(),
                stop: stop.clone(),
                token: self.token.clone(),
            };
            let accepted = match &self.listener {
                Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(server.hold(stream));
                }),
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(server.hold(stream));
                }),
            };
            if accepted.is_err() {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[derive(Clone)]
struct Conversation {
    supervisor: Supervisor,
    stop: kit::Shutdown,
    token: String,
}

impl Conversation {
    async fn hold(self, stream: impl AsyncRead + AsyncWrite) {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut requests = BufReader::new(reader).lines();
        while let Ok(Some(request)) = requests.next_line().await {
            let (steps, mut done_steps) = unbounded_channel();
            // A task of its own: what was begun is finished, also when the one who asked is gone.
            let mut work = tokio::spawn(self.clone().carry_out(request, steps));
            let mut life = tokio::time::interval(SIGN_OF_LIFE);
            loop {
                let line = tokio::select! {
                    biased;
                    Some(step) = done_steps.recv() => Line::Step(step),
                    answer = &mut work => answer.unwrap_or_else(|error| Line::Error(error.to_string())),
                    _ = life.tick() => Line::Working,
                };
                let is_last = matches!(line, Line::Topology(_) | Line::Error(_));
                if say(&mut writer, &line).await.is_err() {
                    return;
                }
                if is_last {
                    break;
                }
            }
            // The end of the connection tells the one who asked for the stop that the process is gone.
            while self.stop.is_requested() {
                life.tick().await;
                if say(&mut writer, &Line::Working).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn carry_out(self, request: String, steps: UnboundedSender<String>) -> Line {
        match self.try_carry_out(&request, &steps).await {
            Ok(()) => Line::Topology(Box::new(self.supervisor.topology())),
            Err(refusal) => Line::Error(refusal),
        }
    }

    async fn try_carry_out(
        &self,
        request: &str,
        steps: &UnboundedSender<String>,
    ) -> Result<(), String> {
        let request: Request = serde_json::from_str(request).map_err(|error| error.to_string())?;
        if !same(request.token.as_bytes(), self.token.as_bytes()) {
            return Err("this is not the operator's token".to_owned());
        }
        if matches!(
            request.command,
            Command::Scale { .. } | Command::Restart { .. }
        ) && self.supervisor.topology().read_only
        {
            return Err(
                "this lab is read-only: it was started with --read-only (RECARGA_READ_ONLY)"
                    .to_owned(),
            );
        }
        let carried_out = match request.command {
            Command::Status => Ok(()),
            Command::Stop => {
                self.stop.request();
                Ok(())
            }
            Command::Scale { role, count } => {
                let role: Role = role.parse()?;
                self.supervisor.scale(role, count).await
            }
            Command::Restart { target } => {
                let target: Target = target.parse()?;
                self.supervisor.restart(target, steps).await
            }
        };
        carried_out.map_err(|error| error.to_string())
    }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), line: &Line) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line).expect("a line serialises");
    text.push(b'\n');
    writer.write_all(&text).await
}

/// Compares without telling by the time taken how much was right.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}
