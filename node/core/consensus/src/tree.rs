//! The tree that votes of a large committee climb (`ios` 9.5): the leader, sub-leaders below it, leaves below them.

use types::certificate::Signers;
use types::{Height, MemberIndex};

/// Heights for which one tree stands; also how long one who sent something wrong is not trusted.
pub(crate) const RESHUFFLE_HEIGHTS: u64 = 16;

/// Window of heights that share a tree.
pub(crate) const fn window_of(height: Height) -> u64 {
    height.0 / RESHUFFLE_HEIGHTS
}

/// Last height of a window.
pub(crate) const fn end_of(window: u64) -> Height {
    Height(
        window
            .saturating_mul(RESHUFFLE_HEIGHTS)
            .saturating_add(RESHUFFLE_HEIGHTS - 1),
    )
}

/// One arrangement of all voters.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// Sub-leaders, each with those whose votes it sums up: itself and its leaves.
    branches: Vec<(MemberIndex, Signers)>,
    /// Sub-leader of each voter, by member; the leader's is itself.
    above: Vec<MemberIndex>,
}

impl Tree {
    /// Arranges voters in the order in which they were drawn; the first `ceil(sqrt n)` besides the leader are
    /// sub-leaders, and the others are dealt to them in turn.
    pub(crate) fn new(leader: MemberIndex, drawn: &[MemberIndex]) -> Self {
        let width = width(drawn.len());
        let below: Vec<MemberIndex> = drawn.iter().copied().filter(|member| *member != leader).collect();
        let mut branches: Vec<_> = below
            .iter()
            .take(width)
            .map(|top| (*top, Signers::of(*top)))
            .collect();
        let mut above = vec![leader; drawn.len()];
        for (position, member) in below.iter().enumerate() {
            let (top, signers) = &mut branches[position % width];
            signers.insert(*member);
            above[usize::from(member.0)] = *top;
        }
        Self { branches, above }
    }

    /// Whom a member's vote goes to: a leaf's to its sub-leader, a sub-leader's and the leader's to themselves.
    pub(crate) fn above(&self, member: MemberIndex) -> Option<MemberIndex> {
        self.above.get(usize::from(member.0)).copied()
    }

    /// Those whose votes a sub-leader sums up, itself among them; none for one who is no sub-leader.
    pub(crate) fn branch(&self, top: MemberIndex) -> Option<Signers> {
        let branch = self.branches.iter().find(|(member, _)| *member == top);
        branch.map(|(_, signers)| *signers)
    }

    /// Sub-leaders with their branches.
    pub(crate) fn branches(&self) -> &[(MemberIndex, Signers)] {
        &self.branches
    }
}

/// `ceil(sqrt(voters))`.
fn width(voters: usize) -> usize {
    let root = voters.isqrt();
    if root * root < voters {
        root + 1
    } else {
        root.max(1)
    }
}

#[cfg(test)]
mod tests {
    use types::certificate::Signers;
    use types::{Height, MemberIndex};

    use super::{Tree, end_of, width, window_of};

    #[test]
    fn every_voter_but_the_leader_is_in_one_branch_of_even_size() {
        for voters in [17_u16, 20, 48, 240, 256] {
            let drawn: Vec<_> = (0..voters).rev().map(MemberIndex).collect();
            let leader = MemberIndex(voters / 3);
            let tree = Tree::new(leader, &drawn);
            assert_eq!(tree.branches().len(), width(voters.into()));
            let mut all = Signers::of(leader);
            for (top, branch) in tree.branches() {
                assert!(all.is_disjoint(branch), "{voters}");
                assert!(branch.contains(*top));
                assert!(branch.iter().all(|member| tree.above(member) == Some(*top)));
                let even = usize::from(voters - 1) / width(voters.into());
                assert!((even..=even + 1).contains(&branch.len()), "{voters}");
                all = all.union(branch);
            }
            assert_eq!(all.len(), usize::from(voters));
            assert_eq!(tree.above(leader), Some(leader));
            assert_eq!(tree.branch(leader), None);
            assert_eq!(tree.above(MemberIndex(voters)), None);
        }
    }

    #[test]
    fn widths_are_those_of_the_rule() {
        assert_eq!([17, 20, 25, 26, 48, 240, 256].map(width), [5, 5, 5, 6, 7, 16, 16]);
    }

    #[test]
    fn windows_end_where_the_next_begins() {
        assert_eq!(
            [0, 15, 16, 31].map(|height| window_of(Height(height))),
            [0, 0, 1, 1]
        );
        assert_eq!((end_of(0), end_of(1)), (Height(15), Height(31)));
        assert_eq!(end_of(u64::MAX), Height(u64::MAX));
    }
}
