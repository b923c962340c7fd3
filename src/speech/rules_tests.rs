//! Whisper's timestamp rules against cases worked out by hand.
#![forbid(unsafe_code)]

use super::pick::pick;
use super::rules::{RuleOptions, Rules};
use super::testing;
use super::vocabulary::Vocabulary;
use crate::sampling::Rng;

const BANNED: f32 = f32::NEG_INFINITY;

/// What may follow `sampled` when the model has no preference but `raised` by 20.
fn allowed(options: &RuleOptions, sampled: &[u32], raised: &[u32]) -> Vec<u32> {
    let vocabulary = testing::small();
    let mut logits = vec![0.0; vocabulary.sizes().vocabulary as usize];
    raised.iter().for_each(|&id| logits[id as usize] = 20.0);
    Rules::new(&vocabulary, options).apply(&mut logits, sampled);
    (0u32..).zip(&logits).filter(|(_, &logit)| logit > BANNED).map(|(id, _)| id).collect()
}

fn timestamp(steps: u32) -> u32 {
    testing::small().special().timestamp_begin + steps
}

#[test]
fn the_first_token_is_an_early_timestamp() {
    let first = allowed(&RuleOptions::default(), &[], &[65]);
    assert_eq!(first, (timestamp(0)..=timestamp(50)).collect::<Vec<_>>());
    let options = RuleOptions { max_initial_timestamp: Some(3), ..RuleOptions::default() };
    assert_eq!(allowed(&options, &[], &[]).len(), 4);
    let options = RuleOptions { max_initial_timestamp: Some(u32::MAX), ..options };
    assert_eq!(allowed(&options, &[], &[]).len(), 1501);
}

#[test]
fn text_follows_the_begin_of_a_segment() {
    let eot = testing::small().special().eot;
    let options = RuleOptions { suppress: Some(vec![]), ..RuleOptions::default() };
    let next = allowed(&options, &[timestamp(0)], &[]);
    assert_eq!(next, (0..=eot).collect::<Vec<_>>());
    // A pair counts as a begin, too.
    assert_eq!(allowed(&options, &[timestamp(0), 65, timestamp(9), timestamp(9)], &[]), next);
}

#[test]
fn a_segments_end_is_followed_by_the_next_begin_or_the_end() {
    let eot = testing::small().special().eot;
    // The end is likelier than all later timestamps together.
    let next = allowed(&RuleOptions::default(), &[timestamp(0), 65, timestamp(1490)], &[eot]);
    let expected: Vec<u32> = [eot].into_iter().chain(timestamp(1490)..=timestamp(1500)).collect();
    assert_eq!(next, expected);
}

#[test]
fn text_may_go_on_and_times_never_stand_still() {
    let options = RuleOptions { suppress: Some(vec![]), ..RuleOptions::default() };
    let sampled = [timestamp(1400), 65, 66];
    let next = allowed(&options, &sampled, &[70]);
    assert!(next.contains(&70) && next.contains(&0));
    // The segment began at 1400: its end is later.
    assert!(!next.contains(&timestamp(1400)) && next.contains(&timestamp(1401)));
}

#[test]
fn timestamps_win_by_their_sum() {
    let vocabulary = testing::small();
    let rules = Rules::new(&vocabulary, &RuleOptions::default());
    // 100 timestamps stay: together they weigh ln(100) = 4.605 at logit 0.
    let sampled = [timestamp(0), 65, timestamp(1400), timestamp(1400), 65];
    for (text_logit, forced) in [(4.59, true), (4.62, false)] {
        let mut logits = vec![-30.0; vocabulary.sizes().vocabulary as usize];
        logits[timestamp(0) as usize..].fill(0.0);
        logits[70] = text_logit;
        rules.apply(&mut logits, &sampled);
        assert_eq!(logits[70] == BANNED, forced, "{text_logit}");
        let picked = pick(&logits, 0.0, &mut Rng::new(0)).unwrap();
        assert_eq!(vocabulary.is_timestamp(picked.token), forced);
    }
}

