//! What a disk may hold after power loss: everything synced, and of the rest any part in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use blocklog::{Disk, SystemDisk};
use simulator::rng::SimRng;

/// Files of a directory.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// What happened, in order: system calls of the log, and what the caller knew.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create(String),
    Append(String, Vec<u8>),
    Sync(String),
    SyncNames,
    Truncate(String, u64),
    Remove(String),
    /// So many records were given to the log, or are about to be.
    Handed(usize),
    /// So many are durable, as the log said.
    Durable(usize),
    /// So many at the front may be gone, since they were cut.
    CutTo(usize),
}

/// Carries out what the log asks for, except waiting for the disk, and writes it down.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Vec<Step>>);

impl Recorder {
    pub(crate) fn note(&self, step: Step) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What happened; `early` says what was known before the step at its place, but only told later.
    pub(crate) fn steps(&self, early: Vec<(usize, Step)>) -> Vec<Step> {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (place, step) in early.into_iter().rev() {
            steps.insert(place, step);
        }
        steps
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

impl Disk for Recorder {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.note(Step::Create(name_of(path)));
        SystemDisk.create(path)
    }

    fn append(&self, path: &Path, file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let written = SystemDisk.append(path, file, &[IoSlice::new(&bytes)])?;
        self.note(Step::Append(name_of(path), bytes[..written].to_vec()));
        Ok(written)
    }

    fn sync(&self, path: &Path, _file: &File) -> io::Result<()> {
        self.note(Step::Sync(name_of(path)));
        Ok(())
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        self.note(Step::SyncNames);
        Ok(())
    }

    fn truncate(&self, path: &Path, file: &File, len: u64) -> io::Result<()> {
        self.note(Step::Truncate(name_of(path), len));
        SystemDisk.truncate(path, file, len)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(Step::Remove(name_of(path)));
        SystemDisk.remove(path)
    }
}

/// A directory as programs see it, and what of it is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Media {
    seen: Image,
    /// Content as last synced.
    durable: Image,
    /// Names as last synced.
    names: BTreeSet<String>,
}

impl Media {
    /// A directory that is wholly durable.
    pub(crate) fn of(image: &Image) -> Self {
        Self {
            seen: image.clone(),
            durable: image.clone(),
            names: image.keys().cloned().collect(),
        }
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Create(name) => {
                self.seen.insert(name.clone(), Vec::new());
                self.durable.insert(name.clone(), Vec::new());
            }
            Step::Append(name, bytes) => self.file(name).extend_from_slice(bytes),
            Step::Truncate(name, len) => self.file(name).truncate(*len as usize),
            Step::Sync(name) => {
                let content = self.file(name).clone();
                self.durable.insert(name.clone(), content);
            }
            Step::SyncNames => self.names = self.seen.keys().cloned().collect(),
            Step::Remove(name) => drop(self.seen.remove(name)),
            Step::Handed(_) | Step::Durable(_) | Step::CutTo(_) => {}
        }
    }

    fn file(&mut self, name: &str) -> &mut Vec<u8> {
        self.seen.get_mut(name).expect("a file that was created")
    }

    /// What a process that is killed leaves: everything that was written.
    pub(crate) fn killed(&self) -> Image {
        self.seen.clone()
    }

    /// What power loss may leave.
    pub(crate) fn power_lost(&self, rng: &mut SimRng) -> Image {
        let mut image = Image::new();
        for name in self.names.iter().chain(self.seen.keys()) {
            let certain = self.names.contains(name) && self.seen.contains_key(name);
            if !image.contains_key(name) && (certain || rng.chance(500)) {
                image.insert(name.clone(), self.content(name, rng));
            }
        }
        image
    }

    fn content(&self, name: &str, rng: &mut SimRng) -> Vec<u8> {
        let empty = Vec::new();
        let durable = self.durable.get(name).unwrap_or(&empty);
        let seen = self.seen.get(name).unwrap_or(durable);
        let (short, long) = (durable.len().min(seen.len()), durable.len().max(seen.len()));
        let len = match rng.below(4) {
            0 => durable.len(),
            1 => rng.between(short as u64, long as u64) as usize,
            _ => seen.len(),
        };
        let sector = if rng.chance(500) { 512 } else { 4096 };
        // Of 8 sectors so many are lost in one of three ways; all, none or some.
        let lost = *rng.pick(&[0, 1, 4, 8]).expect("a choice");
        let mut content: Vec<u8> = Vec::with_capacity(len);
        while content.len() < len {
            let end = ((content.len() / sector + 1) * sector).min(len);
            let fate = if rng.below(8) < lost { rng.below(3) } else { 3 };
            for place in content.len()..end {
                let old = durable.get(place).copied();
                let byte = match (fate, old) {
                    (0, old) => old.unwrap_or(0),
                    // What is durable is not lost when its sector is written again.
                    (1 | 2, Some(old)) => old,
                    (1, None) => 0,
                    (2, None) => rng.bits() as u8,
                    _ => seen.get(place).copied().or(old).unwrap_or(0),
                };
                content.push(byte);
            }
        }
        content
    }
}
