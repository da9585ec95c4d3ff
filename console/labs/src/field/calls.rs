//! Single calls: where they go, as whom, and what comes back.

use std::time::{Duration, Instant};

use actions::{Door, Lab, Method, Target, waterfall};
use kit::client::{Failure, Transport};
use serde_json::Value;

use super::{Field, lock};
use crate::{
    memory::Answer,
    script::{Call, Caller, Keep, Kept},
};

/// How long a token or a condition's call may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Tokens last half an hour.
const TOKEN_LASTS: Duration = Duration::from_mins(20);
/// Of a body that is longer, nothing is kept.
const BODY: usize = 256 * 1024;

/// What many calls of one caller have in common.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    http: reqwest::Client,
    token: Option<String>,
    /// The beginning of each call's address.
    bases: Vec<String>,
    /// The way to each, where it takes TLS only.
    transports: Vec<Option<Transport>>,
    pub calls: Vec<Call>,
}

/// One answer, or none.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Why there is no answer.
    pub error: Option<&'static str>,
}

impl Sending {
    pub async fn new(field: &Field, calls: &[Call], caller: Caller) -> Result<Self, String> {
        let lab = (field.setup.place)()?;
        let bases = calls
            .iter()
            .map(|call| field.base(&lab, &call.target))
            .collect::<Result<_, _>>()?;
        let transports = calls
            .iter()
            .map(|call| {
                let transport = lab.transport(&call.target.door);
                transport.map_err(|error| error.to_string())
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            http: field.http.clone(),
            token: field.token(caller).await?,
            bases,
            transports,
            calls: calls.to_vec(),
        })
    }

    /// Sends one of the calls, filled in.
    pub async fn send(
        &self,
        index: usize,
        path: &str,
        body: Option<String>,
        key: Option<&str>,
        timeout: Duration,
    ) -> Reply {
        let call = &self.calls[index];
        let method = match call.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let url = format!("{}{path}", self.bases[index]);
        let mut request = self.http.request(method, url).timeout(timeout);
        // Only the front door asks for tokens, and the gateways behind it.
        if let Some(token) = &self.token
            && matches!(call.target.door, Door::Public | Door::Instance(_))
        {
            request = request.bearer_auth(token);
        }
        if let Some(key) = key
            && call.method != Method::Get
        {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            let form = body.starts_with("username=");
            let kind = if form {
                "application/x-www-form-urlencoded"
            } else {
                "application/json"
            };
            request = request.header("content-type", kind).body(body);
        }
        let response = match &self.transports[index] {
            None => request.send().await.map_err(|error| why(&error)),
            Some(transport) => {
                let sent = transport.send(request, timeout).await;
                sent.map_err(|failure| unsent(&failure))
            }
        };
        let received = match response {
            Ok(response) => receive(response).await.map_err(|error| why(&error)),
            Err(why) => Err(why),
        };
        received.unwrap_or_else(|why| Reply {
            error: Some(why),
            ..Reply::default()
        })
    }

    /// One call of a condition.
    pub async fn answer(&self, call: &Call) -> Answer {
        let reply = self
            .send(0, &call.target.path, call.body.clone(), None, PATIENCE)
            .await;
        reply.answer()
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The texts that a sample keeps.
    pub fn texts(&self, keep: &[Keep]) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        let mut add = |name: &str, text: Option<&str>| {
            if let Some(text) = text {
                texts.push((name.to_owned(), text.chars().take(200).collect()));
            }
        };
        add("gateway", self.header("x-gateway"));
        add("cache", self.header("x-cache"));
        add("error", self.error);
        let wants_body = keep.iter().any(|keep| matches!(keep.what, Kept::Body(_)));
        let body = if wants_body { self.json() } else { Value::Null };
        for keep in keep {
            match &keep.what {
                Kept::Header(header) => add(&keep.name, self.header(header)),
                Kept::Body(pointer) => match body.pointer(pointer) {
                    Some(Value::String(text)) => add(&keep.name, Some(text)),
                    Some(Value::Null) | None => {}
                    Some(other) => add(&keep.name, Some(&other.to_string())),
                },
            }
        }
        texts
    }

