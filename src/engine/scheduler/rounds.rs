//! Which jobs compute together: those of one set of adapters, and the sets in turn.
//!
//! Adapters belong to a whole batch. Sets take turns, each one batch: of those with something to
//! compute, the one goes whose last turn was longest ago, and a set that is new goes behind those that are there. So
//! each waits for one batch of every other at most, however many jobs these have.
#![forbid(unsafe_code)]

use crate::engine::adapters::AdapterSet;

/// The sets that jobs run with, the one that is next first.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    sets: Vec<AdapterSet>,
}

impl Rounds {
    /// Whose turn it is. `running` are the sets of all jobs that run, and whether each has something
    /// to compute. `None`: none has.
    pub(super) fn next<'a>(
        &mut self,
        running: impl Iterator<Item = (&'a AdapterSet, bool)> + Clone,
    ) -> Option<AdapterSet> {
        self.sets.retain(|set| running.clone().any(|(other, _)| other == set));
        for (set, _) in running.clone() {
            if !self.sets.contains(set) {
                self.sets.push(set.clone());
            }
        }
        let is_ready =
            |set: &AdapterSet| running.clone().any(|(other, ready)| ready && other == set);
        let next = self.sets.iter().position(is_ready)?;
        let set = self.sets.remove(next);
        self.sets.push(set.clone());
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::adapters::tests::set;

    #[test]
    fn sets_take_turns_and_new_ones_go_behind() {
        let [a, b, c] = [set(&[]), set(&[(0, 1.0)]), set(&[(0, 0.5)])];
        let mut rounds = Rounds::default();
        let mut turn = |running: &[(&AdapterSet, bool)]| rounds.next(running.iter().copied());
        let both = [(&a, true), (&a, true), (&b, true)];
        let turns: Vec<_> = (0..4).map(|_| turn(&both)).collect();
        assert_eq!(turns, [&a, &b, &a, &b].map(|set| Some(set.clone())));
        // New jobs of other sets, one after the other, do not keep the old ones waiting.
        assert_eq!(turn(&[(&a, true), (&b, true), (&c, true)]), Some(a.clone()));
        assert_eq!(turn(&[(&b, true), (&c, true)]), Some(b.clone()));
        assert_eq!(turn(&[(&a, true), (&b, true), (&c, true)]), Some(c.clone()));
        // One that waits for its reader keeps its place.
        assert_eq!(turn(&[(&a, true), (&b, false)]), Some(a.clone()));
        assert_eq!(turn(&[(&a, true), (&b, true)]), Some(b.clone()));
        assert_eq!(turn(&[(&a, false)]), None);
        assert_eq!(turn(&[]), None);
    }
}
