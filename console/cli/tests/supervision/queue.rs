//! The queue of a real lab while its process and its Redis are killed: what was answered holds, for the naive pair as for
//! those who acknowledge.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kit::{
    discovery::Source,
    messaging::{Client, Outgoing},
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::lab::{Lab, eventually, signal};

/// How many messages are sent between two kills.
const BETWEEN: usize = 60;
/// How long a client rests after a call that failed.
const REST: Duration = Duration::from_millis(20);

/// What the clients know, and nothing else.
#[derive(Default)]
struct Journal {
    sent: HashSet<u64>,
    received: Vec<u64>,
    ended: HashSet<u64>,
    /// Received although the end had been answered before it was asked for.
    risen: Vec<u64>,
    /// Calls that took something or not: nobody answered.
    unanswered: usize,
}

#[derive(Clone)]
struct Clients {
    url: String,
    http: reqwest::Client,
    client: Client,
    naive: Arc<Mutex<Journal>>,
    careful: Arc<Mutex<Journal>>,
    sends: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Clients {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    async fn enqueue(self) {
        for number in 0_u64.. {
            if self.is_over() {
                return;
            }
            let task = json!({"task_type": "count", "payload": number});
            let call = self.http.post(format!("{}/enqueue", self.url)).json(&task);
            match call.send().await {
                Ok(answer) if answer.status() == 200 => {
                    self.naive.lock().unwrap().sent.insert(number);
                    self.sends.fetch_add(1, Ordering::Relaxed);
                }
                _ => tokio::time::sleep(REST).await,
            }
        }
    }

    /// Until nothing is left after the end of the sending.
    async fn dequeue(self) {
        loop {
            let was_over = self.is_over();
            let answer = self.http.get(format!("{}/dequeue", self.url)).send().await;
            let answered = match answer {
                Ok(answer) if answer.status() == 200 => answer.json::<Value>().await.ok(),
                Ok(answer) if answer.status() == 404 => {
                    if was_over {
                        return;
                    }
                    tokio::time::sleep(REST).await;
                    continue;
                }
                _ => None,
            };
            if let Some(task) = answered {
                let number = task["payload"].as_u64().unwrap();
                self.naive.lock().unwrap().received.push(number);
            } else {
                self.naive.lock().unwrap().unanswered += 1;
                tokio::time::sleep(REST).await;
            }
        }
    }

    async fn send(self) {
        for number in 0_u64.. {
            if self.is_over() {
                return;
            }
            let message = Outgoing {
                dedupe_id: Some(number.to_string()),
                ..Outgoing::new(&number).unwrap()
            };
            while self.client.send("lab", &message).await.is_err() {
                tokio::time::sleep(REST).await;
            }
            self.careful.lock().unwrap().sent.insert(number);
            self.sends.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn receive(self) {
        loop {
            let was_over = self.is_over();
            let ended = self.careful.lock().unwrap().ended.clone();
            let wait = Duration::from_millis(1500);
            let Ok(taken) = self.client.receive("lab", 5, wait, None).await else {
                tokio::time::sleep(REST).await;
                continue;
            };
            // Nothing came for longer than a visibility: nothing is in flight either.
            if taken.is_empty() && was_over {
                return;
            }
            for message in taken {
                let number: u64 = message.read().unwrap();
                self.note(number, &ended);
                let answer = self.client.acknowledge("lab", &[message.receipt]).await;
                if answer.is_ok_and(|answer| answer.acknowledged == 1) {
                    self.careful.lock().unwrap().ended.insert(number);
                }
            }
        }
    }

    fn note(&self, number: u64, ended: &HashSet<u64>) {
        let mut journal = self.careful.lock().unwrap();
        journal.received.push(number);
        if ended.contains(&number) {
            journal.risen.push(number);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_queue_answered_holds_whatever_is_killed() {
    let lab = Lab::start().await;
    let topology = lab.topology();
    let address = topology
        .queue_url
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let source: Source = address.parse().unwrap();
    let clients = Clients {
        http: reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap(),
        client: Client::connect(
            source.watch(kit::Shutdown::new()).await,
            &kit::tls::Tiers::default(),
        )
        .unwrap(),
        url: topology.queue_url,
        naive: Arc::default(),
        careful: Arc::default(),
        sends: Arc::default(),
        over: Arc::default(),
    };
    let settings = json!({"visibility_seconds": 1, "max_crashes": 1000});
    let url = format!("{}/queues/lab", clients.url);
    let set = clients.http.put(url).json(&settings).send().await.unwrap();
    assert_eq!(set.status(), 200);

    let tasks = [
        tokio::spawn(clients.clone().enqueue()),
        tokio::spawn(clients.clone().dequeue()),
        tokio::spawn(clients.clone().send()),
        tokio::spawn(clients.clone().receive()),
        tokio::spawn(clients.clone().receive()),
    ];
    let mut wanted = 0;
    for victim in ["queue-1", "the store", "queue-1", "the store"] {
        wanted += BETWEEN;
        let sends = clients.sends.clone();
        eventually("messages are sent", || {
            sends.load(Ordering::Relaxed) >= wanted
        })
        .await;
        if victim == "queue-1" {
            let before = lab.instance(victim).unwrap();
            signal(before.pid.unwrap(), Signal::KILL);
            lab.back(victim, before.restarts).await;
        } else {
            let store = |lab: &Lab| {
                let stores = lab.topology().stores;
                stores
                    .into_iter()
                    .find(|store| store.kind == "queue")
                    .unwrap()
                    .pid
            };
            let before = store(&lab).unwrap();
            signal(before, Signal::KILL);
            eventually("the queue's Redis is back", || {
                store(&lab).is_some_and(|pid| pid != before)
            })
            .await;
        }
        wanted = clients.sends.load(Ordering::Relaxed);
    }
    wanted += BETWEEN;
    let sends = clients.sends.clone();
    eventually("messages are sent after the last kill", || {
        sends.load(Ordering::Relaxed) >= wanted
    })
    .await;
    clients.over.store(true, Ordering::Relaxed);
    for task in tasks {
        tokio::time::timeout(Duration::from_mins(1), task)
            .await
            .expect("it ends in time")
            .unwrap();
    }

    let careful = std::mem::take(&mut *clients.careful.lock().unwrap());
    let received: HashSet<u64> = careful.received.iter().copied().collect();
    let lost: Vec<_> = careful.sent.difference(&received).collect();
    assert!(lost.is_empty(), "sent, and never received: {lost:?}");
    assert!(
        careful.risen.is_empty(),
        "ended, and received again: {:?}",
        careful.risen
    );

    let naive = std::mem::take(&mut *clients.naive.lock().unwrap());
    let received: HashSet<u64> = naive.received.iter().copied().collect();
    assert_eq!(
        received.len(),
        naive.received.len(),
        "something was dequeued twice"
    );
    // What is dequeued is gone: of each call that nobody answered, one task at most.
    let lost = naive.sent.difference(&received).count();
    assert!(
        lost <= naive.unanswered,
        "{lost} lost, {} calls unanswered",
        naive.unanswered
    );
}
