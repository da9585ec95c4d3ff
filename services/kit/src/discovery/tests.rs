//! Sources from flags, and DNS over real packets.

use std::time::Instant;

use tokio::sync::watch::Receiver;

use super::{
    name_server::{NameServer, Reply, ipv4, ipv6},
    *,
};
use crate::testing::eventually;

#[test]
fn sources_are_parsed_by_form() {
    assert_eq!(
        "http://a:1/, b:2".parse(),
        Ok(Source::List(vec!["a:1".into(), "b:2".into()]))
    );
    assert_eq!(
        "topology:/x/t.json#gateway".parse(),
        Ok(Source::Topology {
            path: "/x/t.json".into(),
            role: "gateway".into()
        })
    );
    for (text, shown) in [
        ("dns:gateway:8080", "dns:gateway:8080"),
        (
            "dns:_g.a-b.test:1@10.0.0.1",
            "dns:_g.a-b.test:1@10.0.0.1:53",
        ),
        ("dns:g:1@10.0.0.1:8600", "dns:g:1@10.0.0.1:8600"),
        ("dns:g:1@[fd00::1]", "dns:g:1@[fd00::1]:53"),
        ("dns:127.0.0.1:80", "dns:127.0.0.1:80"),
        ("dns:[::1]:80", "dns:[::1]:80"),
    ] {
        let source: Source = text.parse().unwrap();
        assert!(matches!(source, Source::Dns(_)), "{text}");
        assert_eq!(source.to_string(), shown);
        assert_eq!(shown.parse(), Ok(source), "{text}");
    }
}

#[test]
fn nonsense_is_refused() {
    for text in [
        "",
        "gateway",
        "dns:gateway",
        "dns:gateway:0",
        "dns:gateway:80@",
        "dns:gateway:80@resolver",
        "dns:gateway:80@10.0.0.1:0",
        "dns:a..b:80",
        "topology:/x",
        "topology:#gateway",
        "a:0",
        "a:99999",
        ",",
        ":80",
    ] {
        assert!(text.parse::<Source>().is_err(), "{text}");
    }
}

/// Port 8080 of each.
fn endpoints(addresses: &[std::net::IpAddr]) -> Vec<Endpoint> {
    addresses
        .iter()
        .map(|address| Endpoint::unnamed(SocketAddr::new(*address, 8080)))
        .collect()
}

async fn watch(server: &NameServer, longest: u64) -> Receiver<Vec<Endpoint>> {
    let source: Source = format!("dns:gateway.test:8080@{}", server.address)
        .parse()
        .unwrap();
    source
        .watch_within(Duration::from_secs(longest), Shutdown::new())
        .await
}

async fn becomes(known: &Receiver<Vec<Endpoint>>, addresses: &[std::net::IpAddr]) {
    let wanted = endpoints(addresses);
    eventually(&format!("{wanted:?} are known"), async || {
        *known.borrow() == wanted
    })
    .await;
}

/// Waits until the server was asked `more` times again.
async fn asked_again(server: &NameServer, more: usize) {
    let before = server.questions().len();
    eventually("the server is asked again", async || {
        server.questions().len() >= before + more
    })
    .await;
}

/// The times between the first questions.
async fn gaps(server: &NameServer, count: usize) -> Vec<Duration> {
    asked_again(server, count).await;
    let times: Vec<Instant> = server.questions().iter().map(|asked| asked.at).collect();
    times
        .windows(2)
        .take(count)
        .map(|pair| pair[1] - pair[0])
        .collect()
}

#[tokio::test]
async fn a_changed_set_is_seen() {
    let server = NameServer::start(Reply::ipv4(&[3, 1, 2], 1)).await;
    let known = watch(&server, 60).await;
    assert_eq!(
        *known.borrow(),
        endpoints(&ipv4(&[1, 2, 3])),
        "at once, and sorted"
    );
    server.reply(Reply::ipv4(&[5, 4, 3, 2, 1], 1));
    becomes(&known, &ipv4(&[1, 2, 3, 4, 5])).await;
    server.reply(Reply::ipv4(&[5], 1));
    becomes(&known, &ipv4(&[5])).await;
}

#[tokio::test]
async fn the_time_to_live_is_obeyed() {
    let server = NameServer::start(Reply::ipv4(&[1], 2)).await;
    let _known = watch(&server, 60).await;
    for gap in gaps(&server, 2).await {
        assert!(gap >= Duration::from_secs(2), "{gap:?}");
    }
}

#[tokio::test]
async fn nobody_is_asked_more_than_once_a_second() {
    let server = NameServer::start(Reply::ipv4(&[1], 0)).await;
    let _known = watch(&server, 60).await;
    for gap in gaps(&server, 2).await {
        assert!(gap >= Duration::from_secs(1), "{gap:?}");
    }
}

