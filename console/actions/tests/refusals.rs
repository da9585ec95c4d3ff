//! What is refused before a byte is sent, and what is said of those who do not answer.

#![allow(clippy::unwrap_used)]

use actions::{Action, Failure, Lab, Levers, Place, Rights, TABLE};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// A lab of which every address is the listener's.
fn lab(address: &str) -> Lab {
    let url = || format!("http://{address}");
    let place = |role: &str, number: u32| Place {
        role: role.to_owned(),
        name: format!("{role}-{number}"),
        listen: Some(address.to_owned()),
        admin: address.to_owned(),
        running: true,
    };
    let roles = [
        "balancer",
        "gateway",
        "travel",
        "exercise",
        "worker",
        "notification",
    ];
    Lab {
        public_url: url(),
        cache_url: url(),
        queue_url: url(),
        worker_url: url(),
        instances: roles
            .iter()
            .flat_map(|role| [place(role, 1), place(role, 2)])
            .collect(),
        supervised: true,
        supervisor_url: None,
        mutual_tls: None,
    }
}

fn rights() -> Rights {
    Rights {
        operator_token: Some("operator-token-for-tests".to_owned()),
        ..Rights::default()
    }
}

fn parse(line: &str) -> Action {
    Action::parse(line).expect(line)
}

#[tokio::test]
async fn read_only_refuses_everything_before_a_byte_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let rights = Rights {
        read_only: true,
        ..rights()
    };
    let levers = Levers::new(Levers::client().unwrap(), lab(&address), rights);
    for entry in TABLE {
        let action = parse(entry.example);
        if action.changes() {
            assert_eq!(
                levers.perform(&action).await,
                Err(Failure::ReadOnly),
                "{action}"
            );
        }
    }
    // One change among reads is enough.
    let mixed = parse("call GET /data; flush all");
    assert_eq!(levers.perform(&mixed).await, Err(Failure::ReadOnly));
    let came = futures::FutureExt::now_or_never(listener.accept());
    assert!(came.is_none(), "somebody connected");
}

#[tokio::test]
async fn those_who_do_not_answer_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let levers = Levers::new(Levers::client().unwrap(), lab(&address), rights());
    for (line, who) in [
        ("drain travel-2", "travel-2"),
        ("fault gateway-1 hang", "gateway-1"),
        ("flush all", "the cache service"),
        ("pause-queue tasks", "the queue service"),
        ("call GET /data", "the lab"),
        ("call GET travel-1:/data anonymous", "travel-1"),
    ] {
        match levers.perform(&parse(line)).await {
            Err(Failure::Silent {
                who: silent,
                reason,
            }) => {
                assert_eq!(
                    (silent.as_str(), reason.as_str()),
                    (who, "it cannot be reached"),
                    "{line}"
                );
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    let all = levers.perform(&parse("stop-everything")).await.unwrap_err();
    assert!(
        all.to_string().contains("worker-2 does not answer"),
        "{all}"
    );
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_said() {
    // Nothing listens there; nothing may be sent either.
    let levers =
        |rights: Rights| Levers::new(Levers::client().unwrap(), lab("192.0.2.1:9"), rights);
    for (line, words) in [
        (
            "kill gatway-1",
            "there is no instance \"gatway-1\"; there are gateway-1",
        ),
        (
            "kill nobody",
            "; there are balancer-1, balancer-2, exercise-1,",
        ),
        ("restart nobody", "there is no instance or role \"nobody\""),
        (
            "restart gateway",
            "where the lab runs, use `recarga restart gateway`",
        ),
        (
            "scale gateway 5",
            "where the lab runs, use `recarga scale gateway=5`",
        ),
        ("cache off travel-1", "travel-1 is no gateway"),
        (
            "pause-consumers travel",
            "there is no consumer \"travel\"; there are worker-1, worker-2, notification-1",
        ),
        ("safeguard leases off", "balancer-1 does not answer"),
        ("weight worker-9 2", "there is no instance"),
        (
            "weight notification-1 2",
            "nobody balances over notification",
        ),
        (
            "traffic ramp rate=5",
            "steady traffic runs where it was asked for",
        ),
        (
            "call GET /data",
            "192.0.2.1 is not on this machine; only --allow-remote",
        ),
        (
            "recharge",
            "192.0.2.1 is not on this machine; only --allow-remote",
        ),
        (
            "burst 5",
            "192.0.2.1 is not on this machine; only --allow-remote",
        ),
    ] {
        let failure = levers(rights())
            .perform(&parse(line))
            .await
            .expect_err(line)
            .to_string();
        assert!(failure.contains(words), "{line}: {failure}");
    }
    let nobody = levers(Rights::default())
        .perform(&parse("kill gateway-1"))
        .await
        .unwrap_err();
    assert!(matches!(nobody, Failure::NoToken { .. }), "{nobody}");
}

/// Answers on this listener as a supervisor does that runs at most nineteen of a role.
async fn supervise(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut request = Vec::new();
            loop {
                let text = String::from_utf8_lossy(&request).into_owned();
                let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                    let length = head
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "));
                    body.len() >= length.map_or(0, |length| length.parse().unwrap())
                });
                if whole {
                    let (status, body) = if text.contains(r#"{"count":20}"#) {
                        ("422 Unprocessable", r#"{"detail":"that is too many"}"#)
                    } else {
                        ("200 OK", "{}")
                    };
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    request.clear();
                } else if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_supervisor_is_asked_and_scaling_is_undone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(supervise(listener));
    let supervised = Lab {
        supervisor_url: Some(url),
        ..lab("127.0.0.1:9")
    };
    let levers = Levers::new(Levers::client().unwrap(), supervised, rights());
    let scaled = levers.perform(&parse("scale worker 3")).await.unwrap();
    assert_eq!(scaled.text, "worker: 3 run, before 2");
    assert_eq!(scaled.undo, Some(parse("scale worker 2")));
    let restarted = levers.perform(&parse("restart worker")).await.unwrap();
    assert_eq!(restarted.undo, None);
    assert_eq!(restarted.text, "restarted: worker");
    let refused = levers.perform(&parse("scale worker 20")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the supervisor refused (422): that is too many"
    );
    // Of several, what was done before the failure is told.
    let partly = levers
        .perform(&parse("scale worker 4; scale worker 20; scale worker 5"))
        .await
        .unwrap_err();
    assert!(
        matches!(&partly, Failure::Partly { done, .. } if done.contains("worker: 4 run")),
        "{partly}"
    );
    let both = levers
        .perform(&parse("scale worker 3; scale travel 1"))
        .await
        .unwrap();
    assert_eq!(both.undo, Some(parse("scale travel 2; scale worker 2")));
    for (line, words) in [
        ("scale worker 0", "ALL 2 OF WORKER STOP"),
        ("scale worker 1", "1 of them drain and stop"),
        ("scale worker 2", "run already"),
        ("restart worker", "2 instances are drained"),
    ] {
        let impact = levers.impact(&parse(line)).await.unwrap();
        assert!(impact.contains(words), "{line}: {impact}");
    }
}
