//! Data directories that a dead validator left in a bad state, and a disk that fills up.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use simulator::record;

use crate::leader::catch_up;
use crate::network::{Network, newest, wait_for};
use crate::observer::Observer;
use crate::programs::{Running, survived};

/// Bytes that are cut off the log of a killed validator: some of its last record, or several.
const TAILS: [u64; 3] = [1, 90, 2000];

#[test]
fn a_torn_log_and_a_lost_state_are_repaired_and_a_damaged_log_is_refused() {
    let mut network = Network::new("disks");
    network.start_all();
    let mut observer = Observer::new(&network);
    let idle = observer.height(0);
    let load = network.load(200, 25, "disks.json");
    observer.loaded(idle);

    for bytes in TAILS {
        network.kill(1);
        cut_tail(&newest(&network.data(1).join("log"), ".log"), bytes);
        network.start(1);
        catch_up(&mut observer, 1, 0);
    }
    network.kill(2);
    fs::remove_dir_all(network.data(2).join("state")).expect("the state is removed");
    network.start(2);
    catch_up(&mut observer, 2, 0);

    network.kill(3);
    let log = newest(&network.data(3).join("log"), ".log");
    let place = fs::metadata(&log).expect("a log").len() / 2;
    flip_bit(&log, place);
    network.start(3);
    let status = wait_for("the end of validator 3 on its damaged log", || network.ended(3));
    assert_eq!(status.code(), Some(2), "{}", network.said(3));
    let said = network.said(3);
    assert!(
        said.contains("damaged at byte") && said.contains("must not vote again"),
        "{said}"
    );
    let without = observer.height(0);
    observer.above(0, without.next().next());
    // The disk restored, as the message says.
    flip_bit(&log, place);
    network.start(3);
    catch_up(&mut observer, 3, 0);

    let output = load.finish();
    survived(&network.folder, "disks.json", &output);
    observer.agreed(&[0, 1, 2, 3]);
    record::append(
        "data directories",
        &[
            ("torn logs", TAILS.len() as u64),
            ("lost states", 1),
            ("damaged logs", 1),
        ],
    );
}

fn cut_tail(path: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("the log");
    let len = file.metadata().expect("its length").len();
    file.set_len(len.saturating_sub(bytes)).expect("cut");
}

fn flip_bit(path: &Path, place: u64) {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("the log");
    let mut byte = [0];
    file.seek(SeekFrom::Start(place)).expect("a place in it");
    file.read_exact(&mut byte).expect("a byte");
    file.seek(SeekFrom::Start(place)).expect("the same place");
    file.write_all(&[byte[0] ^ 0x10]).expect("written");
}

/// Removes a validator's whole data directory: its key is all that is left of it.
fn wipe(network: &Network, validator: usize) {
    fs::remove_dir_all(network.data(validator)).expect("the data directory is removed");
}

/// A key without its log may have promised anything: what it may do in this epoch is decided by the node. That it
/// follows the chain again and that nobody is harmed holds in any case.
#[test]
fn a_validator_whose_data_directory_is_gone_follows_the_chain_and_signs_nothing() {
    let mut network = Network::new("wiped");
    network.start_all();
    let mut observer = Observer::new(&network);
    let idle = observer.height(0);
    let load = network.load(200, 10, "wiped.json");
    observer.loaded(idle);
    network.kill(1);
    wipe(&network, 1);
    let wiped_at = observer.height(0);
    network.start(1);
    catch_up(&mut observer, 1, 0);
    assert!(network.said(1).contains("signs nothing"), "{}", network.said(1));
    // Also when the mark of the key was lost with it: the others remember its signatures.
    network.kill(1);
    wipe(&network, 1);
    let mark = network.folder.join("net/keys/001.key.used");
    fs::remove_file(&mark).expect("the mark of a key that signed");
    network.start(1);
    catch_up(&mut observer, 1, 0);
    wait_for("validator 1 to know that it forgot something", || {
        network
            .said(1)
            .matches("the data directory does not know")
            .nth(1)
            .map(drop)
    });
    let output = load.finish();
    survived(&network.folder, "wiped.json", &output);
    observer.agreed(&[0, 1, 2, 3]);
    // What was on its way when it was killed may stand in the first heights.
    let (by_it, heights) = observer.signatures(1, 0, types::Height(wiped_at.0 + 16));
    assert!(heights > 0 && by_it == 0, "{by_it} of {heights} certificates");
    assert!(!mark.exists(), "a barred validator marks no key");
    record::append("data directories", &[("wiped", 1)]);
}

