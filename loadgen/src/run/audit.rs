//! The end audit of a run: fetches every validator's chain and holds it against what the client was told.

use types::Height;
use types::client::StateInfo;

use super::load::Loaded;
use super::prepare::{PATIENCE, Prepared, sample_seed};
use super::{RunError, Setting};
use crate::accounting::{Outcome, Sending};
use crate::audit::fetch::{fetch_chain, fetch_state};
use crate::audit::{Audit, AuditOptions, AuditOutcome, Claim, Receipts};
use crate::network::{Control, greeting};

/// Audits the network after the drain.
pub(crate) fn audit(
    setting: &Setting<'_>,
    prepared: &Prepared,
    loaded: &Loaded,
) -> Result<AuditOutcome, RunError> {
    setting.progress.note("auditing the chains of all validators");
    let network = &prepared.network;
    let mut audit = Audit::new(
        &network.genesis,
        &network.epoch,
        &network.allocations,
        receipts(prepared, loaded),
        AuditOptions::sampled(sample_seed()),
    )?;
    setting
        .runtime
        .block_on(read_all(setting, prepared, &mut audit))?;
    Ok(audit.finish())
}

/// What the client holds about each transaction.
fn receipts(prepared: &Prepared, loaded: &Loaded) -> Receipts {
    let recording = &loaded.shared.recording;
    let claims = (0_u32..)
        .zip(&prepared.arena.entries)
        .filter_map(|(index, entry)| {
            let claim = match (recording.sending(index), recording.outcome(index).0) {
                (Some(Sending::At(_)), Outcome::Final) => Claim::Final,
                (Some(Sending::At(_)), Outcome::Rejected(reason)) if is_binding(reason) => Claim::Rejected,
                (Some(Sending::At(_)), _) => Claim::Open,
                _ => return None,
            };
            Some((entry.txid, entry.shard, claim))
        });
    Receipts::new(claims)
}

/// `Busy` says only that this node did not take it.
fn is_binding(reason: types::Reject) -> bool {
    reason != types::Reject::Busy
}

async fn read_all(setting: &Setting<'_>, prepared: &Prepared, audit: &mut Audit) -> Result<(), RunError> {
    let hello = greeting(&prepared.network.epoch);
    let mut controls = Vec::with_capacity(prepared.targets.len());
    for target in &prepared.targets {
        let opened = async {
            let mut control = Control::connect(*target, &hello)
                .await
                .map_err(|error| error.to_string())?;
            let state = fetch_state(&control.sender, &mut control.answers, PATIENCE)
                .await
                .map_err(|error| error.to_string())?;
            Ok::<_, String>((control, state))
        };
        match opened.await {
            Ok(open) => controls.push(open),
            Err(reason) => audit.unreachable(target.validator, &reason),
        }
    }
    for position in 0..controls.len() {
        let shard = controls[position].0.target.shard;
        let highest = controls
            .iter()
            .filter(|(control, _)| control.target.shard == shard)
            .map(|(_, state)| state.height)
            .max()
            .unwrap_or(Height(0));
        let (control, state) = &mut controls[position];
        read_one(setting, audit, control, state, highest).await?;
    }
    Ok(())
}

async fn read_one(
    setting: &Setting<'_>,
    audit: &mut Audit,
    control: &mut Control,
    state: &StateInfo,
    until: Height,
) -> Result<(), RunError> {
    let validator = control.target.validator;
    audit.begin(validator)?;
    let mut taken = 0_u64;
    let mut take = |item| {
        taken += 1;
        setting
            .progress
            .tick(|| format!("auditing validator {validator}: {taken} blocks and bodies of {until} heights"));
        audit.push(item);
    };
    let fetched = fetch_chain(&control.sender, &mut control.answers, until, PATIENCE, &mut take).await;
    match fetched {
        Ok(_) => audit.check_state(state),
        Err(error) => audit.unreachable(validator, &error.to_string()),
    }
    audit.end();
    Ok(())
}