#[test]
fn without_timestamps_none_comes_and_the_begin_is_no_blank() {
    let vocabulary = testing::small();
    let options = RuleOptions { timestamps: false, ..RuleOptions::default() };
    let blank = vocabulary.encode(" ").unwrap()[0];
    let first = allowed(&options, &[], &[]);
    assert!(first.iter().all(|&id| vocabulary.is_text(id)) && !first.contains(&blank));
    let later = allowed(&options, &[65], &[]);
    assert!(later.contains(&blank) && later.contains(&vocabulary.special().eot));
    let options = RuleOptions { suppress_blank: false, ..options };
    assert!(allowed(&options, &[], &[]).contains(&blank));
}

#[test]
fn repeated_ngrams_and_tokens() {
    let options = RuleOptions {
        timestamps: false,
        suppress: Some(vec![]),
        no_repeat_ngram_size: 3,
        ..RuleOptions::default()
    };
    let sampled = [65, 66, 67, 1, 65, 66];
    let next = allowed(&options, &sampled, &[]);
    assert!(!next.contains(&67) && next.contains(&1) && next.contains(&65));
    assert!(allowed(&options, &sampled[..2], &[]).contains(&67));
    let options = RuleOptions { no_repeat_ngram_size: 1, ..options };
    assert!(!allowed(&options, &sampled, &[]).contains(&1));
    let vocabulary = testing::small();
    let options = RuleOptions { repetition_penalty: 2.0, no_repeat_ngram_size: 0, ..options };
    let mut logits = vec![-1.0; vocabulary.sizes().vocabulary as usize];
    logits[65] = 3.0;
    Rules::new(&vocabulary, &options).apply(&mut logits, &[65, 66, 65]);
    assert_eq!((logits[65], logits[66], logits[67]), (1.5, -2.0, -1.0));
}

// Whatever the model prefers, what comes out is what the rules promise.
#[test]
fn random_logits_never_break_the_grammar() {
    let vocabulary = testing::small();
    let rules = Rules::new(&vocabulary, &RuleOptions::default());
    let (mut rng, special) = (Rng::new(1), *vocabulary.special());
    for _ in 0..40 {
        let mut sampled = Vec::new();
        while sampled.len() < 60 {
            let size = vocabulary.sizes().vocabulary;
            let mut logits: Vec<f32> = (0..size).map(|_| (rng.next_f64() * 12.0) as f32).collect();
            rules.apply(&mut logits, &sampled);
            let picked = pick(&logits, 1.0, &mut rng).unwrap();
            if picked.token == special.eot {
                break;
            }
            sampled.push(picked.token);
        }
        let times: Vec<u32> =
            sampled.iter().filter_map(|&token| vocabulary.timestamp_steps(token)).collect();
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
        assert!(times[0] <= 50);
        // Begin and end of a segment differ.
        assert!(times.chunks_exact(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        let triple = sampled.windows(3).find(|w| w.iter().all(|&t| vocabulary.is_timestamp(t)));
        assert_eq!(triple, None);
        let text = |token: u32| vocabulary.is_text(token) || vocabulary.is_timestamp(token);
        assert!(sampled.iter().all(|&token| text(token)));
    }
}

#[test]
fn short_and_broken_logits_do_no_harm() {
    let vocabulary: Vocabulary = testing::small();
    let rules = Rules::new(&vocabulary, &RuleOptions::default());
    rules.apply(&mut [], &[]);
    rules.apply(&mut [1.0, 2.0], &[u32::MAX, 0]);
    let mut logits = vec![f32::NAN; vocabulary.sizes().vocabulary as usize];
    rules.apply(&mut logits, &[65]);
    assert_eq!(pick(&logits, 0.0, &mut Rng::new(0)), None);
}
