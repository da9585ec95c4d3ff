//! HTTP/1.1 messages as bytes: heads are parsed once and strictly, bodies are unframed and framed; nothing here touches a socket.
//!
//! ```text
//!  bytes ──► RequestHead / ResponseHead ──► Framing ──► Body ──► Step::Data …   encode: heads and chunks for the other side
//! ```
//!
//! A head keeps positions instead of references, so it can be kept across awaits and used again without allocating. `parse` is called
//! with all bytes of the message that have arrived; when it says [`Progress::Partial`] it is called again with the same bytes and
//! more of them, and goes on where it stopped. Whatever is wrong is said as soon as its first wrong byte is there, and the answer does
//! not depend on how the bytes were split.
//!
//! # What is refused, and why so much
//!
//! Two readers of one connection that disagree about where a message ends, or which header counts, let a client smuggle a second request
//! past the first reader. So there is one canonical parse, and everything that some reader is known to take differently is refused: see
//! [`Refusal`]. Choices that RFC 9110 and RFC 9112 leave open:
//!
//! - At most one empty line (CRLF) may come before a request line.
//! - A line ends with CRLF; a bare LF or CR is refused everywhere, also between chunks.
//! - A method is upper-case letters, digits, `-` and `_`, at most 24 bytes. `CONNECT` and `TRACE` are refused.
//! - A target is `/…`, `http://…` or `https://…`, or `*` with `OPTIONS`; visible ASCII without `"`, `#`, `<`, `>`, and in its path without
//!   `\` and `` ` ``. It is not decoded or normalised. Absolute form with a query but no path is refused.
//! - A host is a name of letters, digits, `-`, `.` and `_`, or an address, with an optional port; never empty.
//! - `Content-Length` is one to eighteen digits without leading zeros, once. `Transfer-Encoding` is `chunked`, once, in HTTP/1.1.
//! - `Connection` may name fields to drop, but none that has to arrive.
//! - Offers to upgrade are taken only for one protocol, and never for HTTP/2 or TLS (a tunnel would hide requests from this hop);
//!   others are ignored, as a server may.
//! - Chunk extensions and trailers are read, checked, bounded and dropped.

mod body;
pub mod encode;
mod field;
mod framing;
mod host;
mod refusal;
mod request;
mod response;
mod scan;
#[cfg(test)]
mod tests;

pub use body::{Body, Step};
pub use field::{Field, Kind, copy_fields};
pub use refusal::{Malformed, Refusal};
pub use request::RequestHead;
pub use response::ResponseHead;

/// No head may have more fields than this, whatever [`Limits`] say.
pub const MAX_FIELDS: usize = 100;

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head, the empty line included.
    pub head_bytes: usize,
    /// Bytes of a request's target.
    pub target_bytes: usize,
    /// Fields, at most [`MAX_FIELDS`].
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            target_bytes: 8 * 1024,
            fields: MAX_FIELDS,
        }
    }
}

impl Limits {
    /// Positions are kept in 32 bits.
    fn most_bytes(&self) -> usize {
        self.head_bytes.min(u32::MAX as usize)
    }
}

/// Whether a head is all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is complete and good.
    Complete,
    /// Good so far: call again with more.
    Partial,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, the last one empty.
    Chunked,
    /// Everything until the connection ends. Answers only.
    UntilClose,
}

impl Framing {
    /// Whether at least one byte of a body may follow the head.
    #[must_use]
    pub fn has_body(self) -> bool {
        !matches!(self, Self::None | Self::Length(0))
    }
}
