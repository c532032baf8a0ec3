//! Files of users.

use files::ConfigText;
use files::genesis::{encode_allocations, genesis_text};
use files::hosts;

use super::network::{allocations, genesis, genesis_of_leagues};
use super::{Seed, choose, seed};

/// Inputs of the target `files`.
pub(super) fn files() -> Vec<Seed> {
    let file = |kind, name: &str, content: &[u8]| seed("files", name, choose(kind, content));
    let address = |port| ([127, 0, 0, 1], port).into();
    let config = ConfigText {
        validator: 1,
        public: [1; 32],
        key: "keys/001.key",
        listen_peers: address(21_002),
        listen_clients: address(21_003),
        peers: &(0..4).map(|id| (id, address(21_000 + 2 * id))).collect(),
    };
    let config = config.render();
    // Without the words for people, which the engine would only change to other words.
    let bare = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let bare_genesis = bare(&genesis_text(&genesis()));
    let bare_leagues = bare(&genesis_text(&genesis_of_leagues()));
    let hosts = [
        hosts::line(address(4000), &[0xab; 32]),
        "# comment\n\n[::1]:4001 # bare\n".to_owned(),
    ]
    .concat();
    let policy = "shard_delay='20ms'\nblock_interval='1s 5ms'\nwindow=3\nview_timeout_min='4ms'\n\
                  cut_interval='5ms'\npark_timeout='6ms'\nlag=7\nbatch_txs_max=8\nbatch_bytes_max=9000\n\
                  block_txs_max=10\nexpiry_ahead_max=11\nfee_min=12\n";
    let leagues = "lag=21\n[leagues]\nseats=2\ncandidates=3\nseats_min=2\nsampling=0.5\nchallenge_wait='13ms'\n\
                   cut_interval='14ms'\nheartbeat='15ms'\nslow_heights=26\nbelievability_min=17\nbond_min=18\n\
                   bond_cap=19\nrecheck_heights=20\n";
    vec![
        file(0, "genesis", bare_genesis.as_bytes()),
        file(0, "genesis-leagues", bare_leagues.as_bytes()),
        file(1, "allocations", &encode_allocations(&allocations())),
        file(1, "no-allocations", &encode_allocations(&[])),
        file(2, "config", config.as_bytes()),
        file(2, "config-bare", bare(&config).as_bytes()),
        file(3, "hosts", hosts.as_bytes()),
        file(4, "policy", policy.as_bytes()),
        file(4, "policy-window", b"window = 8\n"),
        file(4, "policy-leagues", leagues.as_bytes()),
    ]
}
