//! Segments as subtitles: SubRip (SRT) and WebVTT (<https://www.w3.org/TR/webvtt1/>).
#![forbid(unsafe_code)]

use std::fmt::Write;

use super::Segment;

/// The segments as SRT, one cue each: number, `00:00:00,000 --> 00:00:07,600`, text, blank line.
pub fn srt(segments: &[Segment]) -> String {
    let mut out = String::new();
    for (cue, number) in cues(segments).zip(1u64..) {
        let (start, end) = (clock(cue.start, ','), clock(cue.end, ','));
        // Writing into a string cannot fail.
        let _ = write!(out, "{number}\n{start} --> {end}\n{}\n\n", cue.text);
    }
    out
}

/// The segments as WebVTT, one cue each; `&`, `<` and `>` are escaped as the format asks.
pub fn vtt(segments: &[Segment]) -> String {
    let mut out = String::from("WEBVTT\n\n");
    for cue in cues(segments) {
        let text = cue.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let (start, end) = (clock(cue.start, '.'), clock(cue.end, '.'));
        let _ = write!(out, "{start} --> {end}\n{text}\n\n");
    }
    out
}

/// Times in milliseconds, never negative or before those of the cue before.
struct Cue {
    start: u64,
    end: u64,
    text: String,
}

fn cues(segments: &[Segment]) -> impl Iterator<Item = Cue> + '_ {
    let mut earliest = 0;
    segments.iter().filter_map(move |segment| {
        let text = cue_text(&segment.text);
        if text.is_empty() {
            return None;
        }
        let start = milliseconds(segment.start).max(earliest);
        let end = milliseconds(segment.end).max(start);
        earliest = start;
        Some(Cue { start, end, text })
    })
}

/// One line of text that a player cannot take for the end of the cue or for the next one's
/// times: line breaks and control characters become spaces, arrows lose a dash.
fn cue_text(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let words = text.split(|c: char| breaks(c) || c == ' ').filter(|word| !word.is_empty());
    let mut line = words.collect::<Vec<_>>().join(" ");
    while line.contains("-->") {
        line = line.replace("-->", "->");
    }
    line
}

/// NaN and times before the begin are 0.
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// `hh:mm:ss` and milliseconds after `separator`; hours grow beyond two digits.
fn clock(milliseconds: u64, separator: char) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}{separator}{rest:03}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::testing::segment;

    #[test]
    fn golden_texts() {
        let list = [
            segment(0.0, 7.6, " And so my fellow Americans,"),
            segment(3600.0 + 125.9996, 3600.0 + 130.05, " R&D <b>"),
        ];
        assert_eq!(
            srt(&list),
            "1\n00:00:00,000 --> 00:00:07,600\nAnd so my fellow Americans,\n\n\
             2\n01:02:06,000 --> 01:02:10,050\nR&D <b>\n\n"
        );
        assert_eq!(
            vtt(&list),
            "WEBVTT\n\n00:00:00.000 --> 00:00:07.600\nAnd so my fellow Americans,\n\n\
             01:02:06.000 --> 01:02:10.050\nR&amp;D &lt;b&gt;\n\n"
        );
        assert_eq!((srt(&[]), vtt(&[])), (String::new(), "WEBVTT\n\n".to_owned()));
    }

    #[test]
    fn text_cannot_break_out_of_its_cue() {
        let text = " a\n\nb --> c ----> d\r\n\u{2028}\t2\n00:00 -->";
        let list = [segment(0.0, 1.0, text), segment(1.0, 2.0, " \n "), segment(2.0, 3.0, "x")];
        for body in [srt(&list), vtt(&list)] {
            let cues: Vec<&str> = body.trim_end().split("\n\n").collect();
            assert_eq!(cues.len() - usize::from(body.starts_with("WEBVTT")), 2, "{body}");
            assert_eq!(body.matches("-->").count(), 2, "{body}");
        }
        // What was left out does not take a number.
        assert!(srt(&list).contains("\n\n2\n00:00:02,000"));
    }

    #[test]
    fn times_never_run_backwards() {
        let list = [
            segment(f64::NAN, -3.0, "a"),
            segment(5.0, 4.0, "b"),
            segment(2.0, 6.0, "c"),
            segment(1e9, f64::INFINITY, "d"),
        ];
        let body = srt(&list);
        assert!(body.contains("00:00:00,000 --> 00:00:00,000\na"), "{body}");
        assert!(body.contains("00:00:05,000 --> 00:00:05,000\nb"), "{body}");
        assert!(body.contains("00:00:05,000 --> 00:00:06,000\nc"), "{body}");
        assert!(body.contains("277777:46:40,000 --> "), "{body}");
    }
}
