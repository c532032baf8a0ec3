//! The block log after crashes and power loss: more than 10 000 points, each a directory that a crash may leave
//! (`ios` 20.6 (1)).

mod check;
mod damage;
mod media;
mod power_loss;
mod tail;

use std::sync::Arc;

use blocklog::BlockLog;
use blocklog::samples::{author_block, block, committed, new_view, promise, proposal, tip, vote};
use simulator::rng::SimRng;
use types::record::LogRecord;
use types::{Height, Sequence};

use self::check::{Entry, Scratch, entries};
use self::media::{Image, Recorder, Step};

/// A record of any kind and of any size up to a third of a segment.
fn random_record(rng: &mut SimRng, number: u64) -> LogRecord {
    let body = author_block(number, number.saturating_sub(1), rng.below(2000) as usize);
    match rng.below(8) {
        0 | 1 => LogRecord::AuthorBlock(body),
        2 => proposal(number),
        3 => vote(number),
        4 => tip(number, number as u32 / 4),
        5 => LogRecord::Committed(Box::new(committed(number, &[&body]))),
        6 if rng.chance(500) => new_view(number as u32),
        6 => promise(number as u32),
        _ => LogRecord::Block(Box::new(block(number, &[&body, &body]))),
    }
}

/// A log in the making: what it was given, and every system call that it made.
struct Workload {
    log: BlockLog,
    recorder: Arc<Recorder>,
    handed: Vec<Entry>,
    early: Vec<(usize, Step)>,
}

impl Workload {
    fn new(scratch: &Scratch) -> Self {
        scratch.lay_out(&Image::new());
        let recorder = Arc::new(Recorder::default());
        let log = scratch.open_on(Arc::clone(&recorder)).expect("a new log");
        Self {
            log,
            recorder,
            handed: Vec::new(),
            early: Vec::new(),
        }
    }

    fn append(&mut self, records: &[LogRecord]) {
        let seq = Sequence(self.handed.last().map_or(1, |(last, _)| last.0 + 1));
        self.handed
            .extend(records.iter().map(|record| (seq, record.clone())));
        self.recorder.note(Step::Handed(self.handed.len()));
        self.log.append(records, seq).expect("appended");
    }

    fn sync(&mut self) {
        self.log.sync().expect("synced");
        self.recorder.note(Step::Durable(self.handed.len()));
    }

    /// Cuts, and learns what was carried to the end and how many records at the front are gone.
    fn cut_below(&mut self, height: u64) {
        let place = self.recorder.len();
        if self.log.cut_below(Height(height)).expect("cut").segments == 0 {
            return;
        }
        let left = entries(&self.log);
        let carried = (0..=3)
            .find(|carried| self.handed.ends_with(&left[..left.len() - carried]))
            .expect("at most three standing records are carried");
        self.handed.extend_from_slice(&left[left.len() - carried..]);
        self.early.push((place, Step::Handed(self.handed.len())));
        self.early
            .push((place, Step::CutTo(self.handed.len() - left.len())));
        self.recorder.note(Step::Durable(self.handed.len()));
    }

    fn finish(self) -> (Vec<Entry>, Vec<Step>) {
        (self.handed, self.recorder.steps(self.early))
    }
}
