//! The end audit of a run: fetches every validator's chain and holds it against what the client was told.

use types::client::StateInfo;
use types::{Height, Reject, TxId};

use super::load::Loaded;
use super::prepare::{PATIENCE, Prepared, sample_seed};
use super::{RunError, Setting};
use crate::accounting::{Outcome, Sending};
use crate::audit::fetch::{fetch_chain, fetch_state};
use crate::audit::finding::Fault;
use crate::audit::{Audit, AuditOptions, AuditOutcome, Claim, FindingKind, Receipts, Told};
use crate::config::Network;
use crate::network::{Control, greeting};
use crate::worker::{Contradiction, RefusedNote};

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
        options(setting),
    )?;
    for target in &prepared.targets {
        audit.set_address(target.validator, target.address.to_string());
    }
    accuse(prepared, loaded, &mut audit);
    setting
        .runtime
        .block_on(read_all(setting, prepared, &mut audit))?;
    Ok(audit.finish())
}

/// A network that was told to cheat is looked at in full: every forgery has to be found and claimed.
fn options(setting: &Setting<'_>) -> AuditOptions {
    match &setting.config.network {
        Network::Local(local) if local.byzantine.is_some() => AuditOptions::full(sample_seed()),
        _ => AuditOptions::sampled(sample_seed()),
    }
}

/// What the client was told about each transaction, and by whom.
fn receipts(prepared: &Prepared, loaded: &Loaded) -> Receipts {
    let recording = &loaded.shared.recording;
    let told = (0_u32..)
        .zip(&prepared.arena.entries)
        .filter_map(|(index, entry)| {
            let Some(Sending::At(_)) = recording.sending(index) else {
                return None;
            };
            let claim = match recording.outcome(index).0 {
                Outcome::Final => {
                    Claim::Final(loaded.checked.receipts.get(index as usize).copied().flatten())
                }
                Outcome::Rejected(reason) if is_definite(reason) => Claim::Rejected(reason),
                _ => Claim::Open,
            };
            let asked = loaded.asked.get(index as usize).copied().flatten();
            Some(Told {
                txid: entry.txid,
                shard: entry.shard,
                validator: asked.unwrap_or_default(),
                claim,
            })
        });
    Receipts::new(told, loaded.checked.certified.clone())
}

/// `Busy` says only that this node did not take it.
fn is_definite(reason: Reject) -> bool {
    reason != Reject::Busy
}

/// What was noticed while the load ran: receipts that prove nothing, answers that contradict one another.
fn accuse(prepared: &Prepared, loaded: &Loaded, audit: &mut Audit) {
    let txid = |index: Option<u32>| -> Option<TxId> {
        let entry = prepared.arena.entries.get(index? as usize)?;
        Some(entry.txid)
    };
    for note in &loaded.checked.refusals {
        let RefusedNote {
            validator,
            height,
            index,
            reason,
        } = note;
        let fault = Fault::new(FindingKind::ReceiptForged, "a receipt that holds", reason);
        audit.accuse(*validator, fault.at(*height).of(txid(*index)));
    }
    let recording = &loaded.shared.recording;
    for contradiction in loaded.shared.contradictions.list() {
        let Contradiction {
            validator,
            index,
            answer,
        } = contradiction;
        let expected = index.map_or("no answer for a tag that was not sent".to_owned(), |index| {
            format!("one answer, which was {}", words(recording.outcome(index).0))
        });
        let found = format!("also {}", words(answer));
        let fault = Fault::new(FindingKind::AnsweredTwice, expected, found);
        audit.accuse(validator, fault.of(txid(index)));
    }
}

fn words(outcome: Outcome) -> String {
    match outcome {
        Outcome::Final => "final".to_owned(),
        Outcome::Rejected(reason) => format!("refused with {reason}"),
        Outcome::Lost => "lost with its connection".to_owned(),
        Outcome::Pending => "none".to_owned(),
    }
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
                .map_err(|error| format!("its state: {error}"))?;
            Ok::<_, String>((control, state))
        };
        match opened.await {
            Ok(open) => controls.push(open),
            Err(reason) => audit.unreachable(target.validator, &reason),
        }
    }
    for (mut control, state) in controls {
        read_one(setting, audit, &mut control, state).await?;
    }
    Ok(())
}

/// Reads one validator's chain up to what it says itself and to what was certified to the client, whichever is
/// higher. What others say does not count: one that lies about its height must not make the rest look short.
async fn read_one(
    setting: &Setting<'_>,
    audit: &mut Audit,
    control: &mut Control,
    state: StateInfo,
) -> Result<(), RunError> {
    let (validator, shard) = (control.target.validator, control.target.shard);
    let until = audit.height_due(shard).max(state.height);
    audit.begin(validator)?;
    audit.set_state(state);
    let mut taken = 0_u64;
    let mut take = |item| {
        taken += 1;
        setting
            .progress
            .tick(|| format!("auditing validator {validator}: {taken} blocks and bodies of {until} heights"));
        audit.push(item)
    };
    let fetched = fetch_chain(
        &control.sender,
        &mut control.answers,
        (Height(0), until),
        PATIENCE,
        &mut take,
    )
    .await;
    match fetched {
        Ok(_) => audit.end(),
        Err(error) => audit.unreachable(validator, &error.to_string()),
    }
    Ok(())
}
