//! A collector behind TLS, known by an authority of its own, that takes spans of nobody who shows nothing.

use std::{net::SocketAddr, path::Path, sync::Arc};

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};

use crate::{
    alone::Balancer,
    collector::{Collector, lines},
};

/// What goes on in the clear behind it; where it is.
async fn door(own: &Path, inside: SocketAddr) -> SocketAddr {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut authorities = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(own.join("ca.crt")).unwrap();
    authorities.add(authority).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider))
            .build()
            .unwrap();
    let chain = CertificateDer::from_pem_file(own.join("tls.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(own.join("tls.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![chain], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who is refused goes away.
                let Ok(mut outside) = acceptor.accept(stream).await else {
                    return;
                };
                let mut inside = TcpStream::connect(inside).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_behind_tls_takes_what_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let own = host::certificates::of_a_store(folder.path(), None, chrono::Utc::now()).unwrap();
    let file = |name: &str| own.join(name).display().to_string();
    let collector = Collector::start();
    let address = door(&own, collector.address).await;
    let endpoint = format!("https://localhost:{}", address.port());
    let believing = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", file("ca.crt")),
    ];
    let shown = [
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", file("tls.crt")),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", file("tls.key")),
    ];
    let quick = [
        ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()),
        ("OTEL_BSP_EXPORT_TIMEOUT", "1000".to_owned()),
    ];
    // Who does not believe it sends nothing, from who shows nothing it takes nothing.
    for settings in [
        [&believing[..1], &shown, &quick].concat(),
        [&believing[..], &quick].concat(),
    ] {
        let mut balancer = Balancer::start(&borrowed(&settings));
        balancer.page().await;
        balancer.stop();
        assert!(
            collector.all().is_empty(),
            "{settings:?}: {}",
            lines(&collector.all())
        );
    }
    let settings = [&believing[..], &shown, &quick].concat();
    let mut balancer = Balancer::start(&borrowed(&settings));
    balancer.page().await;
    balancer.stop();
    assert_eq!(collector.all().len(), 1, "{}", lines(&collector.all()));
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}
