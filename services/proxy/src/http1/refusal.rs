//! Why a request is refused, and what an upstream may do wrong.

use std::fmt;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident, $label:literal, $status:literal, $detail:literal;)+) => {
        /// Why a message is refused: one reason per kind of flaw, so that each can be counted on its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Refusal {
            $($(#[$doc])* $name,)+
        }

        impl Refusal {
            /// Every reason there is, to register metrics and to test that all are covered.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The reason as a metric label.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }

            /// The status to answer with before the connection is closed.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)+
                }
            }

            /// A sentence for the client that says what to do.
            #[must_use]
            pub const fn detail(self) -> &'static str {
                match self {
                    $(Self::$name => $detail,)+
                }
            }
        }
    };
}

refusals! {
    /// A TLS handshake where plain HTTP is spoken.
    TlsHandshake, "tls_handshake", 400, "This port speaks plain HTTP. Use http:// instead of https://.";
    /// More than one empty line before the request line.
    LeadingEmptyLines, "leading_empty_lines", 400, "Begin with the request line. At most one empty line may come before it.";
    /// Something other than method, one space, target, one space, version.
    RequestLine, "request_line", 400, "Begin with METHOD, one space, the target, one space and HTTP/1.1.";
    /// The method has a byte that methods do not have, or is too long.
    Method, "method", 400, "Send a method of at most 24 upper-case letters, such as GET or POST.";
    /// CONNECT: this is no tunnel.
    ConnectMethod, "connect_method", 405, "CONNECT is not served here. Send the request itself.";
    /// TRACE echoes credentials.
    TraceMethod, "trace_method", 405, "TRACE is not served here. Use GET.";
    /// A byte in the target that has to be percent-encoded.
    TargetByte, "target_byte", 400, "Percent-encode everything in the target that is not visible ASCII, and the characters \" < > \\ and `.";
    /// A fragment in the target.
    TargetFragment, "target_fragment", 400, "Leave out the fragment: # and what follows stay with the client.";
    /// Neither a path, nor an absolute URL, nor `*` with OPTIONS.
    TargetForm, "target_form", 400, "Send a target that begins with /, or a whole http:// address, or * with OPTIONS.";
    /// The target is longer than the limit.
    TargetTooLong, "target_too_long", 414, "Shorten the target; send large values in the body.";
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version, "version", 505, "Speak HTTP/1.1.";
    /// A line feed without a carriage return.
    BareLf, "bare_lf", 400, "End every line with CR LF, not with LF alone.";
    /// A carriage return without a line feed.
    BareCr, "bare_cr", 400, "Send CR only as part of the CR LF that ends a line.";
    /// A line that begins with white space.
    ObsFold, "obs_fold", 400, "Send each header on one line; a line must not begin with white space.";
    /// White space in a field's name or before its colon.
    SpaceBeforeColon, "space_before_colon", 400, "Put the colon directly after the header's name.";
    /// A field without a name.
    FieldNameEmpty, "field_name_empty", 400, "Give every header a name before its colon.";
    /// A byte in a field's name that names do not have.
    FieldName, "field_name", 400, "Name headers with letters, digits and hyphens.";
    /// A line without a colon.
    ColonMissing, "colon_missing", 400, "Send each header as NAME: VALUE.";
    /// A control byte in a field's value.
    FieldValue, "field_value", 400, "Leave out control characters from header values.";
    /// The head is larger than the limit.
    HeadTooLarge, "head_too_large", 431, "Send fewer or shorter headers.";
    /// More fields than the limit.
    TooManyFields, "too_many_fields", 431, "Send fewer headers.";
    /// HTTP/1.1 without Host.
    HostMissing, "host_missing", 400, "Send a Host header.";
    /// More than one Host.
    HostRepeated, "host_repeated", 400, "Send one Host header.";
    /// Host, or the authority in the target, is not a host with an optional port.
    HostInvalid, "host_invalid", 400, "Send a host name or an address, and at most a port, as Host: example.com:8000.";
    /// Content-Length is not a number.
    ContentLengthInvalid, "content_length_invalid", 400, "Send Content-Length as plain digits without leading zeros.";
    /// Content-Length is a list.
    ContentLengthList, "content_length_list", 400, "Send one number in Content-Length, not a list.";
    /// Content-Length is beyond all measure.
    ContentLengthOverflow, "content_length_overflow", 400, "Send a Content-Length of at most 18 digits.";
    /// More than one Content-Length, equal or not.
    ContentLengthRepeated, "content_length_repeated", 400, "Send Content-Length once.";
    /// Content-Length and Transfer-Encoding.
    LengthAndTransferEncoding, "length_and_transfer_encoding", 400, "Send either Content-Length or Transfer-Encoding: chunked, not both.";
    /// More than one Transfer-Encoding.
    TransferEncodingRepeated, "transfer_encoding_repeated", 400, "Send Transfer-Encoding once.";
    /// Transfer-Encoding is not a list of codings that ends with its only `chunked`.
    TransferEncodingInvalid, "transfer_encoding_invalid", 400, "Send Transfer-Encoding: chunked, exactly so.";
    /// A transfer coding other than chunked.
    TransferEncodingUnsupported, "transfer_encoding_unsupported", 501, "Only Transfer-Encoding: chunked is served. Send the body without other transfer codings.";
    /// Transfer-Encoding before HTTP/1.1.
    TransferEncodingOnHttp10, "transfer_encoding_on_http10", 400, "Use HTTP/1.1 for chunked bodies, or send Content-Length.";
    /// Connection is not a list of tokens, or a very long one.
    ConnectionInvalid, "connection_invalid", 400, "Send Connection as a short list of names, such as keep-alive or close.";
    /// Connection names a field that must reach the other end.
    ConnectionNamesEndToEnd, "connection_names_end_to_end", 400, "Name only headers of this connection in Connection.";
    /// Expect is something other than one 100-continue.
    Expect, "expect", 417, "Send Expect: 100-continue or no Expect at all.";
    /// Upgrade is not a list of protocols, or is there more than once.
    UpgradeInvalid, "upgrade_invalid", 400, "Send one Upgrade header that names a protocol, such as websocket.";
    /// A chunk's size is not one to sixteen hexadecimal digits.
    ChunkSize, "chunk_size", 400, "Begin every chunk with its size in hexadecimal digits, without sign, prefix or spaces.";
    /// A chunk's size has more than sixteen digits.
    ChunkSizeOverflow, "chunk_size_overflow", 400, "Send smaller chunks: a size has at most 16 hexadecimal digits.";
    /// The line that begins a chunk is too long.
    ChunkLineTooLong, "chunk_line_too_long", 400, "Send shorter chunk extensions, or none.";
    /// All chunk extensions of a body together are too long.
    ChunkExtensionsTooLarge, "chunk_extensions_too_large", 400, "Send fewer chunk extensions, or none.";
    /// A byte in a chunk extension that is not visible ASCII, space or tab.
    ChunkExtension, "chunk_extension", 400, "Send only visible ASCII in chunk extensions, or leave them out.";
    /// A chunk's data is not followed by CR LF.
    ChunkEnd, "chunk_end", 400, "End every chunk's data with CR LF; its size must be the number of bytes before that.";
    /// A trailer is not a good field, or one that must not be a trailer.
    Trailer, "trailer", 400, "Send trailers as NAME: VALUE, and none that belong into the head.";
    /// The trailers are too large.
    TrailersTooLarge, "trailers_too_large", 431, "Send fewer or shorter trailers, or none.";
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.detail())
    }
}

impl std::error::Error for Refusal {}

/// What is wrong with an upstream's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// Not version, one space, three digits, and perhaps a space and a reason.
    #[error("the answer does not begin with a status line")]
    StatusLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the answer is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// Outside 100 to 599.
    #[error("the answer's status is not between 100 and 599")]
    Status,
    /// A status without a body (1xx, 204) that announces one.
    #[error("the answer announces a body that its status does not have")]
    UnexpectedBody,
    /// The fields or the framing have a flaw that a request would be refused for.
    #[error("the answer's head is malformed: {}", .0.label())]
    Head(Refusal),
}

impl Malformed {
    /// The flaw as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::StatusLine => "status_line",
            Self::Version => "status_version",
            Self::Status => "status",
            Self::UnexpectedBody => "unexpected_body",
            Self::Head(refusal) => refusal.label(),
        }
    }
}

impl From<Refusal> for Malformed {
    fn from(refusal: Refusal) -> Self {
        Self::Head(refusal)
    }
}
