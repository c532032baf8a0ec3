//! How connections end, and how that is named on both sides.

use quinn::{ConnectionError, VarInt};

use crate::frame::FrameError;

/// Application error codes of a QUIC close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// The endpoint shuts down.
    Shutdown = 0,
    /// A frame announced more than is accepted.
    FrameTooLarge = 1,
    /// A frame ended early or did not arrive in time.
    FrameIncomplete = 2,
    /// The lanes were not opened as agreed.
    BadLanes = 3,
    /// A newer connection of the same validator took over.
    Replaced = 4,
    /// The connection was not set up in time.
    SetupDeadline = 5,
    /// There is no room for another connection.
    NoRoom = 6,
    /// The receiver read nothing for too long.
    Stalled = 7,
    /// The layer above ended the connection; its reason is in the text.
    Application = 8,
}

impl CloseCode {
    /// The code a peer sent, or `None` when it is of another version.
    pub fn from_wire(code: u64) -> Option<Self> {
        [
            Self::Shutdown,
            Self::FrameTooLarge,
            Self::FrameIncomplete,
            Self::BadLanes,
            Self::Replaced,
            Self::SetupDeadline,
            Self::NoRoom,
            Self::Stalled,
            Self::Application,
        ]
        .into_iter()
        .find(|known| *known as u64 == code)
    }
}

/// Why a connection that had been established ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectReason {
    /// This side closed it.
    #[error("closed by this side")]
    Local,
    /// This side closed it because of what it received.
    #[error("closed by this side: {0}")]
    BadFrame(FrameError),
    /// A newer connection of the same validator took over.
    #[error("replaced by a newer connection of the same validator")]
    Replaced,
    /// The peer closed it.
    #[error("closed by the peer, code {code}: {text}")]
    ByPeer {
        /// Code on the wire; see [`CloseCode::from_wire`].
        code: u64,
        /// The peer's words, at most 200 characters, control characters escaped; not to be trusted.
        text: String,
    },
    /// The peer restarted and no longer knows the connection.
    #[error("peer restarted")]
    Reset,
    /// Nothing was heard for the idle timeout.
    #[error("nothing heard for the idle timeout")]
    TimedOut,
    /// QUIC or TLS failed.
    #[error("connection failed: {0}")]
    Failed(String),
}

impl From<ConnectionError> for DisconnectReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::LocallyClosed => Self::Local,
            ConnectionError::ApplicationClosed(closed) => Self::ByPeer {
                code: closed.error_code.into_inner(),
                text: printable(&closed.reason),
            },
            ConnectionError::Reset => Self::Reset,
            ConnectionError::TimedOut => Self::TimedOut,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Why a connection could not be established by the side that dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No such validator is configured.
    #[error("validator {0} is not a configured peer")]
    UnknownPeer(u16),
    /// The address cannot be dialled from this endpoint.
    #[error("address cannot be dialled: {0}")]
    Address(String),
    /// The other side holds another key, is no validator, or refused this side's key or protocol.
    #[error("handshake failed: {0}")]
    Refused(String),
    /// No connection within the deadline.
    #[error("no connection within {seconds} s")]
    Deadline {
        /// The deadline, in seconds.
        seconds: u64,
    },
    /// The connection was closed before its lanes were open.
    #[error("closed during set-up: {0}")]
    Closed(DisconnectReason),
    /// The other side opened its lanes wrongly.
    #[error("lanes of the other side are wrong: {0}")]
    BadLanes(&'static str),
}

impl From<ConnectionError> for ConnectError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::TransportError(_) | ConnectionError::ConnectionClosed(_) => {
                Self::Refused(error.to_string())
            }
            other => Self::Closed(other.into()),
        }
    }
}

/// Closes `connection`; the first close of a connection counts.
pub(crate) fn close(connection: &quinn::Connection, code: CloseCode, text: &str) {
    connection.close(VarInt::from_u32(code as u32), text.as_bytes());
}

/// Closes `connection` for what its peer sent.
pub(crate) fn close_for(connection: &quinn::Connection, error: &FrameError) {
    let code = match error {
        FrameError::TooLarge { .. } => CloseCode::FrameTooLarge,
        FrameError::Truncated { .. } | FrameError::Stalled { .. } => CloseCode::FrameIncomplete,
        // The connection or the stream is gone already; this is for the second case.
        FrameError::Lost(_) => CloseCode::BadLanes,
    };
    close(connection, code, &error.to_string());
}

/// The reason for the end of `connection` after reading from it gave `error`.
pub(crate) fn reason_after(connection: &quinn::Connection, error: FrameError) -> DisconnectReason {
    match connection.close_reason() {
        // Whatever ended the connection came first; the read only noticed.
        Some(reason) => reason.into(),
        None => {
            close_for(connection, &error);
            DisconnectReason::BadFrame(error)
        }
    }
}

/// A stranger's text, safe to print.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .take(200)
        .flat_map(char::escape_debug)
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_from_the_wire() {
        for code in 0..=8 {
            let known = CloseCode::from_wire(code).expect("known code");
            assert_eq!(known as u64, code);
        }
        assert_eq!(CloseCode::from_wire(9), None);
    }

    #[test]
    fn a_peers_text_is_cut_and_escaped() {
        assert_eq!(printable(b"bye\x1b[2J"), "bye\\u{1b}[2J");
        assert_eq!(printable(&[b'x'; 5000]).len(), 200);
    }
}
