//! The UTXO state, written behind into RocksDB: always the exact state after some final height (`ios` 20.6).
//!
//! There is no write-ahead log: the block log is one. All keys live in one column family and every height's changes
//! travel in one batch together with the height itself, so what a crash leaves is a prefix of the batches.

mod encoding;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use blocklog::{FORMAT_VERSION, Identity, directory};
use rocksdb::properties::NUM_IMMUTABLE_MEM_TABLE;
use rocksdb::{
    DB, Direction, FlushOptions, InfoLogger, IteratorMode, LogLevel, MemtableFactory, Options, ReadOptions,
    WriteBatch, WriteOptions,
};
use types::codec::Encode;
use types::{Counters, Hash, Height, TxId};

use self::encoding::{
    claim_key, decode_claim, decode_head, decode_identity, decode_output, encode_head, key_of, value_of,
};
use crate::changes::{Output, StateChanges};
use crate::error::{OpenError, StateError};
use crate::limits::STATE_BUFFER_BYTES;

/// Key of the format version, genesis and validator.
const IDENTITY_KEY: [u8; 1] = [0];
/// Key of the height, digest and counters.
const HEAD_KEY: [u8; 1] = [1];
/// First byte of the keys of outputs.
const OUTPUT_PREFIX: u8 = 2;
/// First byte of the keys of settled claims, and the one after it.
const CLAIM_PREFIX: u8 = 3;
const END_PREFIX: u8 = 4;

/// How the state is kept.
#[derive(Clone, Copy, Debug)]
pub struct StateOptions {
    /// Bytes of one write buffer; two may be held. A full one is written to disk in the background.
    pub write_buffer_bytes: usize,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            write_buffer_bytes: STATE_BUFFER_BYTES,
        }
    }
}

/// Where the state stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// Final height.
    pub height: Height,
    /// Effects digest at that height.
    pub digest: Hash,
    /// Counters at that height.
    pub counters: Counters,
}

/// The whole state after a final height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Final height.
    pub height: Height,
    /// Effects digest at that height.
    pub digest: Hash,
    /// Counters at that height.
    pub counters: Counters,
    /// Transactions whose claims were settled up to that height, ascending.
    pub claimed: Vec<TxId>,
    /// Unspent outputs, ascending by reference.
    pub outputs: Vec<Output>,
}

/// State of one validator in one directory.
#[derive(Debug)]
pub struct StateStore {
    db: DB,
    path: PathBuf,
    identity: Identity,
    options: StateOptions,
    head: Option<SnapshotHead>,
    flushed: Option<Height>,
    /// Height whose flush runs in the background.
    flushing: Option<Height>,
    /// Lock on the directory, for the life of the store.
    _held: File,
}

