//! The channel `smtp` against a listener that speaks as much SMTP as a mail needs.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use kit::testing::eventually;
use serde_json::json;
use sqlx::PgPool;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use uuid::Uuid;

use crate::support::{booking, count, lab, notification, recharge};

#[derive(Default)]
struct Book {
    /// Recipient and text of each mail.
    mails: Vec<(String, String)>,
    /// What the next recipients are answered instead of 250.
    refusals: VecDeque<&'static str>,
}

struct Server {
    address: String,
    book: Arc<Mutex<Book>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let book = Arc::new(Mutex::new(Book::default()));
        let kept = book.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, kept.clone()));
            }
        });
        Self { address, book }
    }

    fn flags(&self) -> Vec<&str> {
        vec![
            "--channel",
            "smtp",
            "--smtp-server",
            &self.address,
            "--smtp-tls",
            "none",
            "--smtp-domain",
            "example.test",
            "--smtp-timeout-seconds",
            "2",
        ]
    }

    fn mails(&self) -> Vec<(String, String)> {
        self.book.lock().unwrap().mails.clone()
    }
}

async fn talk(stream: TcpStream, book: Arc<Mutex<Book>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.test\r\n").await.ok()?;
    let mut to = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let verb: String = line.chars().take(4).collect::<String>().to_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-mail.test\r\n250 8BITMIME".to_owned(),
            "RCPT" => {
                to = line.trim().to_owned();
                let refusal = book.lock().unwrap().refusals.pop_front();
                refusal.unwrap_or("250 fine").to_owned()
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                let mut text = String::new();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.ok()?;
                    if line == ".\r\n" {
                        break;
                    }
                    text.push_str(&line);
                }
                book.lock().unwrap().mails.push((to.clone(), text));
                "250 taken".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "250 fine".to_owned(),
        };
        stream
            .write_all(format!("{answer}\r\n").as_bytes())
            .await
            .ok()?;
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn each_notification_is_mailed_once(pool: PgPool) {
    let (lab, server) = (lab().await, Server::start().await);
    let _process = notification(&pool, "notification-1", lab.queue.public, &server.flags());
    let event = Uuid::new_v4();
    lab.send("bookings", &[booking(5, event), booking(5, event)])
        .await;
    eventually("it is sent", async || count(&pool, "sent").await == 1).await;
    lab.settled("bookings").await;
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    let (to, text) = &mails[0];
    assert!(to.contains("<student-1@example.test>"), "{to}");
    assert!(
        text.contains(&format!("Message-ID: <{event}@example.test>")),
        "{text}"
    );
    assert!(text.contains("Subject: Your session, booking 5"), "{text}");
    assert!(
        text.contains("your Math session with Luis begins on 2030-01-02"),
        "{text}"
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_mailbox_that_is_full_is_tried_again_and_one_that_is_not_there_is_not(pool: PgPool) {
    let (lab, server) = (lab().await, Server::start().await);
    lab.configure("recharges", &json!({"backoff_seconds": 0.02}))
        .await;
    server.book.lock().unwrap().refusals.extend([
        "452 the mailbox is full",
        "250 fine",
        "550 nobody here",
    ]);
    let _process = notification(&pool, "notification-1", lab.queue.public, &server.flags());
    lab.send("recharges", &[recharge(1, Uuid::new_v4())]).await;
    eventually("it is sent", async || count(&pool, "sent").await == 1).await;
    lab.send("recharges", &[recharge(2, Uuid::new_v4())]).await;
    eventually("it is a dead letter", async || {
        let dead = lab
            .client
            .dead_letters("recharges", None, 10)
            .await
            .unwrap();
        dead.len() == 1 && dead[0].reason.contains("nobody here")
    })
    .await;
    assert_eq!(count(&pool, "failed").await, 1);
    assert_eq!(server.mails().len(), 1);
}
