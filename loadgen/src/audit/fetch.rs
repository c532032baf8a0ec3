//! Fetches a validator's chain over the client protocol, straight into whoever checks it.
//!
//! Use a connection of its own: answers that do not belong to the question are skipped.

use std::time::{Duration, Instant};

use rpc::{AnswerReceiver, ReceiveError, RequestSender, SendError};
use tokio::time::{sleep, timeout};
use types::Height;
use types::client::{Answer, BlockItem, Request, StateInfo};
use types::limits::FETCH_BLOCKS_MAX;

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

/// Fetches all heights from 1 to at least `until`, and gives each item to `sink` in order. Returns the last height.
///
/// Memory: one answer of the node, at most 1 MiB each, besides what `sink` keeps.
///
/// # Errors
/// Names what failed; items given to `sink` before stay valid.
pub async fn fetch_chain(
    sender: &RequestSender,
    answers: &mut AnswerReceiver,
    until: Height,
    patience: Duration,
    sink: &mut (dyn FnMut(BlockItem) + Send),
) -> Result<Height, FetchError> {
    let mut shown = Height(0);
    let mut progress = Instant::now();
    while shown < until {
        let request = Request::Blocks {
            from: shown.next(),
            count: FETCH_BLOCKS_MAX,
        };
        sender.send(request).await?;
        let before = shown;
        loop {
            let stuck = FetchError::Stuck {
                shown,
                wanted: until,
                seconds: patience.as_secs(),
            };
            let received = timeout(patience, answers.recv()).await.map_err(|_| stuck)?;
            let Some(received) = received? else {
                return Err(FetchError::Ended(shown));
            };
            let Answer::Blocks { items, last } = received.answer else {
                continue;
            };
            for item in items {
                if let BlockItem::Block(block) = &item {
                    shown = block.block.header.height;
                }
                sink(item);
            }
            if last {
                break;
            }
        }
        if shown > before {
            progress = Instant::now();
        } else if progress.elapsed() > patience {
            return Err(FetchError::Stuck {
                shown,
                wanted: until,
                seconds: patience.as_secs(),
            });
        } else {
            sleep(PAUSE).await;
        }
    }
    Ok(shown)
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
    loop {
        let stuck = FetchError::Stuck {
            shown: Height(0),
            wanted: Height(0),
            seconds: patience.as_secs(),
        };
        let received = timeout(patience, answers.recv()).await.map_err(|_| stuck)?;
        match received? {
            None => return Err(FetchError::Ended(Height(0))),
            Some(received) => {
                if let Answer::State(state) = received.answer {
                    return Ok(state);
                }
            }
        }
    }
}
