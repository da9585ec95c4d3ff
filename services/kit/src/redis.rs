//! Redis or Valkey: where it is, how it is connected to, and when it counts as away.

pub mod servers;

use std::time::Duration;

pub use servers::{Primary, Servers};

use crate::{Error, RedisArgs};

/// How long a command may take: beyond it the caller goes on without Redis.
pub const RESPONSE: Duration = Duration::from_millis(1500);
/// How long a connection attempt may take.
pub const CONNECT: Duration = Duration::from_millis(800);

/// Reads the URL, naming the setting when it cannot be used. On a cluster every key begins with the tag, see [`Servers`].
pub fn servers(args: &RedisArgs, tag: &'static str) -> Result<Servers, Error> {
    Servers::parse(&args.redis_url.0, tag)
        .map_err(|flaw| Error::config("RECARGA_REDIS_URL (--redis-url)", flaw))
}

/// Whether an error means that the server is away, loading, going, or no longer the one that is written to, rather than that
/// the command is wrong.
#[must_use]
pub fn is_unavailable(error: &redis::RedisError) -> bool {
    use redis::{ErrorKind, ServerErrorKind};
    is_lost(error)
        || error.is_timeout()
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

/// Whether an error means that there is no use in asking over this connection again.
#[must_use]
pub fn is_lost(error: &redis::RedisError) -> bool {
    use redis::{ErrorKind, ServerErrorKind};
    (error.is_io_error() && !error.is_timeout())
        || error.is_connection_dropped()
        || error.is_connection_refusal()
        || matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::Moved | ServerErrorKind::Ask
            )
        )
}
