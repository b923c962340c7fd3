//! Guesses, and how much they are trusted.

use super::*;

fn drafting(fields: SpeculativeFields) -> Drafting {
    Drafting::new(fields, false).expect("drafts are on")
}

fn speculation() -> Speculation {
    Speculation::new(drafting(SpeculativeFields::default()))
}

#[test]
fn what_followed_before_is_guessed() {
    // Alike for three tokens, so three that followed.
    assert_eq!(look_up(&[1, 2, 3, 4, 5, 6, 7, 1, 2, 3], 16), [4, 5, 6]);
    assert_eq!(look_up(&[1, 2, 3, 4, 5, 6, 7, 1, 2, 3], 2), [4, 5]);
    assert!(look_up(&[9, 2, 3, 4, 5, 6, 7, 1, 2, 3], 16).is_empty(), "two are too few");
    // Of places that are alike as far, the last; a longer one wins over it.
    assert_eq!(look_up(&[1, 2, 3, 4, 0, 0, 1, 2, 3, 5, 6, 7, 1, 2, 3], 16), [5, 6, 7]);
    assert_eq!(look_up(&[8, 1, 2, 3, 4, 0, 0, 7, 1, 2, 3, 5, 0, 8, 1, 2, 3], 16), [4, 0, 0, 7]);
    assert!(look_up(&[], 16).is_empty() && look_up(&[1], 16).is_empty());
}

#[test]
fn what_repeats_goes_on_beyond_its_end() {
    assert_eq!(look_up(&[1, 2, 1, 2, 1, 2], 16), [1, 2, 1, 2]);
    assert_eq!(look_up(&[5; 9], 4), [5; 4]);
}

#[test]
fn the_longer_the_match_the_longer_the_guess() {
    let said: Vec<u32> = (0..40).collect();
    for count in 3..20 {
        let tokens = [&said[..], &[99], &said[..count]].concat();
        let expected: Vec<u32> = (count as u32..).take(count.min(16)).collect();
        assert_eq!(look_up(&tokens, 16), expected);
    }
}

#[test]
fn tokens_are_followed_as_long_as_they_come_true() {
    let mut speculation = speculation();
    speculation.set_guess(vec![1, 2, 3, 4]);
    speculation.send(3);
    assert_eq!(speculation.sent(), [1, 2, 3]);
    speculation.computed();
    assert!(speculation.follow(1) && speculation.follow(2));
    assert!(!speculation.follow(9), "not what was guessed");
    assert!(!speculation.follow(3), "no more of this guess");
    assert_eq!((speculation.drafted, speculation.accepted), (3, 2));
    speculation.set_guess(vec![1, 2]);
    speculation.send(1);
    speculation.computed();
    assert!(speculation.follow(1));
    assert!(!speculation.follow(2), "it came true, but there are no logits behind it");
    assert_eq!((speculation.drafted, speculation.accepted), (4, 3));
}

#[test]
fn drafts_are_as_long_as_pays() {
    let cheap = |_: usize| 1.0;
    let dear = |count: usize| 1.0 + count as f32;
    let mut speculation = speculation();
    assert_eq!(speculation.best_length(20, cheap), 20, "what costs nothing is always tried");
    assert_eq!(speculation.best_length(20, dear), 0);
    // Half the cost of tokens one by one: a draft pays if nearly all of it comes true.
    let half = |count: usize| 1.0 + 0.5 * count as f32;
    let mut guess = |value: bool, count: usize| {
        for _ in 0..count {
            speculation.set_guess(vec![7]);
            assert!(!speculation.follow(if value { 7 } else { 8 }), "nothing was sent");
        }
        speculation.best_length(20, half)
    };
    assert!(guess(true, 40) >= 7);
    assert_eq!(guess(false, 40), 0);
    assert!(guess(true, 60) >= 7, "what is only guessed is learnt from too");
}

#[test]
fn drafts_that_did_not_pay_are_tried_again_after_a_rest() {
    let fields = SpeculativeFields { kind: Some(DraftKind::Model), ..Default::default() };
    let mut speculation = Speculation::new(drafting(fields));
    let lengths: Vec<usize> =
        (0..2 * (REST + 1)).map(|_| speculation.best_length(8, |_| 9.0)).collect();
    assert_eq!(lengths.iter().filter(|&&length| length == 3).count(), 2);
    assert_eq!(lengths.iter().filter(|&&length| length == 0).count(), 2 * REST);
}

#[test]
fn the_least_and_the_most_are_kept() {
    let fields = SpeculativeFields { n_max: Some(4), n_min: Some(3), ..Default::default() };
    let fixed = SpeculativeFields { adaptive: Some(false), ..fields };
    let mut speculation = Speculation::new(drafting(fixed));
    assert_eq!(speculation.best_length(20, |_| 1e9), 4);
    speculation.set_guess(vec![1, 2, 3]);
    speculation.send(2);
    assert!(speculation.sent().is_empty());
    speculation.send(4);
    assert_eq!(speculation.sent().len(), 3);
    assert_eq!(Drafting::new(SpeculativeFields { n_max: Some(0), ..fields }, true), None);
    let none = SpeculativeFields { kind: Some(DraftKind::None), ..fields };
    assert_eq!(Drafting::new(none, true), None);
    assert_eq!(Drafting::new(fields, true).map(|drafting| drafting.kind), Some(DraftKind::Model));
}
