//! What a URL says of how its servers are known, and what is shown to them: `rediss://` and two letters more in the other schemes.

use std::{fs, path::PathBuf};

use redis::{Client, ClientTlsConfig, TlsCertificates};

use super::Flaw;
use crate::{
    Error,
    tls::{self, Certificates, Purpose},
};

/// The files that a URL names, by the parameters that other clients of Redis have for them. Without an authority of one's own those
/// of the system are believed.
#[derive(Default)]
pub(super) struct Files {
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

const AUTHORITY: &str = "ssl_ca_certs";
const CERTIFICATE: &str = "ssl_certfile";
const KEY: &str = "ssl_keyfile";
const OWN: Purpose = Purpose {
    certificate: CERTIFICATE,
    key: KEY,
    metric: "redis_tls",
};

impl Files {
    /// Whether the parameter was one of these.
    pub(super) fn take(&mut self, name: &str, value: &str) -> bool {
        let file = match name {
            AUTHORITY => &mut self.authority,
            CERTIFICATE => &mut self.certificate,
            KEY => &mut self.key,
            _ => return false,
        };
        *file = Some(PathBuf::from(value));
        true
    }

    /// What is in them, for servers that are spoken with by TLS; nothing for others, which must not have been given any.
    pub(super) fn read(self, encrypted: bool) -> Result<Option<TlsCertificates>, Flaw> {
        let Self {
            authority,
            certificate,
            key,
        } = self;
        if !encrypted {
            return match [
                (authority, AUTHORITY),
                (certificate, CERTIFICATE),
                (key, KEY),
            ]
            .into_iter()
            .find(|(file, _)| file.is_some())
            {
                Some((_, name)) => Err(Flaw::Clear(name)),
                None => Ok(None),
            };
        }
        // Looked at here, where it can be said what is wrong with which; the client reads them once more.
        let client_tls = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Certificates::load(OWN, &certificate, &key)?;
                Some(ClientTlsConfig {
                    client_cert: content(CERTIFICATE, &certificate)?,
                    client_key: content(KEY, &key)?,
                })
            }
            _ => return Err(Flaw::HalfACertificate),
        };
        let root_cert = authority
            .map(|authority| {
                tls::authorities(AUTHORITY, &authority)?;
                content(AUTHORITY, &authority)
            })
            .transpose()?;
        Ok(Some(TlsCertificates {
            client_tls,
            root_cert,
        }))
    }
}

/// The client of a URL that names one server.
pub(super) fn client(url: &str) -> Result<Client, Flaw> {
    let encrypted = url.starts_with("rediss:") || url.starts_with("valkeys:");
    let (rest, fragment) = url
        .split_once('#')
        .map_or((url, String::new()), |(rest, fragment)| {
            (rest, format!("#{fragment}"))
        });
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if encrypted && fragment == "#insecure" {
        return Err(Flaw::Insecure);
    }
    let mut files = Files::default();
    let mut others = ::url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in ::url::form_urlencoded::parse(query.as_bytes()) {
        if !files.take(&name, &value) {
            others.append_pair(&name, &value);
        }
    }
    match files.read(encrypted)? {
        None => Client::open(url),
        Some(certificates) => {
            let url = format!("{rest}?{}{fragment}", others.finish());
            Client::build_with_tls(url, certificates)
        }
    }
    .map_err(Flaw::Redis)
}

fn content(parameter: &'static str, path: &PathBuf) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::config(parameter, format!("{}: {error}", path.display())))
}
