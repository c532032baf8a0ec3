//! The text of `genesis.toml`.

use crypto::placement;
use types::MemberIndex;
use types::codec::Encode;
use types::genesis::{Committee, EpochConfig, Genesis};
use types::policy::Leagues;

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
         # fee_min           {fee_min}\n",
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
    match &policy.leagues {
        Some(leagues) => text.push_str(&league_lines(leagues)),
        None => text.push_str("# protocol          pbft, one league\n"),
    }
    text.push_str("#\n# validator, shard, member, role, bond, public key\n");
    for line in validator_lines(&epoch) {
        text.push_str(&line);
    }
    text.push_str("\ngenesis = \"");
    text.push_str(&hex::encode(genesis.to_bytes()));
    text.push_str("\"\n");
    text
}

fn league_lines(leagues: &Leagues) -> String {
    format!(
        "# protocol          pob, two leagues\n\
         # seats             {seats} for {candidates} candidates of each shard, one league with fewer than {seats_min}\n\
         # sampling          {sampling}\n\
         # challenge_wait    {challenge_wait}\n\
         # cut_interval      {cut_interval} of believable authors\n\
         # heartbeat         {heartbeat}\n\
         # slow_heights      {slow_heights}\n\
         # recheck_heights   {recheck_heights}\n\
         # believable        from {believability_min} of 1000000, bonds from {bond_min}, capped at {bond_cap}\n",
        seats = leagues.seats,
        candidates = leagues.candidates,
        seats_min = leagues.seats_min,
        sampling = f64::from(leagues.sampling_ppm) / 1e6,
        challenge_wait = humantime::format_duration(leagues.challenge_wait),
        cut_interval = humantime::format_duration(leagues.cut_interval),
        heartbeat = humantime::format_duration(leagues.heartbeat),
        slow_heights = leagues.slow_heights,
        recheck_heights = leagues.recheck_heights,
        believability_min = leagues.believability_min,
        bond_min = leagues.bond_min,
        bond_cap = leagues.bond_cap,
    )
}

/// What a member is: `voter`, `seat-G` for the author of group G, or `stand-in`.
#[must_use]
pub fn role_name(committee: &Committee, seats: u16, member: MemberIndex) -> String {
    if committee.is_voter(member) {
        return "voter".to_owned();
    }
    let mut seated = (0..seats).zip(&committee.candidates);
    match seated.find(|(_, candidate)| **candidate == member) {
        Some((group, _)) => format!("seat-{group}"),
        None => "stand-in".to_owned(),
    }
}

fn validator_lines(epoch: &EpochConfig) -> impl Iterator<Item = String> {
    let seats = epoch.policy.seats();
    epoch.committees.iter().flat_map(move |committee| {
        committee
            .members
            .iter()
            .enumerate()
            .map(move |(member, (id, key))| {
                let member = MemberIndex(member as u16);
                let bond = committee.bonds.get(usize::from(member.0));
                format!(
                    "# {:03} {} {member} {} {} {}\n",
                    id.0,
                    committee.shard,
                    role_name(committee, seats, member),
                    bond.copied().unwrap_or_default(),
                    hex::encode(key)
                )
            })
    })
}
