//! How a write runs by itself: one stored function, then the cache is told, then the answer; to its end even if the caller
//! leaves in between.

use axum::response::{IntoResponse, Response};
use kit::{
    RequestContext,
    extract::{Caller, IdempotencyKey, replayed},
    safeguards::Safeguard,
    timing::timed,
    traces::{self, Created},
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Postgres, pool::PoolConnection};
use tokio::sync::oneshot;

use crate::{
    App,
    error::Error,
    store::{Claim, Written},
};

/// Something that changes the travel tables.
pub trait Write: Send + Sync + 'static {
    /// What a success says.
    type Reply: DeserializeOwned + Send + Sync + 'static;

    /// Whether a success leaves an event in the outbox.
    const ANNOUNCED: bool;

    /// The values asked for in a fixed order: two bodies that mean the same are the same.
    fn canonical(&self) -> Vec<String>;

    /// What an outcome means.
    fn judge(&self, outcome: &str, reply: &RawValue) -> Result<Self::Reply, Error>;

    /// The cache keys that a success makes stale.
    fn stale(&self, reply: &Self::Reply) -> Vec<String>;

    /// Those known to be stale when nobody knows whether it succeeded.
    fn perhaps_stale(&self) -> Vec<String>;
}

/// One that is committed by itself.
pub trait Single: Write {
    /// Calls the stored function.
    fn call(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
    ) -> impl Future<Output = Result<Written, sqlx::Error>> + Send;
}

/// What a write came to, and whether it had done so before.
#[derive(Debug)]
pub struct Answer<R> {
    pub result: Result<R, Error>,
    pub replayed: bool,
}

impl<R> Answer<R> {
    /// Makes the response; refusals become problems.
    pub fn respond<T: IntoResponse>(self, success: impl FnOnce(R) -> T) -> Response {
        let response = match self.result {
            Ok(reply) => success(reply).into_response(),
            Err(error) => error.into_response(),
        };
        if self.replayed {
            replayed(response)
        } else {
            response
        }
    }
}

/// What makes a write recognisable when it is repeated.
pub fn claim<W: Write>(caller: &Caller, key: IdempotencyKey, write: &W) -> Claim {
    Claim {
        caller: caller.scope().to_owned(),
        key: key.0.filter(|_| Safeguard::Claim.is_on()),
        body_hash: hash(&write.canonical()),
        traceparent: None,
    }
}

/// Begins the event that a write of this kind leaves, where traces are recorded.
pub fn announced<W: Write>() -> Option<Created> {
    if W::ANNOUNCED {
        traces::create("recharges")
    } else {
        None
    }
}

/// What a stored function's answer means.
pub fn judge<W: Write>(write: &W, written: &Written) -> Result<W::Reply, Error> {
    match written.outcome.as_str() {
        "in_progress" => Err(Error::KeyInProgress),
        "key_reused" => Err(Error::KeyReused),
        outcome => write.judge(outcome, &written.reply),
    }
}

/// Runs a write. A caller that leaves before there is a connection leaves nothing behind; after that the write runs to
/// its end, because what was committed must also be invalidated.
pub async fn execute<W: Single>(
    app: &App,
    caller: &Caller,
    key: IdempotencyKey,
    write: W,
) -> Result<Answer<W::Reply>, Error> {
    let mut claim = claim(caller, key, &write);
    let event = announced::<W>();
    claim.traceparent = event.as_ref().map(|event| event.traceparent().to_owned());
    let connection = app.store.connection().await?;
    let (answer, answered) = oneshot::channel();
    let work = {
        let app = app.clone();
        async move {
            // Nobody listens when the caller has left.
            let _ = answer.send(commit(&app, connection, &claim, &write, event).await);
        }
    };
    match RequestContext::current() {
        Some(context) => app.instance.spawn(context.scope(work)),
        None => app.instance.spawn(work),
    }
    answered.await.unwrap_or(Err(Error::Interrupted))
}

async fn commit<W: Single>(
    app: &App,
    mut connection: PoolConnection<Postgres>,
    claim: &Claim,
    write: &W,
    event: Option<Created>,
) -> Result<Answer<W::Reply>, Error> {
    let written = match timed("pg", write.call(&mut connection, claim)).await {
        Ok(written) => written,
        Err(error) => {
            // It may have been committed and only the answer lost. The caller is told so either way.
            let _ = app.cache.invalidate(&write.perhaps_stale()).await;
            return Err(error.into());
        }
    };
    // Others wait for it, and telling the cache may take a while.
    drop(connection);
    let result = judge(write, &written);
    if let Some(event) = event {
        event.end(result.is_ok() && !written.replayed);
    }
    if let Ok(reply) = &result {
        // Also of a replay: the first run may have died between its commit and this.
        let forgotten = timed("cache", app.cache.invalidate(&write.stale(reply))).await;
        if W::ANNOUNCED && !written.replayed {
            app.wake_relay();
        }
        forgotten?;
    }
    Ok(Answer {
        result,
        replayed: written.replayed,
    })
}

/// Reads the reply of a success.
pub fn read_reply<R: DeserializeOwned>(outcome: &str, reply: &RawValue) -> Result<R, Error> {
    serde_json::from_str(reply.get()).map_err(|error| Error::UnexpectedReply {
        outcome: outcome.to_owned(),
        reason: error.to_string(),
    })
}

/// For an outcome that the stored function does not document.
pub fn unknown_outcome(outcome: &str) -> Error {
    Error::UnexpectedReply {
        outcome: outcome.to_owned(),
        reason: "an unknown outcome".to_owned(),
    }
}

fn hash(values: &[String]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for value in values {
        // Lengths, so that no two lists run together to the same bytes.
        digest.update((value.len() as u64).to_be_bytes());
        digest.update(value);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn lists_that_differ_hash_differently() {
        let hash =
            |values: &[&str]| hash(&values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
        assert_eq!(hash(&["1", "2"]), hash(&["1", "2"]));
        assert_ne!(hash(&["1", "2"]), hash(&["2", "1"]));
        assert_ne!(hash(&["12"]), hash(&["1", "2"]));
        assert_ne!(hash(&["1", ""]), hash(&["1"]));
    }
}
