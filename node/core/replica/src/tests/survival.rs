//! Lost disks, full disks, and leaders that leave work alone.

use types::message::{PeerMessage, Trace, Vote};
use types::record::{LogRecord, Standing};
use types::time::Duration;
use types::{MemberIndex, Reject};

use super::Net;
use crate::{Event, Replica};

impl Net {
    fn replica(&self, member: u16) -> &Replica {
        self.replicas[usize::from(member)].as_ref().expect("runs")
    }

    /// Votes on the log of a member.
    fn votes(&self, member: u16) -> Vec<&Vote> {
        let of_record = |(_, record): &'_ (_, LogRecord)| matches!(record, LogRecord::Vote(_));
        let records = self.logs[usize::from(member)]
            .iter()
            .filter(|record| of_record(record));
        records
            .filter_map(|(_, record)| match record {
                LogRecord::Vote(vote) => Some(vote),
                _ => None,
            })
            .collect()
    }

    fn standings(&self, member: u16) -> Vec<Standing> {
        let records = self.logs[usize::from(member)].iter();
        records
            .filter_map(|(_, record)| match record {
                LogRecord::Standing(standing) => Some(*standing),
                _ => None,
            })
            .collect()
    }

    fn space(&mut self, member: u16, low: bool) {
        self.queue.push_back((MemberIndex(member), Event::Space { low }));
        self.run();
    }

    fn voter_beside_the_leader(&self) -> u16 {
        let leader = self.epoch.committees[0].leaders[0];
        (0..4).find(|member| *member != leader.0).expect("another")
    }
}

#[test]
fn a_validator_that_lost_its_disk_follows_the_chain_and_signs_nothing_also_after_a_restart() {
    let mut net = Net::new();
    let lost = net.voter_beside_the_leader();
    let other = (lost + 1) % 4;
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(lost, 1, payment);
    net.pass(Duration::from_millis(300));
    assert!(!net.votes(lost).is_empty());
    net.start(lost, false);
    net.run();
    net.pass(Duration::from_millis(1_500));
    assert!(net.replica(lost).is_barred());
    let payment = net.pay(&[(net.coin(1), 1, 100)], 2);
    net.submit(other, 2, payment);
    net.pass(Duration::from_millis(500));
    assert_eq!(net.finals(), [1, 2], "the others go on");
    assert!(
        net.replica(lost).final_height().0 + 2 >= net.replica(other).final_height().0,
        "it follows: {:?}",
        net.heights()
    );
    assert_eq!(
        net.replica(lost).ledger().final_digest(),
        net.replica(lost).ledger().digest()
    );
    let refused = net.pay(&[(net.coin(2), 2, 100)], 3);
    net.submit(lost, 3, refused);
    assert!(net.rejects().contains(&(3, Reject::Closed)));
    net.restart(lost);
    net.pass(Duration::from_millis(1_000));
    assert!(net.replica(lost).is_barred(), "that is on record");
    assert_eq!(net.votes(lost), Vec::<&Vote>::new());
    assert_eq!(net.standings(lost), [Standing::Barred]);
}

#[test]
fn a_key_that_outlived_its_disk_signs_nothing_even_if_nobody_remembers_it() {
    let mut net = Net::stopped();
    for member in 0..4 {
        net.start(member, member == 2);
    }
    net.run();
    net.pass(Duration::from_millis(1_500));
    assert!(net.replica(2).is_barred());
    assert_eq!(net.votes(2), Vec::<&Vote>::new());
    assert!(
        net.heights().iter().all(|height| *height > 5),
        "{:?}",
        net.heights()
    );
}

#[test]
fn one_that_starts_late_for_the_first_time_becomes_a_voter() {
    let mut net = Net::stopped();
    let late = net.voter_beside_the_leader();
    (0..4)
        .filter(|member| *member != late)
        .for_each(|member| net.start(member, false));
    net.run();
    net.pass(Duration::from_millis(600));
    assert!(net.replica((late + 1) % 4).final_height().0 > 5);
    net.start(late, false);
    net.run();
    net.pass(Duration::from_millis(600));
    assert!(net.replica(late).is_signing());
    assert!(!net.votes(late).is_empty());
    assert_eq!(net.standings(late), [Standing::Voter]);
}

#[test]
fn nothing_is_signed_before_a_quorum_is_asked_and_a_forged_trace_bars_nobody() {
    let mut net = Net::stopped();
    net.start(0, false);
    net.start(1, false);
    net.run();
    net.pass(Duration::from_millis(600));
    assert!(!net.replica(0).is_signing() && !net.replica(1).is_signing());
    let other = net.votes(0).len() + net.votes(1).len();
    assert_eq!(other, 0);
    net.start(2, false);
    net.run();
    net.pass(Duration::from_millis(300));
    let stolen = net.votes(1).first().copied().cloned().expect("a quorum votes");
    net.start(3, false);
    let mine = Vote {
        member: MemberIndex(3),
        ..stolen.clone()
    };
    for vote in [stolen, mine] {
        net.queue.push_front((
            MemberIndex(3),
            Event::Peer {
                from: MemberIndex(2),
                message: PeerMessage::Trace(Some(Box::new(Trace::Vote(vote)))),
            },
        ));
    }
    net.run();
    net.pass(Duration::from_millis(300));
    assert!(net.replica(3).is_signing());
    assert_eq!(net.replica(3).counters().refused, 2);
}

