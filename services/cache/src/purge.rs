//! Deleting many keys: all of them, or those with a prefix, in batches that leave Redis time for others.

use redis::{RedisResult, aio::MultiplexedConnection};

use crate::key::{Names, pattern};

/// Redis keys looked at in one step.
pub const STEP: usize = 500;

/// Removes every value whose key begins with `prefix`, and every lease on one. The keys of the values removed.
///
/// Leases go first, all of them: after that, no reader that began earlier can put its value back behind the sweep.
pub async fn purge(
    connection: &mut MultiplexedConnection,
    names: &Names,
    prefix: &str,
) -> RedisResult<Vec<String>> {
    sweep(connection, &names.leases, prefix).await?;
    sweep(connection, &names.values, prefix).await
}

async fn sweep(
    connection: &mut MultiplexedConnection,
    space: &str,
    prefix: &str,
) -> RedisResult<Vec<String>> {
    let mut removed = Vec::new();
    let mut cursor = 0;
    loop {
        let (next, batch) = scan(connection, cursor, space, prefix, STEP).await?;
        if !batch.is_empty() {
            let mut pipeline = redis::pipe();
            for key in &batch {
                pipeline.cmd("UNLINK").arg(key);
            }
            let counts: Vec<u64> = pipeline.query_async(connection).await?;
            // A scan may show a key twice; it is removed once.
            let gone = batch
                .iter()
                .zip(counts)
                .filter(|(_, count)| *count > 0)
                .map(|(key, _)| String::from_utf8_lossy(&key[space.len()..]).into_owned());
            removed.extend(gone);
        }
        if next == 0 {
            return Ok(removed);
        }
        cursor = next;
    }
}

/// One step, about so wide, through the Redis keys of a space: the next cursor (0 at the end) and what was found.
pub async fn scan(
    connection: &mut MultiplexedConnection,
    cursor: u64,
    space: &str,
    prefix: &str,
    step: usize,
) -> RedisResult<(u64, Vec<Vec<u8>>)> {
    redis::cmd("SCAN")
        .arg(cursor)
        .arg("MATCH")
        .arg(pattern(space, prefix))
        .arg("COUNT")
        .arg(step)
        .query_async(connection)
        .await
}
