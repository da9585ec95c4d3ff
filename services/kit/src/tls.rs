//! TLS towards servers that are not ours.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::Error;

/// Trusts the authorities that this machine trusts.
pub fn client() -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
