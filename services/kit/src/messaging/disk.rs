//! Whether a Redis can keep what a durable queue promises, and how its answers show that something is on disk.

use std::{collections::HashMap, time::Duration};

use redis::{Value, aio::ConnectionLike};

/// How long `WAITAOF` waits for the disk: longer than the second between two writes under `everysec`.
const PATIENCE: Duration = Duration::from_millis(2_200);
/// The key that a fence writes, so that `WAITAOF` has something of its own connection to wait for.
pub const FENCE: &str = "queue:fence";

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether it knows `WAITAOF`: Redis 7.2 and newer, Valkey.
    pub waits: bool,
    /// Settings by name; none when the server does not tell.
    pub settings: HashMap<String, String>,
}

/// How an answer is known to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The servers say so themselves, by the counts that `WAITAOF` answers.
    WaitAof,
    /// `appendfsync always`: a server answers nothing that it has not written to disk, and a replica says of nothing that it
    /// has it. That it still is set so is asked again behind everything that was answered.
    Always,
}

/// Why a Redis cannot keep what a durable queue promises, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {remedy}")]
pub struct Unfit {
    pub reason: String,
    pub remedy: &'static str,
    /// Whether it may be over without anybody's doing.
    pub passes: bool,
}

/// Why it is not known that something is on disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("the disk did not confirm in time")]
    Unconfirmed,
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
}

const APPEND_ONLY: &str =
    "`redis-cli CONFIG SET appendonly yes` (and `appendonly yes` in redis.conf) mends it";
const ALWAYS: &str =
    "`redis-cli CONFIG SET appendfsync always` (and `appendfsync always` in redis.conf) mends it";
const ON_REWRITE: &str =
    "`redis-cli CONFIG SET no-appendfsync-on-rewrite no` (and the same in redis.conf) mends it";
const NO_EVICTION: &str =
    "`redis-cli CONFIG SET maxmemory-policy noeviction` (and the same in redis.conf) mends it";

/// Decides from what a server says.
pub fn judge(facts: &Facts) -> Result<Method, Unfit> {
    let unfit = |reason: &str, remedy| {
        Err(Unfit {
            reason: reason.to_owned(),
            remedy,
            passes: false,
        })
    };
    let setting = |name: &str| facts.settings.get(name).map(String::as_str);
    if facts.settings.is_empty() {
        return if facts.waits {
            // Its counts tell what its settings would.
            Ok(Method::WaitAof)
        } else {
            unfit(
                "this Redis has no WAITAOF and does not tell its settings",
                "`ACL SETUSER <user> +config|get` mends it",
            )
        };
    }
    if setting("appendonly") != Some("yes") {
        return unfit("its append-only file is off", APPEND_ONLY);
    }
    let bounded = setting("maxmemory").is_some_and(|bytes| bytes != "0");
    let evicts = setting("maxmemory-policy").is_some_and(|policy| policy.starts_with("allkeys"));
    if bounded && evicts {
        return unfit("it throws keys away when its memory is full", NO_EVICTION);
    }
    match (setting("appendfsync"), facts.waits) {
        (Some("always" | "everysec"), true) => Ok(Method::WaitAof),
        (Some("always"), false) if setting("no-appendfsync-on-rewrite") == Some("yes") => unfit(
            "it does not wait for the disk while it rewrites its append-only file",
            ON_REWRITE,
        ),
        (Some("always"), false) => Ok(Method::Always),
        (Some("everysec"), false) => unfit(
            "it answers up to a second before the disk has what was written (appendfsync everysec), and has no WAITAOF",
            ALWAYS,
        ),
        _ => unfit("it never waits for the disk (appendfsync no)", ALWAYS),
    }
}

