//! Which jobs draft, and how much: what a batch has to spare.
//!
//! Drafts go along only while no prompt is computed and at most four jobs generate, and with
//! several jobs only as far as the batch takes half as long again as without: streams that do not draft are
//! not to wait for those that do. Within that each draft is as long as has paid for its job so far.
#![forbid(unsafe_code)]

use super::turn::Row;
use super::Scheduler;
use crate::engine::drafter::Want;
use crate::engine::line::Turn;
use crate::engine::slot::Slot;
use crate::log::log;

/// Jobs that generate side by side at most while any of them drafts.
const MOST_STREAMS: usize = 4;

/// How many times as long a batch of several jobs may take for the drafts in it.
const SHARE: f32 = 1.5;

impl Scheduler {
    /// Gives the generations of `rows` drafts, as far as there is room for them.
    pub(super) fn add_drafts(&mut self, rows: &[Row]) {
        for row in rows {
            self.running.entry(row.turn).and_modify(Slot::drop_draft);
        }
        let mut room = self.room_for_drafts(rows);
        let mut asked: Vec<(Turn, usize)> = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let share = room / (rows.len() - index);
            let Some(slot) = self.running.get_mut(&row.turn) else { continue };
            let step = slot.asks_draft_model().then(|| self.drafter.as_ref()?.step()).flatten();
            let base = rows.len();
            let own = step.zip(self.pace.expect(base)).map_or(0.0, |(step, turn)| {
                step.as_secs_f32() / turn.as_secs_f32().max(f32::MIN_POSITIVE)
            });
            let cost = |count: usize| self.pace.ratio(base + count, base) + count as f32 * own;
            let length = slot.plan_draft(share, self.limits, cost);
            room -= length;
            if length > 0 && slot.asks_draft_model() {
                asked.push((row.turn, length));
            }
        }
        self.ask_draft_model(&asked);
    }

    /// Tokens that the drafts of all `rows` may have together.
    fn room_for_drafts(&self, rows: &[Row]) -> usize {
        let ready = || self.running.values().filter(|slot| slot.is_ready());
        let streams = ready().count();
        if streams > MOST_STREAMS || ready().any(|slot| slot.pending() > 1) {
            return 0;
        }
        let most =
            (self.limits.n_batch as usize - rows.len()).min(self.limits.n_drafted() as usize);
        if streams < 2 {
            return most;
        }
        let Some(alone) = self.pace.expect(streams) else { return 0 };
        let is_short = |&count: &usize| {
            self.pace.expect(streams + count).is_some_and(|time| time <= alone.mul_f32(SHARE))
        };
        (0..=most).rfind(is_short).unwrap_or(0)
    }

    /// Has the draft model draft for the jobs of `asked`, so many tokens each.
    fn ask_draft_model(&mut self, asked: &[(Turn, usize)]) {
        let Some(drafter) = self.drafter.as_mut().filter(|_| !asked.is_empty()) else { return };
        let mut wants: Vec<Want<'_>> = Vec::new();
        for (turn, most) in asked {
            let slot = &self.running[turn];
            let (tokens, p_min) = (slot.tokens(), slot.least_probability());
            wants.push(Want {
                sequence: slot.sequence(),
                tokens,
                most: *most,
                p_min,
                draft: vec![],
            });
        }
        self.signal.interrupt_flag().defer(false);
        let drafted = drafter.draft(&mut wants, &self.vocab);
        let drafts: Vec<Vec<u32>> = wants.into_iter().map(|want| want.draft).collect();
        for ((turn, _), draft) in asked.iter().zip(drafts) {
            self.running.entry(*turn).and_modify(|slot| slot.set_draft(draft));
        }
        if let Err(error) = drafted {
            log!(Error, "the draft model failed and is not asked again: {error}");
            self.drafter = None;
        }
    }
}
