//! One validator: its replica and its clock while it runs, its disk for ever.

use std::collections::BTreeMap;

use crypto::hash::author_header_hash;
use ledger::Inline;
use replica::{BodyVerdict, Recovery, RecoveryError, Replica, SignatureChecks};
use types::block::SignedAuthorHeader;
use types::message::PeerMessage;
use types::{Hash, MemberIndex, Sequence, Time};

use crate::clock::Clock;
use crate::disk::{Disk, Loss};
use crate::rng::SimRng;
use crate::setup::Setup;

/// How a node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process ends at once; the machine goes on.
    Kill,
    /// The machine ends.
    PowerLoss,
}

/// A validator's place in the world.
#[derive(Debug)]
pub struct Node {
    /// Position in the committee.
    pub me: MemberIndex,
    /// The running replica; none while the node is down.
    pub replica: Option<Replica>,
    /// Its disk.
    pub disk: Disk,
    /// Counts starts; completions of an earlier life are dropped.
    pub life: u64,
    /// Its clock in this life.
    pub clock: Clock,
    /// How it stopped last, and how many records that took; none while it has never stopped or runs again.
    pub crashed: Option<(Crash, u64)>,
    /// It does nothing before this time.
    pub frozen_until: Time,
    /// When its timer event is scheduled, in the world's time.
    pub timer: Option<Time>,
    /// Author blocks that the last start read from the log and checked, and whether each is clean.
    pub recovered: Vec<(Hash, bool)>,
    /// Messages that wait until a record is durable.
    pub held: BTreeMap<Sequence, Vec<(MemberIndex, PeerMessage)>>,
}

impl Node {
    /// A node that was never started.
    #[must_use]
    pub fn new(me: MemberIndex, setup: &Setup) -> Self {
        Self {
            me,
            replica: None,
            disk: Disk::new(setup.context.genesis_hash, &setup.coins),
            life: 0,
            clock: Clock::default(),
            crashed: None,
            frozen_until: Time(0),
            timer: None,
            recovered: Vec::new(),
            held: BTreeMap::new(),
        }
    }

    /// Starts the replica: the first time from genesis, later from what the disk has left. `now` is the world's time.
    ///
    /// # Errors
    /// Says why the disk's content does not make a replica.
    pub fn start(&mut self, now: Time, setup: &Setup) -> Result<(), String> {
        let now = self.clock.at(now);
        self.life += 1;
        self.timer = None;
        self.crashed = None;
        self.recovered.clear();
        self.disk.open();
        let nonce = self.life << 16 | u64::from(self.me.0);
        let config = setup.config(self.me, nonce);
        let key = setup
            .keys
            .get(usize::from(self.me.0))
            .cloned()
            .ok_or("the member has no key")?;
        if self.life == 1 {
            let ledger = setup.ledger(self.disk.snapshot(), nonce);
            self.replica = Some(Replica::new(config, key, ledger, now));
            return Ok(());
        }
        let replica = match self.recover(now, setup, nonce) {
            Err(RecoveryError::StateAhead { .. }) => {
                self.disk.reset_state(setup.context.genesis_hash, &setup.coins);
                self.recover(now, setup, nonce)
            }
            other => other,
        };
        self.replica = Some(replica.map_err(|error| error.to_string())?);
        Ok(())
    }

    fn recover(&mut self, now: Time, setup: &Setup, nonce: u64) -> Result<Replica, RecoveryError> {
        let ledger = setup.ledger(self.disk.snapshot(), nonce);
        let key = setup.keys[usize::from(self.me.0)].clone();
        let mut recovery = Recovery::new(setup.config(self.me, nonce), key, ledger, now);
        // A recovery verifies body by body.
        let recovered = &mut self.recovered;
        let mut check = |header: &SignedAuthorHeader, bytes: &bytes::Bytes, checks: &_| {
            let verdict = setup.check_body(header, bytes, checks, usize::MAX);
            let sampled = *checks != SignatureChecks::Skipped;
            if let (BodyVerdict::Checked(checked), true) = (&verdict, sampled) {
                let clean = checked.bad_signatures.is_empty();
                recovered.push((author_header_hash(&header.header), clean));
            }
            verdict
        };
        let mut last = Sequence(0);
        for (seq, record) in self.disk.records() {
            last = seq;
            recovery.replay(now, record.clone(), &mut check, &Inline)?;
        }
        recovery.finish(now, last, &mut check, &Inline)
    }

    /// The process is gone, and what it held in memory with it.
    ///
    /// # Errors
    /// When what the disk has left is not what it should have left.
    pub fn stop(&mut self, rng: &mut SimRng, crash: Crash) -> Result<Loss, String> {
        self.replica = None;
        self.timer = None;
        self.frozen_until = Time(0);
        self.held.clear();
        let loss = match crash {
            Crash::Kill => self.disk.kill(rng),
            Crash::PowerLoss => self.disk.lose_power(rng),
        }?;
        // A node that is down loses power too, after whatever stopped it.
        let before = self.crashed.map_or(0, |(_, records)| records);
        self.crashed = Some((crash, before + loss.records));
        Ok(loss)
    }
}
