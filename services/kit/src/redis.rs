//! Redis or Valkey: a shared connection that comes back by itself, and the check that reports it.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use crate::{Error, Instance, RedisArgs};

/// How long a command may take: beyond it the caller goes on without Redis.
const RESPONSE: Duration = Duration::from_millis(1500);
/// How long a connection attempt may take.
const CONNECT: Duration = Duration::from_millis(800);
/// How often the server is asked whether it is there.
const CHECK: Duration = Duration::from_millis(500);

/// Parses the URL, naming the setting when it cannot be used.
pub fn client(args: &RedisArgs) -> Result<redis::Client, Error> {
    redis::Client::open(args.redis_url.0.as_str())
        .map_err(|error| Error::config("RECARGA_REDIS_URL (--redis-url)", error))
}

/// Connections that many tasks share, for those who send a lot at a time: Redis reads 16 KiB of a connection before it turns
/// to the next one, and one fsync serves all it has read in a turn. They connect when first used and again after a loss; the
/// check is named `store`.
pub fn connect_many(
    instance: &Instance,
    args: &RedisArgs,
    store: &'static str,
    count: usize,
) -> Result<Vec<ConnectionManager>, Error> {
    let connections = (0..count.max(1))
        .map(|_| lazy(args))
        .collect::<Result<Vec<_>, _>>()?;
    watch(instance, store, connections[0].clone());
    Ok(connections)
}

/// A connection that nobody watches.
pub(crate) fn lazy(args: &RedisArgs) -> Result<ConnectionManager, Error> {
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(RESPONSE))
        .set_connection_timeout(Some(CONNECT))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_millis(200));
    ConnectionManager::new_lazy_with_config(client(args)?, config)
        .map_err(|error| Error::config("RECARGA_REDIS_URL (--redis-url)", error))
}

/// Reports a check with the answers of a connection until the shutdown.
fn watch(instance: &Instance, store: &'static str, mut connection: ConnectionManager) {
    let watched = instance.clone();
    instance.spawn(async move {
        loop {
            let answer = redis::cmd("PING").query_async::<()>(&mut connection).await;
            watched.set_check(store, answer.is_ok());
            tokio::select! {
                () = tokio::time::sleep(CHECK) => {}
                () = watched.shutdown().requested() => break,
            }
        }
    });
}

/// Whether an error means that the server is away, loading or going, rather than that the command is wrong.
#[must_use]
pub fn is_unavailable(error: &redis::RedisError) -> bool {
    use redis::{ErrorKind, ServerErrorKind};
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_connection_refusal()
        || matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
            )
        )
}
