//! A certificate and its key, followed when they are renewed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use rustls::{
    ServerConfig, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

use super::provider;
use crate::{Error, Instance, outage::Outage};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What two files are for, and the settings that name them.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    pub certificate: &'static str,
    pub key: &'static str,
    /// In the names of metrics, after `recarga_`.
    pub metric: &'static str,
}

/// For the front door.
pub const FRONT: Purpose = Purpose {
    certificate: "RECARGA_TLS_CERTIFICATE (--tls-certificate)",
    key: "RECARGA_TLS_KEY (--tls-key)",
    metric: "tls",
};

/// Two files, and what was in them when they were last whole.
#[derive(Clone, Debug)]
pub struct Certificates {
    purpose: Purpose,
    certificate: PathBuf,
    key: PathBuf,
    pub(super) current: Arc<Current>,
}

/// What is shown to whoever connects, or is connected to.
#[derive(Debug)]
pub(super) struct Current(ArcSwap<CertifiedKey>);

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// Reads both.
    pub fn load(purpose: Purpose, certificate: &Path, key: &Path) -> Result<Self, Error> {
        let first = read(purpose, certificate, key)?;
        Ok(Self {
            purpose,
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: Arc::new(Current(ArcSwap::from_pointee(first))),
        })
    }

    /// Offers HTTP/2 and HTTP/1.1, to each new connection with the certificate of the moment.
    pub fn server(&self) -> Result<Arc<ServerConfig>, Error> {
        self.server_for(WebPkiClientVerifier::no_client_auth())
    }

    /// The same for clients that must pass `verifier`.
    pub(super) fn server_for(
        &self,
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::other)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Puts what is new in the files in force until the shutdown. What does not fit together is left, and said.
    pub async fn follow(self, instance: Instance) {
        let renewed: Counter = Counter::default();
        let unusable: Counter = Counter::default();
        let metric = self.purpose.metric;
        instance.metrics().register(|registry| {
            let help = "Certificates that were put in force while the process ran";
            registry.register(format!("recarga_{metric}_renewals"), help, renewed.clone());
            let help = "Looks at a renewed certificate that could not be used; the one before stays in force";
            registry.register(format!("recarga_{metric}_unusable"), help, unusable.clone());
        });
        let shutdown = instance.shutdown();
        let mut outage = Outage::new("reading the renewed certificate");
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = shutdown.requested() => return,
                _ = look.tick() => {}
            }
            match self.renew() {
                Ok(false) => outage.over(),
                Ok(true) => {
                    outage.over();
                    renewed.inc();
                    tracing::info!("a renewed certificate is in force");
                }
                // The two files are not written in the same moment: one that fits the other may be about to come.
                Err(error) => {
                    unusable.inc();
                    outage.failed(&error);
                }
            }
        }
    }

    /// Whether there is another certificate than before.
    fn renew(&self) -> Result<bool, Error> {
        let new = read(self.purpose, &self.certificate, &self.key)?;
        let is_new = self.current.0.load().cert != new.cert;
        if is_new {
            self.current.0.store(Arc::new(new));
        }
        Ok(is_new)
    }
}

fn read(purpose: Purpose, certificate: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let unusable = |name, path: &Path, error: &dyn std::fmt::Display| {
        Error::config(name, format!("{}: {error}", path.display()))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(purpose.certificate, certificate, &error))?;
    if chain.is_empty() {
        return Err(unusable(
            purpose.certificate,
            certificate,
            &"there is no certificate in it",
        ));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(purpose.key, key, &error))?;
    CertifiedKey::from_der(chain, private, &provider())
        .map_err(|error| unusable(purpose.key, key, &error))
}
