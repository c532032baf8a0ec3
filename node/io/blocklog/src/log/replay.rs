//! Reading a log from its oldest record on.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use types::Sequence;
use types::record::LogRecord;

use super::frame::{FrameReader, Step};
use crate::error::ReadError;

/// Records in the order in which they were written.
#[derive(Debug)]
pub struct Replay {
    pub(super) readers: VecDeque<(PathBuf, FrameReader)>,
}

impl Iterator for Replay {
    type Item = Result<(Sequence, LogRecord), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (path, reader) = self.readers.front_mut()?;
            let base = reader.base();
            let damaged = |path: &Path, at, reason| ReadError::Damaged {
                path: path.into(),
                offset: at - base,
                reason,
            };
            let error = match reader.step() {
                Ok(Step::End) => {
                    self.readers.pop_front();
                    continue;
                }
                Ok(Step::Record(found)) => {
                    match LogRecord::decode_payload(found.frame.kind, &found.payload) {
                        Ok(record) => return Some(Ok((found.frame.seq, record))),
                        Err(error) => damaged(path, found.offset, error.to_string()),
                    }
                }
                Ok(Step::Bad(offset)) => damaged(path, offset, "it changed after it was checked".into()),
                Err(source) => ReadError::Io {
                    path: path.clone(),
                    source,
                },
            };
            self.readers.clear();
            return Some(Err(error));
        }
    }
}
