//! A client of the lab that keeps the whole answer, and what every answer must have.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::lab::lab;

/// A client for one test: connections do not outlive a test's runtime.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(40))
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null when the text is not JSON.
    pub body: Value,
}

impl Api {
    /// The public port, as a signed-in user.
    pub async fn user() -> Self {
        static TOKEN: OnceCell<String> = OnceCell::const_new();
        let mut api = Self::anonymous();
        let token = TOKEN
            .get_or_init(|| async { api.sign_in("student1", "password").await })
            .await;
        api.token = Some(token.clone());
        api
    }

    /// The public port, with no token.
    pub fn anonymous() -> Self {
        Self::at(&lab().topology().public_url)
    }

    /// The cache service.
    pub fn cache() -> Self {
        Self::at(&lab().topology().cache_url)
    }

    /// The queue service.
    pub fn queue() -> Self {
        Self::at(&lab().topology().queue_url)
    }

    /// The worker.
    pub fn worker() -> Self {
        Self::at(&lab().topology().worker_url)
    }

    /// An instance's admin surface, with the operator's token.
    pub fn admin(instance: &str) -> Self {
        Self::at(&lab().admin(instance)).with_token(lab().secret("operator_token"))
    }

    pub fn at(base: &str) -> Self {
        let http = client().build().unwrap();
        Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            token: None,
        }
    }

    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// A write under an idempotency key.
    pub async fn post_as(&self, key: &str, path: &str, body: Value) -> Answer {
        send(
            self.request(Method::POST, path)
                .header("Idempotency-Key", key)
                .json(&body),
        )
        .await
    }

    /// A body that is sent as it is.
    pub async fn post_raw(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        send(
            self.request(Method::POST, path)
                .header("Content-Type", content_type)
                .body(body),
        )
        .await
    }

    /// A token for a user, through the form.
    pub async fn sign_in(&self, username: &str, password: &str) -> String {
        let answer = send(
            self.request(Method::POST, "/token")
                .form(&[("username", username), ("password", password)]),
        );
        let answer = answer.await.expect(200);
        answer.body["access_token"].as_str().unwrap().to_owned()
    }
}

pub async fn send(request: RequestBuilder) -> Answer {
    let response = request
        .send()
        .await
        .unwrap_or_else(|error| panic!("no answer: {error:?}"));
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_default();
    Answer {
        status,
        headers,
        text,
        body,
    }
}

impl Answer {
    /// Checks the status and gives the answer back.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// Checks that it is a problem as the contract writes them.
    #[track_caller]
    pub fn problem(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self}"
        );
        for member in ["type", "title", "detail", "instance"] {
            assert!(self.body[member].is_string(), "{member} is missing: {self}");
        }
        assert_eq!(self.body["status"], status, "{self}");
        assert_eq!(self.body["error"], self.body["detail"], "{self}");
        assert_eq!(
            self.body["instance"].as_str(),
            self.header("x-request-id"),
            "{self}"
        );
        self
    }

    /// Checks that it is a 422 that names the field.
    #[track_caller]
    pub fn names(self, field: &str) -> Self {
        let answer = self.problem(422);
        assert!(
            answer.body["detail"].as_str().unwrap().contains(field),
            "{field} is not named: {answer}"
        );
        answer
    }

    /// Checks that it says when to come back.
    #[track_caller]
    pub fn retry_after(self) -> Self {
        let seconds = self
            .header("retry-after")
            .and_then(|value| value.parse::<u64>().ok());
        assert!(
            seconds.is_some_and(|seconds| seconds >= 1),
            "no Retry-After: {self}"
        );
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[track_caller]
    pub fn int(&self, member: &str) -> i64 {
        self.body[member]
            .as_i64()
            .unwrap_or_else(|| panic!("{member} is no integer: {self}"))
    }

    #[track_caller]
    pub fn text(&self, member: &str) -> &str {
        self.body[member]
            .as_str()
            .unwrap_or_else(|| panic!("{member} is no text: {self}"))
    }

    /// The rows of a page: its one array, whatever its name.
    #[track_caller]
    pub fn rows(&self) -> &Vec<Value> {
        let members = self
            .body
            .as_object()
            .unwrap_or_else(|| panic!("no object: {self}"));
        members
            .values()
            .find_map(Value::as_array)
            .unwrap_or_else(|| panic!("no rows: {self}"))
    }

    /// Checks that a time is RFC 3339 in UTC.
    #[track_caller]
    pub fn time(&self, member: &str) -> chrono::DateTime<chrono::Utc> {
        let text = self.text(member);
        assert!(text.ends_with('Z'), "{member} is not UTC: {self}");
        text.parse()
            .unwrap_or_else(|error| panic!("{member}: {error}: {self}"))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} {:?}\n{}",
            self.status, self.headers, self.text
        )
    }
}
