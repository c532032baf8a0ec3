//! What a report says of two leagues besides rates and latencies: promises, faults, money, costs against the rules.

use std::collections::BTreeMap;

use sizing::exposure::exposure_margin;
use sizing::{Setup, Sizing};
use types::genesis::EpochConfig;
use types::{MemberIndex, Reject};

use super::load::Loaded;
use super::prepare::Prepared;
use crate::accounting::{Outcome, Sending};
use crate::arena::Expect;
use crate::audit::AuditOutcome;
use crate::config::{Config, Design, Network};
use crate::cost_model::CostModel;
use crate::measure::Figures;
use crate::report::{FaultsSection, MoneySection, SecuritySection};

/// Share of faulty validators for which failure is computed, parts per million (`ios` 0.2).
const FAULTY_PPM: u32 = 250_000;

/// Receipts that were not kept or never given, transactions that followed their shard's mode.
pub(super) fn promise_labels(loaded: &Loaded, figures: &Figures) -> Vec<String> {
    let kept = &loaded.checked.kept;
    let words = [
        (
            figures.counts.broken_promises,
            "optimistic receipts were not kept",
        ),
        (kept.replaced, "optimistic receipts were replaced by later ones"),
        (
            kept.unannounced,
            "transactions became final in an author's block without an optimistic receipt",
        ),
        (
            loaded.shared.moves.count(),
            "transactions were sent again when a connection broke or a shard changed its mode or an author",
        ),
    ];
    let told = words.iter().filter(|(count, _)| *count > 0);
    told.map(|(count, words)| format!("{count} {words}")).collect()
}

/// Smallest bond among the candidates of all shards: what the authors' word is worth at least.
pub(super) fn smallest_bond(epoch: &EpochConfig) -> Option<u64> {
    let bonds = epoch.committees.iter().flat_map(|committee| {
        let bond = |member: &MemberIndex| committee.bonds.get(usize::from(member.0));
        committee.candidates.iter().filter_map(bond)
    });
    bonds.copied().min()
}

/// What the network promises, with its smallest bond and the largest value that was sent.
pub(super) fn security(config: &Config, prepared: &Prepared, figures: &Figures) -> Option<SecuritySection> {
    let (genesis, epoch) = (&prepared.network.genesis, &prepared.network.epoch);
    let mix = &prepared.arena.mix;
    let bond = smallest_bond(epoch);
    let leagues = genesis.policy.leagues.as_ref().map(|leagues| sizing::Leagues {
        seats: leagues.seats.into(),
        candidates: leagues.candidates.into(),
        sampling_ppm: leagues.sampling_ppm,
        bond,
        value: Some(mix.value_max),
    });
    let shards = u32::from(genesis.shards.max(1));
    let setup = Setup {
        shards,
        validators: genesis.validators.len() as u32 / shards,
        faulty_ppm: FAULTY_PPM,
        leagues,
    };
    let sizing = Sizing::of(&setup).ok()?;
    // Rate times latency of the busiest shard, shared among its seats. What waits in this program is with no author.
    let seats = setup
        .leagues
        .as_ref()
        .map(|leagues| f64::from(leagues.seats.max(1)));
    let busiest = figures
        .by_shard
        .values()
        .map(|part| part.final_tps)
        .fold(0.0, f64::max);
    let exposed_value = seats.map(|seats| busiest * figures.service.mean() / 1e9 * mix.value_mean / seats);
    let passes = sizing.sampling.as_ref().map(|sampling| sampling.forgery_passes);
    let exposure_margin = exposed_value
        .zip(passes)
        .zip(bond)
        .and_then(|((value, passes), bond)| exposure_margin(bond, value, passes));
    let honest = sizing.voting.honest_in_quorum();
    let wanted = prepared
        .traffic
        .bonds(&genesis.policy, genesis.shards, honest)
        .for_exposure;
    let short = bond.filter(|bond| *bond < wanted);
    Some(SecuritySection {
        sizing,
        value_max: mix.value_max,
        exposed_value,
        exposure_margin,
        bond_for_rate: bond.map(|_| wanted),
        bond_limit: short.map(|_| bond_limit(config).to_owned()),
    })
}

/// What keeps bonds below those that the rate asks for.
const fn bond_limit(config: &Config) -> &'static str {
    match &config.network {
        Network::Local(local) => match &local.design {
            Design::TwoLeagues(leagues) if leagues.bond.is_some() => "--bond says less",
            _ => "the supply has room for no more",
        },
        Network::Remote(_) => "its genesis says less",
    }
}

