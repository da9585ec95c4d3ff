//! Bodies of requests that are read to their end before anything else happens.

use std::{task::Poll, time::Instant};

use super::{
    connection::Connection,
    io::{Stream, poll_append},
    refuse::Reason,
};
use crate::http1::{Body, Framing, Step};

/// Why the request's body is not at hand.
pub(super) enum NoBody {
    ClientGone,
    Stalled,
}

impl<S: Stream, H> Connection<S, H> {
    /// Reads a body of known length to its end.
    pub(super) async fn keep_body(
        &mut self,
        length: u64,
        deadline: Instant,
    ) -> Result<Vec<u8>, NoBody> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 {
            return Ok(Vec::new());
        }
        while self.inbound.len() < length {
            self.timer
                .set(deadline.min(Instant::now() + self.edge.settings.body_stall));
            self.read_more().await?;
        }
        let rest = self.inbound.split_off(length);
        Ok(std::mem::replace(&mut self.inbound, rest))
    }

    async fn read_more(&mut self) -> Result<(), NoBody> {
        let Self {
            stream,
            inbound,
            timer,
            ..
        } = self;
        std::future::poll_fn(|context| {
            if let Poll::Ready(read) = poll_append(stream, context, inbound) {
                return Poll::Ready(match read {
                    Ok(0) | Err(_) => Err(NoBody::ClientGone),
                    Ok(_) => Ok(()),
                });
            }
            timer.poll(context).map(|()| Err(NoBody::Stalled))
        })
        .await
    }

    /// Reads a body of any framing to its end, for the service's own routes.
    pub(super) async fn collect_body(
        &mut self,
        framing: Framing,
    ) -> Result<Vec<u8>, Option<Reason>> {
        let limit = self.edge.settings.body_limit;
        let mut decoder = Body::new(framing);
        let mut body = Vec::new();
        loop {
            let mut used = 0;
            while !decoder.is_done() {
                let (consumed, step) = decoder
                    .next(&self.inbound[used..])
                    .map_err(|refusal| Some(refusal.into()))?;
                used += consumed;
                match step {
                    Step::Data(data) => body.extend_from_slice(data),
                    Step::More | Step::End => break,
                }
            }
            self.inbound.drain(..used);
            if body.len() as u64 > limit {
                return Err(Some(Reason::BODY_TOO_LARGE));
            }
            if decoder.is_done() {
                return Ok(body);
            }
            self.timer
                .set(Instant::now() + self.edge.settings.body_stall);
            match self.read_more().await {
                Ok(()) => {}
                Err(NoBody::Stalled) => return Err(Some(Reason::BODY_TIMEOUT)),
                Err(NoBody::ClientGone) => return Err(None),
            }
        }
    }
}
