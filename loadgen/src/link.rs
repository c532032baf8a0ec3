//! One connection to one node for the whole run: when it breaks it is made again, and what was not answered is sent
//! again in the order of its tags.
//!
//! Invariant: a transaction is marked as sent only while its connection cannot change, so that after a break exactly
//! the marked ones without an answer are sent again, each once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rpc::{AnswerReceiver, Connection, RequestSender, SendError};
use tokio::sync::watch;
use transport::ClientEndpoint;
use types::Tag;
use types::client::{Hello, encode_submit};
use types::limits::SUBMIT_TXS_MAX;

use crate::network::{NetworkError, Target, endpoint_for};
use crate::pacer::{Refusal, Submission};
use crate::tags::TagBook;

/// Type byte of a submission.
pub const SUBMIT: u8 = 0x10;
/// First pause before a node is dialled again.
const REDIAL_MIN: Duration = Duration::from_millis(50);
/// Longest such pause.
const REDIAL_MAX: Duration = Duration::from_secs(1);
/// Bytes of transactions in one frame of what is sent again.
const FRAME_BYTES: usize = 64 << 10;

/// Where the frames of one connection go at the moment.
#[derive(Debug)]
enum State {
    /// To the node.
    Open(RequestSender),
    /// Nowhere: the node is away and is dialled.
    Away,
    /// Nowhere any more.
    Closed,
}

/// The sending half of a connection that may be replaced while the run goes on, and the tags that it gave.
#[derive(Debug)]
pub struct Slot {
    state: Mutex<State>,
    tags: Arc<TagBook>,
}

impl Slot {
    /// Starts with an open connection and no tag given.
    #[must_use]
    pub fn new(sender: RequestSender) -> Self {
        Self {
            state: Mutex::new(State::Open(sender)),
            tags: Arc::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tags that were given on this connection.
    #[must_use]
    pub const fn tags(&self) -> &Arc<TagBook> {
        &self.tags
    }

    /// True while the node is away and is dialled.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(*self.lock(), State::Away)
    }

    /// Hands a submission over without waiting, under the next tags. `mark(true)` is called before, `mark(false)` after
    /// a refusal; the connection does not change in between.
    ///
    /// # Errors
    /// `Full` when there is no room or the node is away, `Closed` after `close`.
    pub fn try_send(&self, submission: Submission<'_>, mark: &dyn Fn(bool)) -> Result<(), Refusal> {
        let state = self.lock();
        let sender = match &*state {
            State::Open(sender) => sender,
            State::Away => return Err(Refusal::Full),
            State::Closed => return Err(Refusal::Closed),
        };
        // An answer may come at once: it must find its tag.
        let first_tag = self.tags.give(submission.indices);
        let mut payload = Vec::with_capacity(6 + submission.txs.iter().map(|tx| tx.len() + 2).sum::<usize>());
        encode_submit(first_tag, submission.txs, &mut payload);
        mark(true);
        let refusal = match sender.try_send_frame(SUBMIT, Bytes::from(payload)) {
            Ok(()) => return Ok(()),
            // The receiving half notices the end and dials again.
            Err(SendError::Full | SendError::Closed) => Refusal::Full,
            Err(SendError::TooLarge { .. }) => Refusal::Closed,
        };
        mark(false);
        self.tags.revoke(submission.indices.len());
        Err(refusal)
    }

    /// The connection has ended; what is to leave waits.
    fn set_away(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Open(_)) {
            *state = State::Away;
        }
    }

    /// The node is back. False when nothing is to be sent any more: the connection is closed then.
    fn set_open(&self, sender: RequestSender) -> bool {
        let mut state = self.lock();
        let is_wanted = !matches!(*state, State::Closed);
        if is_wanted {
            *state = State::Open(sender);
        } else {
            sender.close();
        }
        is_wanted
    }

    /// Ends the connection and any that would follow.
    pub fn close(&self) {
        if let State::Open(sender) = std::mem::replace(&mut *self.lock(), State::Closed) {
            sender.close();
        }
    }
}

/// What it takes to reach a node again.
#[derive(Debug)]
pub struct Dial {
    target: Target,
    hello: Hello,
    endpoint: ClientEndpoint,
}

