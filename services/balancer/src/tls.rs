//! The certificate and key for the public port, followed when they are renewed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use kit::{Error, Instance, outage::Outage};
use prometheus_client::metrics::counter::Counter;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

const CERTIFICATE: &str = "RECARGA_TLS_CERTIFICATE (--tls-certificate)";
const KEY: &str = "RECARGA_TLS_KEY (--tls-key)";

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Two files, and what was in them when they were last whole.
#[derive(Clone, Debug)]
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// Reads both.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let first = read(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: Arc::new(Current(ArcSwap::from_pointee(first))),
        })
    }

    /// Offers HTTP/2 and HTTP/1.1, to each new connection with the certificate of the moment.
    pub fn server(&self) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Puts what is new in the files in force until the shutdown. What does not fit together is left, and said.
    pub async fn follow(self, instance: Instance) {
        let renewed: Counter = Counter::default();
        let unusable: Counter = Counter::default();
        instance.metrics().register(|registry| {
            let help = "Certificates that were put in force while the process ran";
            registry.register("recarga_tls_renewals", help, renewed.clone());
            let help = "Looks at a renewed certificate that could not be used; the one before stays in force";
            registry.register("recarga_tls_unusable", help, unusable.clone());
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
        let new = read(&self.certificate, &self.key)?;
        let is_new = self.current.0.load().cert != new.cert;
        if is_new {
            self.current.0.store(Arc::new(new));
        }
        Ok(is_new)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let unusable = |name, path: &Path, error: &dyn std::fmt::Display| {
        Error::config(name, format!("{}: {error}", path.display()))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(CERTIFICATE, certificate, &error))?;
    if chain.is_empty() {
        return Err(unusable(
            CERTIFICATE,
            certificate,
            &"there is no certificate in it",
        ));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(KEY, key, &error))?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(|error| unusable(KEY, key, &error))
}
