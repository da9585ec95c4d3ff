//! The scripts, and how their answers begin.

use kit::{messaging::Durability, safeguards::Safeguard};
use redis::{FromRedisValue, Script, Value};

use super::reply::{number, text};
use crate::{Error, disk::Ticket};

/// Bodies of messages sent together share an entry up to this many bytes: whoever takes one of them has Redis read all.
pub(super) const BLOCK_BYTES: usize = 32 * 1024;

macro_rules! scripts {
    ($($name:ident)*) => {
        /// Every change of a queue, one script each.
        pub(super) struct Scripts {
            $(pub $name: Script,)*
        }

        impl Scripts {
            fn new(fenced: bool) -> Self {
                let first = format!(
                    "local FENCED = {fenced}\nlocal BLOCK_BYTES = {BLOCK_BYTES}\n"
                );
                Self {
                    $($name: Script::new(&(first.clone() + concat!(
                        include_str!("lua/prelude.lua"),
                        include_str!(concat!("lua/", stringify!($name), ".lua"))
                    ))),)*
                }
            }
        }
    };
}

scripts! { send receive acknowledge extend release bury redrive purge forget drop configure stats redrive_chosen forget_chosen }

/// The scripts, and the same without fencing.
pub(super) struct Both {
    fenced: Scripts,
    unfenced: Scripts,
}

impl Both {
    pub fn new() -> Self {
        Self {
            fenced: Scripts::new(true),
            unfenced: Scripts::new(false),
        }
    }

    /// Those to use now.
    pub fn now(&self) -> &Scripts {
        if Safeguard::Fencing.is_on() {
            &self.fenced
        } else {
            &self.unfenced
        }
    }
}

/// What an answer is worth, and what it can be confirmed with.
#[derive(Clone, Copy)]
pub(super) struct Promise {
    pub durability: Durability,
    pub ticket: Option<Ticket>,
}

/// What a script answered, behind the class of its queue.
pub(super) struct Reply {
    pub promise: Promise,
    pub values: std::vec::IntoIter<Value>,
}

impl Reply {
    /// None when the queue's promise could not have been kept, and so nothing was done.
    pub fn read(values: Vec<Value>, ticket: Option<Ticket>) -> Result<Option<Self>, Error> {
        let mut values = values.into_iter();
        let class = values
            .next()
            .ok_or(Error::Unexpected("an answer without a class"))?;
        let durability = match text(class)?.as_str() {
            "0" => Durability::Durable,
            "1" => Durability::Fast,
            _ => return Ok(None),
        };
        Ok(Some(Self {
            promise: Promise { durability, ticket },
            values,
        }))
    }

    pub fn next(&mut self) -> Result<Value, Error> {
        self.values
            .next()
            .ok_or(Error::Unexpected("a short answer"))
    }

    pub fn word(&mut self) -> Result<String, Error> {
        text(self.next()?)
    }

    pub fn number(&mut self) -> Result<u64, Error> {
        number(self.next()?)
    }

    pub fn integer(&mut self) -> Result<i64, Error> {
        i64::from_redis_value(self.next()?).map_err(|_| Error::Unexpected("a number was due"))
    }

    /// What is left, as places in what was asked for.
    pub fn places(&mut self) -> Result<Vec<usize>, Error> {
        self.values
            .by_ref()
            .map(|place| number(place).map(|place| place as usize))
            .collect()
    }
}
