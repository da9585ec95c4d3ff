//! Takes an action's words one by one, and says what is wrong with the one that cannot be used.

use std::{ops::RangeInclusive, time::Duration};

use crate::{ParseError, number};

/// The words after the verb.
#[derive(Debug)]
pub(crate) struct Reader {
    verb: String,
    /// What may follow, for messages.
    arguments: &'static str,
    words: Vec<String>,
}

impl Reader {
    pub fn new(verb: &str, arguments: &'static str, words: Vec<String>) -> Self {
        Self {
            verb: verb.to_owned(),
            arguments,
            words,
        }
    }

    /// The next word that is no option taken before.
    pub fn optional(&mut self) -> Option<String> {
        (!self.words.is_empty()).then(|| self.words.remove(0))
    }

    /// The next word, which must be there.
    pub fn word(&mut self, what: &str) -> Result<String, ParseError> {
        let (verb, arguments) = (self.verb.clone(), self.arguments);
        self.optional()
            .ok_or_else(|| ParseError::new(&verb, format!("{what} is missing: {verb} {arguments}")))
    }

    /// A word that names an instance, a role or a queue.
    pub fn name(&mut self, what: &str) -> Result<String, ParseError> {
        let word = self.word(what)?;
        name(&word, what)
    }

    pub fn optional_name(&mut self, what: &str) -> Result<Option<String>, ParseError> {
        self.optional().map(|word| name(&word, what)).transpose()
    }

    /// All words that are left, as names.
    pub fn names(&mut self, what: &str) -> Result<Vec<String>, ParseError> {
        let words = std::mem::take(&mut self.words);
        words.iter().map(|word| name(word, what)).collect()
    }

    /// The value of `name=value`.
    pub fn option(&mut self, name: &str) -> Result<Option<String>, ParseError> {
        let value = |word: &String| {
            let rest = word.strip_prefix(name)?.strip_prefix('=')?;
            Some(rest.to_owned())
        };
        let Some(at) = self.words.iter().position(|word| value(word).is_some()) else {
            return Ok(None);
        };
        let word = self.words.remove(at);
        if let Some(again) = self.words.iter().find(|word| value(word).is_some()) {
            return Err(ParseError::new(again, format!("{name} was said twice")));
        }
        match value(&word) {
            Some(value) if !value.is_empty() => Ok(Some(value)),
            _ => Err(ParseError::new(&word, format!("{name}= needs a value"))),
        }
    }

    pub fn time(&mut self, name: &str) -> Result<Option<Duration>, ParseError> {
        let Some(text) = self.option(name)? else {
            return Ok(None);
        };
        match number::duration(&text) {
            Some(time) => Ok(Some(time)),
            None => Err(ParseError::new(
                &format!("{name}={text}"),
                format!("a time is wanted, such as {name}=200ms, {name}=30s or {name}=5m"),
            )),
        }
    }

    pub fn number(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ParseError> {
        let Some(text) = self.option(name)? else {
            return Ok(None);
        };
        within(&text, &range).map(Some).ok_or_else(|| {
            let (least, most) = range.into_inner();
            ParseError::new(
                &format!("{name}={text}"),
                format!("a whole number from {least} to {most} is wanted"),
            )
        })
    }

    /// A word that is a whole number.
    pub fn count(&mut self, what: &str, range: RangeInclusive<u64>) -> Result<u64, ParseError> {
        let word = self.word(what)?;
        within(&word, &range).ok_or_else(|| {
            let (least, most) = range.into_inner();
            ParseError::new(
                &word,
                format!("{what} is a whole number from {least} to {most}"),
            )
        })
    }

    /// Whether the word is there; it is taken.
    pub fn flag(&mut self, name: &str) -> bool {
        let at = self.words.iter().position(|word| word == name);
        at.map(|at| self.words.remove(at)).is_some()
    }

    /// The words that are left, as they are.
    pub fn rest(&mut self) -> Vec<String> {
        std::mem::take(&mut self.words)
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), ParseError> {
        let (verb, arguments) = (self.verb, self.arguments);
        let usage = if arguments.is_empty() {
            format!("{verb} takes nothing more")
        } else {
            format!("{verb} takes {arguments}")
        };
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(ParseError::new(word, usage)),
        }
    }
}

fn within(text: &str, range: &RangeInclusive<u64>) -> Option<u64> {
    // What `u64` would take too: a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| digits && range.contains(number))
}

/// A name of something that runs: letters, digits and `-_.@:`, at most 128.
pub(crate) fn name(word: &str, what: &str) -> Result<String, ParseError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@:".contains(&byte);
    if !word.is_empty() && word.len() <= 128 && word.bytes().all(allowed) {
        return Ok(word.to_owned());
    }
    Err(ParseError::new(
        word,
        format!("this cannot be {what}: letters, digits and -_.@: make a name"),
    ))
}
