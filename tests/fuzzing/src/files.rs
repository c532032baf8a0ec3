//! Files that users write: whatever they hold, they are read or refused with one line.

use std::error::Error;
use std::path::Path;

use files::config::Settings;
use files::genesis::{check_amounts, decode_allocations, encode_allocations, genesis_text, parse_genesis};
use files::{hosts, policy};
use types::ValidatorId;

use crate::memory::in_proportion;

/// Bytes that the parser of TOML may hold for each byte of text. A dot makes a table of 1.1 KiB inside the table before
/// it, up to 80 deep; other text holds 50 to 180 for each byte, in proportion up to the largest file.
const TEXT_FACTOR: u64 = 1280;

/// The first byte chooses the kind of file, the rest is its content.
pub(crate) fn check(input: &[u8]) {
    let Some((kind, content)) = input.split_first() else {
        return;
    };
    let text = std::str::from_utf8(content);
    match (kind % 5, text) {
        (0, _) => check_genesis(content),
        (1, _) => check_allocations(content),
        (2, Ok(text)) => check_settings(text),
        (3, Ok(text)) => check_hosts(text),
        (4, Ok(text)) => check_policy(text),
        _ => {}
    }
}

/// An error is for one line of a log.
fn refused(error: &dyn Error) {
    let shown = error.to_string();
    assert!(!shown.is_empty() && !shown.contains('\n'), "{shown:?}");
}

fn check_genesis(content: &[u8]) {
    let path = Path::new("genesis.toml");
    let parse = || parse_genesis(path, content.to_vec());
    match in_proportion(content.len(), TEXT_FACTOR, parse) {
        Err(error) => refused(&error),
        Ok(genesis) => {
            let again = genesis_text(&genesis).into_bytes();
            assert_eq!(
                parse_genesis(path, again).expect("what is written is read"),
                genesis
            );
            let committees = crypto::placement::epoch_config(&genesis).committees;
            let members: usize = committees.iter().map(|committee| committee.members.len()).sum();
            assert_eq!(members, genesis.validators.len(), "each validator has one place");
        }
    }
}

fn check_allocations(content: &[u8]) {
    match in_proportion(content.len(), 4, || decode_allocations(content)) {
        Err(error) => refused(&error),
        Ok(allocations) => {
            assert_eq!(encode_allocations(&allocations), content);
            let supply: u128 = allocations.iter().map(|one| u128::from(one.amount.0)).sum();
            let sound = supply < 1 << 64 && allocations.iter().all(|one| one.amount.0 > 0);
            let checked = check_amounts(Path::new("allocations.bin"), &allocations);
            assert_eq!(checked.is_ok(), sound, "{checked:?}");
        }
    }
}

fn check_settings(text: &str) {
    let parse = || Settings::parse(Path::new("folder/validator.toml"), text);
    match in_proportion(text.len(), TEXT_FACTOR, parse) {
        Err(error) => refused(&error),
        Ok(settings) => {
            let genesis = crate::seeds::genesis();
            let committees = crypto::placement::epoch_config(&genesis).committees;
            for me in 0..genesis.validators.len() as u16 {
                if let Err(error) = settings.check_peers(&genesis, &committees, ValidatorId(me)) {
                    refused(&error);
                }
            }
        }
    }
}

fn check_hosts(text: &str) {
    // Names are not asked for: that would be a question to the network.
    let read = |text: &str| hosts::parse(text, |address| address.parse().ok());
    match in_proportion(text.len(), TEXT_FACTOR, || read(text)) {
        Err(error) => refused(&error),
        Ok(found) => {
            let lines = found.iter().map(|host| match &host.key {
                Some(key) => hosts::line(host.address, key),
                None => format!("{}\n", host.address),
            });
            let again = read(&lines.collect::<String>()).expect("what is written is read");
            assert_eq!(again, found);
        }
    }
}

fn check_policy(text: &str) {
    let parse = || policy::parse(Path::new("policy.toml"), text);
    match in_proportion(text.len(), TEXT_FACTOR, parse) {
        Err(error) => refused(&error),
        Ok(policy) => {
            assert_eq!(policy.validate(), Ok(()));
            assert!(policy.idle_interval() >= policy.block_interval);
        }
    }
}
