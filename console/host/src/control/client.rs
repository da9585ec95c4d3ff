//! The other end: a client of a lab that runs.

use std::{fs, io, path::Path, time::Duration};

use kit::Topology;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, ReadHalf, WriteHalf},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_util::either::Either;

use super::{Address, Command, Line, Request};
use crate::{
    error::{Error, Result},
    layout::{Layout, Secrets},
    roles::{Count, Target},
};

/// A silence that is told to the one who waits.
const SILENCE_TOLD: Duration = Duration::from_secs(2);
/// How much longer it may last. The lab gives a sign of life every second.
const SILENCE_BORNE: Duration = Duration::from_secs(8);
/// How long the lab's lock may outlive its last word.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// Something to tell the one who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A step of what was asked for is done.
    Step(String),
    /// The supervisor, with its process number, has said nothing for a while.
    Silent(Option<u32>),
}

/// A connection to a running lab.
#[derive(Debug)]
pub struct Client<Tell> {
    layout: Layout,
    token: String,
    lines: Lines<BufReader<ReadHalf<Stream>>>,
    writer: WriteHalf<Stream>,
    tell: Tell,
}

type Stream = Either<UnixStream, TcpStream>;

impl<Tell: FnMut(Note)> Client<Tell> {
    /// Connects to the lab of a folder; `tell` is given what happens while an answer is waited for.
    pub async fn connect(directory: &Path, tell: Tell) -> Result<Self> {
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
        let connecting = async {
            io::Result::Ok(match address {
                Address::Unix(path) => Either::Left(UnixStream::connect(path).await?),
                Address::Tcp(address) => Either::Right(TcpStream::connect(address).await?),
            })
        };
        // One that is frozen for long has so many waiting callers that no more can be taken.
        let stream = timeout(SILENCE_BORNE, connecting)
            .await
            .map_err(|_| silent(&layout))?
            .map_err(busy)?;
        let secrets = Secrets::load(&layout)?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Self {
            token: secrets.operator_token,
            lines: BufReader::new(reader).lines(),
            writer,
            layout,
            tell,
        })
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

    /// Has instances restarted one after the other.
    pub async fn restart(&mut self, target: Target) -> Result<Topology> {
        self.ask(Command::Restart {
            target: target.to_string(),
        })
        .await
    }

    /// Asks for the stop and waits until the lab's process is gone.
    pub async fn stop(mut self) -> Result<()> {
        self.ask(Command::Stop).await?;
        while let Ok(Some(_)) = self.next_line().await? {}
        let gone = async {
            while self.layout.try_lock()?.is_none() {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            Ok(())
        };
        timeout(GONE_WITHIN, gone)
            .await
            .unwrap_or_else(|_| Err(silent(&self.layout)))
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
        loop {
            let line = self
                .next_line()
                .await?
                .map_err(lost())?
                .ok_or_else(|| lost()(io::ErrorKind::UnexpectedEof.into()))?;
            match serde_json::from_str(&line).map_err(|error| lost()(error.into()))? {
                Line::Working => {}
                Line::Step(step) => (self.tell)(Note::Step(step)),
                Line::Topology(topology) => return Ok(*topology),
                Line::Error(error) => return Err(Error::Refused(error)),
            }
        }
    }

    /// The next line, waited for no longer than a lab that works can take.
    async fn next_line(&mut self) -> Result<io::Result<Option<String>>> {
        // Cancelled without loss: what was read of a line stays where it is.
        if let Ok(line) = timeout(SILENCE_TOLD, self.lines.next_line()).await {
            return Ok(line);
        }
        (self.tell)(Note::Silent(supervisor_of(&self.layout)));
        timeout(SILENCE_BORNE, self.lines.next_line())
            .await
            .map_err(|_| silent(&self.layout))
    }
}

fn silent(layout: &Layout) -> Error {
    Error::Silent {
        seconds: (SILENCE_TOLD + SILENCE_BORNE).as_secs(),
        pid: supervisor_of(layout),
    }
}

fn supervisor_of(layout: &Layout) -> Option<u32> {
    Topology::load(&layout.topology()).ok()?.supervisor_pid
}