impl Dial {
    /// Opens a socket and connects for the first time.
    ///
    /// # Errors
    /// `Socket` or `Connect`.
    pub async fn first(
        target: Target,
        hello: Hello,
    ) -> Result<(Self, RequestSender, AnswerReceiver), NetworkError> {
        let endpoint = endpoint_for(target.address)?;
        let dial = Self {
            target,
            hello,
            endpoint,
        };
        let (sender, receiver) = dial.connect().await?;
        Ok((dial, sender, receiver))
    }

    /// The node.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.target.address
    }

    async fn connect(&self) -> Result<(RequestSender, AnswerReceiver), NetworkError> {
        let Target { address, key, .. } = self.target;
        Ok(Connection::connect(&self.endpoint, address, key, self.hello.clone()).await?)
    }

    /// Dials until the node answers; `None` when `closing` turns true first.
    async fn again(&self, closing: &mut watch::Receiver<bool>) -> Option<(RequestSender, AnswerReceiver)> {
        let mut pause = REDIAL_MIN;
        let dial = async {
            loop {
                if let Ok(opened) = self.connect().await {
                    return opened;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(REDIAL_MAX);
            }
        };
        tokio::select! {
            // A sender that is gone means the end too.
            _ = closing.wait_for(|closing| *closing) => None,
            opened = dial => Some(opened),
        }
    }

    /// Brings a broken connection back: dials, sends again what `unanswered` gives in the order of tags, and only
    /// then lets new transactions through. `None` when the run ends first.
    ///
    /// `unanswered` is asked while nothing else can be sent.
    pub async fn restore(
        &self,
        slot: &Slot,
        closing: &mut watch::Receiver<bool>,
        mut unanswered: impl FnMut() -> Vec<Resubmission>,
    ) -> Option<(AnswerReceiver, Vec<Tag>)> {
        slot.set_away();
        loop {
            let (sender, receiver) = self.again(closing).await?;
            let again = unanswered();
            let sent = async {
                for payload in frames(&again) {
                    sender.send_frame(SUBMIT, payload).await?;
                }
                Ok::<(), SendError>(())
            };
            // A node that takes nothing ends the connection by itself after a while.
            let sent = tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return None,
                sent = sent => sent,
            };
            if sent.is_ok() {
                let tags = again.iter().map(|(tag, _)| *tag).collect();
                return slot.set_open(sender).then_some((receiver, tags));
            }
        }
    }
}

/// A transaction that is sent again, under the tag that it had.
pub type Resubmission = (Tag, Bytes);

/// Frames of submissions: tags of one frame follow one another.
fn frames(again: &[Resubmission]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut rest = again;
    while let Some((first, _)) = rest.first() {
        let mut bytes = 0;
        let count = (0_u32..)
            .zip(rest)
            .take(SUBMIT_TXS_MAX)
            .take_while(|(offset, (tag, tx))| {
                bytes += tx.len() + 2;
                tag.0 == first.0.wrapping_add(*offset) && (*offset == 0 || bytes <= FRAME_BYTES)
            })
            .count();
        let txs: Vec<&[u8]> = rest[..count].iter().map(|(_, tx)| &**tx).collect();
        let mut payload = Vec::with_capacity(6 + bytes);
        encode_submit(*first, &txs, &mut payload);
        frames.push(Bytes::from(payload));
        rest = &rest[count..];
    }
    frames
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use types::Tag;
    use types::client::Request;

    use super::{FRAME_BYTES, frames};

    #[test]
    fn what_is_sent_again_keeps_its_tags_and_fits_its_frames() {
        let tags: Vec<u32> = (0..100).chain([105, 106, 200]).chain(300..400).collect();
        let again: Vec<(Tag, Bytes)> = tags
            .iter()
            .map(|tag| (Tag(*tag), Bytes::from(vec![*tag as u8; 1500])))
            .collect();
        let mut seen = Vec::new();
        for frame in frames(&again) {
            assert!(frame.len() <= FRAME_BYTES + 6);
            let Ok(Request::Submit { first_tag, txs }) = Request::decode_payload(super::SUBMIT, &frame)
            else {
                panic!("not a submission");
            };
            for (offset, tx) in (0_u32..).zip(txs) {
                let tag = first_tag.0 + offset;
                assert_eq!(tx, Bytes::from(vec![tag as u8; 1500]));
                seen.push(tag);
            }
        }
        assert_eq!(seen, tags);
        assert!(frames(&[]).is_empty());
    }
}
