//! Frames: the 12-byte envelope (ios 0.5) and the reader that cuts a stream into them.

// What reads bytes from outside has nothing to panic with.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use crate::limits::{ENVELOPE_BYTES, FRAME_DEADLINE};

/// One message on a lane.
///
/// The envelope before the payload, little endian: length of the payload u32, kind u8, version u8,
/// epoch u32, shard u16 (ios 0.5).
/// A clone shares the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Message type (ios 21); not interpreted here.
    pub kind: u8,
    /// Version of the message's layout; not interpreted here.
    pub version: u8,
    /// Epoch the message belongs to.
    pub epoch: u32,
    /// Shard the message belongs to.
    pub shard: u16,
    /// The body.
    /// One that was received is a view of the receive buffer (up to 256 KiB) and keeps all of it alive:
    /// copy a small body that is kept for long.
    pub payload: Bytes,
}

impl Frame {
    /// Bytes of the frame on its stream.
    pub fn wire_bytes(&self) -> usize {
        self.payload.len().saturating_add(ENVELOPE_BYTES)
    }

    /// Writes the envelope; the payload must be shorter than 4 GiB, which every queue has checked.
    pub(crate) fn put_envelope(&self, out: &mut BytesMut) {
        out.put_u32_le(self.payload.len() as u32);
        out.put_u8(self.kind);
        out.put_u8(self.version);
        out.put_u32_le(self.epoch);
        out.put_u16_le(self.shard);
    }
}

/// Why a stream could not be cut into frames; the connection is closed for each of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The envelope announces more than this connection accepts; nothing was allocated for it.
    #[error("frame of {bytes} bytes exceeds the maximum of {max}")]
    TooLarge {
        /// Announced payload, in bytes.
        bytes: usize,
        /// Accepted payload, in bytes.
        max: usize,
    },
    /// The stream ended inside a frame.
    #[error("stream ended after {have} of {need} bytes of a frame")]
    Truncated {
        /// Bytes that arrived.
        have: usize,
        /// Bytes of the frame, or of the envelope when that is incomplete.
        need: usize,
    },
    /// The rest of a frame did not arrive in time.
    #[error("only {have} of {need} bytes of a frame arrived within {seconds} s")]
    Stalled {
        /// Bytes that arrived.
        have: usize,
        /// Bytes of the frame, or of the envelope when that is incomplete.
        need: usize,
        /// The time given, in seconds.
        seconds: u64,
    },
    /// The stream or its connection broke.
    #[error("stream lost: {0}")]
    Lost(String),
}

/// Cuts a stream into [`Frame`]s whose payloads are views of the receive buffer.
///
/// Memory: one buffer of the chosen size, which grows to a frame's size only as its bytes arrive.
#[derive(Debug)]
pub struct FrameReader<R = quinn::RecvStream> {
    stream: R,
    buffer: BytesMut,
    read_bytes: usize,
    payload_bytes_max: usize,
    frame_deadline: Duration,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads `stream` in pieces of about `read_bytes` and accepts payloads up to `payload_bytes_max`.
    pub fn new(stream: R, read_bytes: usize, payload_bytes_max: usize) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            read_bytes: read_bytes.max(ENVELOPE_BYTES),
            payload_bytes_max,
            frame_deadline: FRAME_DEADLINE,
        }
    }

    /// Gives a started frame another time to arrive than the usual 30 s.
    pub fn with_frame_deadline(mut self, deadline: Duration) -> Self {
        self.frame_deadline = deadline;
        self
    }

    /// The next frame, or `None` when the stream ended between two frames.
    ///
    /// Cancel safe.
    /// After an error every call returns an error.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let mut deadline = None;
        loop {
            let need = match self.cut()? {
                Ok(frame) => return Ok(Some(frame)),
                Err(need) => need,
            };
            let have = self.buffer.len();
            self.make_room(need.saturating_sub(have));
            let read = if have == 0 {
                self.stream.read_buf(&mut self.buffer).await
            } else {
                let until = *deadline.get_or_insert_with(|| deadline_after(self.frame_deadline));
                match timeout_at(until, self.stream.read_buf(&mut self.buffer)).await {
                    Ok(read) => read,
                    Err(_) => {
                        let seconds = self.frame_deadline.as_secs();
                        return Err(FrameError::Stalled { have, need, seconds });
                    }
                }
            };
            match read {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(FrameError::Truncated { have, need }),
                Ok(_) => {}
                Err(error) => return Err(FrameError::Lost(error.to_string())),
            }
        }
    }

    /// Takes one whole frame off the buffer, or tells how many bytes it needs in all.
    fn cut(&mut self) -> Result<Result<Frame, usize>, FrameError> {
        let Some(&[l0, l1, l2, l3, kind, version, e0, e1, e2, e3, s0, s1]) =
            self.buffer.first_chunk::<ENVELOPE_BYTES>()
        else {
            return Ok(Err(ENVELOPE_BYTES));
        };
        let bytes = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if bytes > self.payload_bytes_max {
            return Err(FrameError::TooLarge {
                bytes,
                max: self.payload_bytes_max,
            });
        }
        let need = bytes.saturating_add(ENVELOPE_BYTES);
        if self.buffer.len() < need {
            return Ok(Err(need));
        }
        let mut frame = self.buffer.split_to(need);
        frame.advance(ENVELOPE_BYTES);
        Ok(Ok(Frame {
            kind,
            version,
            epoch: u32::from_le_bytes([e0, e1, e2, e3]),
            shard: u16::from_le_bytes([s0, s1]),
            payload: frame.freeze(),
        }))
    }

    /// Makes room for the next read without trusting the announced length: at most as much again as arrived.
    fn make_room(&mut self, missing: usize) {
        let spare = self.buffer.capacity().saturating_sub(self.buffer.len());
        if spare < missing.min(self.read_bytes) || spare < ENVELOPE_BYTES {
            let trusted = self.buffer.len().max(self.read_bytes);
            self.buffer.reserve(missing.clamp(self.read_bytes, trusted));
        }
    }
}

