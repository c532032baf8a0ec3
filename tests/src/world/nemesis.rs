//! Faults strike, and end.

use types::time::Duration;
use types::{MemberIndex, Time};

use super::World;
use crate::clock::Clock;
use crate::faults::Fault;
use crate::invariants::{Checked, Violation};
use crate::node::Crash;
use crate::queue::What;

impl World {
    /// The first of each kind that this run has.
    pub(super) fn schedule_faults(&mut self) {
        let options = &self.options;
        let outage_pause = options.leagues.as_ref().and_then(|leagues| leagues.outage_pause);
        let faults = [
            (options.kill_pause, What::Kill),
            (options.power_pause, What::PowerLoss),
            (options.partition_pause, What::Partition),
            (options.flap_pause, What::Flap),
            (options.freeze_pause, What::Freeze),
            (outage_pause, What::Outage),
        ];
        if options.slow.is_some() {
            self.report.faults.count(Fault::SlowNode);
        }
        if options.slow_disk.is_some() {
            self.report.faults.count(Fault::SlowDisk);
        }
        for (pause, what) in faults {
            self.schedule(pause, what);
        }
    }

    fn schedule(&mut self, pause: Option<Duration>, what: What) {
        if let Some(pause) = pause {
            let micros = pause.as_micros() as u64;
            let at = self.now + self.rng.micros(micros / 4, micros * 2);
            self.at(at, what);
        }
    }

    /// A fault strikes, unless the phase with faults is over, and the next of its kind is scheduled.
    pub(super) fn strike(&mut self, what: What) -> Checked {
        if self.healed {
            return Ok(());
        }
        match what {
            What::Kill => {
                let one = self.any_member();
                if self.nodes[usize::from(one.0)].replica.is_some() {
                    self.report.faults.count(Fault::Kill);
                    self.crash(one, Crash::Kill, self.options.down_max)?;
                }
                self.schedule(self.options.kill_pause, What::Kill);
            }
            What::PowerLoss => {
                self.lose_power()?;
                self.schedule(self.options.power_pause, What::PowerLoss);
            }
            What::Partition => {
                let asymmetric = self.rng.chance(self.options.asymmetric);
                self.report.faults.count(if asymmetric {
                    Fault::OneWayPartition
                } else {
                    Fault::Partition
                });
                self.network.partition(&mut self.rng, asymmetric);
                let lasts = self.rng.micros(10_000, 800_000);
                self.at(self.now + lasts, What::Mend);
                self.schedule(self.options.partition_pause, What::Partition);
            }
            What::Flap => {
                self.network.flap(&mut self.rng);
                self.report.faults.count(Fault::Flap);
                self.schedule(self.options.flap_pause, What::Flap);
            }
            What::Freeze => {
                let one = self.any_member();
                let lasts = self.rng.micros(10_000, 1_000_000);
                let until = self.now + lasts;
                self.node(one).frozen_until = until;
                self.report.faults.count(Fault::Freeze);
                self.schedule(self.options.freeze_pause, What::Freeze);
            }
            What::Outage => {
                self.report.league.outages += 1;
                let lasts = self.rng.micros(400_000, 1_500_000);
                for me in (self.options.validators..self.options.members()).map(MemberIndex) {
                    self.crash(me, Crash::Kill, lasts)?;
                }
                let pause = self
                    .options
                    .leagues
                    .as_ref()
                    .and_then(|leagues| leagues.outage_pause);
                self.schedule(pause, What::Outage);
            }
            _ => {}
        }
        Ok(())
    }

    fn any_member(&mut self) -> MemberIndex {
        MemberIndex(self.rng.below(self.options.members().into()) as u16)
    }

    /// Some machines or all of them lose power at the same instant, also those whose process is down already.
    fn lose_power(&mut self) -> Checked {
        let all = self.rng.chance(self.options.blackouts);
        self.report
            .faults
            .count(if all { Fault::Blackout } else { Fault::PowerLoss });
        for me in (0..self.options.members()).map(MemberIndex) {
            if all || self.rng.chance(500) {
                self.promises.on_power_loss(me);
                self.crash(me, Crash::PowerLoss, self.options.down_max)?;
            }
        }
        Ok(())
    }

    /// A node stops, and starts again within `down`.
    pub(super) fn crash(&mut self, me: MemberIndex, crash: Crash, down: Duration) -> Checked {
        let at = usize::from(me.0);
        self.trace(&[8, me.0.into(), self.now.0]);
        self.count_node(at);
        let was_up = self.nodes[at].replica.is_some();
        let loss = self.nodes[at].stop(&mut self.rng, crash);
        let loss = loss.map_err(|reason| Violation::new("disk", format!("member {me}: {reason}")))?;
        self.report.records_lost += loss.records;
        self.report.torn_tails += u64::from(loss.torn);
        self.report.records_cut_behind += loss.reordered;
        if was_up {
            self.clients.on_node_down(me);
            let micros = down.as_micros() as u64;
            let back = self.now + self.rng.micros(1_000, micros);
            self.at(back, What::Start(me));
        }
        Ok(())
    }

    /// What the wall clock says to a process that starts, and how fast its machine counts.
    pub(super) fn draw_clock(&mut self) -> Clock {
        let off = i64::try_from(self.options.clock_off.as_nanos()).unwrap_or(i64::MAX);
        let (low, high) = self.options.clock_rate;
        let rate = self.rng.between(low, high);
        let ahead = if off == 0 {
            0
        } else {
            self.rng.between(0, 2 * off.unsigned_abs()) as i64 - off
        };
        if ahead != 0 {
            self.report.faults.count(Fault::WrongClock);
        }
        if (low, high) != (1_000, 1_000) {
            self.report.faults.count(Fault::WrongRate);
        }
        Clock::new(self.now, ahead, rate)
    }

    /// Faults end: links mend, nodes start, clients stop sending. Clocks stay as wrong as they are, and liars lie on.
    pub(super) fn heal(&mut self) -> Checked {
        self.healed = true;
        self.network.heal();
        self.options.sync_micros = (50, 500);
        self.options.check_micros = (20, 200);
        self.options.slow = None;
        self.options.slow_disk = None;
        for member in (0..self.options.members()).map(MemberIndex) {
            // What it put off stays due at the end of its freeze; new events are served at once.
            self.node(member).frozen_until = Time(0);
            self.start(member)?;
        }
        self.reconnect();
        Ok(())
    }
}
