//! Fetches a validator's chain over the client protocol, straight into whoever checks it.
//!
//! Use a connection of its own: answers that do not belong to the question are skipped.

use std::time::{Duration, Instant};

use rpc::{AnswerReceiver, ReceiveError, RequestSender, SendError};
use tokio::time::{sleep, timeout};
use types::Height;
use types::client::{Answer, BlockItem, Request, StateInfo};
use types::limits::FETCH_BLOCKS_MAX;

use super::Progress;
use super::limits::HEIGHT_ALLOWANCE;

/// Pause before asking again for a height that is not there yet.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a chain could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The question could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The answer could not be read.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The node ended the connection.
    #[error("the node ended the connection at height {0}")]
    Ended(Height),
    /// No answer, or no new height, in time.
    #[error("the node shows {shown} heights and nothing more for {seconds} s, wanted are {wanted}")]
    Stuck {
        /// Height reached.
        shown: Height,
        /// Height wanted.
        wanted: Height,
        /// Seconds waited.
        seconds: u64,
    },
}

/// What is left of a validator's time.
struct Deadline {
    /// Longest wait for a new height.
    patience: Duration,
    /// Last new height.
    progress: Instant,
    start: Instant,
    /// Height before the first one.
    after: Height,
    shown: Height,
    wanted: Height,
}

impl Deadline {
    fn new(patience: Duration, after: Height, wanted: Height) -> Self {
        let now = Instant::now();
        Self {
            patience,
            progress: now,
            start: now,
            after,
            shown: after,
            wanted,
        }
    }

    fn show(&mut self, height: Height) {
        if height > self.shown {
            self.shown = height;
            self.progress = Instant::now();
        }
    }

    /// The next answer, whatever it is. A node that answers other things, or each height at the last moment, gains
    /// nothing by it.
    async fn recv(&self, answers: &mut AnswerReceiver) -> Result<Answer, FetchError> {
        let heights = u32::try_from(self.shown.0 - self.after.0).unwrap_or(u32::MAX);
        let all = self.patience + HEIGHT_ALLOWANCE.saturating_mul(heights);
        let left = self
            .patience
            .saturating_sub(self.progress.elapsed())
            .min(all.saturating_sub(self.start.elapsed()));
        match timeout(left, answers.recv()).await {
            Ok(received) => match received? {
                Some(received) => Ok(received.answer),
                None => Err(FetchError::Ended(self.shown)),
            },
            Err(_) => Err(self.stuck()),
        }
    }

    const fn stuck(&self) -> FetchError {
        FetchError::Stuck {
            shown: self.shown,
            wanted: self.wanted,
            seconds: self.patience.as_secs(),
        }
    }
}

/// Fetches all heights after `after` to at least `until`, and gives each item to `sink` in order, as long as it wants them.
/// Returns the last height.
///
/// Time: `patience` for each new height, and in the mean [`HEIGHT_ALLOWANCE`].
/// Memory: one answer of the node, at most 1 MiB each, besides what `sink` keeps.
///
/// # Errors
/// Names what failed; items given to `sink` before stay valid.
pub async fn fetch_chain(
    sender: &RequestSender,
    answers: &mut AnswerReceiver,
    (after, until): (Height, Height),
    patience: Duration,
    sink: &mut (dyn FnMut(BlockItem) -> Progress + Send),
) -> Result<Height, FetchError> {
    let mut deadline = Deadline::new(patience, after, until);
    while deadline.shown < until {
        let before = deadline.shown;
        let request = Request::Blocks {
            from: before.next(),
            count: FETCH_BLOCKS_MAX,
        };
        sender.send(request).await?;
        loop {
            let Answer::Blocks { items, last } = deadline.recv(answers).await? else {
                continue;
            };
            for item in items {
                if let BlockItem::Block(block) = &item {
                    deadline.show(block.block.header.height);
                }
                if sink(item) == Progress::Broken {
                    return Ok(deadline.shown);
                }
            }
            if last {
                break;
            }
        }
        if deadline.shown == before {
            if deadline.progress.elapsed() > patience {
                return Err(deadline.stuck());
            }
            sleep(PAUSE).await;
        }
    }
    Ok(deadline.shown)
}

/// Asks for the state at the node's highest final height.
///
/// # Errors
/// Names what failed.
pub async fn fetch_state(
    sender: &RequestSender,
    answers: &mut AnswerReceiver,
    patience: Duration,
) -> Result<StateInfo, FetchError> {
    sender.send(Request::State).await?;
    let deadline = Deadline::new(patience, Height(0), Height(0));
    loop {
        if let Answer::State(state) = deadline.recv(answers).await? {
            return Ok(state);
        }
    }
}
