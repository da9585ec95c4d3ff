//! TLS: towards servers that are not ours, and both ways between our own.

mod certificates;
mod link;
mod tiers;

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
};

pub(crate) use self::tiers::HANDSHAKE;
pub use self::{
    certificates::{Certificates, FRONT, Purpose},
    link::{Connector, Link},
    tiers::{MutualTlsArgs, Tiers},
};
use crate::Error;

/// Whose certificate the tools show that look at the tiers from outside.
pub const OPERATOR: &str = "operator";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Trusts the authorities that this machine trusts.
pub fn client() -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