#[test]
fn with_a_full_disk_nothing_is_begun_and_once_there_is_room_it_goes_on() {
    for leads in [false, true] {
        let mut net = Net::new();
        let leader = net.epoch.committees[0].leaders[0].0;
        let full = if leads {
            leader
        } else {
            net.voter_beside_the_leader()
        };
        let other = (full + 1) % 4;
        net.pass(Duration::from_millis(100));
        net.space(full, true);
        let written = net.logs[usize::from(full)].len();
        let height = net.replica(full).final_height();
        let refused = net.pay(&[(net.coin(0), 0, 100)], 1);
        net.submit(full, 1, refused);
        assert_eq!(net.rejects(), [(1, Reject::Busy)]);
        let payment = net.pay(&[(net.coin(1), 1, 100)], 2);
        net.submit(other, 2, payment);
        net.pass(Duration::from_millis(2_500));
        assert_eq!(net.finals(), [2], "the others go on, in another view if need be");
        assert_eq!(net.logs[usize::from(full)].len(), written, "nothing is written");
        assert_eq!(net.replica(full).final_height(), height);
        assert!(net.replica(full).is_suspended());
        net.space(full, false);
        net.pass(Duration::from_millis(2_500));
        let behind = net.replica(other).final_height().0
            - net
                .replica(full)
                .final_height()
                .0
                .min(net.replica(other).final_height().0);
        assert!(behind <= 2, "{:?}", net.heights());
        let votes = net.votes(full).len();
        let again = net.pay(&[(net.coin(2), 2, 100)], 3);
        net.submit(full, 3, again);
        net.pass(Duration::from_millis(1_500));
        assert_eq!(net.finals(), [2, 3]);
        assert!(net.votes(full).len() > votes, "it votes again");
    }
}

#[test]
fn a_leader_that_proposes_and_leaves_ready_work_out_is_replaced_in_time() {
    // It proposes empty blocks in time, so the view's timer never fires; by heights the rule takes `lag` of them.
    let mut net = Net::new();
    let leader = net.epoch.committees[0].leaders[0];
    let author = net.voter_beside_the_leader();
    net.deaf_to_work = Some(leader);
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(author, 1, payment);
    let patience = net.replica(author).patience();
    net.pass(patience * 3);
    assert_eq!(net.finals(), [1], "{:?}", net.heights());
    assert!(net.replica(author).view().0.0 > 0);
}

#[test]
fn a_leader_that_never_got_the_work_is_told_and_stays() {
    let mut net = Net::new();
    let leader = net.epoch.committees[0].leaders[0];
    let author = net.voter_beside_the_leader();
    net.first_body_lost = Some(leader);
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(author, 1, payment);
    let patience = net.replica(author).patience();
    net.pass(patience * 3);
    assert_eq!(net.finals(), [1], "{:?}", net.heights());
    assert_eq!(net.replica(author).view().0.0, 0);
}

#[test]
fn one_that_was_cut_off_for_long_votes_again_although_the_others_never_left_their_view() {
    // Its timer fired alone. Had it promised the next view, it could not vote in this one.
    let mut net = Net::new();
    let cut_off = net.voter_beside_the_leader();
    let others: Vec<u16> = (0..4).filter(|member| *member != cut_off).collect();
    net.cut_off = Some(MemberIndex(cut_off));
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(others[0], 1, payment);
    net.pass(Duration::from_millis(3_000));
    assert_eq!(net.finals(), [1]);
    net.cut_off = None;
    net.pass(Duration::from_millis(1_000));
    let votes = net.votes(cut_off).len();
    net.pass(Duration::from_millis(1_000));
    assert!(net.votes(cut_off).len() > votes, "it votes again");
    assert!((0..4).all(|member| net.replica(member).view().0.0 == 0));
}

#[test]
fn a_log_that_is_known_to_lack_records_bars_a_voter_too() {
    let mut net = Net::new();
    let member = net.voter_beside_the_leader();
    net.pass(Duration::from_millis(300));
    net.disk_lost = Some(member);
    net.restart(member);
    let votes = net.votes(member).len();
    net.pass(Duration::from_millis(500));
    assert!(net.replica(member).is_barred());
    assert_eq!(net.votes(member).len(), votes);
    assert_eq!(net.standings(member), [Standing::Voter, Standing::Barred]);
}
