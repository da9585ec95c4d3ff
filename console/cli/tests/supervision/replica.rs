//! A standby answers sums in the primary's place, and nobody can tell by what they read.

use std::{process::Stdio, time::Duration};

use host::store::Replicated;
use kit::testing::free_address;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::process::{Child, Command};

use crate::lab::RECARGA;

struct Travel {
    url: String,
    admin: String,
    http: reqwest::Client,
    _child: Child,
}

impl Travel {
    async fn serve(database: &str, replica: &str) -> Self {
        let [listen, admin] = [free_address(), free_address()].map(|address| address.to_string());
        let child = Command::new(RECARGA)
            .args(["serve", "travel"])
            .env("RECARGA_LISTEN", &listen)
            .env("RECARGA_ADMIN_LISTEN", &admin)
            .env("RECARGA_OPERATOR_TOKEN", "0123456789abcdef0123456789abcdef")
            .env("RECARGA_DATABASE_URL", database)
            .env("RECARGA_DATABASE_REPLICA_URL", replica)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let travel = Self {
            url: format!("http://{listen}"),
            admin: format!("http://{admin}"),
            http: reqwest::Client::new(),
            _child: child,
        };
        // The first look at either server is behind it then.
        for _ in 0..600 {
            let answer = travel
                .http
                .get(format!("{}/readyz", travel.admin))
                .send()
                .await;
            if answer.is_ok_and(|answer| answer.status() == 200)
                && travel.reads("replica").await > 0
            {
                return travel;
            }
            if travel.http.get(&travel.url).send().await.is_ok() {
                travel.users().await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no sum came from the standby");
    }

    async fn users(&self) -> i64 {
        let answer = self.http.get(format!("{}/users/count", self.url));
        let answer: Value = answer.send().await.unwrap().json().await.unwrap();
        answer["total_users"].as_i64().unwrap_or_default()
    }

    async fn reads(&self, by: &str) -> u64 {
        let metrics = self.http.get(format!("{}/metrics", self.admin)).send();
        let metrics = metrics.await.unwrap().text().await.unwrap();
        let label = format!("answer=\"{by}\"");
        metrics
            .lines()
            .filter(|line| line.starts_with("recarga_database_replica_reads_total"))
            .find(|line| line.contains(&label))
            .and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_default()
    }
}

#[tokio::test]
async fn a_sum_of_the_standby_is_never_old() {
    let place = host::scratch::folder("recarga-replica-").unwrap();
    let database = Replicated::start(RECARGA.as_ref(), place.path(), false)
        .await
        .unwrap();
    let url = database.url();
    let filled = Command::new(RECARGA)
        .args(["seed", "--database-url", url])
        .stdout(Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(filled.success());
    let standby = url.replace("read-write", "standby");
    let travel = Travel::serve(url, &standby).await;

    let open = async |url: &str| {
        let options = kit::postgres::Servers::reach(url).await.unwrap();
        PgConnection::connect_with(&options).await.unwrap()
    };
    let mut writer = open(url).await;
    let mut joins = async |name: String| {
        sqlx::query("insert into travel.users (username, full_name, created_at, last_active_at) values ($1, $1, now(), now())")
            .bind(name)
            .execute(&mut writer)
            .await
            .unwrap();
    };
    let mut known = travel.users().await;
    let before = travel.reads("replica").await;
    for number in 0..50 {
        joins(format!("joined-{number}")).await;
        known += 1;
        assert_eq!(travel.users().await, known, "a reader after a commit");
    }
    // Not all of them where the machine stands still for a moment: the standby is behind then, and left alone.
    assert!(travel.reads("replica").await > before);
    let behind_before = travel.reads("primary_behind").await;

    // A standby that does not follow is not waited for, nor believed.
    let mut behind = open(&standby).await;
    sqlx::query("select pg_wal_replay_pause()")
        .execute(&mut behind)
        .await
        .unwrap();
    joins("late".to_owned()).await;
    assert_eq!(travel.users().await, known + 1);
    assert!(travel.reads("primary_behind").await > behind_before);
    sqlx::query("select pg_wal_replay_resume()")
        .execute(&mut behind)
        .await
        .unwrap();

    // The standby becomes the primary, and sums go on.
    database.fail_over().await.unwrap();
    for _ in 0..200 {
        if travel.users().await == known + 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(travel.users().await, known + 1);
    database.stop().await;
}
