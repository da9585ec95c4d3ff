//! Servers that are spoken with by TLS only: a master, replicas and sentinels that know each other and their clients by certificates.

use std::path::Path;

use host::store::{Watch, Watched};
use kit::redis::Servers;
use redis::RedisResult;

use crate::lab::RECARGA;

async fn said(url: &str) -> RedisResult<String> {
    let mut connection = Servers::parse(url, "tls")?.connect().await?;
    redis::cmd("GET")
        .arg("said")
        .query_async(&mut connection)
        .await
}

#[tokio::test]
async fn redis_is_spoken_with_by_tls() {
    let folder = host::scratch::folder("recarga-redis-tls-").unwrap();
    let place = folder.path().join("redis");
    let watched = Watched::start(Path::new(RECARGA), &place, Watch::Sentinel, true)
        .await
        .unwrap();
    let url = watched.url();
    assert!(url.starts_with("rediss-sentinel://"), "{url}");
    let servers = Servers::parse(url, "tls").unwrap();
    let primary = servers.primary().await.unwrap();
    let mut connection = primary.connect().await.unwrap();
    for command in [
        redis::cmd("SET").arg("said").arg("once"),
        // All replicas have it before its master dies.
        redis::cmd("WAIT").arg(2).arg(5_000),
    ] {
        command.exec_async(&mut connection).await.unwrap();
    }
    watched.fail_over("tls").await.unwrap();
    assert_eq!(said(url).await.unwrap(), "once");
    let now = servers.primary().await.unwrap().to_string();
    assert_ne!(now, primary.to_string());

    // The same server by itself, as whoever knows nothing of sentinels asks it.
    let (_, rest) = url.split_once("://").unwrap();
    let (login, rest) = rest.split_once('@').unwrap();
    let (_, parameters) = rest.split_once('?').unwrap();
    let (parameters, _) = parameters.split_once('#').unwrap();
    let one = |parameters: &str| format!("rediss://{login}@{now}/0?{parameters}");
    assert_eq!(said(&one(parameters)).await.unwrap(), "once");

    // Who shows nothing, believes somebody else, or speaks in the clear.
    let shown = parameters.split('&');
    let believed = shown.clone().find(|it| it.starts_with("ssl_ca_certs="));
    let others = folder.path().join("others");
    host::certificates::make(&others, 1, chrono::Utc::now()).unwrap();
    let other = format!("ssl_ca_certs={}", others.join("ca.crt").display());
    for refused in [
        one(believed.unwrap()),
        one(&parameters.replace(believed.unwrap(), &other)),
        one(""),
        format!("redis://{login}@{now}/0"),
    ] {
        let error = said(&refused).await.unwrap_err().to_string();
        assert!(!error.contains("once"), "{error}");
    }
    watched.stop().await;
}
