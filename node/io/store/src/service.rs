//! The thread that owns log and state of one validator: group commit, writing behind, reads.

mod worker;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use blocklog::{BlockLog, Durability, Identity, LogOptions, ReadError, directory};
use crossbeam::channel::{Sender, bounded};
use types::block::{Block, CommittedBlock};
use types::limits::PERSIST_QUEUE_MAX;
use types::message::AuthorBlock;
use types::record::LogRecord;
use types::{Hash, Height, Sequence};

use self::worker::Worker;
use crate::changes::StateChanges;
use crate::error::{OpenError, StateError};
use crate::format;
use crate::state::{StateOptions, StateStore};
use crate::stats::{Counters, StoreStats};

/// How a data directory is kept.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// What a durable sequence means.
    pub durability: Durability,
    /// Bytes after which the log begins a new segment.
    pub segment_bytes: u64,
    /// Bytes that stay free on the filesystem; below, records are refused.
    pub reserve_bytes: u64,
    /// State.
    pub state: StateOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            segment_bytes: LogOptions::default().segment_bytes,
            reserve_bytes: 64 << 20,
            state: StateOptions::default(),
        }
    }
}

/// What the store reports, from its own thread and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// Everything up to this sequence is written: it survives the end of the process.
    Written(Sequence),
    /// Everything up to this sequence is durable, as far as the durability asked for goes.
    Durable(Sequence),
    /// The disk is nearly full. The records given now and later are refused until the data directory is opened
    /// again; reading goes on.
    LowSpace {
        /// Bytes free.
        free: u64,
        /// Bytes that stay free.
        reserve: u64,
    },
    /// Log or state failed, in words. Nothing is written any more and the node must stop; reading goes on.
    Failed(String),
}

/// The store takes no more commands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store has stopped: {reason}")]
pub struct StoreStopped {
    /// Why.
    pub reason: String,
}

/// Question for final blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedRead {
    /// First height.
    pub from: Height,
    /// At most this many blocks.
    pub count: u16,
    /// The answer ends before the block that would make it larger than this, bytes; the first is always given.
    pub bytes_max: usize,
    /// With the author blocks that they refer to, in the order of the references.
    pub bodies: bool,
}

/// Answer to [`CommittedRead`]: ends before the first height that is not held in full.
type CommittedAnswer = Result<Vec<(CommittedBlock, Vec<AuthorBlock>)>, ReadError>;
/// Called once on the store's thread; must not block.
type Reply<T> = Box<dyn FnOnce(T) + Send>;

enum Command {
    Persist {
        seq: Sequence,
        records: Vec<LogRecord>,
        sync: bool,
    },
    WriteState(StateChanges),
    ReadCommitted(CommittedRead, Reply<CommittedAnswer>),
    ReadBody(Hash, Reply<Result<Option<AuthorBlock>, ReadError>>),
    ReadBlock(Hash, Reply<Result<Option<Block>, ReadError>>),
    CutBelow(Height),
    Stop,
}

/// A data directory that is open and not yet served by a thread: what restart reads.
#[derive(Debug)]
pub struct Opened {
    directory: PathBuf,
    options: StoreOptions,
    log: BlockLog,
    state: StateStore,
    held: File,
}

impl Opened {
    /// The block log: replay, reads by height and hash, the torn tail that was cut.
    #[must_use]
    pub const fn log(&self) -> &BlockLog {
        &self.log
    }

    /// The state as written behind.
    #[must_use]
    pub const fn state(&self) -> &StateStore {
        &self.state
    }

    /// Begins an empty state with the outputs of genesis: needed before `start` whenever `state().head()` is `None`.
    ///
    /// # Errors
    /// `BegunBefore` (nothing is written) or `Database`.
    pub fn begin_state(&mut self, genesis: &StateChanges) -> Result<(), StateError> {
        self.state.begin(genesis)
    }

    /// Throws the state away, which genesis and the block log give again; `begin_state` comes next.
    ///
    /// # Errors
    /// The system refuses.
    pub fn reset_state(mut self) -> Result<Self, OpenError> {
        self.state = self.state.reset()?;
        Ok(self)
    }

    /// Starts the thread. `on_event` is called from it and must not block: completions have their slot reserved.
    ///
    /// # Errors
    /// `Io` when the system gives no thread.
    pub fn start(self, on_event: Box<dyn Fn(StoreEvent) + Send>) -> Result<Store, OpenError> {
        let (sender, receiver) = bounded(PERSIST_QUEUE_MAX);
        let counters = Arc::new(Counters::default());
        let durability = self.options.durability;
        let directory = self.directory.clone();
        let worker = Worker::new(self, Arc::clone(&counters), on_event);
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || worker.run(&receiver))
            .map_err(blocklog::OpenError::io("start a thread for", &directory))?;
        Ok(Store {
            handle: StoreHandle {
                sender,
                counters,
                durability,
            },
            thread: Some(thread),
        })
    }
}

