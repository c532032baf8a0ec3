//! Lanes out: a bounded queue, an optional added delay, and the writer that joins frames into large writes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use crate::close::{CloseCode, close};
use crate::frame::Frame;
use crate::limits::{COPY_BLOCK_BYTES, COPY_BYTES_MAX, QueueBound, WRITE_BATCH_BYTES};

/// Why a frame was not queued; the lane is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The lane's queue is full, in frames or in bytes: the caller counts it and decides.
    #[error("lane is full")]
    Full,
    /// There is no connection, or it ended.
    #[error("lane is closed")]
    Closed,
    /// The payload is larger than the connection accepts.
    #[error("payload of {bytes} bytes exceeds the maximum of {max}")]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// Accepted bytes.
        max: usize,
    },
    /// No such validator is configured.
    #[error("validator {0} is not a configured peer")]
    UnknownPeer(u16),
}

/// A frame that waits for the writer, and from when on it may leave.
#[derive(Debug)]
struct Queued {
    frame: Frame,
    due: Option<Instant>,
}

/// The sending end of one lane; a clone feeds the same queue.
///
/// Frames leave in the order they were queued.
/// Those not yet sent when the connection ends are lost.
#[derive(Clone, Debug)]
pub(crate) struct FrameSender {
    queue: mpsc::Sender<Queued>,
    /// Free bytes of the queue.
    free_bytes: Arc<Semaphore>,
    payload_bytes_max: usize,
    delay: Duration,
}

impl FrameSender {
    /// Queues `frame`, or tells at once why not.
    pub(crate) fn try_send(&self, frame: Frame) -> Result<(), SendError> {
        let bytes = self.cost(&frame)?;
        let permit = self
            .free_bytes
            .try_acquire_many(bytes)
            .map_err(|error| match error {
                tokio::sync::TryAcquireError::NoPermits => SendError::Full,
                tokio::sync::TryAcquireError::Closed => SendError::Closed,
            })?;
        self.queue
            .try_send(self.queued(frame))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SendError::Full,
                mpsc::error::TrySendError::Closed(_) => SendError::Closed,
            })?;
        permit.forget();
        Ok(())
    }

    /// Queues `frame` as soon as there is room; never answers [`SendError::Full`].
    ///
    /// Cancel safe: a cancelled call queued nothing.
    pub(crate) async fn send(&self, frame: Frame) -> Result<(), SendError> {
        let bytes = self.cost(&frame)?;
        let permit = self
            .free_bytes
            .acquire_many(bytes)
            .await
            .map_err(|_| SendError::Closed)?;
        let slot = self.queue.reserve().await.map_err(|_| SendError::Closed)?;
        slot.send(self.queued(frame));
        permit.forget();
        Ok(())
    }

    fn cost(&self, frame: &Frame) -> Result<u32, SendError> {
        let bytes = frame.payload.len();
        if bytes > self.payload_bytes_max {
            return Err(SendError::TooLarge {
                bytes,
                max: self.payload_bytes_max,
            });
        }
        Ok(frame.wire_bytes() as u32)
    }

    fn queued(&self, frame: Frame) -> Queued {
        let due = (!self.delay.is_zero()).then(|| Instant::now() + self.delay);
        Queued { frame, due }
    }
}

/// Writes frames to a stream, many in one call.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    stream: quinn::SendStream,
    batch: Batch,
}

impl FrameWriter {
    /// Writes to `stream`.
    pub(crate) fn new(stream: quinn::SendStream) -> Self {
        Self {
            stream,
            batch: Batch::default(),
        }
    }

    /// Adds a frame to the next write and returns the bytes that wait for it.
    /// Payloads above 4 KiB are not copied.
    pub(crate) fn push(&mut self, frame: &Frame) -> usize {
        self.batch.push(frame);
        self.batch.bytes
    }

    /// Hands all pushed frames to QUIC; waits while its send window is full.
    ///
    /// Not cancel safe: a cancelled call leaves the stream inside a frame.
    pub(crate) async fn flush(&mut self) -> Result<(), quinn::WriteError> {
        let mut chunks = self.batch.take();
        self.stream.write_all_chunks(&mut chunks).await
    }
}

/// Frames as the byte chunks that one write takes.
#[derive(Debug, Default)]
struct Batch {
    chunks: Vec<Bytes>,
    /// Envelopes and small payloads behind the last chunk.
    block: BytesMut,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, frame: &Frame) {
        let copied = frame.payload.len() <= COPY_BYTES_MAX;
        let room = if copied {
            frame.wire_bytes()
        } else {
            crate::limits::ENVELOPE_BYTES
        };
        if self.block.capacity() - self.block.len() < room {
            self.seal();
            self.block.reserve(COPY_BLOCK_BYTES);
        }
        frame.put_envelope(&mut self.block);
        if copied {
            self.block.put_slice(&frame.payload);
        } else {
            self.seal();
            self.chunks.push(frame.payload.clone());
        }
        self.bytes += frame.wire_bytes();
    }

    fn seal(&mut self) {
        if !self.block.is_empty() {
            self.chunks.push(self.block.split().freeze());
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.seal();
        self.bytes = 0;
        std::mem::take(&mut self.chunks)
    }
}

/// What a lane is made of.
pub(crate) struct LaneSpec {
    pub(crate) bound: QueueBound,
    pub(crate) payload_bytes_max: usize,
    /// Added to every frame before it leaves.
    pub(crate) delay: Duration,
    /// How long a write may take before the receiver counts as dead.
    pub(crate) stall: Duration,
}

