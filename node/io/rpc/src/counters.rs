//! What a node counts about its clients. Refusals are counted by reason and never logged one by one.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a client was refused or disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Refusal {
    /// No stream, or no complete `Hello` before `Limits::hello_deadline`.
    HelloLate,
    /// The first frame was no `Hello`.
    HelloMissing,
    /// Another genesis, protocol version or design; or not a client.
    HelloMismatch,
    /// A second `Hello`.
    HelloTwice,
    /// A frame above 1 MiB.
    Oversized,
    /// The stream ended inside a frame.
    Truncated,
    /// A started frame did not arrive in time.
    Stalled,
    /// Unknown frame version, another epoch or a shard in the envelope.
    Envelope,
    /// Unknown type, or a payload that is not canonical.
    Malformed,
    /// Tags that do not rise strictly.
    Tags,
    /// A client that does not read its answers.
    SlowReader,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::HelloLate,
        Self::HelloMissing,
        Self::HelloMismatch,
        Self::HelloTwice,
        Self::Oversized,
        Self::Truncated,
        Self::Stalled,
        Self::Envelope,
        Self::Malformed,
        Self::Tags,
        Self::SlowReader,
    ];

    /// Name used in reports, `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HelloLate => "hello_late",
            Self::HelloMissing => "hello_missing",
            Self::HelloMismatch => "hello_mismatch",
            Self::HelloTwice => "hello_twice",
            Self::Oversized => "oversized",
            Self::Truncated => "truncated",
            Self::Stalled => "stalled",
            Self::Envelope => "envelope",
            Self::Malformed => "malformed",
            Self::Tags => "tags",
            Self::SlowReader => "slow_reader",
        }
    }
}

/// Counters of a [`Server`](crate::Server) since its start; they only rise.
#[derive(Debug, Default)]
pub struct Counters {
    refused: [AtomicU64; Refusal::ALL.len()],
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) busy_tags: AtomicU64,
}

impl Counters {
    /// Clients refused or disconnected for this reason.
    #[must_use]
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.slot(reason).load(Ordering::Relaxed)
    }

    /// Sum over all reasons.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        Refusal::ALL.iter().map(|reason| self.refused(*reason)).sum()
    }

    /// Bytes of frames received from clients, envelopes included.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes of frames handed to the streams of clients, envelopes included.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// Tags that were answered `Busy` here because too many were in flight.
    #[must_use]
    pub fn busy_tags(&self) -> u64 {
        self.busy_tags.load(Ordering::Relaxed)
    }

    pub(crate) fn refuse(&self, reason: Refusal) {
        self.slot(reason).fetch_add(1, Ordering::Relaxed);
    }

    /// The discriminants are the positions, so the index is always inside.
    const fn slot(&self, reason: Refusal) -> &AtomicU64 {
        &self.refused[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::{Counters, Refusal};

    #[test]
    fn each_reason_has_its_own_counter_and_name() {
        let counters = Counters::default();
        for (position, reason) in Refusal::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
            counters.refuse(*reason);
            assert_eq!(counters.refused(*reason), 1);
            let same_name = Refusal::ALL.iter().filter(|other| other.name() == reason.name());
            assert_eq!(same_name.count(), 1);
        }
        assert_eq!(counters.refused_total(), Refusal::ALL.len() as u64);
    }
}
