//! Who gets in at a port that only other tiers may use.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{Error, Instance, tls::HANDSHAKE};

/// What the first byte of TLS is, whatever its version.
const TLS: u8 = 0x16;

/// What somebody is told who speaks HTTP here without TLS.
const PLAIN: &str = r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"This port is for other tiers: it takes TLS with a certificate of theirs only"}"#;

/// One line of log in so long, however many are refused.
const QUIET: Duration = Duration::from_secs(10);

/// Shakes hands with whoever connects.
#[derive(Clone)]
pub(crate) struct Guard {
    acceptor: TlsAcceptor,
    refused: Family<Labels, Counter>,
    said: Arc<Mutex<Option<Instant>>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    reason: Reason,
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "written as labels are")]
enum Reason {
    /// HTTP without TLS.
    plain,
    /// No certificate was shown.
    anonymous,
    /// A certificate of somebody else's authority, or one that is over.
    certificate,
    /// Not a word in time.
    slow,
    other,
}

impl Guard {
    /// None where everyone may come in.
    pub fn new(instance: &Instance) -> Result<Option<Self>, Error> {
        let Some(config) = instance.tiers().server()? else {
            return Ok(None);
        };
        let refused = Family::<Labels, Counter>::default();
        instance.metrics().register(|registry| {
            let help = "Connections that were refused because the other side did not show who it is, by reason";
            registry.register("recarga_mtls_refused", help, refused.clone());
        });
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(config),
            refused,
            said: Arc::default(),
        }))
    }

    /// The connection of somebody who is one of ours; the others are told why not, and counted.
    pub async fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let (reason, error) = match timeout(HANDSHAKE, self.greet(stream)).await {
            Ok(Ok(Some(stream))) => return Some(stream),
            Ok(Ok(None)) => (Reason::plain, "HTTP without TLS".to_owned()),
            Ok(Err(error)) => match reason(&error) {
                Some(reason) => (reason, error.to_string()),
                // It has left: somebody looked whether the port is open.
                None => return None,
            },
            Err(_) => (Reason::slow, "no handshake in time".to_owned()),
        };
        self.refused.get_or_create(&Labels { reason }).inc();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|before| before.elapsed() > QUIET) {
            *said = Some(Instant::now());
            tracing::warn!(peer = %peer, error = %error, "somebody who is no tier of ours was refused");
        } else {
            tracing::debug!(peer = %peer, error = %error, "somebody who is no tier of ours was refused");
        }
        None
    }

    async fn greet(&self, mut stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0] != TLS {
            let word = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n\
                 connection: close\r\ncontent-length: {}\r\n\r\n{PLAIN}",
                PLAIN.len()
            );
            stream.write_all(word.as_bytes()).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        self.acceptor.accept(stream).await.map(Some)
    }
}

/// None when it was not for what the other side has shown.
fn reason(error: &io::Error) -> Option<Reason> {
    let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match cause {
        rustls::Error::NoCertificatesPresented => Reason::anonymous,
        rustls::Error::InvalidCertificate(_) => Reason::certificate,
        _ => Reason::other,
    })
}
