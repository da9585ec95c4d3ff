//! Calls of the contract: single ones with their answers, a recharge, a burst.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use load::{Credentials, Mix, Population};
use rand::RngExt as _;
use serde_json::{Value, json};

use super::{
    Done, Levers, Memory,
    http::{silent, unsent},
};
use crate::{
    Answer, Door, Failure, Method, Target,
    answer::{self, waterfall},
    number::grouped,
};

/// The front door, in messages.
const WHO: &str = "the lab";
/// How long a call may take: the longest that the contract allows itself, and a little.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tokens last half an hour.
const TOKEN_LASTS: Duration = Duration::from_mins(25);
/// The user that a strict lab lets in with the operator's password.
const USER: &str = "operator";

impl Levers {
    pub(super) async fn recharge(
        &self,
        card: Option<u64>,
        amount: Option<i64>,
    ) -> Result<Done, Failure> {
        let (card, amount) = {
            let mut random = rand::rng();
            (
                // Those are active in every seeded city.
                card.unwrap_or_else(|| random.random_range(1..=100)),
                amount.unwrap_or_else(|| random.random_range(2..=40) * 1_000),
            )
        };
        let to = |path: String| Target {
            door: Door::Public,
            path,
        };
        let before = self
            .exchange(
                Method::Get,
                &to(format!("/cards/{card}/balance")),
                None,
                true,
            )
            .await?;
        let before = document(&before)["balance"].as_i64();
        let body = json!({"card_id": card, "amount": amount}).to_string();
        let answer = self
            .exchange(
                Method::Post,
                &to("/recharges".to_owned()),
                Some(&body),
                true,
            )
            .await?;
        let document = document(&answer);
        if !answer.is_success() {
            return Err(Failure::Refused {
                who: WHO.to_owned(),
                status: answer.status,
                detail: document["detail"]
                    .as_str()
                    .unwrap_or("no reason was given")
                    .to_owned(),
            });
        }
        let pesos = |amount: i64| grouped(amount.unsigned_abs());
        let after = document["balance"].as_i64().unwrap_or_default();
        let was = before.map_or(String::new(), |before| format!("{} + ", pesos(before)));
        let gateway = answer.header("x-gateway").unwrap_or("no gateway");
        let text = format!(
            "card {card}: {was}{} = {} pesos, by {gateway} in {:.1} ms",
            pesos(amount),
            pesos(after),
            answer.elapsed.as_secs_f64() * 1e3
        );
        Ok(Done {
            detail: Some(answer),
            ..Done::new(text)
        })
    }

    pub(super) async fn call(
        &self,
        method: Method,
        target: &Target,
        body: Option<&str>,
        token: bool,
    ) -> Result<Done, Failure> {
        let answer = self.exchange(method, target, body, token).await?;
        let mut text = format!(
            "{} {target}: {} in {:.1} ms",
            method.name(),
            answer.status,
            answer.elapsed.as_secs_f64() * 1e3
        );
        if let Some(gateway) = answer.header("x-gateway") {
            let _ = write!(text, ", {gateway}");
        }
        if let Some(cache) = answer.header("x-cache") {
            let _ = write!(text, ", cache {cache}");
        }
        Ok(Done {
            detail: Some(answer),
            ..Done::new(text)
        })
    }

    pub(super) async fn burst(&self, requests: u32) -> Result<Done, Failure> {
        let client = self.bursts().await?;
        let count = requests as usize;
        // The mix of the steady traffic.
        let calls = Mix::contract().calls(Population::default(), run_number(), count);
        let burst = client
            .burst(calls, count)
            .await
            .map_err(|error| no_login(&error))?;
        if burst.succeeded + burst.refused == 0 && burst.failed > 0 {
            return Err(Failure::Silent {
                who: WHO.to_owned(),
                reason: burst.last_error.unwrap_or_default(),
            });
        }
        let mut text = format!(
            "{} requests in {:.2} s: {} succeeded, {} refused, {} without an answer",
            grouped(requests.into()),
            burst.elapsed.as_secs_f64(),
            grouped(burst.succeeded.into()),
            grouped(burst.refused.into()),
            grouped(burst.failed.into()),
        );
        if burst.latency.count > 0 {
            let _ = write!(text, ", p95 {:.1} ms", burst.latency.p95 as f64 / 1e3);
        }
        if let Some(error) = burst.last_error {
            let _ = write!(text, "; the last failure: {error}");
        }
        Ok(Done::new(text))
    }

    /// What traffic against this lab logs in with: the demo token, or the operator's password where there is none.
    pub async fn credentials(&self) -> Credentials {
        let Some(password) = &self.rights.operator_password else {
            return Credentials::Demo;
        };
        let demo = self.http.get(format!("{}/token", self.lab.public_url));
        match self.text(WHO, demo).await {
            Ok((status, _)) if !status.is_success() => Credentials::Password {
                username: USER.to_owned(),
                password: password.clone(),
            },
            _ => Credentials::Demo,
        }
    }

    async fn bursts(&self) -> Result<Arc<load::Client>, Failure> {
        let url = &self.lab.public_url;
        if let Some((of, client)) = &*Memory::lock(&self.memory.client)
            && of == url
        {
            return Ok(Arc::clone(client));
        }
        let credentials = self.credentials().await;
        let client = load::Client::new(
            url,
            self.rights.allow_remote,
            credentials,
            PATIENCE,
            run_number(),
        );
        let client = Arc::new(client.map_err(|error| refused(url, error))?);
        *Memory::lock(&self.memory.client) = Some((url.clone(), Arc::clone(&client)));
        Ok(client)
    }

