//! The text filter: by hand, and against the whole text cut at once.
#![forbid(unsafe_code)]

use super::text::TextFilter;

/// Pushes `pieces`; returns the chunks, the flushed end and the stop string.
fn run(stops: &[&str], pieces: &[&[u8]]) -> (Vec<String>, String, Option<String>) {
    let mut filter = TextFilter::new(stops.iter().map(|s| s.to_string()).collect());
    let chunks = pieces.iter().map(|p| filter.push(p).text).collect();
    let end = filter.finish();
    (chunks, end, filter.matched().map(str::to_owned))
}

#[test]
fn without_stops_text_flows_through() {
    let (chunks, end, stop) = run(&["", ""], &[b"Hello", b" world"]);
    assert_eq!((chunks.concat().as_str(), end.as_str(), stop), ("Hello world", "", None));
}

#[test]
fn a_character_in_two_tokens_comes_whole() {
    let (chunks, end, _) = run(&[], &[b"a\xe2\x82", b"\xac!", b"\xf0\x9f"]);
    assert_eq!(chunks, ["a", "\u{20ac}!", ""]);
    assert_eq!(end, "\u{fffd}");
}

#[test]
fn a_stop_over_three_tokens_never_shows() {
    let (chunks, end, stop) = run(&["<end>"], &[b"Yes<", b"en", b"d>no", b"more"]);
    assert_eq!(chunks, ["Yes", "", "", ""]);
    assert_eq!((end.as_str(), stop.as_deref()), ("", Some("<end>")));
}

#[test]
fn what_only_looked_like_a_stop_is_shown() {
    let (chunks, end, stop) = run(&["<end>"], &[b"a<e", b"m>", b"<en"]);
    assert_eq!(chunks, ["a", "<em>", ""]);
    assert_eq!((end.as_str(), stop), ("<en", None));
}

#[test]
fn a_stop_within_a_split_character() {
    let (chunks, _, stop) = run(&["\u{20ac}"], &[b"5 \xe2", b"\x82", b"\xacx"]);
    assert_eq!(chunks.concat(), "5 ");
    assert_eq!(stop.as_deref(), Some("\u{20ac}"));
}

#[test]
fn the_earlier_match_wins_even_when_it_ends_later() {
    let stops = ["bc", "abcX"];
    let (chunks, _, stop) = run(&stops, &[b"_abc", b"X"]);
    assert_eq!((chunks.concat().as_str(), stop.as_deref()), ("_", Some("abcX")));
    let (chunks, _, stop) = run(&stops, &[b"_abc", b"Y"]);
    assert_eq!((chunks.concat().as_str(), stop.as_deref()), ("_a", Some("bc")));
    let (chunks, end, stop) = run(&stops, &[b"_abc"]);
    assert_eq!((chunks.concat() + &end, stop.as_deref()), ("_a".into(), Some("bc")));
}

#[test]
fn of_equal_starts_the_longest_is_reported() {
    let (_, _, stop) = run(&["ab", "abc"], &[b"ab", b"c"]);
    assert_eq!(stop.as_deref(), Some("abc"));
    let (chunks, end, stop) = run(&["ab", "abc"], &[b"xab", b"d"]);
    assert_eq!((chunks.concat() + &end, stop.as_deref()), ("x".into(), Some("ab")));
}

#[test]
fn nothing_comes_after_a_stop() {
    let mut filter = TextFilter::new(vec!["\n".into()]);
    assert!(filter.push(b"one\ntwo").stopped);
    let chunk = filter.push(b"three");
    assert!(chunk.stopped && chunk.text.is_empty() && filter.finish().is_empty());
}

/// SplitMix64: enough for test cases.
fn random(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) % below as u64) as usize
}

/// Text of few letters, so that stop strings are common, with broken UTF-8 between.
fn random_bytes(state: &mut u64) -> Vec<u8> {
    let parts: [&[u8]; 9] = [
        b"a",
        b"b",
        b"a",
        b"b",
        "\u{20ac}".as_bytes(),
        b"\xe2\x82",
        b"\xff",
        "\u{1f600}".as_bytes(),
        b"\xf0\x9f",
    ];
    let count = random(state, 40);
    (0..count).flat_map(|_| parts[random(state, 9)].to_vec()).collect()
}

fn random_stops(state: &mut u64) -> Vec<String> {
    let letters = ['a', 'b', '\u{20ac}', '\u{fffd}', '\u{1f600}'];
    let count = random(state, 4);
    let mut stop = |_| {
        let len = random(state, 6);
        (0..len).map(|_| letters[random(state, 5).min(random(state, 5))]).collect()
    };
    (0..count).map(&mut stop).collect()
}

/// The definition: decode everything, find the earliest stop string, the longest of a tie.
fn expected(bytes: &[u8], stops: &[String]) -> (String, Option<String>) {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let full = stops.iter().filter(|s| !s.is_empty());
    let found = full.filter_map(|s| Some((text.find(s.as_str())?, s)));
    let best = found.min_by_key(|(at, s)| (*at, std::cmp::Reverse(s.len())));
    let best = best.map(|(at, s)| (at, s.clone()));
    if let Some((at, _)) = &best {
        text.truncate(*at);
    }
    (text, best.map(|(_, s)| s))
}

#[test]
fn any_split_gives_the_whole_text_cut_at_the_first_stop() {
    for seed in 0..20_000 {
        let mut state = seed;
        let bytes = random_bytes(&mut state);
        let stops = random_stops(&mut state);
        let mut filter = TextFilter::new(stops.clone());
        let (mut text, mut rest) = (String::new(), bytes.as_slice());
        while !rest.is_empty() {
            let (piece, next) = rest.split_at(random(&mut state, rest.len() + 1));
            let chunk = filter.push(piece);
            text += &chunk.text;
            rest = next;
        }
        text += &filter.finish();
        let got = (text, filter.matched().map(str::to_owned));
        assert_eq!(got, expected(&bytes, &stops), "seed {seed}: {bytes:?} {stops:?}");
    }
}

// Quadratic matching would take minutes on these 4 MB.
#[test]
fn hostile_stops_cost_linear_time() {
    let stop = "a".repeat(2000) + "b";
    let mut filter = TextFilter::new(vec![stop; 4]);
    let start = std::time::Instant::now();
    let text: usize = (0..1000).map(|_| filter.push(&[b'a'; 4000]).text.len()).sum();
    assert_eq!(text + filter.finish().len(), 4_000_000);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}
