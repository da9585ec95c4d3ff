//! Requests that the service answers itself: handed to its router, and the answer written as it comes.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::{Body, HttpBody as _},
    extract::{ConnectInfo, Request},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use kit::Abort;
use tower::ServiceExt as _;

use super::{
    Hooks,
    connection::{After, Connection},
    io::Stream,
    relay::has_no_body,
};
use crate::http1::{Framing, Kind, Refusal, encode};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl<S: Stream, H: Hooks> Connection<S, H> {
    /// Answers the request in `self.head` from the service's own router.
    pub async fn local(&mut self) -> After {
        let Some(mut request) = self.request() else {
            return self.refuse(Refusal::TargetByte.into()).await;
        };
        let framing = self.head.framing;
        self.inbound.drain(..self.head.length);
        if self.head.expects_continue && self.inbound.is_empty() && framing != Framing::None {
            self.down.clear();
            self.down.bytes.extend_from_slice(CONTINUE);
            if !self.flush().await {
                return After::Abort;
            }
        }
        match self.collect_body(framing).await {
            Ok(body) if body.is_empty() => {}
            Ok(body) => *request.body_mut() = Body::from(body),
            Err(Some(reason)) => return self.refuse(reason).await,
            Err(None) => return After::Abort,
        }
        let router = Arc::clone(&self.edge).router.clone();
        let response = match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.extensions().get::<Abort>().is_some() {
            return After::Abort;
        }
        self.write_response(response).await
    }

    /// The request as the router takes it, without its body.
    fn request(&self) -> Option<Request> {
        let bytes = &self.inbound;
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = match self.head.target(bytes) {
            // `*` is no path of a router's, and is answered as what it is.
            "*" => Uri::from_static("*"),
            target => target.parse().ok()?,
        };
        let headers = request.headers_mut();
        for field in &self.head.fields {
            if field.kind.is_hop_by_hop() || matches!(field.kind, Kind::Internal | Kind::Disguised)
            {
                continue;
            }
            let name = HeaderName::from_bytes(field.name(bytes)).ok()?;
            let value = HeaderValue::from_bytes(field.value(bytes)).ok()?;
            headers.append(name, value);
        }
        if let Ok(id) = HeaderValue::from_str(&self.facts.id) {
            headers.insert(kit::context::REQUEST_ID, id);
        }
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo::<SocketAddr>(self.peer.address));
        extensions.insert(self.peer.arrival());
        Some(request)
    }

    async fn write_response(&mut self, response: Response) -> After {
        let (head, mut body) = response.into_parts();
        let empty = has_no_body(&self.facts.method, head.status.as_u16());
        let length = head
            .headers
            .get(header::CONTENT_LENGTH)
            .is_none()
            .then(|| body.size_hint().exact())
            .flatten();
        let known = length.is_some() || head.headers.contains_key(header::CONTENT_LENGTH);
        let chunked = !known && !empty && !self.facts.is_old;
        let close = !self.stays() || (!known && !empty && self.facts.is_old);
        self.down.clear();
        let out = &mut self.down.bytes;
        encode::status_line(head.status.as_u16(), out);
        for (name, value) in &head.headers {
            if !matches!(*name, header::CONNECTION | header::TRANSFER_ENCODING) {
                encode::field(name.as_str(), value.as_bytes(), out);
            }
        }
        let writes_length = head.status != StatusCode::NO_CONTENT
            && !head.status.is_informational()
            && head.status != StatusCode::NOT_MODIFIED;
        if let Some(length) = length.filter(|_| writes_length) {
            out.extend_from_slice(b"content-length: ");
            encode::decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        if chunked {
            encode::field("transfer-encoding", b"chunked", out);
        }
        if close {
            encode::field("connection", b"close", out);
        } else if self.facts.is_old {
            encode::field("connection", b"keep-alive", out);
        }
        out.extend_from_slice(b"\r\n");
        if empty {
            body = Body::empty();
        }
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.write_data(&data, chunked);
                    }
                }
                Err(error) => {
                    tracing::debug!(error = %error, "an answer of our own broke off");
                    return After::Abort;
                }
            }
            if !self.flush().await {
                return After::Abort;
            }
            self.down.clear();
        }
        if chunked {
            self.down.bytes.extend_from_slice(encode::LAST_CHUNK);
        }
        if !self.flush().await {
            return After::Abort;
        }
        if close { After::Close } else { After::Stay }
    }

    fn write_data(&mut self, data: &Bytes, chunked: bool) {
        if chunked {
            encode::chunk(data, &mut self.down.bytes);
        } else {
            self.down.bytes.extend_from_slice(data);
        }
    }
}
