//! The queue's part of a Redis: every key as Redis itself packs it, all at one moment.

use kit::{messaging::TAG, redis::Servers};
use redis::aio::MultiplexedConnection;

use crate::error::{Error, Result};

/// What the queue's keys begin with.
const PREFIX: &str = "queue:";
/// Keys that are put back in one go.
const BATCH: usize = 200;

/// One script is one moment: no message is seen in two places or in none.
const PACK: &str = r"
local packed = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
    packed[#packed + 1] = key
    packed[#packed + 1] = tostring(redis.call('PTTL', key))
    packed[#packed + 1] = redis.call('DUMP', key)
end
return packed
";

const COUNT: &str = "return #redis.call('KEYS', ARGV[1] .. '*')";

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    key: Vec<u8>,
    /// Milliseconds it has left; negative when it does not expire.
    left: i64,
    value: Vec<u8>,
}

/// What is there of the queue.
pub async fn pack(url: &str) -> Result<Vec<Packed>> {
    let Place {
        mut connection,
        prefix,
    } = connect(url).await?;
    let flat: Vec<Vec<u8>> = redis::cmd("EVAL")
        .arg(PACK)
        .arg(0)
        .arg(&prefix)
        .query_async(&mut connection)
        .await
        .map_err(Error::redis("reading the queue"))?;
    let packed = flat.chunks_exact(3).map(|item| Packed {
        // As one server alone would call it: it may come back to another kind of place.
        key: [PREFIX.as_bytes(), &item[0][prefix.len()..]].concat(),
        left: std::str::from_utf8(&item[1])
            .ok()
            .and_then(|left| left.parse().ok())
            .unwrap_or(-1),
        value: item[2].clone(),
    });
    Ok(packed.collect())
}

/// How many keys of a queue there are.
pub async fn count(url: &str) -> Result<u64> {
    let mut place = connect(url).await?;
    redis::cmd("EVAL")
        .arg(COUNT)
        .arg(0)
        .arg(&place.prefix)
        .query_async(&mut place.connection)
        .await
        .map_err(Error::redis("looking for a queue"))
}

/// Puts them back. After a failure none of them is there.
pub async fn unpack(url: &str, packed: &[Packed]) -> Result<()> {
    let mut place = connect(url).await?;
    for batch in packed.chunks(BATCH) {
        let mut pipe = redis::pipe();
        for item in batch {
            pipe.cmd("RESTORE")
                .arg(place.name(item))
                .arg(item.left.max(0))
                .arg(&item.value)
                .ignore();
        }
        if let Err(error) = pipe.query_async::<()>(&mut place.connection).await {
            remove(&mut place, packed).await;
            if error.to_string().contains("payload version") {
                return Err(Error::Refused(format!(
                    "this Redis is older than the one whose queue was backed up ({error}): use one as new as that"
                )));
            }
            return Err(Error::redis("putting the queue back")(error));
        }
    }
    Ok(())
}

/// Takes them away again.
pub async fn take_back(url: &str, packed: &[Packed]) {
    if let Ok(mut place) = connect(url).await {
        remove(&mut place, packed).await;
    }
}

async fn remove(place: &mut Place, packed: &[Packed]) {
    for batch in packed.chunks(BATCH) {
        let mut remove = redis::cmd("DEL");
        for item in batch {
            remove.arg(place.name(item));
        }
        // Whoever asked for it is told of the first failure.
        let _: redis::RedisResult<()> = remove.query_async(&mut place.connection).await;
    }
}

/// Where a queue is kept.
struct Place {
    connection: MultiplexedConnection,
    /// What its keys begin with there.
    prefix: String,
}

impl Place {
    /// What a key is called there.
    fn name(&self, item: &Packed) -> Vec<u8> {
        let rest = item.key.strip_prefix(PREFIX.as_bytes());
        [self.prefix.as_bytes(), rest.unwrap_or(&item.key)].concat()
    }
}

async fn connect(url: &str) -> Result<Place> {
    let open = async {
        let servers = Servers::parse(url, TAG)?;
        Ok(Place {
            connection: servers.connect().await?,
            prefix: servers.key(PREFIX).into_owned(),
        })
    };
    open.await
        .map_err(Error::redis("connecting to the queue's Redis"))
}

/// As it stands in a file: for each the length of its key, the key, its time, the length of its value, the value.
pub fn write(packed: &[Packed], mut to: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    for item in packed {
        to(&length(&item.key)?)?;
        to(&item.key)?;
        to(&item.left.to_be_bytes())?;
        to(&length(&item.value)?)?;
        to(&item.value)?;
    }
    Ok(())
}

fn length(bytes: &[u8]) -> Result<[u8; 4]> {
    let length = u32::try_from(bytes.len()).map_err(|_| {
        Error::Refused(
            "a key of the queue has more than 4 GiB: take messages off it first".to_owned(),
        )
    })?;
    Ok(length.to_be_bytes())
}

/// The other way; `None` when it is cut off.
pub fn read(mut bytes: &[u8]) -> Option<Vec<Packed>> {
    let mut packed = Vec::new();
    while !bytes.is_empty() {
        let key = piece(&mut bytes)?;
        let (left, rest) = bytes.split_first_chunk()?;
        bytes = rest;
        packed.push(Packed {
            key,
            left: i64::from_be_bytes(*left),
            value: piece(&mut bytes)?,
        });
    }
    Some(packed)
}

fn piece(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (piece, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *bytes = rest;
    Some(piece.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let item = |key: &str, left, value: &[u8]| Packed {
            key: key.as_bytes().to_vec(),
            left,
            value: value.to_vec(),
        };
        let packed = vec![
            item("queue:a", -1, b"\0\xff"),
            item("", 5, b""),
            item("queue:{b}:x", 1 << 40, &[9; 70_000]),
        ];
        let mut bytes = Vec::new();
        write(&packed, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        assert_eq!(read(&bytes), Some(packed));
        assert_eq!(read(&[]), Some(Vec::new()));
        assert_eq!(read(&bytes[..bytes.len() - 1]), None);
        assert_eq!(read(&bytes[..3]), None);
    }
}
