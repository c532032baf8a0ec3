//! This client's own ceiling: the real pacer and connections against a sink that counts frames and answers nothing.
//!
//! The sink runs in this process and shares its processors, as the local network does; on hosts of their own a
//! generator does better.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rpc::Connection;
use tokio::runtime::Runtime;
use transport::{ClientConfig, ClientConnection, ClientEndpoint, ClientListener, Frame, Identity};
use types::client::{Answer, CLIENT_PROTOCOL_VERSION, Hello, Role};
use types::{Epoch, Hash};

use crate::cli::CalibrateArgs;
use crate::config::Overload;
use crate::link::{SUBMIT, Slot};
use crate::pacer::{NO_PARENT, Refusal, Route, Rules, RunClock, Sink, Source, Submission, pace};
use crate::recording::Recording;
use crate::report::text::thousands;
use crate::units::parse_count;
use crate::usage::UsageError;

/// Bytes of a transaction with one input and two outputs.
const TX_BYTES: usize = 233;
/// Longest run.
const LONGEST: Duration = Duration::from_secs(60);

/// What to push through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalibrateConfig {
    /// Transactions.
    pub count: u32,
    /// Connections.
    pub connections: u16,
}

impl CalibrateConfig {
    /// Checks the flags.
    ///
    /// # Errors
    /// Names the flag.
    pub fn resolve(args: &CalibrateArgs) -> Result<Self, UsageError> {
        Ok(Self {
            count: parse_count("--count", &args.count, 1000, 100_000_000)? as u32,
            connections: parse_count("--connections", &args.connections, 1, 64)? as u16,
        })
    }
}

/// Why there is no ceiling.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The operating system refuses threads.
    #[error("threads for connections: {0}")]
    Threads(#[from] std::io::Error),
    /// No sink.
    #[error("the sink cannot be started: {0}")]
    Sink(String),
    /// No connection to it.
    #[error("the sink cannot be reached: {0}")]
    Connect(#[from] rpc::ConnectError),
}

/// What this client can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceiling {
    /// Transactions sent.
    pub sent: u64,
    /// Transactions' frames that the sink read, by their bytes.
    pub arrived_bytes: u64,
    /// Time, seconds.
    pub wall_s: f64,
    /// CPU time of generator and sink together, seconds.
    pub cpu_s: Option<f64>,
}

impl fmt::Display for Ceiling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.sent as f64 / self.wall_s.max(1e-9);
        writeln!(
            formatter,
            "ceiling      {}/s ({} transactions of {TX_BYTES} bytes in {:.2} s, {:.0} MB/s arrived)",
            thousands(rate as u64),
            thousands(self.sent),
            self.wall_s,
            self.arrived_bytes as f64 / self.wall_s.max(1e-9) / 1e6,
        )?;
        if let Some(cpu_s) = self.cpu_s {
            writeln!(
                formatter,
                "cost         {:.2} cores, {:.2} us per transaction, the sink in this process included",
                cpu_s / self.wall_s.max(1e-9),
                cpu_s * 1e6 / self.sent.max(1) as f64,
            )?;
        }
        Ok(())
    }
}

struct Burst {
    times: Vec<u64>,
    connections: u32,
}

impl Source for Burst {
    fn times(&self) -> &[u64] {
        &self.times
    }

    fn route(&self, index: u32) -> Route {
        Route {
            connection: index % self.connections,
            parent: NO_PARENT,
        }
    }

    fn bytes(&self, _: u32) -> &[u8] {
        &[0x5a; TX_BYTES]
    }
}

struct Slots(Vec<Slot>);

impl Sink for Slots {
    fn try_send(
        &self,
        connection: usize,
        submission: Submission<'_>,
        mark: &dyn Fn(bool),
    ) -> Result<(), Refusal> {
        let slot = self.0.get(connection).ok_or(Refusal::Closed)?;
        slot.try_send(submission, mark)
    }
}

