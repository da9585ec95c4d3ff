//! `/token`: a user and password against a signed token.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Json,
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::Full;
use kit::{Problem, extract, problem::ProblemBody};
use proxy::ForwardOptions;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    address::client_address,
    cache::{trace, whole},
    config::AuthMode,
    gate::{BODY_LIMIT, Gate, deadline, problem},
    gcra::Standing,
    limit::{Count, Subject},
    table::Upstream,
    token::{Identity, LIFETIME, Role},
};

/// Checking a password takes its time, on purpose.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest user name and password, in bytes.
const FIELD_LIMIT: usize = 256;
/// Whom the demo token names.
const DEMO: &str = "demo";

/// A user and password, as a form or as JSON.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct Credentials {
    #[schema(example = "student1")]
    username: String,
    #[schema(example = "password")]
    password: String,
}

/// A token, and for how long.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Granted {
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzdHVkZW50MSJ9.c2lnbmF0dXJl")]
    access_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds.
    #[schema(example = 1800)]
    expires_in: i64,
}

/// A token that lets anybody in as a user.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DemoToken {
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkZW1vIn0.c2lnbmF0dXJl")]
    token: String,
}

/// Travel's word on who it is.
#[derive(Deserialize)]
struct Login {
    username: String,
    role: Role,
}

/// Answers `POST /token` and `GET /token`.
pub async fn answer(gate: &Gate, peer: SocketAddr, request: Request) -> Response {
    match granted(gate, peer, request).await {
        Ok(mut response) => {
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(Refused(response)) => *response,
    }
}

async fn granted(gate: &Gate, peer: SocketAddr, request: Request) -> Result<Response, Refused> {
    // By our own count before the body is read; by everybody's when it is worth a trip to Redis.
    let address = Subject::address(client_address(peer, request.headers()));
    let address = (&gate.logins.address, address);
    refuse_unless(gate, address, gate.limits.take_here(address))?;
    if request.method() == Method::POST {
        return Ok(Json(log_in(gate, address, request).await?).into_response());
    }
    refuse_any(gate, &[address]).await?;
    Ok(Json(demo(gate)?).into_response())
}

/// A refusal, ready to be sent.
struct Refused(Box<Response>);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem.into_response()))
    }
}

/// Asks the count of all gateways, as far as it can be asked.
async fn refuse_any(gate: &Gate, counts: &[Count<'_>]) -> Result<(), Refused> {
    let standings = gate.limits.take_shared(counts).await.unwrap_or_default();
    for (count, standing) in counts.iter().zip(standings) {
        refuse_unless(gate, *count, standing)?;
    }
    Ok(())
}

fn refuse_unless(gate: &Gate, (limit, _): Count<'_>, standing: Standing) -> Result<(), Refused> {
    if standing.admitted {
        return Ok(());
    }
    gate.metrics.rate_limited.inc();
    let problem = Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many log-ins; wait a little",
    );
    let mut response = problem.retry_after(standing.wait).into_response();
    limit.tell(standing, response.headers_mut());
    Err(Refused(Box::new(response)))
}

/// Logs in
#[utoipa::path(
    post, path = "/token", tag = "Tokens", security(()),
    request_body(content((Credentials = "application/x-www-form-urlencoded"), (Credentials = "application/json"))),
    responses(
        (status = 200, description = "A token for 30 minutes: `Authorization: Bearer …`", body = Granted),
        (status = 400, description = "The body is not what its type says", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "Wrong user or password", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many tries; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Nobody can check it now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn log_in(gate: &Gate, address: Count<'_>, request: Request) -> Result<Granted, Refused> {
    let is_json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let body = extract::body(request, &()).await?;
    let credentials: Credentials = if is_json {
        extract::json(&body)?
    } else {
        extract::form(&body)?
    };
    for (field, value) in [
        ("username", &credentials.username),
        ("password", &credentials.password),
    ] {
        if value.len() > FIELD_LIMIT {
            let reason = format!("must be at most {FIELD_LIMIT} bytes");
            return Err(Problem::invalid(field, reason).into());
        }
    }
    let user = (&gate.logins.user, Subject::User(&credentials.username));
    refuse_unless(gate, user, gate.limits.take_here(user))?;
    refuse_any(gate, &[address, user]).await?;
    let login = check(gate, &credentials).await?;
    let identity = Identity::new(&login.username, login.role).ok_or_else(|| {
        tracing::error!("a user's name cannot stand in a token");
        Problem::internal()
    })?;
    Ok(Granted {
        access_token: sign(gate, &identity)?,
        token_type: "bearer",
        expires_in: LIFETIME.num_seconds(),
    })
}

/// Gives a token to anybody
#[utoipa::path(
    get, path = "/token", tag = "Tokens", security(()),
    responses(
        (status = 200, description = "A demo token with the role user, for 30 minutes", body = DemoToken),
        (status = 404, description = "There is none under `--auth strict`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
fn demo(gate: &Gate) -> Result<DemoToken, Problem> {
    if gate.mode == AuthMode::Strict {
        return Err(Problem::not_found(
            "There is no demo token here; POST /token logs in",
        ));
    }
    let identity = Identity::new(DEMO, Role::User).ok_or_else(Problem::internal)?;
    Ok(DemoToken {
        token: sign(gate, &identity)?,
    })
}

fn sign(gate: &Gate, identity: &Identity) -> Result<String, Problem> {
    gate.tokens
        .sign(identity, chrono::Utc::now())
        .map_err(|error| {
            tracing::error!(error = %error, "a token could not be signed");
            Problem::internal()
        })
}

/// Asks travel, who has the passwords' hashes.
async fn check(gate: &Gate, credentials: &Credentials) -> Result<Login, Problem> {
    let body = serde_json::to_vec(&json!(credentials)).map_err(|error| {
        tracing::error!(error = %error, "credentials could not be written");
        Problem::internal()
    })?;
    let mut request = http::Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("/internal/login");
    let headers = request.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    trace(headers);
    let deadline = deadline(TIMEOUT);
    let options = ForwardOptions {
        deadline,
        ..ForwardOptions::within(TIMEOUT)
    };
    let response = gate
        .send(Upstream::Travel, request, options)
        .await
        .map_err(problem)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => {
            return Err(Problem::unauthorized("Incorrect username or password"));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            // Its own words, `Retry-After` and all, are of no use to who wants to log in.
            return Err(Problem::unavailable(
                "Nobody can check passwords right now; try again shortly",
            ));
        }
        status => {
            tracing::error!(status = status.as_u16(), "an unexpected answer to a log-in");
            return Err(Problem::internal());
        }
    }
    whole(response, BODY_LIMIT, deadline)
        .await
        .and_then(|answer| Ok(serde_json::from_slice(answer.body())?))
        .map_err(|error| {
            tracing::error!(error = %error, "the answer to a log-in cannot be read");
            Problem::internal()
        })
}

#[derive(utoipa::OpenApi)]
#[openapi(
    paths(log_in, demo),
    components(schemas(Credentials, Granted, DemoToken, ProblemBody)),
    tags((name = "Tokens", description = "Who is let in"))
)]
pub struct Documentation;