/// The end of a span from now on; a span beyond the clock ends at once.
fn deadline_after(span: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(span).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Frame {
        Frame {
            kind,
            version: 1,
            epoch: 0x0102_0304,
            shard: 0x0506,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    fn encode(frames: &[Frame]) -> Vec<u8> {
        let mut out = BytesMut::new();
        for frame in frames {
            frame.put_envelope(&mut out);
            out.put_slice(&frame.payload);
        }
        out.to_vec()
    }

    async fn read_all(bytes: &[u8], max: usize) -> (Vec<Frame>, Option<FrameError>) {
        let mut reader = FrameReader::new(bytes, 64, max);
        let mut frames = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, None),
                Err(error) => return (frames, Some(error)),
            }
        }
    }

    #[test]
    fn envelope_layout_is_fixed() {
        let bytes = encode(&[frame(0x21, b"abc")]);
        assert_eq!(bytes, [3, 0, 0, 0, 0x21, 1, 4, 3, 2, 1, 6, 5, b'a', b'b', b'c']);
    }

    #[tokio::test]
    async fn frames_of_every_size_around_the_buffer_come_back() {
        let frames: Vec<Frame> = (0..200u8).map(|n| frame(n, &vec![n; usize::from(n)])).collect();
        let (read, error) = read_all(&encode(&frames), 200).await;
        assert_eq!(error, None);
        assert_eq!(read, frames);
    }

    #[tokio::test]
    async fn a_frame_at_the_maximum_passes_and_one_byte_more_is_refused() {
        let (read, error) = read_all(&encode(&[frame(1, &[7; 100])]), 100).await;
        assert_eq!((read.len(), error), (1, None));
        let (read, error) = read_all(&encode(&[frame(1, &[7; 101])]), 100).await;
        assert_eq!(
            (read.len(), error),
            (0, Some(FrameError::TooLarge { bytes: 101, max: 100 }))
        );
    }

    #[tokio::test]
    async fn every_cut_inside_a_frame_is_reported() {
        let whole = encode(&[frame(1, b"first"), frame(2, b"second")]);
        let first = ENVELOPE_BYTES + 5;
        for cut in 0..=whole.len() {
            let (read, error) = read_all(&whole[..cut], 100).await;
            let complete = usize::from(cut >= first) + usize::from(cut >= whole.len());
            assert_eq!(read.len(), complete, "cut at {cut}");
            let at_boundary = cut == 0 || cut == first || cut == whole.len();
            assert_eq!(error.is_none(), at_boundary, "cut at {cut}: {error:?}");
        }
        let (_, error) = read_all(&whole[..first - 2], 100).await;
        assert_eq!(error, Some(FrameError::Truncated { have: 15, need: 17 }));
    }

    #[tokio::test]
    async fn an_announced_length_allocates_nothing_ahead_of_its_bytes() {
        let mut announced = encode(&[frame(1, &[])]);
        announced[..4].copy_from_slice(&(1u32 << 30).to_le_bytes());
        let mut reader = FrameReader::new(announced.as_slice(), 4096, 1 << 30);
        let error = reader.next().await;
        assert_eq!(
            error,
            Err(FrameError::Truncated {
                have: 12,
                need: (1 << 30) + 12
            })
        );
        assert!(
            reader.buffer.capacity() <= 3 * 4096,
            "{}",
            reader.buffer.capacity()
        );
    }

    #[tokio::test]
    async fn a_frame_that_never_ends_is_given_up() {
        let (mut near, far) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(far, 64, 100).with_frame_deadline(Duration::from_millis(20));
        near.write_all(&encode(&[frame(1, b"abc")])[..14])
            .await
            .expect("fits");
        let error = reader.next().await;
        assert_eq!(
            error,
            Err(FrameError::Stalled {
                have: 14,
                need: 15,
                seconds: 0
            })
        );
    }

    #[tokio::test]
    async fn payloads_share_one_buffer() {
        let bytes = encode(&[frame(1, &[1; 100]), frame(2, &[2; 100])]);
        let mut reader = FrameReader::new(bytes.as_slice(), 4096, 100);
        let first = reader.next().await.expect("read").expect("frame").payload;
        let second = reader.next().await.expect("read").expect("frame").payload;
        let gap = second.as_ptr() as usize - first.as_ptr() as usize;
        assert_eq!(gap, 100 + ENVELOPE_BYTES);
    }
}
