//! What a data directory holds, for people.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crypto::placement;
use files::GenesisFileError;
use files::genesis::{read_genesis, role_name};
use store::{FORMAT_VERSION, Identity, OpenError, ReadError, StateError, Store};
use types::block::MODE_TWO_LEAGUES;
use types::block_record::Record;
use types::certificate::Subject;
use types::genesis::Genesis;
use types::record::LogRecord;
use types::{Hash, Height, MemberIndex, Sequence};

/// Changes of the mode that are shown, the last ones.
const MODES_SHOWN: usize = 16;

/// Flags of `inspect`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InspectOptions {
    /// Data directory of a stopped validator
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// genesis.toml of its network: says role, group and bond too
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
    /// How many of the last records to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) records: u16,
}

/// Why a data directory cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// No `FORMAT` in it.
    #[error("{path} cannot be read: {source}; accepted is the data directory of a validator that has run")]
    Missing {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A `FORMAT` of something else.
    #[error(
        "{path} names no genesis and validator; accepted is the data directory of a validator that has run"
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The store refuses it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The genesis cannot be read.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
    /// The genesis of another network, or without this validator.
    #[error("--genesis is of network {found}, accepted is {expected}, whose validator {validator} this is")]
    OtherNetwork {
        /// Hash of what was given.
        found: Hash,
        /// Genesis of the data directory.
        expected: Hash,
        /// Key of the validator.
        validator: Hash,
    },
}

/// Describes a data directory: holds it meanwhile, checks every record and changes nothing.
///
/// # Errors
/// `InspectError`.
pub(crate) fn inspect(options: &InspectOptions) -> Result<String, InspectError> {
    let dir = &options.data_dir;
    let identity = read_identity(dir)?;
    let opened = Store::inspect(dir, identity)?;
    let backend = crypto::verify::backend();
    let mut text = Report::default();
    text.line("data directory", dir.display());
    text.line("format", FORMAT_VERSION);
    let free = store::free_bytes(dir).map_or_else(|_| "unknown".into(), size);
    text.line(
        "file system",
        format_args!("{}, {free} free", store::filesystem_name(dir)),
    );
    text.line("genesis", identity.genesis);
    text.line("validator", Hash(identity.validator));
    if let Some(path) = &options.genesis {
        describe_place(&read_genesis(path)?, identity, &mut text)?;
    }
    let backend_note = if backend.slower {
        format!(" (slower than {} here)", backend.best_here)
    } else {
        String::new()
    };
    text.line("signatures", format_args!("{}{backend_note}", backend.name));
    describe_log(opened.log(), usize::from(options.records), &mut text)?;
    match opened.state().and_then(|state| Some((state, state.head()?))) {
        None => text.line("state", "empty: restart replays the log over the genesis"),
        Some((state, head)) => {
            let (mut outputs, mut value) = (0_u64, 0_u128);
            state.for_each(|output| {
                outputs += 1;
                value += u128::from(output.amount.0);
            })?;
            text.line("state height", head.height);
            text.line("state digest", head.digest);
            text.line("state outputs", format_args!("{outputs}, sum {value}"));
            let counters = head.counters;
            text.line(
                "state counters",
                format_args!(
                    "fees {}, bonds {}, pool {}, rewards {}, unpaid {}",
                    counters.fees, counters.bonds, counters.pool, counters.rewards, counters.unpaid
                ),
            );
        }
    }
    Ok(text.0)
}

/// Lines of a name and a value.
#[derive(Default)]
struct Report(String);

impl Report {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<16} {value}");
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// Reads from `FORMAT` whose directory this is; version and form are for the store to check.
fn read_identity(dir: &Path) -> Result<Identity, InspectError> {
    let path = dir.join("FORMAT");
    let text = std::fs::read_to_string(&path).map_err(|source| InspectError::Missing {
        path: path.clone(),
        source,
    })?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(value.trim(), &mut bytes).ok()?;
        Some(bytes)
    };
    match (field("genesis "), field("validator ")) {
        (Some(genesis), Some(validator)) => Ok(Identity {
            genesis: Hash(genesis),
            validator,
        }),
        _ => Err(InspectError::Format { path }),
    }
}

