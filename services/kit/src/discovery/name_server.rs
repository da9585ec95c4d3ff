//! A name server for tests: real packets over UDP and TCP, answers as the test wants them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// What is answered to every question.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These addresses, each in the answer to its own kind of question, for so many seconds. No address is no data.
    Addresses(Vec<IpAddr>, u32),
    /// Another name (for the second number of seconds) that has these addresses (for the first).
    Alias(Vec<IpAddr>, u32, u32),
    /// Over UDP only that the answer is too long; over TCP these addresses.
    TooLong(Vec<IpAddr>, u32),
    NoSuchName,
    ServerFailure,
    Silence,
}

impl Reply {
    pub fn ipv4(last_bytes: &[u8], ttl: u32) -> Self {
        Self::Addresses(ipv4(last_bytes), ttl)
    }
}

/// `10.0.0.X` for each.
pub fn ipv4(last_bytes: &[u8]) -> Vec<IpAddr> {
    last_bytes
        .iter()
        .map(|last| Ipv4Addr::new(10, 0, 0, *last).into())
        .collect()
}

/// `fd00::X` for each.
pub fn ipv6(last_bytes: &[u8]) -> Vec<IpAddr> {
    last_bytes
        .iter()
        .map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(*last)).into())
        .collect()
}

/// A question that came in.
#[derive(Clone, Debug)]
pub struct Question {
    /// Without the last dot.
    pub name: String,
    pub ipv6: bool,
    pub at: Instant,
}

pub struct NameServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    tasks: Vec<JoinHandle<()>>,
}

struct State {
    reply: Reply,
    questions: Vec<Question>,
}

impl NameServer {
    pub async fn start(reply: Reply) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            reply,
            questions: Vec::new(),
        }));
        let tasks = vec![
            tokio::spawn(serve_udp(udp, Arc::clone(&state))),
            tokio::spawn(serve_tcp(tcp, Arc::clone(&state))),
        ];
        Self {
            address,
            state,
            tasks,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn reply(&self, reply: Reply) {
        self.state().reply = reply;
    }

    /// All questions so far.
    pub fn questions(&self) -> Vec<Question> {
        self.state().questions.clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve_udp(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut packet = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut packet).await.unwrap();
        let answer = state.lock().unwrap().answer(&packet[..length], false);
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut packet = vec![0; usize::from(length)];
                stream.read_exact(&mut packet).await.unwrap();
                let answer = state.lock().unwrap().answer(&packet, true);
                if let Some(answer) = answer {
                    let length = u16::try_from(answer.len()).unwrap();
                    stream.write_u16(length).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
    }
}

impl State {
    fn answer(&mut self, packet: &[u8], tcp: bool) -> Option<Vec<u8>> {
        // The question: labels up to an empty one, then kind and class.
        let mut name = Vec::new();
        let mut at = 12;
        while packet[at] != 0 {
            let end = at + 1 + usize::from(packet[at]);
            name.push(String::from_utf8_lossy(&packet[at + 1..end]).to_lowercase());
            at = end;
        }
        let question = &packet[12..at + 5];
        let kind = u16::from_be_bytes([packet[at + 1], packet[at + 2]]);
        self.questions.push(Question {
            name: name.join("."),
            ipv6: kind == AAAA,
            at: Instant::now(),
        });

        let mut records = Vec::new();
        let mut truncated = false;
        let mut code = 0;
        match &self.reply {
            Reply::Silence => return None,
            Reply::NoSuchName => code = 3,
            Reply::ServerFailure => code = 2,
            Reply::TooLong(..) if !tcp => truncated = true,
            Reply::Addresses(addresses, ttl) | Reply::TooLong(addresses, ttl) => {
                records = address_records(&[0xc0, 12], kind, addresses, *ttl);
            }
            Reply::Alias(addresses, ttl, alias_ttl) => {
                let target = b"\x05other\x04test\x00";
                records.push(record(&[0xc0, 12], CNAME, *alias_ttl, target));
                records.extend(address_records(target, kind, addresses, *ttl));
            }
        }
        let mut answer = packet[..2].to_vec();
        answer.extend([0x81 | if truncated { 2 } else { 0 }, 0x80 | code]);
        answer.extend([0, 1]);
        answer.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
        answer.extend([0, 0, 0, 0]);
        answer.extend(question);
        answer.extend(records.concat());
        Some(answer)
    }
}

fn address_records(owner: &[u8], kind: u16, addresses: &[IpAddr], ttl: u32) -> Vec<Vec<u8>> {
    addresses
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(address) if kind == A => Some(record(owner, A, ttl, &address.octets())),
            IpAddr::V6(address) if kind == AAAA => {
                Some(record(owner, AAAA, ttl, &address.octets()))
            }
            _ => None,
        })
        .collect()
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = owner.to_vec();
    record.extend(kind.to_be_bytes());
    record.extend([0, 1]);
    record.extend(ttl.to_be_bytes());
    record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend(data);
    record
}
