//! How the tiers speak with each other: in the clear, or each knowing the other by a certificate of one authority.
//!
//! A certificate is for roles, not for hosts: whoever asks `travel` accepts nobody whose certificate does not say `travel`,
//! wherever it runs. Whoever is asked takes everyone that the authority has certified.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::WebPkiClientVerifier,
};

use super::{
    Authorities, authorities,
    certificates::{Certificates, Purpose},
    provider,
};
use crate::{Error, Instance};

/// What is in the folder of a role, by the names that Kubernetes has for them.
pub const AUTHORITY: &str = "ca.crt";
pub const CERTIFICATE: &str = "tls.crt";
pub const KEY: &str = "tls.key";

const SETTING: &str = "RECARGA_MTLS_AUTHORITY (--mtls-authority)";
const PURPOSE: Purpose = Purpose {
    certificate: "RECARGA_MTLS_CERTIFICATE (--mtls-certificate)",
    key: "RECARGA_MTLS_KEY (--mtls-key)",
    metric: "mtls",
};

/// The longest a handshake may take on the side that is asked.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);

/// What this process shows to the other tiers, and whom it believes. All three or none.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct MutualTlsArgs {
    /// The PEM file with the certificate that this process shows to the other tiers, for its role's name. With it every call
    /// between tiers is encrypted, and both sides must show one. Renewed files are noticed.
    #[arg(long, env = "RECARGA_MTLS_CERTIFICATE", requires_all = ["mtls_key", "mtls_authority"])]
    pub mtls_certificate: Option<PathBuf>,
    /// The PEM file with the certificate's private key.
    #[arg(long, env = "RECARGA_MTLS_KEY", requires = "mtls_certificate")]
    pub mtls_key: Option<PathBuf>,
    /// The PEM file with the authorities that the other tiers' certificates must come from.
    #[arg(long, env = "RECARGA_MTLS_AUTHORITY", requires = "mtls_certificate")]
    pub mtls_authority: Option<PathBuf>,
}

impl MutualTlsArgs {
    /// The files of a role in a folder that `recarga certificates` has made.
    #[must_use]
    pub fn of(folder: &Path, role: &str) -> Self {
        let own = folder.join(role);
        Self {
            mtls_certificate: Some(own.join(CERTIFICATE)),
            mtls_key: Some(own.join(KEY)),
            mtls_authority: Some(own.join(AUTHORITY)),
        }
    }

    /// The same as the variables that say it.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("RECARGA_MTLS_CERTIFICATE", &self.mtls_certificate),
            ("RECARGA_MTLS_KEY", &self.mtls_key),
            ("RECARGA_MTLS_AUTHORITY", &self.mtls_authority),
        ]
        .into_iter()
        .filter_map(|(name, path)| Some((name.to_owned(), path.as_ref()?.display().to_string())))
        .collect()
    }
}

/// How this process speaks with the other tiers; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tiers(Option<Arc<Mutual>>);

#[derive(Debug)]
struct Mutual {
    own: Certificates,
    authorities: Authorities,
}

impl Tiers {
    /// Reads the files, if there are any.
    pub fn load(args: &MutualTlsArgs) -> Result<Self, Error> {
        let (certificate, key, authority) =
            match (&args.mtls_certificate, &args.mtls_key, &args.mtls_authority) {
                (None, None, None) => return Ok(Self::default()),
                (Some(certificate), Some(key), Some(authority)) => (certificate, key, authority),
                _ => {
                    return Err(Error::config(
                        PURPOSE.certificate,
                        "a certificate, its key and an authority are given together or not at all",
                    ));
                }
            };
        Ok(Self(Some(Arc::new(Mutual {
            own: Certificates::load(PURPOSE, certificate, key)?,
            authorities: authorities(SETTING, authority)?,
        }))))
    }

    #[must_use]
    pub fn are_mutual(&self) -> bool {
        self.0.is_some()
    }

    /// For a port that only other tiers may use.
    pub(crate) fn server(&self) -> Result<Option<Arc<ServerConfig>>, Error> {
        let Some(mutual) = &self.0 else {
            return Ok(None);
        };
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&mutual.authorities),
            provider(),
        )
        .build()
        .map_err(Error::other)?;
        mutual.own.server_for(verifier).map(Some)
    }

    /// For calls of a role: nobody else may answer them.
    pub fn client(&self, role: &str) -> Result<Option<Arc<ClientConfig>>, Error> {
        let Some(mutual) = &self.0 else {
            return Ok(None);
        };
        let inner = WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&mutual.authorities),
            provider(),
        )
        .build()
        .map_err(Error::other)?;
        let role = ServerName::try_from(role.to_owned()).map_err(Error::other)?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OfRole { role, inner }))
            .with_client_cert_resolver(Arc::clone(&mutual.own.current) as _);
        Ok(Some(Arc::new(config)))
    }

    /// Puts a renewed certificate in force until the shutdown.
    pub(crate) fn follow(&self, instance: &Instance) {
        if let Some(mutual) = &self.0 {
            instance.spawn(mutual.own.clone().follow(instance.clone()));
        }
    }
}

/// Takes a certificate for a role, whatever name or address it was reached by.
#[derive(Debug)]
struct OfRole {
    role: ServerName<'static>,
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for OfRole {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner
            .verify_server_cert(end_entity, intermediates, &self.role, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
