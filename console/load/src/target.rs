//! The one address that traffic goes to, and the rule that it is on this machine.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rustls::ClientConfig;

use crate::Error;

/// A checked `http://host:port`.
#[derive(Clone, Debug)]
pub struct Target {
    host: String,
    port: u16,
    remote_allowed: bool,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// Reads an address. Without `allow_remote`, only loopback addresses and `localhost` pass, and a name
    /// is checked again each time it is resolved.
    ///
    /// # Errors
    /// When the text is not a plain HTTP address, or leads off this machine without leave.
    pub fn parse(text: &str, allow_remote: bool) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::Target {
            target: text.to_owned(),
            reason: reason.to_owned(),
        };
        let url = url::Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
        if url.scheme() != "http" {
            return Err(refuse("only http is spoken here"));
        }
        let host = url
            .host_str()
            .ok_or_else(|| refuse("it names no host"))?
            .to_owned();
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(refuse("it must end after the port"));
        }
        let target = Self {
            host,
            port: url.port().unwrap_or(80),
            remote_allowed: allow_remote,
            tls: None,
        };
        let local = target.host == "localhost"
            || target
                .address()
                .is_some_and(|address| address.is_loopback());
        if local || allow_remote {
            Ok(target)
        } else {
            Err(Error::Remote { host: target.host })
        }
    }

    /// The same behind TLS, whose configuration says who must be there.
    #[must_use]
    pub fn behind(self, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { tls, ..self }
    }

    pub(crate) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }

    /// The value of the `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The addresses to try, in order.
    ///
    /// # Errors
    /// When the name does not resolve, or resolves to no permitted address.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, std::io::Error> {
        if let Some(address) = self.address() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        let permitted: Vec<_> = found
            .filter(|found| self.remote_allowed || found.ip().is_loopback())
            .collect();
        if permitted.is_empty() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::AddrNotAvailable,
                format!("{} has no address on this machine", self.host),
            ));
        }
        Ok(permitted)
    }

    fn address(&self) -> Option<IpAddr> {
        self.host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_without_leave() {
        for local in [
            "http://127.0.0.1:8000",
            "http://127.1.2.3:8000/",
            "http://[::1]:8000",
            "http://localhost:8000",
        ] {
            assert!(Target::parse(local, false).is_ok(), "{local}");
        }
        for remote in [
            "http://10.0.0.1:8000",
            "http://example.org",
            "http://0.0.0.0:8000",
            "http://localhost.example.org:8000",
            "http://[::ffff:10.0.0.1]:80",
        ] {
            assert!(
                matches!(Target::parse(remote, false), Err(Error::Remote { .. })),
                "{remote}"
            );
            assert!(Target::parse(remote, true).is_ok(), "{remote}");
        }
    }

    #[test]
    fn other_schemes_and_paths_are_refused() {
        for wrong in [
            "https://127.0.0.1",
            "127.0.0.1:8000",
            "http://127.0.0.1:8000/data",
            "http://127.0.0.1/?a=b",
            "",
        ] {
            assert!(
                matches!(Target::parse(wrong, true), Err(Error::Target { .. })),
                "{wrong}"
            );
        }
    }
}
