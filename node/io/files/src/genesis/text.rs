//! The text of `genesis.toml`.

use crypto::placement;
use types::codec::Encode;
use types::genesis::{EpochConfig, Genesis};

/// `genesis.toml`: comments for people, one key for programs.
#[must_use]
pub fn genesis_text(genesis: &Genesis) -> String {
    let epoch = placement::epoch_config(genesis);
    let (funding, policy) = (&genesis.funding, &genesis.policy);
    let mut text = format!(
        "# The network {name:?}. What stands in comments is for reading; programs read the key `genesis` alone,\n\
         # the canonical encoding of all of it. allocations.bin belongs beside this file.\n\
         #\n\
         # genesis hash      {hash}\n\
         # shards            {shards}\n\
         # validators        {validators}\n\
         # accounts          {accounts} of {amount} each, keys from seed {seed}\n\
         # allocations       {allocations}, hash {allocations_hash}\n\
         # randomness        {randomness}\n\
         # shard_delay       {shard_delay}\n\
         # block_interval    {block_interval}\n\
         # window            {window}\n\
         # view_timeout_min  {view_timeout_min}\n\
         # cut_interval      {cut_interval}\n\
         # park_timeout      {park_timeout}\n\
         # lag               {lag}\n\
         # batch_txs_max     {batch_txs_max}\n\
         # batch_bytes_max   {batch_bytes_max}\n\
         # block_txs_max     {block_txs_max}\n\
         # expiry_ahead_max  {expiry_ahead_max}\n\
         # fee_min           {fee_min}\n\
         #\n\
         # validator, shard, member, public key\n",
        name = genesis.name,
        hash = epoch.genesis_hash,
        shards = genesis.shards,
        validators = genesis.validators.len(),
        accounts = funding.accounts,
        amount = funding.amount,
        seed = funding.seed,
        allocations = genesis.allocations,
        allocations_hash = genesis.allocations_hash,
        randomness = genesis.randomness,
        shard_delay = humantime::format_duration(policy.shard_delay),
        block_interval = humantime::format_duration(policy.block_interval),
        window = policy.window,
        view_timeout_min = humantime::format_duration(policy.view_timeout_min),
        cut_interval = humantime::format_duration(policy.cut_interval),
        park_timeout = humantime::format_duration(policy.park_timeout),
        lag = policy.lag,
        batch_txs_max = policy.batch_txs_max,
        batch_bytes_max = policy.batch_bytes_max,
        block_txs_max = policy.block_txs_max,
        expiry_ahead_max = policy.expiry_ahead_max,
        fee_min = policy.fee_min,
    );
    for line in validator_lines(&epoch) {
        text.push_str(&line);
    }
    text.push_str("\ngenesis = \"");
    text.push_str(&hex::encode(genesis.to_bytes()));
    text.push_str("\"\n");
    text
}

fn validator_lines(epoch: &EpochConfig) -> impl Iterator<Item = String> {
    epoch.committees.iter().flat_map(|committee| {
        committee.members.iter().enumerate().map(|(member, (id, key))| {
            format!(
                "# {:03} {} {member} {}\n",
                id.0,
                committee.shard,
                hex::encode(key)
            )
        })
    })
}
