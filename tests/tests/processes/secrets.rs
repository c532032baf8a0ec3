//! Secret keys of validators: nowhere in what a validator prints, and refused where others could have read them.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::network::{Network, VALIDATORS, wait_for};
use crate::observer::Observer;
use crate::programs::survived;

fn key_file(network: &Network, validator: usize) -> PathBuf {
    network
        .folder
        .join("net/keys")
        .join(format!("{validator:03}.key"))
}

/// A secret as a careless line would show it.
fn shapes(secret: &[u8; 32]) -> Vec<String> {
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let listed = format!("{secret:?}");
    vec![
        digits.to_uppercase(),
        digits,
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        listed.trim_matches(['[', ']']).to_owned(),
    ]
}

fn secret(network: &Network, validator: usize) -> [u8; 32] {
    let text = std::fs::read_to_string(key_file(network, validator)).expect("a key file");
    let text = text.trim();
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hexadecimal digits"))
}

#[test]
fn no_secret_key_is_in_what_validators_print_even_when_they_print_everything() {
    let mut network = Network::new("secrets");
    for validator in 0..VALIDATORS {
        let mut command = network.run(validator, &[]);
        command.env("RUST_LOG", "trace");
        network.start_as(validator, command);
    }
    let mut observer = Observer::new(&network);
    let idle = observer.height(0);
    let load = network.load(20, 2, "secrets.json");
    observer.loaded(idle);
    // A handshake and a recovery say the most.
    network.kill(1);
    let mut command = network.run(1, &[]);
    command.env("RUST_LOG", "trace");
    network.start_as(1, command);
    let output = load.finish();
    survived(&network.folder, "secrets.json", &output);
    network.kill_all();
    for validator in 0..VALIDATORS {
        let said = network.said(validator);
        assert!(said.contains("TRACE"), "validator {validator} printed everything");
        for owner in 0..VALIDATORS {
            for shape in shapes(&secret(&network, owner)) {
                assert!(
                    !said.contains(&shape),
                    "validator {validator} printed the secret key of validator {owner}"
                );
            }
        }
    }
}

#[test]
fn a_key_file_that_others_may_read_keeps_the_validator_from_starting() {
    let mut network = Network::new("exposed");
    let path = key_file(&network, 0);
    let mode = std::fs::metadata(&path).expect("a key file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "as it is created");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("changed");
    network.start(0);
    let status = wait_for("the end of validator 0", || network.ended(0));
    let said = network.said(0);
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("000.key") && said.contains("chmod 600"), "{said}");
    assert!(!network.data(0).exists(), "nothing was started");
    assert!(
        shapes(&secret(&network, 0))
            .iter()
            .all(|shape| !said.contains(shape))
    );
}
