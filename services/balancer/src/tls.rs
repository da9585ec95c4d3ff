//! The certificate and key for the public port.

use std::{path::Path, sync::Arc};

use kit::Error;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

const CERTIFICATE: &str = "RECARGA_TLS_CERTIFICATE (--tls-certificate)";
const KEY: &str = "RECARGA_TLS_KEY (--tls-key)";

/// Reads both, and offers HTTP/2 and HTTP/1.1.
pub fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
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
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| unusable(KEY, key, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