/// Shard, role and bond of the validator by its genesis.
fn describe_place(genesis: &Genesis, identity: Identity, text: &mut Report) -> Result<(), InspectError> {
    let epoch = placement::epoch_config(genesis);
    let other = InspectError::OtherNetwork {
        found: epoch.genesis_hash,
        expected: identity.genesis,
        validator: Hash(identity.validator),
    };
    let place = epoch.committees.iter().find_map(|committee| {
        let keys = committee.members.iter().map(|(_, key)| key);
        let member = keys.zip(0..).find(|(key, _)| **key == identity.validator)?.1;
        Some((committee, MemberIndex(member)))
    });
    let place = place.filter(|_| epoch.genesis_hash == identity.genesis);
    let (committee, member) = place.ok_or(other)?;
    let role = role_name(committee, epoch.policy.seats(), member);
    text.line(
        "role",
        format_args!("{role}, member {member} of shard {}", committee.shard),
    );
    let bond = committee.bonds.get(usize::from(member.0));
    text.line("bond", bond.copied().unwrap_or_default());
    Ok(())
}

/// Modes of the final blocks of a log, each with its first height.
#[derive(Default)]
struct Modes(Vec<(Height, u8)>);

impl Modes {
    fn take(&mut self, height: Height, mode: u8) {
        if self.0.last().is_none_or(|(_, last)| *last != mode) {
            self.0.push((height, mode));
        }
    }