/// Decides whether there are enough replicas that keep the word, from what each says; none for one that does not answer.
pub fn judge_replicas(replicas: &[Option<Facts>], needed: u32) -> Result<(), Unfit> {
    let there = replicas.len();
    if there < needed as usize {
        return Err(Unfit {
            reason: format!(
                "it has {there} replicas at the moment, and {needed} must have what is answered"
            ),
            remedy: "another replica mends it, or RECARGA_QUEUE_REPLICAS",
            passes: true,
        });
    }
    // Whichever of them answers `WAIT` first is counted.
    for facts in replicas {
        let facts = facts.as_ref().ok_or_else(|| Unfit {
            reason: "one of its replicas does not say how it writes to disk".to_owned(),
            remedy: "it must take the login of the one that is written to, or be Redis 7.2 or newer",
            passes: true,
        })?;
        judge(facts).map_err(|unfit| Unfit {
            reason: format!("of a replica: {}", unfit.reason),
            ..unfit
        })?;
    }
    Ok(())
}

/// Whether the reply of `WAITAOF 1 N` says that this server's own disk has everything, and those of so many replicas.
#[must_use]
pub fn confirmed(reply: &[i64], replicas: u32) -> bool {
    matches!(reply, [local, others] if *local >= 1 && *others >= i64::from(replicas))
}

/// Asks a server what it is.
pub async fn ask(connection: &mut impl ConnectionLike) -> Result<Facts, redis::RedisError> {
    let known: Value = redis::cmd("COMMAND")
        .arg("INFO")
        .arg("WAITAOF")
        .query_async(connection)
        .await?;
    let waits = matches!(&known, Value::Array(commands) if commands.iter().any(|command| !matches!(command, Value::Nil)));
    Ok(Facts {
        waits,
        settings: settings(connection).await?,
    })
}

/// The settings that matter; none where a server does not let this be asked.
async fn settings(
    connection: &mut impl ConnectionLike,
) -> Result<HashMap<String, String>, redis::RedisError> {
    let answer = redis::cmd("CONFIG")
        .arg("GET")
        .arg(&[
            "appendonly",
            "appendfsync",
            "no-appendfsync-on-rewrite",
            "maxmemory",
            "maxmemory-policy",
        ])
        .query_async(connection)
        .await;
    match answer {
        Ok(settings) => Ok(settings),
        Err(error) if crate::redis::is_unavailable(&error) => Err(error),
        Err(_) => Ok(HashMap::new()),
    }
}

/// Waits until everything is on disk that the server answered before this call, on its own and on those of so many replicas.
/// The connection must be the caller's own, because it may be held for a moment, and must have existed before what it
/// confirms was sent: then it is the same process that answers. The key is one that nothing else uses.
pub async fn fence(
    connection: &mut impl ConnectionLike,
    method: Method,
    replicas: u32,
    key: &str,
) -> Result<(), Error> {
    match method {
        Method::WaitAof => {
            let (counts,): (Vec<i64>,) = redis::pipe()
                .set(key, 1)
                .ignore()
                .cmd("WAITAOF")
                .arg(1)
                .arg(replicas)
                .arg(PATIENCE.as_millis() as u64)
                .query_async(connection)
                .await
                .map_err(off)?;
            if confirmed(&counts, replicas) {
                Ok(())
            } else {
                Err(Error::Unconfirmed)
            }
        }
        Method::Always => {
            if replicas > 0 {
                let (count,): (u32,) = redis::pipe()
                    .set(key, 1)
                    .ignore()
                    .cmd("WAIT")
                    .arg(replicas)
                    .arg(PATIENCE.as_millis() as u64)
                    .query_async(connection)
                    .await?;
                if count < replicas {
                    return Err(Error::Unconfirmed);
                }
            }
            let facts = Facts {
                waits: false,
                settings: settings(connection).await?,
            };
            judge(&facts)?;
            Ok(())
        }
    }
}

