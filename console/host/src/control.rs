//! The way into a running lab from another terminal: one JSON line asks, JSON lines answer.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use kit::Topology;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, Lines},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use crate::{
    error::{Error, Result},
    layout::{Layout, Secrets, write_private},
    roles::{Count, Role},
    supervisor::Supervisor,
};

/// The longest path that a Unix socket may have everywhere.
const LONGEST_SOCKET_PATH: usize = 100;
/// How long an answer may take; scaling down waits for work in flight.
const ANSWER_WITHIN: Duration = Duration::from_mins(2);

/// Where the lab listens for requests, as `control.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    token: String,
    #[serde(flatten)]
    command: Command,
}

/// What can be asked of a running lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Command {
    Status,
    /// Answered at once; the connection closes when nothing is running any more.
    Stop,
    Scale {
        role: String,
        count: usize,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topology: Option<Topology>,
}

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
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

struct Conversation {
    supervisor: Supervisor,
    stop: kit::Shutdown,
    token: String,
}

impl Conversation {
    async fn hold(self, stream: impl AsyncRead + AsyncWrite) {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut lines = BufReader::new(reader).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let (answer, stopping) = self.answer(&line).await;
            let mut text = serde_json::to_vec(&answer).expect("an answer serialises");
            text.push(b'\n');
            if writer.write_all(&text).await.is_err() {
                return;
            }
            if stopping {
                // Kept open: its end tells the one who asked that the process is gone.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn answer(&self, line: &str) -> (Answer, bool) {
        let refused = |error: String| {
            let answer = Answer {
                error: Some(error),
                topology: None,
            };
            (answer, false)
        };
        let request: Request = match serde_json::from_str(line) {
            Ok(request) => request,
            Err(error) => return refused(error.to_string()),
        };
        if !same(request.token.as_bytes(), self.token.as_bytes()) {
            return refused("this is not the operator's token".to_owned());
        }
        let mut stopping = false;
        match request.command {
            Command::Status => {}
            Command::Stop => {
                self.stop.request();
                stopping = true;
            }
            Command::Scale { role, count } => {
                let scaled = match role.parse::<Role>() {
                    Ok(role) => self.supervisor.scale(role, count).await,
                    Err(error) => return refused(error),
                };
                if let Err(error) = scaled {
                    return refused(error.to_string());
                }
            }
        }
        let answer = Answer {
            error: None,
            topology: Some(self.supervisor.topology()),
        };
        (answer, stopping)
    }
}

/// Compares without telling by the time taken how much was right.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

/// The other end: a client of a lab that runs.
#[derive(Debug)]
pub struct Client {
    layout: Layout,
    token: String,
    lines: Lines<BufReader<tokio::io::ReadHalf<Stream>>>,
    writer: tokio::io::WriteHalf<Stream>,
}

type Stream = tokio_util::either::Either<UnixStream, TcpStream>;

impl Client {
    /// Connects to the lab of a folder.
    pub async fn connect(directory: &Path) -> Result<Self> {
        let layout = Layout::existing(directory)?;
        let absent = || Error::NotRunning {
            path: layout.root().to_owned(),
        };
        if layout.try_lock()?.is_some() {
            return Err(absent());
        }
        let busy = |_: io::Error| Error::Busy {
            path: layout.root().to_owned(),
        };
        let text = fs::read(layout.control()).map_err(busy)?;
        let address: Address = serde_json::from_slice(&text).map_err(|error| busy(error.into()))?;
        let stream = match address {
            Address::Unix(path) => Stream::Left(UnixStream::connect(path).await.map_err(busy)?),
            Address::Tcp(address) => {
                Stream::Right(TcpStream::connect(address).await.map_err(busy)?)
            }
        };
        let secrets = Secrets::load(&layout)?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Self {
            token: secrets.operator_token,
            lines: BufReader::new(reader).lines(),
            writer,
            layout,
        })
    }

    async fn ask(&mut self, command: Command) -> Result<Topology> {
        let lost = || Error::doing("talking to the lab");
        let request = Request {
            token: self.token.clone(),
            command,
        };
        let mut text = serde_json::to_vec(&request).expect("a request serialises");
        text.push(b'\n');
        self.writer.write_all(&text).await.map_err(lost())?;
        let line = tokio::time::timeout(ANSWER_WITHIN, self.lines.next_line())
            .await
            .map_err(|_| lost()(io::ErrorKind::TimedOut.into()))?
            .map_err(lost())?
            .ok_or_else(|| lost()(io::ErrorKind::UnexpectedEof.into()))?;
        let answer: Answer = serde_json::from_str(&line).map_err(|error| lost()(error.into()))?;
        match answer {
            Answer {
                error: Some(error), ..
            } => Err(Error::Refused(error)),
            Answer {
                topology: Some(topology),
                ..
            } => Ok(topology),
            Answer { .. } => Err(lost()(io::ErrorKind::InvalidData.into())),
        }
    }

    pub async fn status(&mut self) -> Result<Topology> {
        self.ask(Command::Status).await
    }

    pub async fn scale(&mut self, wanted: Count) -> Result<Topology> {
        self.ask(Command::Scale {
            role: wanted.role.name().to_owned(),
            count: wanted.count,
        })
        .await
    }

    /// Asks for the stop and waits until the lab's process is gone.
    pub async fn stop(mut self) -> Result<()> {
        self.ask(Command::Stop).await?;
        let gone = async {
            while let Ok(Some(_)) = self.lines.next_line().await {}
            while self.layout.try_lock()?.is_none() {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            Ok(())
        };
        tokio::time::timeout(ANSWER_WITHIN, gone)
            .await
            .unwrap_or_else(|_| {
                Err(Error::Busy {
                    path: self.layout.root().to_owned(),
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_one_flat_object() {
        let request = Request {
            token: "t".to_owned(),
            command: Command::Scale {
                role: "gateway".to_owned(),
                count: 5,
            },
        };
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            serde_json::json!({"token": "t", "command": "scale", "role": "gateway", "count": 5})
        );
        let stop: Request = serde_json::from_str(r#"{"token":"t","command":"stop"}"#).unwrap();
        assert!(matches!(stop.command, Command::Stop));
    }
}
