//! UDP sockets with enlarged buffers.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::SOCKET_BUFFER_BYTES;

/// An endpoint could not be started; nothing is left open.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program holds the port.
    #[error("UDP address {0} is in use: stop the program that holds it or choose another port")]
    InUse(SocketAddr),
    /// The socket could not be made.
    #[error("UDP socket on {addr} failed: {source}")]
    Socket {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The TLS set-up was refused.
    #[error("TLS set-up failed: {0}")]
    Tls(String),
    /// The configured frame size is out of range.
    #[error("frame maximum of {bytes} bytes is out of range, accepted is 1 to {ceiling}")]
    FrameBytes {
        /// The configured maximum.
        bytes: usize,
        /// The largest maximum.
        ceiling: usize,
    },
    /// Two configured validators have one key.
    #[error("validators {first} and {second} have the same key")]
    SameKey {
        /// The lower id.
        first: u16,
        /// The higher id.
        second: u16,
    },
}

/// What the kernel granted of the 8 MiB requested each way, in bytes; too little costs lost packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBuffers {
    /// Granted receive buffer.
    pub receive_bytes: usize,
    /// Granted send buffer.
    pub send_bytes: usize,
    /// Requested, for each.
    pub requested_bytes: usize,
}

/// Opens a UDP socket on `addr`.
pub(crate) fn bind(addr: SocketAddr) -> Result<(UdpSocket, SocketBuffers), BindError> {
    open(addr).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(addr),
        _ => BindError::Socket { addr, source },
    })
}

fn open(addr: SocketAddr) -> io::Result<(UdpSocket, SocketBuffers)> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // One socket, one family: a wildcard must not take the IPv4 port as well.
        socket.set_only_v6(true)?;
    }
    // Linux grants what it may and reports success; the BSDs refuse a size above their limit.
    let receive = grant(|bytes| socket.set_recv_buffer_size(bytes));
    let send = grant(|bytes| socket.set_send_buffer_size(bytes));
    if let Err(error) = receive.and(send) {
        tracing::warn!(%error, "UDP socket buffers stay at the system's default");
    }
    socket.bind(&addr.into())?;
    let buffers = SocketBuffers {
        receive_bytes: usable(socket.recv_buffer_size()?),
        send_bytes: usable(socket.send_buffer_size()?),
        requested_bytes: SOCKET_BUFFER_BYTES,
    };
    Ok((socket.into(), buffers))
}

/// Asks for the full size, then for halves of it.
fn grant(set: impl Fn(usize) -> io::Result<()>) -> io::Result<()> {
    let half = set(SOCKET_BUFFER_BYTES).or_else(|_| set(SOCKET_BUFFER_BYTES / 2));
    half.or_else(|_| set(SOCKET_BUFFER_BYTES / 8))
}

/// Linux reports twice what was granted, to account for its bookkeeping (socket(7)).
fn usable(reported_bytes: usize) -> usize {
    if cfg!(target_os = "linux") {
        reported_bytes / 2
    } else {
        reported_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (held, buffers) = bind(any).expect("free port");
        assert!(buffers.receive_bytes > 0 && buffers.send_bytes > 0);
        let addr = held.local_addr().expect("bound");
        let error = bind(addr).expect_err("held");
        assert!(matches!(error, BindError::InUse(named) if named == addr));
        assert!(error.to_string().contains(&addr.to_string()));
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = bind(foreign).expect_err("not ours");
        assert!(matches!(error, BindError::Socket { addr, .. } if addr == foreign));
    }
}
