//! TLS: towards servers that are not ours, and both ways between our own.

mod certificates;
mod link;
mod tiers;

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, pem::PemObject as _},
};

pub(crate) use self::tiers::HANDSHAKE;
pub use self::{
    certificates::{Certificates, FRONT, Purpose},
    link::{Connector, Link},
    tiers::{AUTHORITY, CERTIFICATE, KEY, MutualTlsArgs, Tiers},
};
use crate::Error;

/// Whose certificate the tools show that look at the tiers from outside.
pub const OPERATOR: &str = "operator";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Trusts the authorities that this machine trusts.
pub fn client() -> Result<ClientConfig, Error> {
    client_of(None, None)
}

/// Trusts those in a file, where one is named, and shows what another two hold.
pub(crate) fn client_of(
    authorities: Option<Authorities>,
    own: Option<&Certificates>,
) -> Result<ClientConfig, Error> {
    let authorities = authorities.unwrap_or_else(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    });
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_root_certificates(authorities);
    Ok(match own {
        Some(own) => builder.with_client_cert_resolver(Arc::clone(&own.current) as _),
        None => builder.with_no_client_auth(),
    })
}

/// Who is believed.
pub(crate) type Authorities = Arc<RootCertStore>;

/// Those of a file, of which there must be one; `setting` is what named it.
pub(crate) fn authorities(setting: &'static str, path: &Path) -> Result<Authorities, Error> {
    let unusable = |reason: String| Error::config(setting, format!("{}: {reason}", path.display()));
    let mut authorities = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(error.to_string()))?;
    for certificate in found {
        authorities
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    if authorities.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    Ok(Arc::new(authorities))
}