/// What was caught and who paid; `None` with one league.
pub(super) fn faults(
    config: &Config,
    prepared: &Prepared,
    loaded: &Loaded,
    figures: &Figures,
    audit: &AuditOutcome,
) -> Option<FaultsSection> {
    prepared.network.genesis.policy.leagues.as_ref()?;
    let kept = &loaded.checked.kept;
    Some(FaultsSection {
        byzantine: match &config.network {
            Network::Local(local) => local.byzantine.clone(),
            Network::Remote(_) => None,
        },
        broken_promises: figures.counts.broken_promises,
        receipts_replaced: kept.replaced,
        receipts_missing: kept.unannounced,
        sent_again: loaded.shared.moves.count(),
        ..FaultsSection::of(&audit.faults)
    })
}

/// Where the supply of each shard is.
pub(super) fn money(audit: &AuditOutcome) -> BTreeMap<String, MoneySection> {
    let shards = audit.money.iter().enumerate();
    shards
        .map(|(shard, money)| (shard.to_string(), MoneySection::of(money)))
        .collect()
}

/// The model of this network and load, from what the chains hold.
pub(super) fn cost_model(prepared: &Prepared, audit: &AuditOutcome) -> Option<CostModel> {
    let (genesis, epoch) = (&prepared.network.genesis, &prepared.network.epoch);
    let committee = epoch.committees.first()?;
    let leagues = genesis.policy.leagues.as_ref();
    let entries = prepared.arena.entries.len();
    let txs = audit.applied_txs as f64;
    if entries == 0 || audit.author_blocks == 0 || audit.final_blocks == 0 || audit.applied_txs == 0 {
        return None;
    }
    Some(CostModel {
        members: committee.members.len() as f64,
        voters: committee.size() as f64,
        quorum: committee.quorum() as f64,
        sampling: leagues.map_or(1.0, |leagues| f64::from(leagues.sampling_ppm) / 1e6),
        is_two_leagues: leagues.is_some(),
        owners: prepared.arena.mix.owners_mean,
        tx_bytes: prepared.arena.bytes.len() as f64 / entries as f64,
        txs_per_author_block: txs / audit.author_blocks as f64,
        txs_per_final_block: txs / audit.final_blocks as f64,
        refs_per_final_block: audit.author_blocks as f64 / audit.final_blocks as f64,
    })
}

/// Transactions that break a rule on purpose and became final.
pub(super) fn invalid_final(prepared: &Prepared, loaded: &Loaded) -> u64 {
    let recording = &loaded.shared.recording;
    let entries = (0_u32..).zip(&prepared.arena.entries);
    let wrong = entries.filter(|(index, entry)| {
        matches!(entry.expect, Expect::Rejected(_)) && recording.outcome(*index).0 == Outcome::Final
    });
    wrong.count() as u64
}

/// Pairs over the same coins of which not exactly one became final; `None` without pairs. Pairs of which one was not
/// sent, not answered or found no room say nothing, and neither do those whose parent did not become final.
pub(super) fn conflicts_undecided(prepared: &Prepared, loaded: &Loaded) -> Option<u64> {
    let recording = &loaded.shared.recording;
    let answer = |index: u32| match (recording.sending(index), recording.outcome(index).0) {
        (Some(Sending::At(_)), Outcome::Final) => Some(true),
        (Some(Sending::At(_)), Outcome::Rejected(Reject::Busy | Reject::Closed)) => None,
        (Some(Sending::At(_)), Outcome::Rejected(_)) => Some(false),
        _ => None,
    };
    if prepared.arena.mix.conflicts == 0 {
        return None;
    }
    let pairs = (0_u32..)
        .zip(&prepared.arena.entries)
        .filter_map(|(index, entry)| match entry.expect {
            Expect::OneOf(other) if other > index => Some((index, other, entry.parent)),
            _ => None,
        });
    let undecided = pairs.filter(|(first, second, parent)| {
        let is_funded = parent.is_none_or(|parent| answer(parent) == Some(true));
        match (answer(*first), answer(*second)) {
            (Some(true), Some(true)) => true,
            (Some(false), Some(false)) => is_funded,
            _ => false,
        }
    });
    Some(undecided.count() as u64)
}