#[tokio::test]
async fn a_long_time_to_live_is_cut() {
    // As Docker answers: ten minutes, whatever happens to the service.
    let server = NameServer::start(Reply::ipv4(&[1, 2, 3], 600)).await;
    let known = watch(&server, 1).await;
    server.reply(Reply::ipv4(&[1, 2, 3, 4, 5], 600));
    becomes(&known, &ipv4(&[1, 2, 3, 4, 5])).await;
}

#[tokio::test]
async fn the_shortest_time_to_live_of_an_alias_counts() {
    let server = NameServer::start(Reply::Alias(ipv4(&[1, 2]), 600, 1)).await;
    let known = watch(&server, 60).await;
    assert_eq!(*known.borrow(), endpoints(&ipv4(&[1, 2])));
    server.reply(Reply::Alias(ipv4(&[3]), 1, 600));
    becomes(&known, &ipv4(&[3])).await;
    server.reply(Reply::Alias(ipv4(&[4]), 600, 600));
    becomes(&known, &ipv4(&[4])).await;
}

#[tokio::test]
async fn an_instance_with_two_addresses_is_one_instance() {
    let both = [ipv4(&[1, 2]), ipv6(&[1, 2])].concat();
    let server = NameServer::start(Reply::Addresses(both, 1)).await;
    let known = watch(&server, 60).await;
    assert_eq!(*known.borrow(), endpoints(&ipv4(&[1, 2])));
    assert!(server.questions().iter().all(|question| !question.ipv6));

    server.reply(Reply::Addresses(ipv6(&[7, 8]), 1));
    becomes(&known, &ipv6(&[7, 8])).await;
}

#[tokio::test]
async fn a_long_answer_comes_over_tcp() {
    let many: Vec<u8> = (1..=200).collect();
    let server = NameServer::start(Reply::TooLong(ipv4(&many), 1)).await;
    let known = watch(&server, 60).await;
    assert_eq!(*known.borrow(), endpoints(&ipv4(&many)));
}

#[tokio::test]
async fn the_last_good_set_stays_whatever_goes_wrong() {
    let server = NameServer::start(Reply::ipv4(&[1, 2], 1)).await;
    let known = watch(&server, 60).await;
    for (turn, wrong) in [
        Reply::ServerFailure,
        Reply::NoSuchName,
        Reply::Addresses(Vec::new(), 1),
        Reply::Silence,
    ]
    .into_iter()
    .enumerate()
    {
        let last = known.borrow().clone();
        server.reply(wrong.clone());
        asked_again(&server, 3).await;
        assert_eq!(*known.borrow(), last, "{wrong:?}");
        let next = ipv4(&[10 + u8::try_from(turn).unwrap()]);
        server.reply(Reply::Addresses(next.clone(), 1));
        becomes(&known, &next).await;
    }
}

#[tokio::test]
async fn a_name_server_that_comes_late_is_found() {
    let server = NameServer::start(Reply::ServerFailure).await;
    let known = watch(&server, 60).await;
    assert!(known.borrow().is_empty());
    server.reply(Reply::ipv4(&[1], 1));
    becomes(&known, &ipv4(&[1])).await;
}

#[tokio::test]
async fn failures_make_the_questions_rarer() {
    let server = NameServer::start(Reply::NoSuchName).await;
    let _known = watch(&server, 60).await;
    // Each round asks for IPv4 and for IPv6.
    asked_again(&server, 6).await;
    let rounds: Vec<Instant> = server
        .questions()
        .iter()
        .filter(|question| !question.ipv6)
        .map(|question| question.at)
        .collect();
    for (turn, least) in [375, 750].into_iter().enumerate() {
        let gap = rounds[turn + 1] - rounds[turn];
        assert!(gap >= Duration::from_millis(least), "{gap:?} after {turn}");
    }
}

#[tokio::test]
async fn names_of_the_hosts_file_need_no_name_server() {
    for text in ["dns:localhost:8080", "localhost:8080"] {
        let source: Source = text.parse().unwrap();
        let known = source.watch(Shutdown::new()).await;
        let loopback = endpoints(&[std::net::Ipv4Addr::LOCALHOST.into()]);
        assert_eq!(*known.borrow(), loopback, "{text}");
    }
}

#[tokio::test]
async fn an_entry_of_a_list_that_fails_leaves_the_others() {
    let source: Source = "127.0.0.1:1,no-such-name.invalid:2,127.0.0.1:3"
        .parse()
        .unwrap();
    let known = source.watch(Shutdown::new()).await;
    let ports: Vec<u16> = known
        .borrow()
        .iter()
        .map(|endpoint| endpoint.address.port())
        .collect();
    assert_eq!(ports, [1, 3]);
}

#[tokio::test]
async fn the_shutdown_ends_the_watching() {
    let server = NameServer::start(Reply::ipv4(&[1], 600)).await;
    let shutdown = Shutdown::new();
    let source: Source = format!("dns:gateway.test:8080@{}", server.address)
        .parse()
        .unwrap();
    let mut known = source.watch(shutdown.clone()).await;
    known.mark_unchanged();
    shutdown.request();
    assert!(known.changed().await.is_err(), "nobody watches any more");
}