    /// What each tier says it took.
    pub fn tiers(&self) -> Vec<(String, f64)> {
        let timings = self
            .headers
            .iter()
            .filter(|(name, _)| name == "server-timing");
        let spans = waterfall(timings.map(|(_, value)| value.as_str()));
        spans
            .into_iter()
            .map(|span| (span.name, span.milliseconds))
            .collect()
    }

    pub fn answer(self) -> Answer {
        Answer {
            status: self.status,
            body: self.json(),
            headers: self.headers,
        }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

async fn receive(response: reqwest::Response) -> Result<Reply, reqwest::Error> {
    let status = response.status().as_u16();
    let text = |value: &reqwest::header::HeaderValue| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    };
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    let body = response.bytes().await?;
    Ok(Reply {
        status,
        headers,
        body: if body.len() <= BODY {
            body.to_vec()
        } else {
            Vec::new()
        },
        error: None,
    })
}

fn unsent(failure: &Failure) -> &'static str {
    match failure {
        Failure::TimedOut => "no answer in time",
        Failure::Connect(_) => "no connection",
        Failure::Broken(_) => "the connection broke",
    }
}

fn why(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    }
}

impl Field {
    /// The beginning of a target's address.
    fn base(&self, lab: &Lab, target: &Target) -> Result<String, String> {
        let base = match &target.door {
            Door::Public => lab.public_url.clone(),
            Door::Cache => lab.cache_url.clone(),
            Door::Queue => lab.queue_url.clone(),
            Door::Worker => lab.worker_url.clone(),
            Door::Instance(name) => {
                let place = lab.instances.iter().find(|place| place.name == *name);
                let listen = place.and_then(|place| place.listen.as_ref());
                format!(
                    "http://{}",
                    listen.ok_or_else(|| format!("the address of {name} is not known"))?
                )
            }
        };
        load::Target::parse(&base, self.setup.rights.allow_remote)
            .map_err(|error| error.to_string())?;
        Ok(base.trim_end_matches('/').to_owned())
    }

    /// The token of a caller; none for whom nobody knows.
    pub(super) async fn token(&self, caller: Caller) -> Result<Option<String>, String> {
        if caller == Caller::Anonymous {
            return Ok(None);
        }
        if let Some((token, since)) = lock(&self.tokens).get(&caller)
            && since.elapsed() < TOKEN_LASTS
        {
            return Ok(Some(token.clone()));
        }
        let lab = (self.setup.place)()?;
        let url = format!("{}/token", lab.public_url);
        let (username, password) = match caller {
            Caller::Anonymous | Caller::Demo => ("", String::new()),
            Caller::Student1 => ("student1", "password".to_owned()),
            Caller::Student2 => ("student2", "password".to_owned()),
            Caller::Operator => {
                let password = self.setup.rights.operator_password.clone();
                (
                    "operator",
                    password.ok_or("the operator's password is not known here")?,
                )
            }
        };
        let request = if username.is_empty() {
            self.http.get(url)
        } else {
            self.http
                .post(url)
                .form(&[("username", username), ("password", &password)])
        };
        let who = caller.name();
        let silent = |error| format!("no token for {who}: {}", why(&error));
        let response = request.timeout(PATIENCE).send().await.map_err(silent)?;
        let reply = receive(response).await.map_err(silent)?;
        let body = reply.json();
        let token = body["token"].as_str().or(body["access_token"].as_str());
        match token {
            Some(token) if reply.status == 200 => {
                lock(&self.tokens).insert(caller, (token.to_owned(), Instant::now()));
                Ok(Some(token.to_owned()))
            }
            _ => Err(format!(
                "no token for {who}: the answer was {}",
                reply.status
            )),
        }
    }
}
