//! The envelope of client frames (`ios` 0.5): what is written into it and what is accepted.

// What judges bytes of clients has nothing to panic with.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use bytes::Bytes;
use transport::Frame;
use types::Epoch;

/// Version of the frame format, both directions.
const FRAME_VERSION: u8 = 1;
/// Type byte of `Hello`, the only frame that both sides send.
pub(crate) const HELLO_KIND: u8 = 0x01;

/// Why an envelope is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    #[error("frame version {stated} is not known, {FRAME_VERSION} is accepted")]
    Version { stated: u8 },
    #[error("the frame is of epoch {stated}, this side is in epoch {own}")]
    Epoch { stated: u32, own: u32 },
    #[error("frames of clients name no shard, this one names shard {stated}")]
    Shard { stated: u16 },
}

/// A frame of this side.
pub(crate) const fn frame(kind: u8, epoch: Epoch, payload: Bytes) -> Frame {
    Frame {
        kind,
        version: FRAME_VERSION,
        epoch: epoch.0,
        shard: 0,
        payload,
    }
}

/// Checks what surrounds a payload; the epoch may be one off, because both sides do not turn at once (`ios` 21).
pub(crate) const fn check(frame: &Frame, own: Epoch) -> Result<(), EnvelopeError> {
    if frame.version != FRAME_VERSION {
        return Err(EnvelopeError::Version {
            stated: frame.version,
        });
    }
    if frame.epoch.abs_diff(own.0) > 1 {
        return Err(EnvelopeError::Epoch {
            stated: frame.epoch,
            own: own.0,
        });
    }
    if frame.shard != 0 {
        return Err(EnvelopeError::Shard { stated: frame.shard });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use types::Epoch;

    use super::{EnvelopeError, check, frame};

    #[test]
    fn an_envelope_of_another_version_epoch_or_shard_is_refused() {
        let good = frame(1, Epoch(4), Bytes::new());
        for own in [3, 4, 5] {
            assert_eq!(check(&good, Epoch(own)), Ok(()));
        }
        assert_eq!(
            check(&good, Epoch(6)),
            Err(EnvelopeError::Epoch { stated: 4, own: 6 })
        );
        let mut other = good.clone();
        other.version = 2;
        assert_eq!(check(&other, Epoch(4)), Err(EnvelopeError::Version { stated: 2 }));
        let mut other = good;
        other.shard = 1;
        assert_eq!(check(&other, Epoch(4)), Err(EnvelopeError::Shard { stated: 1 }));
    }
}