/// Pushes everything through as fast as it goes.
///
/// # Errors
/// When the sink cannot be started or reached.
pub fn calibrate(config: &CalibrateConfig) -> Result<Ceiling, CalibrateError> {
    let runtime = Runtime::new()?;
    let sink_error = |error: &dyn fmt::Display| CalibrateError::Sink(error.to_string());
    let identity = Identity::from_seed(&[7; 32]).map_err(|error| sink_error(&error))?;
    let key = identity.public_key();
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let _guard = runtime.enter();
    let listener =
        ClientListener::bind(&identity, &ClientConfig::new(local)).map_err(|error| sink_error(&error))?;
    let address = listener.local_addr();
    let arrived = Arc::new(AtomicU64::new(0));
    runtime.spawn(serve(listener, key, Arc::clone(&arrived)));
    let (mut senders, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..config.connections {
        let endpoint = ClientEndpoint::bind(local).map_err(|error| sink_error(&error))?;
        let opened = runtime.block_on(Connection::connect(
            &endpoint,
            address,
            key,
            hello(Role::Client, [0; 32]),
        ))?;
        senders.push(Slot::new(opened.0));
        kept.push((opened.1, endpoint));
    }
    let source = Burst {
        times: vec![0; config.count as usize],
        connections: u32::from(config.connections),
    };
    let rules = Rules {
        connections: usize::from(config.connections),
        batch: 1,
        quantum_ns: 0,
        in_flight_max: u64::MAX,
        overload: Overload::Queue,
        deadline_ns: u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX),
    };
    let recording = Recording::new(config.count as usize);
    let before = crate::host::Counters::read().own_cpu_ns;
    let start = Instant::now();
    let sink = Slots(senders);
    pace(
        &source,
        &sink,
        &RunClock::starting_in(Duration::ZERO),
        &recording,
        &rules,
        &AtomicBool::new(false),
    );
    let sent = recording.tallies().sent;
    // Everything that was sent arrives; the time counts until it has.
    while arrived.load(Ordering::Acquire) < sent * TX_BYTES as u64 && start.elapsed() < LONGEST {
        std::thread::sleep(Duration::from_millis(1));
    }
    let wall_s = start.elapsed().as_secs_f64();
    let after = crate::host::Counters::read().own_cpu_ns;
    drop(kept);
    runtime.shutdown_background();
    Ok(Ceiling {
        sent,
        arrived_bytes: arrived.load(Ordering::Acquire),
        wall_s,
        cpu_s: after
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before) as f64 / 1e9),
    })
}

const fn hello(role: Role, id: [u8; 32]) -> Hello {
    Hello {
        genesis: Hash([0; 32]),
        id,
        protocol_version: CLIENT_PROTOCOL_VERSION,
        role,
        design: 1,
        epoch: Epoch(0),
        in_flight_max: u32::MAX,
    }
}

/// Greets every connection and counts what comes.
async fn serve(mut listener: ClientListener, key: [u8; 32], arrived: Arc<AtomicU64>) {
    while let Some(connection) = listener.accept().await {
        tokio::spawn(swallow(connection, key, Arc::clone(&arrived)));
    }
}

async fn swallow(connection: ClientConnection, key: [u8; 32], arrived: Arc<AtomicU64>) {
    let (sender, mut frames) = connection.split();
    while let Ok(Some(frame)) = frames.recv().await {
        if frame.kind == SUBMIT {
            // Without the tag, the count and the length of each transaction.
            let count = frame
                .payload
                .get(4..6)
                .map_or(0, |bytes| u64::from(bytes[0]) | u64::from(bytes[1]) << 8);
            arrived.fetch_add(count * TX_BYTES as u64, Ordering::AcqRel);
            continue;
        }
        let answer = Answer::Hello(hello(Role::Validator, key));
        let greeting = Frame {
            payload: Bytes::from(answer.encode_payload()),
            ..frame
        };
        if sender.send(greeting).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CalibrateConfig, TX_BYTES, calibrate};
    use crate::cli::CalibrateArgs;

    #[test]
    fn everything_that_is_sent_arrives_at_the_sink() {
        let config = CalibrateConfig {
            count: 5000,
            connections: 3,
        };
        let ceiling = calibrate(&config).expect("ceiling");
        assert_eq!(ceiling.sent, 5000);
        assert_eq!(ceiling.arrived_bytes, 5000 * TX_BYTES as u64);
        assert!(ceiling.to_string().contains("5,000 transactions"));
    }

    #[test]
    fn bad_flags_are_named() {
        let args = |count: &str, connections: &str| CalibrateArgs {
            count: count.to_owned(),
            connections: connections.to_owned(),
        };
        assert!(CalibrateConfig::resolve(&args("1M", "4")).is_ok());
        for (flag, args) in [("--count", args("few", "4")), ("--connections", args("1M", "0"))] {
            let error = CalibrateConfig::resolve(&args).expect_err(flag).to_string();
            assert!(error.starts_with(flag), "{error}");
        }
    }
}
