//! The requests of a stream, read off its body. Nothing is kept of a request once it is decoded: tonic's own reader keeps
//! the room that the largest one took, half a megabyte for a client that names ten thousand endpoints.

use http_body::Body as _;
use std::{marker::PhantomData, pin::Pin, task::Context, task::Poll, task::ready};
use tonic::{Code, Status, body::Body};

/// A gRPC message begins with whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The requests of one stream.
pub(super) struct Requests<R> {
    body: Body,
    /// What came and is not decoded yet.
    buffer: Vec<u8>,
    /// The longest request.
    limit: usize,
    of: PhantomData<fn() -> R>,
}

impl<R: prost::Message + Default> Requests<R> {
    pub(super) fn new(body: Body, limit: usize) -> Self {
        Self { body, buffer: Vec::new(), limit, of: PhantomData }
    }

    /// The next request; none at the end.
    pub(super) async fn next(&mut self) -> Option<Result<R, Status>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<R, Status>>> {
        loop {
            if let Some(request) = self.take().transpose() {
                return Poll::Ready(Some(request));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                // A client's trailers mean nothing.
                Some(Ok(frame)) => self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(status)) if status.code() == Code::Cancelled => return Poll::Ready(None),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None if self.buffer.is_empty() => return Poll::Ready(None),
                None => {
                    self.buffer = Vec::new();
                    return Poll::Ready(Some(Err(Status::internal("the stream ended within a request"))));
                }
            }
        }
    }

    /// The request that the buffer begins with, if it is there as a whole.
    fn take(&mut self) -> Result<Option<R>, Status> {
        let Some(([compressed, length @ ..], rest)) = self.buffer.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        if *compressed != 0 {
            return Err(Status::unimplemented("requests can't be compressed here"));
        }
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.limit {
            let limit = self.limit;
            return Err(Status::out_of_range(format!("a request of {length} bytes, wanted at most {limit}")));
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let request = R::decode(message).map_err(|error| Status::internal(format!("no request: {error}")))?;
        // Less than a frame: copied, so that the room is given back.
        self.buffer = rest[length..].to_vec();
        Ok(Some(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use prost::Message as _;
    use proto::ads::DeltaDiscoveryRequest;

    fn message(names: &[&str]) -> Vec<u8> {
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        let mut bytes = vec![0];
        bytes.extend((request.encoded_len() as u32).to_be_bytes());
        bytes.extend(request.encode_to_vec());
        bytes
    }

    async fn read(body: Body, limit: usize) -> Vec<Result<Vec<String>, Code>> {
        let mut requests = Requests::<DeltaDiscoveryRequest>::new(body, limit);
        let mut seen = Vec::new();
        while let Some(request) = requests.next().await {
            let end = request.is_err();
            seen.push(request.map(|one| one.resource_names_subscribe).map_err(|status| status.code()));
            if end {
                break;
            }
        }
        seen
    }

    /// A body that comes in pieces of so many bytes.
    fn pieces(bytes: &[u8], length: usize) -> Body {
        let frame = |piece: &[u8]| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(piece)));
        Body::new(StreamBody::new(tokio_stream::iter(bytes.chunks(length).map(frame).collect::<Vec<_>>())))
    }

    #[tokio::test]
    async fn requests_come_in_any_pieces() {
        let bytes = [message(&["a"]), message(&[]), message(&["b", "c"])].concat();
        let expected = [Ok(vec!["a".to_owned()]), Ok(vec![]), Ok(vec!["b".to_owned(), "c".to_owned()])];
        for length in [1, 3, 7, bytes.len()] {
            assert_eq!(read(pieces(&bytes, length), 100).await, expected);
        }
    }

    #[tokio::test]
    async fn what_is_no_request_ends_the_stream() {
        let cut = message(&["a"])[..6].to_vec();
        let compressed = [&[1][..], &message(&["a"])[1..]].concat();
        let garbage = vec![0, 0, 0, 0, 1, 0xff];
        for (bytes, code) in [
            (cut, Code::Internal),
            (compressed, Code::Unimplemented),
            (garbage, Code::Internal),
            (message(&["abcdefghijkl"]), Code::OutOfRange),
        ] {
            assert_eq!(read(pieces(&bytes, 100), 10).await, [Err(code)]);
        }
        assert_eq!(read(pieces(&[], 100), 10).await, []);
    }
}
