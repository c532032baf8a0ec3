//! Looks at a running network over the client protocol: heights, states, blocks, who leads.

use std::time::Duration;

use files::NetworkGenesis;
use loadgen::audit::fetch::fetch_state;
use loadgen::hosts::parse_nodes;
use loadgen::network::{Control, Target, find_targets, greeting};
use tokio::runtime::Runtime;
use types::block::CommittedBlock;
use types::client::{Answer, BlockItem, Request, StateInfo};
use types::{Height, MemberIndex};

use crate::network::{Network, wait_for};

/// Longest wait for one answer of a validator that runs.
const ANSWER: Duration = Duration::from_secs(5);

/// A client that only asks.
pub(crate) struct Observer {
    runtime: Runtime,
    network: NetworkGenesis,
    targets: Vec<Target>,
    /// One connection to each validator, made when it is needed.
    controls: Vec<Option<Control>>,
}

impl Observer {
    pub(crate) fn new(network: &Network) -> Self {
        let net = network.folder.join("net");
        let genesis = NetworkGenesis::load(&net.join("genesis.toml")).expect("the genesis");
        let nodes = parse_nodes(&format!("@{}", net.join("hosts").display())).expect("the hosts");
        let runtime = Runtime::new().expect("a runtime");
        let targets = runtime
            .block_on(find_targets(&genesis.genesis, &genesis.epoch, &nodes))
            .expect("all are named with their keys");
        Self {
            runtime,
            network: genesis,
            controls: targets.iter().map(|_| None).collect(),
            targets,
        }
    }

    /// A connection to a validator, if it answers.
    fn control(&mut self, validator: usize) -> Option<Control> {
        if let Some(control) = self.controls[validator].take() {
            return Some(control);
        }
        let hello = greeting(&self.network.epoch);
        let connect = Control::connect(self.targets[validator], &hello);
        self.runtime.block_on(connect).ok()
    }

    /// State of a validator at its highest final height; none when it does not answer.
    pub(crate) fn state(&mut self, validator: usize) -> Option<StateInfo> {
        let mut control = self.control(validator)?;
        let asked = fetch_state(&control.sender, &mut control.answers, ANSWER);
        let state = self.runtime.block_on(asked).ok()?;
        self.controls[validator] = Some(control);
        Some(state)
    }

    /// Final height of a validator that must answer.
    pub(crate) fn height(&mut self, validator: usize) -> Height {
        wait_for(&format!("an answer of validator {validator}"), || {
            self.state(validator)
        })
        .height
    }

    /// Waits until a validator shows a height above this one.
    pub(crate) fn above(&mut self, validator: usize, height: Height) -> Height {
        wait_for(&format!("validator {validator} above height {height}"), || {
            self.state(validator)
                .map(|state| state.height)
                .filter(|shown| *shown > height)
        })
    }

    /// Final blocks of a validator from this height on: what it has now, at most a few.
    pub(crate) fn blocks(&mut self, validator: usize, from: Height) -> Vec<CommittedBlock> {
        let mut found = Vec::new();
        let Some(mut control) = self.control(validator) else {
            return found;
        };
        let asked = async {
            control
                .sender
                .send(Request::Blocks { from, count: 16 })
                .await
                .ok()?;
            loop {
                let received = tokio::time::timeout(ANSWER, control.answers.recv())
                    .await
                    .ok()?
                    .ok()??;
                if let Answer::Blocks { items, last } = received.answer {
                    found.extend(items.into_iter().filter_map(|item| match item {
                        BlockItem::Block(block) => Some(*block),
                        BlockItem::Body(_) => None,
                    }));
                    if last {
                        return Some(());
                    }
                }
            }
        };
        if self.runtime.block_on(asked).is_some() {
            self.controls[validator] = Some(control);
        }
        found
    }

    /// Waits for the first final block from a height on that is as wanted; gives its height.
    pub(crate) fn first_block(
        &mut self,
        what: &str,
        shown_by: usize,
        mut from: Height,
        wanted: impl Fn(&CommittedBlock) -> bool,
    ) -> Height {
        wait_for(what, || {
            let blocks = self.blocks(shown_by, from);
            from = blocks
                .last()
                .map_or(from, |block| block.block.header.height.next());
            let found = blocks.iter().find(|block| wanted(block))?;
            Some(found.block.header.height)
        })
    }

    /// Whoever hold the seats by genesis, and the candidates behind them, in the order of the draw.
    pub(crate) fn candidates(&self) -> Vec<usize> {
        let candidates = &self.network.epoch.committees[0].candidates;
        candidates.iter().map(|member| self.validator(*member)).collect()
    }

    /// Waits until transactions of a load that was just started are final: it is connected to everyone then, and
    /// sends.
    pub(crate) fn loaded(&mut self, since: Height) {
        let mut from = since.next();
        wait_for("a final block with transactions of the load", || {
            let blocks = self.blocks(0, from);
            from = blocks
                .last()
                .map_or(from, |block| block.block.header.height.next());
            let is_full = blocks.iter().any(|block| block.block.header.tx_count > 0);
            is_full.then_some(())
        });
    }

    /// The validator that leads the view of the newest certificate that `shown_by` holds.
    pub(crate) fn leader(&mut self, shown_by: usize) -> usize {
        let block = wait_for("a final block", || {
            let height = self.state(shown_by)?.height;
            self.blocks(shown_by, height).pop()
        });
        let member = self.network.epoch.committees[0].leader(block.proof.certificate.view);
        self.validator(member)
    }

    /// The validator at a place of the committee.
    pub(crate) fn validator(&self, member: MemberIndex) -> usize {
        let target = self.targets.iter().find(|target| target.member == member);
        usize::from(target.expect("a member").validator.0)
    }

    /// Waits for a commit certificate above this height in which a validator's signature stands.
    pub(crate) fn signed(&mut self, validator: usize, shown_by: usize, above: Height) {
        let member = self.targets[validator].member;
        let mut from = above.next();
        wait_for(
            &format!("a signature of validator {validator} above height {above}"),
            || {
                let blocks = self.blocks(shown_by, from);
                from = blocks
                    .last()
                    .map_or(from, |block| block.block.header.height.next());
                let is_signer = |block: &CommittedBlock| block.proof.certificate.signers().contains(member);
                blocks.iter().any(is_signer).then_some(())
            },
        );
    }

    /// In how many of the commit certificates above a height a validator's signature stands.
    pub(crate) fn signatures(&mut self, validator: usize, shown_by: usize, above: Height) -> (usize, usize) {
        let member = self.targets[validator].member;
        let blocks = self.blocks(shown_by, above.next());
        let by_it = |block: &&CommittedBlock| block.proof.certificate.signers().contains(member);
        (blocks.iter().filter(by_it).count(), blocks.len())
    }

    /// Waits until all of these show one state at one height. Ask when the load has ended.
    pub(crate) fn agreed(&mut self, validators: &[usize]) -> StateInfo {
        wait_for(&format!("one state of validators {validators:?}"), || {
            let first = self.state(*validators.first()?)?;
            validators
                .iter()
                .all(|validator| self.state(*validator).as_ref() == Some(&first))
                .then_some(first)
        })
    }
}
