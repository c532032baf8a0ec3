//! Framing: a stream in pieces of any size is cut into the same frames as one that is cut by hand, and what a length
//! announces is refused before room is made for it.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use transport::{Frame, FrameError, FrameReader};

use crate::memory::in_proportion;

/// Payload that the reader of this target accepts, bytes; much more than any input has.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// What the reader asks its stream for at once, bytes.
const READ_BYTES: usize = 64;

/// A stream that hands out at most so many bytes at once.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let len = self.piece.min(self.rest.len()).min(buffer.remaining());
        let (now, later) = self.rest.split_at(len);
        buffer.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    // One for all inputs: to start a runtime costs more than to read a stream.
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// The first byte is the size of the pieces, the rest is the stream.
pub(crate) fn check(input: &[u8]) {
    let Some((piece, stream)) = input.split_first() else {
        return;
    };
    let pieces = Pieces {
        rest: stream,
        piece: usize::from(*piece).max(1),
    };
    let read = RUNTIME.with_borrow_mut(|runtime| {
        let start = || Builder::new_current_thread().enable_time().build();
        let runtime = runtime.get_or_insert_with(|| start().expect("a runtime"));
        let reader = FrameReader::new(pieces, READ_BYTES, PAYLOAD_BYTES_MAX);
        // A frame is 12 bytes at least, and 48 in memory; the buffer of a payload is as large again as what arrived.
        in_proportion(stream.len(), 16, || runtime.block_on(read_all(reader)))
    });
    assert_eq!(read, cut(stream));
}

async fn read_all(mut reader: FrameReader<Pieces<'_>>) -> (Vec<Frame>, Option<FrameError>) {
    let mut frames = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

/// The same by hand (`ios` 0.5): length u32, kind u8, version u8, epoch u32, shard u16, payload.
fn cut(mut stream: &[u8]) -> (Vec<Frame>, Option<FrameError>) {
    let mut frames = Vec::new();
    loop {
        let have = stream.len();
        if have == 0 {
            return (frames, None);
        }
        if have < 12 {
            return (frames, Some(FrameError::Truncated { have, need: 12 }));
        }
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u32::from(*byte))
        };
        let bytes = number(&stream[..4]) as usize;
        if bytes > PAYLOAD_BYTES_MAX {
            let max = PAYLOAD_BYTES_MAX;
            return (frames, Some(FrameError::TooLarge { bytes, max }));
        }
        let need = 12 + bytes;
        if have < need {
            return (frames, Some(FrameError::Truncated { have, need }));
        }
        frames.push(Frame {
            kind: stream[4],
            version: stream[5],
            epoch: number(&stream[6..10]),
            shard: number(&stream[10..12]) as u16,
            payload: stream[12..need].to_vec().into(),
        });
        stream = &stream[need..];
    }
}