    /// Sends one request and reads all of its answer, whatever it is.
    async fn exchange(
        &self,
        method: Method,
        target: &Target,
        body: Option<&str>,
        token: bool,
    ) -> Result<Answer, Failure> {
        let (who, base) = self.door(&target.door)?;
        load::Target::parse(&base, self.rights.allow_remote)
            .map_err(|error| refused(&base, error))?;
        let url = format!("{base}{}", target.path);
        // Only the front door asks for tokens, and the gateways behind it.
        let asks = matches!(target.door, Door::Public | Door::Instance(_));
        let mut fresh = false;
        loop {
            let token = if token && asks {
                Some(self.token(fresh).await?)
            } else {
                None
            };
            let answer = self
                .send((&who, &target.door), method, &url, body, token.as_deref())
                .await?;
            if answer.status == 401 && token.is_some() && !fresh {
                // The lab may have been started anew, with another key.
                fresh = true;
                continue;
            }
            return Ok(answer);
        }
    }

    /// Whom a call goes to, and the beginning of its address.
    fn door(&self, door: &Door) -> Result<(String, String), Failure> {
        let named =
            |who: &str, url: &str| Ok((who.to_owned(), url.trim_end_matches('/').to_owned()));
        match door {
            Door::Public => named(WHO, &self.lab.public_url),
            Door::Cache => named("the cache service", &self.lab.cache_url),
            Door::Queue => named("the queue service", &self.lab.queue_url),
            Door::Worker => named("the worker", &self.lab.worker_url),
            Door::Instance(name) => {
                let place = self.place(name)?;
                let listen = place.listen.as_ref().ok_or_else(|| Failure::Impossible {
                    reason: format!("the public address of {name} is not known here"),
                })?;
                Ok((name.clone(), format!("http://{listen}")))
            }
        }
    }

    async fn send(
        &self,
        (who, door): (&str, &Door),
        method: Method,
        url: &str,
        body: Option<&str>,
        token: Option<&str>,
    ) -> Result<Answer, Failure> {
        let verb = match method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut request = self.http.request(verb, url).timeout(PATIENCE);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if method == Method::Post {
            // Writes can be repeated without harm, as every careful client does it.
            request = request.header("idempotency-key", format!("do-{:x}", run_number()));
        }
        if let Some(body) = body {
            request = request
                .header("content-type", content_type(body))
                .body(body.to_owned());
        }
        let started = Instant::now();
        let transport = self
            .lab
            .transport(door)
            .map_err(|error| Failure::Impossible {
                reason: error.to_string(),
            })?;
        let mut response = match transport {
            None => request.send().await.map_err(|error| silent(who, &error))?,
            Some(transport) => transport
                .send(request, PATIENCE)
                .await
                .map_err(|error| unsent(who, &error))?,
        };
        let headers: Vec<(String, String)> = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let status = response.status().as_u16();
        let (mut bytes, mut truncated) = (Vec::new(), false);
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| silent(who, &error))?
        {
            let room = answer::BODY - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                truncated = true;
                break;
            }
        }
        let elapsed = started.elapsed();
        let timings = headers.iter().filter(|(name, _)| name == "server-timing");
        let waterfall = waterfall(timings.map(|(_, value)| value.as_str()));
        Ok(Answer {
            method: method.name(),
            url: url.to_owned(),
            status,
            body: String::from_utf8_lossy(&bytes).into_owned(),
            truncated,
            elapsed,
            waterfall,
            headers,
        })
    }

    /// The token that calls carry; kept while it lasts.
    async fn token(&self, fresh: bool) -> Result<String, Failure> {
        let url = &self.lab.public_url;
        let kept = Memory::lock(&self.memory.token).clone();
        if let Some((of, token, since)) = kept
            && of == *url
            && !fresh
            && since.elapsed() < TOKEN_LASTS
        {
            return Ok(token);
        }
        let token = self.fetch_token().await?;
        *Memory::lock(&self.memory.token) = Some((url.clone(), token.clone(), Instant::now()));
        Ok(token)
    }

    async fn fetch_token(&self) -> Result<String, Failure> {
        let url = format!("{}/token", self.lab.public_url);
        let demo = self.json(WHO, self.http.get(&url)).await;
        let (answer, member) = match (demo, &self.rights.operator_password) {
            (Ok(answer), _) => (answer, "token"),
            (Err(Failure::Refused { .. }), Some(password)) => {
                let form = [("username", USER), ("password", password)];
                let login = self.http.post(&url).form(&form);
                (
                    self.json(WHO, login)
                        .await
                        .map_err(|error| no_login(&error))?,
                    "access_token",
                )
            }
            (Err(failure @ Failure::Silent { .. }), _) => return Err(failure),
            (Err(failure), _) => return Err(no_login(&failure)),
        };
        let token = answer[member].as_str().map(str::to_owned);
        token.ok_or_else(|| Failure::NoLogin {
            reason: "the answer holds none".to_owned(),
        })
    }
}

fn document(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_default()
}

/// Forms are for logging in; all else is JSON.
fn content_type(body: &str) -> &'static str {
    if body.starts_with("username=") {
        "application/x-www-form-urlencoded"
    } else {
        "application/json"
    }
}

fn no_login(error: &impl ToString) -> Failure {
    Failure::NoLogin {
        reason: error.to_string(),
    }
}

fn refused(url: &str, error: load::Error) -> Failure {
    match error {
        load::Error::Remote { host } => Failure::Remote { target: host },
        other => Failure::Impossible {
            reason: format!("{url}: {other}"),
        },
    }
}

/// Differs from call to call: it goes into idempotency keys.
fn run_number() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
