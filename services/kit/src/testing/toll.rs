//! A gate on the way to a service: calls pass until one is stopped, right before it arrives or right after it was answered,
//! so that a test can end the caller at exactly that moment.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use http::{Method, StatusCode, header};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

/// The largest body that passes, in bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// Where a call is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The service never sees it.
    Before,
    /// The service has done it, and its caller never hears.
    After,
}

/// The next call that is stopped.
#[derive(Clone, Debug)]
pub struct Stop {
    pub method: Method,
    /// A part of the call's path.
    pub path: &'static str,
    pub moment: Moment,
    /// With [`Moment::After`], a part of the answer; any answer when empty.
    pub answer: &'static str,
}

/// The gate. It falls with its last user.
pub struct Toll {
    pub address: SocketAddr,
    gate: Arc<Gate>,
    task: JoinHandle<()>,
}

struct Gate {
    target: SocketAddr,
    http: reqwest::Client,
    stop: Mutex<Option<Stop>>,
    reached: Notify,
}

impl Toll {
    /// A gate before this service.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(target: SocketAddr) -> Self {
        let gate = Arc::new(Gate {
            target,
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
            stop: Mutex::new(None),
            reached: Notify::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(pass).with_state(gate.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self {
            address,
            gate,
            task,
        }
    }

    /// Stops the next such call; those after it pass again.
    pub fn stop(&self, stop: Stop) {
        *self.gate.stop() = Some(stop);
    }

    /// Waits until the call was stopped.
    ///
    /// # Panics
    /// When it was not within ten seconds.
    pub async fn reached(&self) {
        let limit = std::time::Duration::from_secs(10);
        tokio::time::timeout(limit, self.gate.reached.notified())
            .await
            .expect("the call that was to be stopped was never made");
    }
}

impl Drop for Toll {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    fn stop(&self) -> std::sync::MutexGuard<'_, Option<Stop>> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the stop when it is meant for this call at this moment.
    fn is_stopped(&self, method: &Method, path: &str, moment: Moment, answer: &[u8]) -> bool {
        let meant = |stop: &mut Stop| {
            stop.moment == moment
                && stop.method == *method
                && path.contains(stop.path)
                && String::from_utf8_lossy(answer).contains(stop.answer)
        };
        self.stop().take_if(meant).is_some()
    }
}

async fn pass(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    if gate.is_stopped(&head.method, path, Moment::Before, b"") {
        gate.reached.notify_one();
        std::future::pending::<()>().await;
    }
    let refused = |reason: String| {
        Response::builder()
            .status(StatusCode::BAD_GATEWAY)
            .body(Body::from(reason))
            .expect("an answer")
    };
    let body = match to_bytes(body, BODY_LIMIT).await {
        Ok(body) => body,
        Err(error) => return refused(error.to_string()),
    };
    let mut headers = head.headers.clone();
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let url = format!("http://{}{path}", gate.target);
    let call = gate.http.request(head.method.clone(), url);
    let answer = match call.headers(headers).body(body).send().await {
        Ok(answer) => answer,
        Err(error) => return refused(error.to_string()),
    };
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != header::TRANSFER_ENCODING && name != header::CONNECTION {
            response = response.header(name, value);
        }
    }
    let body = match answer.bytes().await {
        Ok(body) => body,
        Err(error) => return refused(error.to_string()),
    };
    if gate.is_stopped(&head.method, path, Moment::After, &body) {
        gate.reached.notify_one();
        std::future::pending::<()>().await;
    }
    response.body(Body::from(body)).expect("an answer")
}