/// Size of the small disk: the log's reserve and some minutes of a light load.
const DISK_MIB: u64 = 512;

/// A mount namespace of its own with a small tmpfs in it; both end with the process that holds them.
struct SmallDisk {
    holder: Running,
    at: PathBuf,
}

impl SmallDisk {
    /// `None` with a printed reason where mounting is not allowed.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("a place to mount");
        // `cat` ends when its standard input, a pipe of this process, does.
        let script = "mount -t tmpfs -o size=\"$1m\" tmpfs \"$2\" && echo mounted && exec cat";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script, "sh", &DISK_MIB.to_string()])
            .arg(at)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::piped());
        let Ok(child) = command.spawn() else {
            println!("skipped: there is no unshare(1) on this system");
            return None;
        };
        let mut holder = Running(child);
        let mut said = [0; 8];
        let is_mounted = holder
            .0
            .stdout
            .as_mut()
            .is_some_and(|out| out.read_exact(&mut said).is_ok() && &said == b"mounted\n");
        if !is_mounted {
            println!("skipped: mounting a tmpfs in a namespace of its own needs root (CAP_SYS_ADMIN)");
            return None;
        }
        Some(Self {
            holder,
            at: at.to_owned(),
        })
    }

    fn process(&self) -> String {
        self.holder.0.id().to_string()
    }

    /// A file on the disk, seen from outside of the namespace.
    fn file(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.process()));
        let inside = self.at.strip_prefix("/").expect("an absolute path");
        root.join(inside).join(name)
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.file("ballast")).expect("a file on the small disk");
        let block = vec![0_u8; 1 << 20];
        for _ in 0..=DISK_MIB {
            if ballast.write_all(&block).is_err() {
                return;
            }
        }
        panic!("{DISK_MIB} MiB do not fill the small disk");
    }

    fn free(&self) {
        fs::remove_file(self.file("ballast")).expect("the ballast");
    }
}

#[test]
fn a_full_disk_stops_one_validator_alone_and_room_brings_it_back() {
    let mut network = Network::new("full");
    let Some(disk) = SmallDisk::mount(&network.data(1)) else {
        return;
    };
    let config = network.config(1);
    let text = fs::read_to_string(&config).expect("the configuration");
    let small = text.replace("reserve_mib = 1536", "reserve_mib = 128");
    assert_ne!(small, text, "the reserve is stated");
    fs::write(&config, small).expect("changed");
    for validator in [0, 2, 3] {
        network.start(validator);
    }
    let holder = disk.process();
    let inside = ["nsenter", "--mount", "--target", &holder];
    let command = network.run(1, &inside);
    network.start_as(1, command);
    let mut observer = Observer::new(&network);
    let idle = observer.height(0);
    let load = network.load(200, 16, "full.json");
    observer.loaded(idle);

    disk.fill();
    wait_for("validator 1 to say that its disk is nearly full", || {
        network.said(1).contains("nearly full").then_some(())
    });
    let without = observer.height(0);
    observer.above(0, without.next().next());
    disk.free();
    catch_up(&mut observer, 1, 0);
    assert!(network.said(1).contains("room again"), "{}", network.said(1));
    assert_eq!(network.ended(1), None, "it goes on by itself");
    let output = load.finish();
    survived(&network.folder, "full.json", &output);
    observer.agreed(&[0, 1, 2, 3]);
    record::append("full disk", &[("runs", 1)]);
}