/// Log and state of one validator behind one thread. Dropping it stops the thread after it wrote what it was given.
#[derive(Debug)]
pub struct Store {
    handle: StoreHandle,
    thread: Option<JoinHandle<Option<String>>>,
}

impl Store {
    /// Opens or creates a data directory: `log/`, `state/`, `FORMAT`.
    ///
    /// # Errors
    /// Another process holds it, it belongs to something else, the log is damaged or gone, or the system refuses.
    pub fn open(path: &Path, identity: Identity, options: StoreOptions) -> Result<Opened, OpenError> {
        directory::create(path)?;
        let held = directory::hold(path)?;
        let in_use_before = format::check(path, &identity)?;
        let state = StateStore::open(&path.join("state"), identity, options.state)?;
        let log = LogOptions {
            segment_bytes: options.segment_bytes,
            durability: options.durability,
            existing: in_use_before || state.head().is_some(),
        };
        let log = BlockLog::open(&path.join("log"), identity, log)?;
        if !in_use_before {
            format::write(path, &identity)?;
        }
        if let Some(torn) = log.torn() {
            tracing::warn!(path = %torn.path.display(), offset = torn.offset, bytes = torn.bytes, "torn tail cut");
        }
        Ok(Opened {
            directory: path.to_path_buf(),
            options,
            log,
            state,
            held,
        })
    }

    /// A handle for other threads.
    #[must_use]
    pub fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// Writes what was given, makes log and state durable and ends the thread.
    ///
    /// # Errors
    /// The failure that was reported while it ran, or that of closing.
    pub fn close(mut self) -> Result<(), StoreStopped> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), StoreStopped> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        // A thread that has ended already takes no command; its outcome is what counts.
        drop(self.handle.sender.send(Command::Stop));
        match thread.join() {
            Ok(None) => Ok(()),
            Ok(Some(reason)) => Err(StoreStopped { reason }),
            Err(_) => Err(StoreStopped {
                reason: "its thread panicked".into(),
            }),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "store closed");
        }
    }
}

/// Sends commands to a store. Every call waits while the queue of `PERSIST_QUEUE_MAX` commands is full.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    sender: Sender<Command>,
    counters: Arc<Counters>,
    durability: Durability,
}

impl StoreHandle {
    /// Appends records under a sequence above all earlier ones. `Written` and `Durable` report the highest sequence
    /// of a group; with `sync` the group waits for the disk, without it `Durable` comes with the next one that does,
    /// or when the store has been idle for a while.
    ///
    /// # Errors
    /// The store has stopped.
    pub fn persist(&self, seq: Sequence, records: Vec<LogRecord>, sync: bool) -> Result<(), StoreStopped> {
        self.send(Command::Persist { seq, records, sync })
    }

    /// Changes of the state by final blocks, whose records were persisted before. Heights rise.
    ///
    /// # Errors
    /// The store has stopped.
    pub fn write_state(&self, changes: StateChanges) -> Result<(), StoreStopped> {
        self.send(Command::WriteState(changes))
    }

    /// Reads final blocks; `reply` is called on the store's thread and must not block.
    ///
    /// # Errors
    /// The store has stopped.
    pub fn read_committed(
        &self,
        read: CommittedRead,
        reply: impl FnOnce(CommittedAnswer) + Send + 'static,
    ) -> Result<(), StoreStopped> {
        self.send(Command::ReadCommitted(read, Box::new(reply)))
    }

    /// Reads the author block whose header has this hash; `reply` as above.
    ///
    /// # Errors
    /// The store has stopped.
    pub fn read_body(
        &self,
        hash: Hash,
        reply: impl FnOnce(Result<Option<AuthorBlock>, ReadError>) + Send + 'static,
    ) -> Result<(), StoreStopped> {
        self.send(Command::ReadBody(hash, Box::new(reply)))
    }

    /// Reads the proposed or fetched block whose header has this hash; `reply` as above.
    ///
    /// # Errors
    /// The store has stopped.
    pub fn read_block(
        &self,
        hash: Hash,
        reply: impl FnOnce(Result<Option<Block>, ReadError>) + Send + 'static,
    ) -> Result<(), StoreStopped> {
        self.send(Command::ReadBlock(hash, Box::new(reply)))
    }

    /// Lets the log be cut below a height. Nothing above the state on disk is removed: ask again later.
    ///
    /// # Errors
    /// The store has stopped.
    pub fn cut_below(&self, height: Height) -> Result<(), StoreStopped> {
        self.send(Command::CutBelow(height))
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        self.counters.snapshot(self.durability, self.sender.len() as u64)
    }

    fn send(&self, command: Command) -> Result<(), StoreStopped> {
        self.sender.send(command).map_err(|_| StoreStopped {
            reason: "its thread has ended".into(),
        })
    }
}

#[cfg(test)]
mod tests;
