//! Bodies out of their framing.

use super::Framing;
use super::field::{Kind, LONGEST_NAME};
use super::refusal::Refusal;
use super::scan::{is_odd, is_token_byte, is_value_byte};

/// Bytes of a line that begins a chunk, its extensions included.
const LONGEST_CHUNK_LINE: u32 = 1024;
/// Bytes of all chunk extensions of a body.
const MOST_EXTENSIONS: u32 = 16 * 1024;
/// Bytes of all trailers of a body.
const MOST_TRAILERS: u32 = 8 * 1024;
/// Hexadecimal digits of a chunk's size.
const MOST_SIZE_DIGITS: u8 = 16;

/// What was at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'i> {
    /// A piece of the body, never empty.
    Data(&'i [u8]),
    /// Nothing to hand on; more input is needed.
    More,
    /// The body has ended. What follows in the input is another message.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

/// Takes a body out of its framing, piece by piece.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    /// Bytes of the current chunk line.
    line: u32,
    extensions: u32,
    trailers: u32,
    /// The beginning of the current trailer's name.
    name: [u8; LONGEST_NAME],
    name_length: usize,
}

impl Body {
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            line: 0,
            extensions: 0,
            trailers: 0,
            name: [0; LONGEST_NAME],
            name_length: 0,
        }
    }

    /// Whether nothing more belongs to this body. Never true of one that ends with its connection.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes still to come, where that is known.
    #[must_use]
    pub fn remaining_length(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(length) => Some(length),
            _ => None,
        }
    }

    /// Looks at the front of `input`: how many bytes were consumed, and what they were. Call it with the rest until it says
    /// [`Step::More`] or [`Step::End`].
    ///
    /// # Errors
    /// The first flaw. After one the body must not be read on.
    pub fn next<'i>(&mut self, input: &'i [u8]) -> Result<(usize, Step<'i>), Refusal> {
        let mut at = 0;
        while let Some(byte) = input.get(at) {
            match self.state {
                State::Done => return Ok((at, Step::End)),
                State::UntilClose => return Ok((input.len(), Step::Data(input))),
                State::Length(length) | State::Data(length) => {
                    return Ok(self.data(input, at, length));
                }
                _ => self.frame(*byte)?,
            }
            at += 1;
        }
        Ok((
            at,
            if self.is_done() {
                Step::End
            } else {
                Step::More
            },
        ))
    }

    fn data<'i>(&mut self, input: &'i [u8], at: usize, left: u64) -> (usize, Step<'i>) {
        let rest = &input[at..];
        let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let left = left - taken as u64;
        self.state = match (self.state, left) {
            (State::Length(_), 0) => State::Done,
            (State::Length(_), left) => State::Length(left),
            (_, 0) => State::DataCr,
            (_, left) => State::Data(left),
        };
        (at + taken, Step::Data(&rest[..taken]))
    }

    /// One byte of what is around the data.
    fn frame(&mut self, byte: u8) -> Result<(), Refusal> {
        self.state = match self.state {
            State::Size { size, digits } => self.size(byte, size, digits)?,
            State::Extension { size } => self.extension(byte, size)?,
            State::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => State::TrailerStart,
                (b'\n', size) => State::Data(size),
                _ => return Err(Refusal::BareCr),
            },
            State::DataCr => match byte {
                b'\r' => State::DataLf,
                b'\n' => return Err(Refusal::BareLf),
                _ => return Err(Refusal::ChunkEnd),
            },
            State::DataLf => match byte {
                b'\n' => {
                    self.line = 0;
                    State::Size { size: 0, digits: 0 }
                }
                _ => return Err(Refusal::BareCr),
            },
            _ => self.trailer(byte)?,
        };
        Ok(())
    }

    fn size(&mut self, byte: u8, size: u64, digits: u8) -> Result<State, Refusal> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\n' => return Err(Refusal::BareLf),
            b'\r' if digits > 0 => return Ok(State::SizeLf { size }),
            b';' if digits > 0 => return self.extension(byte, size),
            _ => return Err(Refusal::ChunkSize),
        };
        if digits == MOST_SIZE_DIGITS {
            return Err(Refusal::ChunkSizeOverflow);
        }
        self.line += 1;
        Ok(State::Size {
            size: size << 4 | u64::from(digit),
            digits: digits + 1,
        })
    }

    fn extension(&mut self, byte: u8, size: u64) -> Result<State, Refusal> {
        self.line += 1;
        self.extensions += 1;
        match byte {
            b'\r' => return Ok(State::SizeLf { size }),
            b'\n' => return Err(Refusal::BareLf),
            b'\t' | b' '..=b'~' => {}
            _ => return Err(Refusal::ChunkExtension),
        }
        if self.line > LONGEST_CHUNK_LINE {
            return Err(Refusal::ChunkLineTooLong);
        }
        if self.extensions > MOST_EXTENSIONS {
            return Err(Refusal::ChunkExtensionsTooLarge);
        }
        Ok(State::Extension { size })
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        self.trailers += 1;
        if self.trailers > MOST_TRAILERS {
            return Err(Refusal::TrailersTooLarge);
        }
        match (self.state, byte) {
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::TrailerLf | State::LastLf, _) => Err(Refusal::BareCr),
            (_, b'\n') => Err(Refusal::BareLf),
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerStart, b' ' | b'\t') => Err(Refusal::ObsFold),
            (State::TrailerStart, byte) if is_token_byte(byte) => {
                self.name[0] = byte;
                self.name_length = 1;
                Ok(State::TrailerName)
            }
            (State::TrailerName, byte) if is_token_byte(byte) => {
                if let Some(free) = self.name.get_mut(self.name_length) {
                    *free = byte;
                    self.name_length += 1;
                }
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') => {
                let name = &self.name[..self.name_length];
                if Kind::of(name, is_odd(name)).may_be_trailer() {
                    Ok(State::TrailerValue)
                } else {
                    Err(Refusal::Trailer)
                }
            }
            (State::TrailerName, b' ' | b'\t') => Err(Refusal::SpaceBeforeColon),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if is_value_byte(byte) => Ok(State::TrailerValue),
            _ => Err(Refusal::Trailer),
        }
    }
}