/// Starts the writer task of a lane; it ends with the connection or with the last [`FrameSender`].
pub(crate) fn spawn_lane(
    connection: quinn::Connection,
    stream: quinn::SendStream,
    spec: &LaneSpec,
) -> FrameSender {
    let (queue, waiting) = mpsc::channel(spec.bound.frames);
    let free_bytes = Arc::new(Semaphore::new(spec.bound.bytes));
    let sender = FrameSender {
        queue,
        free_bytes: Arc::clone(&free_bytes),
        payload_bytes_max: spec.payload_bytes_max,
        delay: spec.delay,
    };
    tokio::spawn(run_writer(
        connection,
        FrameWriter::new(stream),
        waiting,
        free_bytes,
        spec.stall,
    ));
    sender
}

async fn run_writer(
    connection: quinn::Connection,
    mut writer: FrameWriter,
    mut waiting: mpsc::Receiver<Queued>,
    free_bytes: Arc<Semaphore>,
    stall: Duration,
) {
    let mut closed = pin!(connection.closed());
    let mut held: Option<Queued> = None;
    loop {
        let first = match held.take() {
            Some(queued) => queued,
            None => tokio::select! {
                biased;
                _ = &mut closed => break,
                queued = waiting.recv() => match queued {
                    Some(queued) => queued,
                    None => break,
                },
            },
        };
        if let Some(due) = first.due {
            tokio::select! {
                biased;
                _ = &mut closed => break,
                () = sleep_until(due) => {}
            }
        }
        let mut bytes = writer.push(&first.frame);
        let now = first.due.map(|_| Instant::now());
        while bytes < WRITE_BATCH_BYTES {
            match waiting.try_recv() {
                // One lane has one delay, so the order of the queue is the order of the due times.
                Ok(next) if next.due <= now => bytes = writer.push(&next.frame),
                Ok(next) => {
                    held = Some(next);
                    break;
                }
                Err(_) => break,
            }
        }
        match timeout(stall, writer.flush()).await {
            Ok(Ok(())) => free_bytes.add_permits(bytes),
            Ok(Err(_)) => break,
            Err(_) => {
                close(
                    &connection,
                    CloseCode::Stalled,
                    "receiver took too little for too long",
                );
                break;
            }
        }
    }
    // A sender that waits for room must not wait for ever.
    free_bytes.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame {
            kind: 1,
            version: 2,
            epoch: 3,
            shard: 4,
            payload: Bytes::from(vec![9; bytes]),
        }
    }

    #[test]
    fn small_frames_join_in_one_chunk() {
        let mut batch = Batch::default();
        for _ in 0..100 {
            batch.push(&frame(100));
        }
        assert_eq!(batch.bytes, 100 * 112);
        let chunks = batch.take();
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [11_200]);
        assert_eq!(batch.bytes, 0);
        assert!(batch.take().is_empty());
    }

    #[test]
    fn large_payloads_are_not_copied() {
        let large = frame(COPY_BYTES_MAX + 1);
        let mut batch = Batch::default();
        batch.push(&frame(1));
        batch.push(&large);
        batch.push(&frame(2));
        let chunks = batch.take();
        assert_eq!(
            chunks.iter().map(Bytes::len).collect::<Vec<_>>(),
            [13 + 12, COPY_BYTES_MAX + 1, 14]
        );
        assert_eq!(chunks[1].as_ptr(), large.payload.as_ptr());
    }

    #[test]
    fn the_block_is_sealed_before_it_would_grow() {
        let mut batch = Batch::default();
        for _ in 0..40 {
            batch.push(&frame(COPY_BYTES_MAX));
        }
        let chunks = batch.take();
        assert!(chunks.iter().all(|chunk| chunk.len() <= COPY_BLOCK_BYTES));
        assert_eq!(
            chunks.iter().map(Bytes::len).sum::<usize>(),
            40 * (COPY_BYTES_MAX + 12)
        );
    }

    fn sender(frames: usize, bytes: usize) -> (FrameSender, mpsc::Receiver<Queued>) {
        let (queue, waiting) = mpsc::channel(frames);
        let free_bytes = Arc::new(Semaphore::new(bytes));
        (
            FrameSender {
                queue,
                free_bytes,
                payload_bytes_max: 50,
                delay: Duration::ZERO,
            },
            waiting,
        )
    }

    #[test]
    fn a_queue_is_bounded_in_frames_and_in_bytes() {
        let (lane, _waiting) = sender(2, 1000);
        assert_eq!(lane.try_send(frame(1)), Ok(()));
        assert_eq!(lane.try_send(frame(1)), Ok(()));
        let free = lane.free_bytes.available_permits();
        assert_eq!(lane.try_send(frame(1)), Err(SendError::Full));
        assert_eq!(
            lane.free_bytes.available_permits(),
            free,
            "a refused frame costs nothing"
        );

        let (lane, mut waiting) = sender(100, 100);
        assert_eq!(lane.try_send(frame(50)), Ok(()));
        assert_eq!(lane.try_send(frame(50)), Err(SendError::Full));
        assert!(waiting.try_recv().is_ok());
        assert!(waiting.try_recv().is_err(), "the refused frame was not queued");
    }

    #[test]
    fn an_oversized_payload_is_refused_before_it_is_queued() {
        let (lane, mut waiting) = sender(2, 1000);
        assert_eq!(
            lane.try_send(frame(51)),
            Err(SendError::TooLarge { bytes: 51, max: 50 })
        );
        assert_eq!(lane.free_bytes.available_permits(), 1000);
        assert!(waiting.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_closed_lane_says_so() {
        let (lane, waiting) = sender(2, 1000);
        drop(waiting);
        assert_eq!(lane.try_send(frame(1)), Err(SendError::Closed));
        assert_eq!(lane.send(frame(1)).await, Err(SendError::Closed));
    }
}