impl StateStore {
    /// Opens or creates the state of a directory.
    ///
    /// # Errors
    /// `InUse`, `Identity`, `Io`, `State`.
    pub fn open(path: &Path, identity: Identity, options: StateOptions) -> Result<Self, OpenError> {
        directory::create(path)?;
        let held = directory::hold(path)?;
        let old = discarded(path);
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(blocklog::OpenError::io("remove", &old))?;
        }
        let db = DB::open(&db_options(options), path).map_err(database("open", path))?;
        let mut store = Self::over(db, path.to_path_buf(), identity, options, held);
        if !store.is_owned()? {
            store.claim(&identity)?;
        }
        store.read_head()?;
        Ok(store)
    }

    const fn over(db: DB, path: PathBuf, identity: Identity, options: StateOptions, held: File) -> Self {
        Self {
            db,
            path,
            identity,
            options,
            head: None,
            flushed: None,
            flushing: None,
            _held: held,
        }
    }

    /// Opens a state for reading alone and changes nothing; `None` when the directory holds none.
    ///
    /// # Errors
    /// `InUse`, `Identity`, `Io`, `State`.
    pub fn open_read_only(path: &Path, identity: Identity) -> Result<Option<Self>, OpenError> {
        if !Self::is_in(path) {
            return Ok(None);
        }
        let held = directory::hold(path)?;
        let options = StateOptions::default();
        let mut db = db_options(options);
        db.create_if_missing(false);
        // RocksDB would begin a log of its own doings in the directory.
        db.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, |_, text| {
            tracing::warn!(text, "RocksDB");
        }));
        let db = DB::open_for_read_only(&db, path, false).map_err(database("open", path))?;
        let mut store = Self::over(db, path.to_path_buf(), identity, options, held);
        if !store.is_owned()? {
            return Ok(None);
        }
        store.read_head()?;
        Ok(Some(store))
    }

    /// True when it names its owner, who must be ours; false when it names none.
    fn is_owned(&self) -> Result<bool, OpenError> {
        let read = self.db.get(IDENTITY_KEY);
        let Some(bytes) = read.map_err(database("read", &self.path))? else {
            return Ok(false);
        };
        let (version, found) =
            decode_identity(&bytes).map_err(|_| self.damaged("the record of its owner has another form"))?;
        self.identity.check(&self.path, version, found)?;
        Ok(true)
    }

    fn read_head(&mut self) -> Result<(), StateError> {
        if let Some(bytes) = self.db.get(HEAD_KEY).map_err(database("read", &self.path))? {
            let head =
                decode_head(&bytes).map_err(|_| self.damaged("the record of its height has another form"))?;
            self.head = Some(head);
            self.flushed = Some(head.height);
        }
        Ok(())
    }

    /// True when a directory holds a state, whole or not.
    pub(crate) fn is_in(path: &Path) -> bool {
        // RocksDB names its newest file in this one, and begins anew where it is missing.
        path.join("CURRENT").exists()
    }

    /// Puts a state out of the way that cannot be opened; opening creates an empty one then.
    ///
    /// # Errors
    /// `InUse`, `Io`.
    pub(crate) fn discard(path: &Path) -> Result<(), OpenError> {
        let _held = directory::hold(path)?;
        let old = discarded(path);
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(blocklog::OpenError::io("remove", &old))?;
        }
        // Under another name first: a crash leaves the old state, or none, never half of one.
        std::fs::rename(path, &old).map_err(blocklog::OpenError::io("rename", path))?;
        Ok(())
    }

    /// Writes whose state this is; only into an empty database.
    fn claim(&self, identity: &Identity) -> Result<(), StateError> {
        if self.db.iterator(IteratorMode::Start).next().is_some() {
            return Err(self.damaged("it holds outputs and no owner"));
        }
        let mut value = FORMAT_VERSION.to_bytes();
        identity.genesis.encode(&mut value);
        value.extend_from_slice(&identity.validator);
        self.db
            .put_opt(IDENTITY_KEY, value, &without_wal())
            .map_err(database("write", &self.path))?;
        self.db.flush().map_err(database("flush", &self.path))
    }

    /// Throws the state away and opens an empty one: it is derived, genesis and the block log give it again.
    ///
    /// # Errors
    /// As `open`, and `Io` when the old one cannot be removed.
    pub fn reset(self) -> Result<Self, OpenError> {
        let Self {
            db,
            path,
            identity,
            options,
            _held: held,
            ..
        } = self;
        drop(db);
        drop(held);
        Self::discard(&path)?;
        Self::open(&path, identity, options)
    }

    /// Where the state stands; `None` while it is empty.
    #[must_use]
    pub const fn head(&self) -> Option<SnapshotHead> {
        self.head
    }

    /// Height up to which the state survives the end of the process, as far as this process knows.
    #[must_use]
    pub const fn flushed(&self) -> Option<Height> {
        self.flushed
    }

    /// Begins an empty state with the outputs of genesis (height 0) and makes it durable.
    ///
    /// # Errors
    /// `BegunBefore` (nothing is written) or `Database`.
    pub fn begin(&mut self, genesis: &StateChanges) -> Result<(), StateError> {
        if self.head.is_some() || genesis.height != Height(0) {
            return Err(StateError::BegunBefore {
                path: self.path.clone(),
                given: genesis.height,
            });
        }
        self.put(genesis)?;
        self.flush()
    }

    /// Writes changes as one batch. The state has begun, and they lead above the height held.
    ///
    /// # Errors
    /// `NotBegun`, `HeightOrder` (nothing is written) or `Database`.
    pub fn write(&mut self, changes: &StateChanges) -> Result<(), StateError> {
        self.check_follows(changes, None)?;
        self.put(changes)
    }

    /// Refuses changes that do not follow the height held, or `waiting` where other changes wait before them.
    pub(crate) fn check_follows(
        &self,
        changes: &StateChanges,
        waiting: Option<Height>,
    ) -> Result<(), StateError> {
        let given = changes.height;
        let Some(head) = self.head else {
            return Err(StateError::NotBegun {
                path: self.path.clone(),
                given,
            });
        };
        let held = waiting.unwrap_or(head.height);
        if given <= held {
            Err(StateError::HeightOrder { given, held })
        } else {
            Ok(())
        }
    }

    fn put(&mut self, changes: &StateChanges) -> Result<(), StateError> {
        let mut batch = WriteBatch::with_capacity_bytes(
            90 * changes.created.len() + 40 * (changes.spent.len() + changes.claimed.len()) + 120,
        );
        for output in &changes.created {
            batch.put(key_of(&output.outpoint), value_of(output));
        }
        for outpoint in &changes.spent {
            // An output is created once and spent once, so both marks vanish where they meet.
            batch.single_delete(key_of(outpoint));
        }
        for txid in &changes.claimed {
            batch.put(claim_key(txid), []);
        }
        let head = changes.head();
        batch.put(HEAD_KEY, encode_head(&head));
        self.db
            .write_opt(batch, &without_wal())
            .map_err(database("write", &self.path))?;
        self.head = Some(head);
        Ok(())
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// `Database`.
    pub fn flush(&mut self) -> Result<(), StateError> {
        let Some(head) = self.head else { return Ok(()) };
        if self.flushed != Some(head.height) {
            self.db.flush().map_err(database("flush", &self.path))?;
            self.flushed = Some(head.height);
            self.flushing = None;
        }
        Ok(())
    }

    /// Begins to make everything written durable, without waiting; `flushed` rises once it is.
    ///
    /// # Errors
    /// `Database`.
    pub fn begin_flush(&mut self) -> Result<(), StateError> {
        self.settle()?;
        let height = self.head.map(|head| head.height);
        if self.flushing.is_none() && self.flushed != height {
            let mut options = FlushOptions::default();
            options.set_wait(false);
            self.db
                .flush_opt(&options)
                .map_err(database("flush", &self.path))?;
            self.flushing = height;
        }
        Ok(())
    }

    /// Notes that a flush in the background has ended.
    fn settle(&mut self) -> Result<(), StateError> {
        if self.flushing.is_some() {
            let waiting = self
                .db
                .property_int_value(NUM_IMMUTABLE_MEM_TABLE)
                .map_err(database("read", &self.path))?;
            if waiting == Some(0) {
                self.flushed = self.flushing.take();
            }
        }
        Ok(())
    }

    /// The whole state; `None` while it is empty. About 90 bytes of memory for each output.
    ///
    /// # Errors
    /// `Database`, `Damaged`.
    pub fn load(&self) -> Result<Option<Snapshot>, StateError> {
        let Some(SnapshotHead {
            height,
            digest,
            counters,
        }) = self.head
        else {
            return Ok(None);
        };
        let mut outputs = Vec::new();
        self.for_each(|output| outputs.push(output))?;
        let mut claimed = Vec::new();
        self.for_each_entry([CLAIM_PREFIX, END_PREFIX], |key, value| {
            let txid =
                decode_claim(key, value).map_err(|_| self.damaged("a settled claim has another form"))?;
            claimed.push(txid);
            Ok(())
        })?;
        Ok(Some(Snapshot {
            height,
            digest,
            counters,
            claimed,
            outputs,
        }))
    }

    /// Hands out every unspent output, ascending by reference.
    ///
    /// # Errors
    /// `Database`, `Damaged`.
    pub fn for_each(&self, mut take: impl FnMut(Output)) -> Result<(), StateError> {
        self.for_each_entry([OUTPUT_PREFIX, CLAIM_PREFIX], |key, value| {
            take(decode_output(key, value).map_err(|_| self.damaged("an output has another form"))?);
            Ok(())
        })
    }

    /// Hands out the entries whose keys begin with the first byte or one between it and the second, ascending.
    fn for_each_entry(
        &self,
        [first, end]: [u8; 2],
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_upper_bound([end]);
        let start = [first];
        for entry in self
            .db
            .iterator_opt(IteratorMode::From(&start, Direction::Forward), options)
        {
            let (key, value) = entry.map_err(database("read", &self.path))?;
            take(&key, &value)?;
        }
        Ok(())
    }

    fn damaged(&self, what: &'static str) -> StateError {
        StateError::Damaged {
            path: self.path.clone(),
            what,
        }
    }
}

/// Where a state goes that is thrown away.
fn discarded(path: &Path) -> PathBuf {
    path.with_extension("old")
}

/// Appends are all that the running node does, so the write buffer is a plain vector: 0.5 us for each key instead of
/// 2 (nothing reads it before it is sorted and written).
fn db_options(options: StateOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.set_memtable_factory(MemtableFactory::Vector);
    db.set_allow_concurrent_memtable_write(false);
    db.set_write_buffer_size(options.write_buffer_bytes);
    db.set_max_write_buffer_number(2);
    db.set_max_background_jobs(2);
    db.set_target_file_size_base(32 << 20);
    db.set_max_bytes_for_level_base(256 << 20);
    db.set_bytes_per_sync(1 << 20);
    db.set_max_open_files(256);
    db.set_keep_log_file_num(2);
    db.set_log_level(LogLevel::Warn);
    db.set_stats_dump_period_sec(0);
    db
}

fn without_wal() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

fn database(action: &'static str, path: &Path) -> impl Fn(rocksdb::Error) -> StateError {
    let path = path.to_path_buf();
    move |source| StateError::Database {
        action,
        path: path.clone(),
        source,
    }
}
