//! What a run came to.

use types::time::Duration;

use crate::clients::Seen;
use crate::faults::Tally;
use crate::league::LeagueSeen;
use crate::network::Traffic;

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Hash over every event in order: equal for equal options.
    pub trace: u64,
    /// Events handled.
    pub events: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Highest final height.
    pub height: u64,
    /// View changes, over all nodes and lives.
    pub view_changes: u64,
    /// Restarts from a disk.
    pub recoveries: u64,
    /// Of them, those after the end of the process alone.
    pub recoveries_from_kill: u64,
    /// Of them, those after a loss of power that took records.
    pub recoveries_with_loss: u64,
    /// Records that crashes took.
    pub records_lost: u64,
    /// Logs that ended in a part of a record.
    pub torn_tails: u64,
    /// Whole records that stood behind one that was not, and were cut.
    pub records_cut_behind: u64,
    /// Times that fetched blocks made a node's committed height rise.
    pub caught_up: u64,
    /// Views led by a liar that honest members left for a later one.
    pub liars_replaced: u64,
    /// Resets of runs that became final, as one node counts them.
    pub resets: u64,
    /// Proposals made with more than one height in flight, at least.
    pub pipelined: u64,
    /// Transactions excluded from final blocks, as the nodes count them.
    pub excluded: u64,
    /// Times that a node's timer was due again at once.
    pub hot_timers: u64,
    /// What clients saw.
    pub seen: Seen,
    /// What only two leagues do.
    pub league: LeagueSeen,
    /// What the network did.
    pub traffic: Traffic,
    /// Faults that struck.
    pub faults: Tally,
}

impl Report {
    /// Adds the counters of another run; the trace stays.
    pub fn add(&mut self, other: &Self) {
        let Self {
            trace: _,
            events,
            simulated,
            height,
            view_changes,
            recoveries,
            recoveries_from_kill,
            recoveries_with_loss,
            records_lost,
            torn_tails,
            records_cut_behind,
            caught_up,
            liars_replaced,
            resets,
            pipelined,
            excluded,
            hot_timers,
            seen,
            league,
            traffic,
            faults,
        } = other;
        self.league.add(league);
        self.simulated += *simulated;
        self.faults.merge(faults);
        for (sum, more) in [
            (&mut self.events, events),
            (&mut self.height, height),
            (&mut self.view_changes, view_changes),
            (&mut self.recoveries, recoveries),
            (&mut self.recoveries_from_kill, recoveries_from_kill),
            (&mut self.recoveries_with_loss, recoveries_with_loss),
            (&mut self.records_lost, records_lost),
            (&mut self.torn_tails, torn_tails),
            (&mut self.records_cut_behind, records_cut_behind),
            (&mut self.caught_up, caught_up),
            (&mut self.liars_replaced, liars_replaced),
            (&mut self.resets, resets),
            (&mut self.pipelined, pipelined),
            (&mut self.excluded, excluded),
            (&mut self.hot_timers, hot_timers),
            (&mut self.seen.submitted, &seen.submitted),
            (&mut self.seen.finals, &seen.finals),
            (&mut self.seen.refused, &seen.refused),
            (&mut self.seen.double_spends, &seen.double_spends),
            (&mut self.seen.lost, &seen.lost),
            (&mut self.traffic.sent, &traffic.sent),
            (&mut self.traffic.lost, &traffic.lost),
            (&mut self.traffic.copied, &traffic.copied),
            (&mut self.traffic.late, &traffic.late),
        ] {
            *sum += more;
        }
    }
}