/// `WAITAOF` fails when the append-only file has been switched off.
fn off(error: redis::RedisError) -> Error {
    if error.to_string().contains("appendonly is disabled") {
        Error::Unfit(Unfit {
            reason: "its append-only file is off".to_owned(),
            remedy: APPEND_ONLY,
            passes: false,
        })
    } else {
        Error::Redis(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(waits: bool, settings: &[(&str, &str)]) -> Facts {
        Facts {
            waits,
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn only_a_redis_that_keeps_its_word_is_taken() {
        let on = ("appendonly", "yes");
        for (waits, settings, expected) in [
            (false, vec![], Err("does not tell")),
            (true, vec![], Ok(Method::WaitAof)),
            (
                true,
                vec![("appendonly", "no"), ("appendfsync", "always")],
                Err("appendonly yes"),
            ),
            (
                false,
                vec![("appendfsync", "always")],
                Err("appendonly yes"),
            ),
            (
                true,
                vec![on, ("appendfsync", "always")],
                Ok(Method::WaitAof),
            ),
            (
                true,
                vec![on, ("appendfsync", "everysec")],
                Ok(Method::WaitAof),
            ),
            (
                true,
                vec![on, ("appendfsync", "no")],
                Err("appendfsync always"),
            ),
            (
                false,
                vec![on, ("appendfsync", "always")],
                Ok(Method::Always),
            ),
            (
                false,
                vec![on, ("appendfsync", "everysec")],
                Err("appendfsync always"),
            ),
            (
                false,
                vec![on, ("appendfsync", "no")],
                Err("appendfsync always"),
            ),
            (
                false,
                vec![
                    on,
                    ("appendfsync", "always"),
                    ("no-appendfsync-on-rewrite", "yes"),
                ],
                Err("on-rewrite no"),
            ),
            (
                true,
                vec![
                    on,
                    ("appendfsync", "always"),
                    ("maxmemory", "1000000"),
                    ("maxmemory-policy", "allkeys-lru"),
                ],
                Err("noeviction"),
            ),
            (
                false,
                vec![
                    on,
                    ("appendfsync", "always"),
                    ("maxmemory", "0"),
                    ("maxmemory-policy", "allkeys-lru"),
                ],
                Ok(Method::Always),
            ),
        ] {
            match (judge(&facts(waits, &settings)), expected) {
                (Ok(method), Ok(expected)) => assert_eq!(method, expected, "{settings:?}"),
                (Err(unfit), Err(part)) => {
                    assert!(unfit.to_string().contains(part), "{settings:?}: {unfit}");
                }
                (judged, _) => panic!("{waits} {settings:?}: {judged:?}"),
            }
        }
    }

    #[test]
    fn the_counts_of_waitaof_are_believed_not_its_answering() {
        for (reply, replicas, expected) in [
            (vec![1, 0], 0, true),
            (vec![1, 2], 0, true),
            (vec![1, 1], 1, true),
            (vec![1, 0], 1, false),
            (vec![0, 1], 1, false),
            (vec![0, 0], 0, false),
            (vec![0, 1], 0, false),
            (vec![1], 0, false),
            (vec![], 0, false),
        ] {
            assert_eq!(
                confirmed(&reply, replicas),
                expected,
                "{reply:?} {replicas}"
            );
        }
    }

    #[test]
    fn every_replica_that_may_be_counted_must_keep_the_word() {
        let always = || {
            Some(facts(
                false,
                &[("appendonly", "yes"), ("appendfsync", "always")],
            ))
        };
        let everysec = || {
            Some(facts(
                false,
                &[("appendonly", "yes"), ("appendfsync", "everysec")],
            ))
        };
        assert!(judge_replicas(&[always(), always()], 1).is_ok());
        for (replicas, needed, part, passes) in [
            (vec![], 1, "0 replicas", true),
            (vec![always()], 2, "1 replicas", true),
            (vec![always(), None], 1, "does not say", true),
            (vec![always(), everysec()], 1, "of a replica", false),
        ] {
            let unfit = judge_replicas(&replicas, needed).unwrap_err();
            assert!(unfit.to_string().contains(part), "{unfit}");
            assert_eq!(unfit.passes, passes, "{unfit}");
        }
    }
}