    /// The last ones in words; `None` before the first.
    fn words(&self) -> Option<String> {
        let name = |mode: u8| match mode {
            MODE_TWO_LEAGUES => "two leagues",
            _ => "one league",
        };
        let earlier = self.0.len().saturating_sub(MODES_SHOWN);
        let mut words: Vec<String> = self
            .0
            .iter()
            .skip(earlier)
            .map(|(height, mode)| format!("{} from height {height}", name(*mode)))
            .collect();
        if earlier > 0 {
            words.insert(0, format!("{earlier} earlier"));
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

fn describe_log(log: &store::BlockLog, last: usize, text: &mut Report) -> Result<(), InspectError> {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut records: VecDeque<(Sequence, LogRecord)> = VecDeque::new();
    let mut modes = Modes::default();
    for record in log.replay() {
        let (seq, record) = record?;
        if let LogRecord::Committed(block) = &record {
            let header = &block.block.header;
            modes.take(header.height, header.mode);
        }
        *kinds.entry(kind_of(&record)).or_default() += 1;
        records.push_back((seq, record));
        if records.len() > last {
            records.pop_front();
        }
    }
    let highest = log
        .last_sequence()
        .map_or("no record".into(), |seq| format!("last sequence {seq}"));
    text.line("log", format_args!("{}, {highest}", size(log.bytes())));
    match log.committed_range() {
        Some((low, high)) => text.line("log heights", format_args!("{low} to {high} are final")),
        None => text.line("log heights", "none is final"),
    }
    if let Some(words) = modes.words() {
        text.line("log modes", words);
    }
    if let Some(torn) = log.torn() {
        let (bytes, path, offset) = (torn.bytes, torn.path.display(), torn.offset);
        text.line(
            "torn tail",
            format_args!(
                "{bytes} bytes from byte {offset} of {path} on, never durable; the next start cuts them"
            ),
        );
    }
    for (kind, count) in kinds {
        text.line("log records", format_args!("{count} {kind}"));
    }
    for (seq, record) in &records {
        text.line("last records", format_args!("{seq}: {}", describe(record)));
    }
    Ok(())
}

const fn kind_of(record: &LogRecord) -> &'static str {
    match record {
        LogRecord::AuthorBlock(_) => "author block",
        LogRecord::Proposal(_) => "proposal",
        LogRecord::Vote(_) | LogRecord::Partial(_) => "vote",
        LogRecord::Tip(_) => "tip",
        LogRecord::Committed(_) => "final block",
        LogRecord::NewView(_) => "new view",
        LogRecord::Promise(_) => "promise",
        LogRecord::Block(_) => "fetched block",
        LogRecord::Standing(_) => "standing",
    }
}

fn describe_vote(kind: &str, subject: &Subject) -> String {
    format!(
        "{kind} to {} height {} in view {}, {}",
        subject.phase.tag(),
        subject.height,
        subject.view,
        subject.hash
    )
}

fn describe(record: &LogRecord) -> String {
    let kind = kind_of(record);
    match record {
        LogRecord::AuthorBlock(block) => {
            let header = &block.header.header;
            format!(
                "{kind} of validator {}, group {}, run {} number {}, {} transactions, {} bytes",
                header.author,
                header.group,
                header.seq.run(),
                header.seq.number(),
                header.tx_count,
                header.body_bytes
            )
        }
        LogRecord::Proposal(propose) => {
            let header = &propose.block.header;
            format!(
                "{kind} in view {} of height {}, {} transactions",
                propose.view, header.height, header.tx_count
            )
        }
        LogRecord::Vote(vote) => describe_vote(kind, &vote.subject),
        LogRecord::Partial(partial) => describe_vote(kind, &partial.subject),
        LogRecord::Tip(_) => kind.into(),
        LogRecord::Committed(block) => {
            let header = &block.block.header;
            let records = block
                .block
                .records
                .iter()
                .map(|record| format!(", {}", decided(record)));
            format!(
                "{kind} {}, mode {}, {} transactions, digest {}{}",
                header.height,
                header.mode,
                header.tx_count,
                header.state_digest,
                records.collect::<String>()
            )
        }
        LogRecord::NewView(opening) => format!("{kind} {}", opening.view),
        LogRecord::Standing(types::record::Standing::Voter) => "entry as a voter".into(),
        LogRecord::Standing(types::record::Standing::Barred) => "barred from signing in this epoch".into(),
        LogRecord::Promise(view) => format!("{kind} to vote in no view below {view}"),
        LogRecord::Block(block) => {
            format!(
                "{kind} {}, {} transactions",
                block.header.height, block.header.tx_count
            )
        }
    }
}

/// What the voters decided besides transactions.
fn decided(record: &Record) -> String {
    match record {
        Record::Evidence(evidence) => {
            let author = evidence.author();
            let of = author.map_or("a voter".to_owned(), |author| format!("validator {author}"));
            format!("evidence of {} against {of}", evidence.kind().name())
        }
        Record::Reset(reset) => format!("end of run {} of group {}", reset.run, reset.group),
        Record::StandIn(stand_in) => format!("member {} for group {}", stand_in.member, stand_in.group),
        Record::ModeSwitch(MODE_TWO_LEAGUES) => "back to two leagues".into(),
        Record::ModeSwitch(_) => "one league".into(),
        Record::AuthorReady(ready) => format!("member {} is ready to author", ready.member),
        Record::SlowIntent(tx) => format!("slow transaction of {} bytes", tx.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use clap::Parser;
    use crypto::placement;
    use files::genesis::read_genesis;
    use store::{Durability, Identity, Store, StoreOptions};
    use types::block_record::{Record, StandIn};
    use types::codec::Decode;
    use types::evidence::Evidence;
    use types::record::LogRecord;
    use types::{Hash, Height, MemberIndex, Sequence, View};

    use super::{InspectError, InspectOptions, Modes, inspect};
    use crate::cli::{Cli, Command};
    use crate::genesis_file::create;

    const IDENTITY: Identity = Identity {
        genesis: Hash([0xa1; 32]),
        validator: [0x0b; 32],
    };

    #[test]
    fn sizes_have_a_unit_that_leaves_two_digits() {
        for (bytes, words) in [
            (0, "0 bytes"),
            (9_999, "9999 bytes"),
            (10_000, "10 kB"),
            (9_999_999, "9999 kB"),
            (10_000_000, "10 MB"),
            (80_454_800_000, "80 GB"),
        ] {
            assert_eq!(super::size(bytes), words);
        }
    }

    fn options(dir: &std::path::Path) -> InspectOptions {
        InspectOptions {
            data_dir: dir.into(),
            genesis: None,
            records: 2,
        }
    }

    #[test]
    fn a_used_directory_is_described() {
        let folder = tempfile::tempdir().expect("folder");
        let store_options = StoreOptions {
            durability: Durability::Async,
            ..StoreOptions::default()
        };
        let opened = Store::open(folder.path(), IDENTITY, store_options).expect("opened");
        let store = opened.start(Box::new(|_| ())).expect("started");
        for number in 1..=3_u32 {
            let records = vec![LogRecord::Promise(View(10 * number))];
            store
                .handle()
                .persist(Sequence(number.into()), records, true)
                .expect("persisted");
        }
        store.close().expect("closed");
        let text = inspect(&options(folder.path())).expect("inspected");
        for words in [
            "a1a1a1",
            "0b0b0b",
            "last sequence 3",
            "3 promise",
            "2: promise to vote in no view below 20",
            "below 30",
            "none is final",
            "state            empty",
            "curve25519-dalek",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(
            !text.contains("below 10"),
            "only the last two records are shown: {text}"
        );
    }

    /// Every file below a folder.
    fn files(folder: &std::path::Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                found.extend(files(&path));
                found.insert(path, Vec::new());
            } else {
                let bytes = fs::read(&path).expect("readable");
                found.insert(path, bytes);
            }
        }
        found
    }

    #[test]
    fn not_one_byte_changes_whatever_a_crash_has_left() {
        let folder = tempfile::tempdir().expect("folder");
        let mut opened = Store::open(folder.path(), IDENTITY, StoreOptions::default()).expect("opened");
        let mut genesis = store::StateChanges::default();
        genesis.created.push(store::Output {
            outpoint: types::OutPoint {
                txid: types::TxId([4; 32]),
                index: 0,
            },
            owner: types::Owner([5; 32]),
            amount: types::Amount(77),
            created: Height(0),
        });
        genesis.counters.bonds = 9;
        opened.begin_state(&genesis).expect("begun");
        let store = opened.start(Box::new(|_| ())).expect("started");
        let records = vec![LogRecord::Promise(View(3)), LogRecord::Promise(View(4))];
        store
            .handle()
            .persist(Sequence(1), records, true)
            .expect("persisted");
        store.close().expect("closed");
        let inspected = |expected: &[&str]| {
            let before = files(folder.path());
            let text = inspect(&options(folder.path())).expect("inspected");
            for words in expected {
                assert!(text.contains(words), "{words} in {text}");
            }
            assert!(files(folder.path()) == before, "something was changed: {text}");
        };
        inspected(&["1, sum 77", "fees 0, bonds 9, pool 0", "2 promise"]);

        // A torn tail, which the next start cuts.
        let log = folder.path().join("log").join(format!("{:020}.log", 0));
        let mut bytes = fs::read(&log).expect("readable");
        bytes.extend_from_slice(&[7; 50]);
        fs::write(&log, &bytes).expect("written");
        inspected(&["50 bytes from byte", "2 promise", "sum 77"]);

        // A next segment that was only begun, and no state.
        fs::write(&log, &bytes[..bytes.len() - 50]).expect("written");
        let next = format!("{:020}.log", bytes.len() - 50);
        fs::write(log.with_file_name(next), b"shard").expect("written");
        fs::remove_dir_all(folder.path().join("state")).expect("removed");
        inspected(&["2 promise", "state            empty"]);

        // Damage is refused, and stays for whoever looks into it.
        fs::create_dir(folder.path().join("state")).expect("created");
        fs::write(folder.path().join("state/CURRENT"), "MANIFEST-000009\n").expect("written");
        let before = files(folder.path());
        let error = inspect(&options(folder.path())).expect_err("damaged");
        assert!(error.to_string().contains("cannot open the state"), "{error}");
        assert!(files(folder.path()) == before, "something was changed");
    }

    #[test]
    fn what_the_voters_decided_is_told_in_words() {
        let evidence = Evidence::from_bytes(&[&[0, 1][..], &[0; 183 + 4 + 9]].concat()).expect("evidence");
        for (record, words) in [
            (Record::Evidence(evidence), "bad_signature against validator 0"),
            (
                Record::StandIn(StandIn {
                    group: 1,
                    member: MemberIndex(5),
                }),
                "member 5 for group 1",
            ),
            (Record::ModeSwitch(0), "back to two leagues"),
            (Record::ModeSwitch(1), "one league"),
            (Record::SlowIntent(vec![0; 7]), "7 bytes"),
        ] {
            let told = super::decided(&record);
            assert!(told.contains(words), "{words} in {told}");
        }
    }

    #[test]
    fn modes_are_told_with_their_first_heights() {
        let mut modes = Modes::default();
        assert_eq!(modes.words(), None);
        for (height, mode) in [(5, 0), (6, 0), (90, 1), (91, 1), (170, 0)] {
            modes.take(Height(height), mode);
        }
        let words = "two leagues from height 5, one league from height 90, two leagues from height 170";
        assert_eq!(modes.words().as_deref(), Some(words));
        (200..220).for_each(|height| modes.take(Height(height), u8::from(height % 2 == 0)));
        let words = modes.words().expect("modes");
        assert!(
            words.starts_with("7 earlier, ") && words.ends_with("two leagues from height 219"),
            "{words}"
        );
    }

    #[test]
    fn the_genesis_tells_role_and_bond_and_another_one_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let network = |name: &str, leagues: &str| {
            let out = folder.path().join(name);
            let out = out.display();
            let line = format!("shardbench-node genesis --out {out} --accounts 1 --name {name} {leagues}");
            let cli = Cli::try_parse_from(line.split_whitespace()).expect("flags");
            let Command::Genesis(options) = cli.command else {
                panic!("another command")
            };
            create(&options).expect("created");
            folder.path().join(name).join("genesis.toml")
        };
        let path = network("pob", "--bond 900000000000 --reproducible");
        let genesis = read_genesis(&path).expect("genesis");
        let epoch = placement::epoch_config(&genesis);
        let committee = &epoch.committees[0];
        for (member, words) in [
            (
                committee.candidates[0],
                "role             seat-0, member 4 of shard 0",
            ),
            (MemberIndex(0), "role             voter, member 0 of shard 0"),
        ] {
            let data = folder.path().join(format!("data-{member}"));
            let identity = Identity {
                genesis: epoch.genesis_hash,
                validator: committee.members[usize::from(member.0)].1,
            };
            drop(Store::open(&data, identity, StoreOptions::default()).expect("opened"));
            let with = |genesis| InspectOptions {
                genesis: Some(genesis),
                ..options(&data)
            };
            let text = inspect(&with(path.clone())).expect("inspected");
            assert!(
                text.contains(words) && text.contains("bond             900000000000"),
                "{text}"
            );
            let other = network(&format!("other-{member}"), "--protocol pbft");
            let error = inspect(&with(other)).expect_err("another network");
            assert!(matches!(error, InspectError::OtherNetwork { .. }), "{error}");
        }
    }

    #[test]
    fn one_in_use_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let held = Store::open(folder.path(), IDENTITY, StoreOptions::default()).expect("opened");
        let error = inspect(&options(folder.path())).expect_err("in use");
        assert!(
            matches!(error, InspectError::Open(_)) && error.to_string().contains("in use"),
            "{error}"
        );
        drop(held);
        inspect(&options(folder.path())).expect("free again");
    }

    #[test]
    fn other_directories_are_refused_and_stay_as_they_are() {
        let folder = tempfile::tempdir().expect("folder");
        let error = inspect(&options(folder.path())).expect_err("empty");
        assert!(matches!(error, InspectError::Missing { .. }), "{error}");
        assert_eq!(
            fs::read_dir(folder.path()).expect("read").count(),
            0,
            "nothing is made in it"
        );
        assert!(inspect(&options(&folder.path().join("none"))).is_err());
        assert!(!folder.path().join("none").exists());
        for text in [
            "",
            "hello",
            "shardbench data directory\nformat 1\ngenesis zz\nvalidator zz\n",
        ] {
            fs::write(folder.path().join("FORMAT"), text).expect("written");
            let error = inspect(&options(folder.path())).expect_err("no format");
            assert!(matches!(error, InspectError::Format { .. }), "{error}");
        }
        let other = format!(
            "shardbench data directory\nformat 9\ngenesis {0}\nvalidator {0}\n",
            "00".repeat(32)
        );
        fs::write(folder.path().join("FORMAT"), other).expect("written");
        let error = inspect(&options(folder.path())).expect_err("version 9");
        assert!(error.to_string().contains("format version 9"), "{error}");
        assert_eq!(
            fs::read_dir(folder.path()).expect("read").count(),
            1,
            "nothing is made in it"
        );
    }
}
