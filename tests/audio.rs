//! Audio as callers hand it over: every format gives the sound that was put in, at its time, and
//! what is no audio gives an error that says so.

#[path = "support/sound.rs"]
mod sound;

use std::path::{Path, PathBuf};

use fluid::audio::{read, Input};
use fluid::error::{Error, ErrorKind};
use sound::{late_tones, sine, snr, tones, wav, wav_header, Coding};

const INT16: Coding = Coding { tag: 1, bits: 16 };

fn heard(input: Input) -> Vec<f32> {
    read(input, &mut |_| true).expect("it can be read").expect("nobody stops it")
}

fn encoded(bytes: Vec<u8>) -> Vec<f32> {
    heard(Input::Encoded(bytes))
}

fn refused(input: Input) -> Error {
    read(input, &mut |_| true).expect_err("it is refused")
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(data(name)).expect("a committed file")
}

/// `got` is the tones, `late` seconds late and as clear as `least` dB. One sample of shift more
/// would leave 5 dB.
fn assert_tones(got: &[f32], late: f64, least: f64, what: &str) {
    let clear = snr(&late_tones(16_000, late), got);
    assert!(clear > least, "{what}: {clear} dB");
    assert!((31_900..33_000).contains(&got.len()), "{what}: {} samples", got.len());
}

#[test]
fn wav_of_every_coding() {
    for (tag, bits, least) in [
        (1, 8, 35.0),
        (1, 16, 80.0),
        (1, 24, 120.0),
        (1, 32, 130.0),
        (3, 32, 140.0),
        (3, 64, 140.0),
    ] {
        for channels in [1, 2, 7] {
            let got = encoded(wav(&tones(16_000), 16_000, channels, Coding { tag, bits }));
            assert_eq!(got.len(), 32_000);
            let clear = snr(&tones(16_000), &got);
            assert!(clear > least, "tag {tag}, {bits} bits, {channels} channels: {clear} dB");
        }
    }
}

#[test]
fn wav_of_every_rate() {
    for rate in [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000] {
        let got = encoded(wav(&tones(rate), rate, 2, INT16));
        assert_eq!(got.len(), 32_000, "{rate} Hz");
        assert_tones(&got, 0.0, 35.0, &format!("{rate} Hz"));
    }
}

#[test]
fn telephone_wav() {
    // The ends of both scales, ITU-T G.711 tables 1 and 2.
    for (tag, codes, values) in [
        (6, [0x80, 0x00, 0xd5, 0x55], [5_504.0, -5_504.0, 8.0, -8.0]),
        (7, [0x80, 0x00, 0xff, 0x7f], [32_124.0, -32_124.0, 0.0, 0.0]),
    ] {
        let mut file = wav_header(16_000, 1, Coding { tag, bits: 8 }, 4);
        file.extend_from_slice(&codes);
        let got: Vec<f32> = encoded(file).iter().map(|value| value * 32_768.0).collect();
        assert_eq!(got, values, "tag {tag}");
    }
}

#[test]
fn encoded_formats_keep_sound_and_time() {
    // AAC begins with a block that only warms the decoder up; M4A has a list that says so.
    let warm_up = 1024.0 / 44_100.0;
    for (name, late, least) in [
        ("tones.flac", 0.0, 50.0),
        ("tones.mp3", 0.0, 20.0),
        ("tones.ogg", 0.0, 20.0),
        ("tones.m4a", 0.0, 20.0),
        ("fragments.m4a", warm_up, 20.0),
        ("tones.aac", warm_up, 20.0),
    ] {
        let from_bytes = encoded(fixture(name));
        assert_tones(&from_bytes, late, least, name);
        let path = data(name).to_string_lossy().into_owned();
        assert_eq!(heard(Input::Path(path)), from_bytes, "{name}: the path gives other samples");
    }
}

#[test]
fn names_do_not_matter_but_content_does() {
    let folder = std::env::temp_dir().join(format!("fluid-audio-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    std::fs::write(path("speech.wav"), fixture("tones.mp3")).expect("a file");
    std::fs::write(path("text.wav"), "Four score and seven years ago\n".repeat(50))
        .expect("a file");
    assert_tones(&heard(Input::Path(path("speech.wav"))), 0.0, 20.0, "an MP3 called .wav");
    let error = refused(Input::Path(path("text.wav")));
    assert_eq!(error.kind(), ErrorKind::InvalidAudio);
    for words in ["begins \"Four\"", "WAV", "FLAC", "MP3", "Ogg Vorbis", "M4A"] {
        assert!(error.message().contains(words), "{error}");
    }
    assert_eq!(refused(Input::Path(path("none.wav"))).kind(), ErrorKind::NotFound);
    assert_eq!(refused(Input::Path(path(""))).kind(), ErrorKind::Io);
    assert_eq!(refused(Input::Path("a\0b".to_owned())).kind(), ErrorKind::Io);
    std::fs::remove_dir_all(folder).expect("the folder was made above");
}

#[test]
fn what_is_no_audio_is_refused() {
    for bytes in [vec![], vec![0xff], b"RIFF".to_vec(), vec![0; 4_000], b"OggS".repeat(500)] {
        assert_eq!(refused(Input::Encoded(bytes)).kind(), ErrorKind::InvalidAudio);
    }
    let error = refused(Input::Encoded(fixture("opus.ogg")));
    assert!(error.message().contains("Opus"), "{error}");
}

#[test]
fn tags_before_the_sound_are_skipped() {
    let tag = |bytes: usize| {
        let size = [0, (bytes >> 14) as u8 & 0x7f, (bytes >> 7) as u8 & 0x7f, bytes as u8 & 0x7f];
        [b"ID3\x04\0\0".as_slice(), &size, &vec![0xff; bytes]].concat()
    };
    for name in ["tones.mp3", "tones.flac"] {
        let tagged = [tag(300), tag(100_000), fixture(name)].concat();
        assert_eq!(encoded(tagged), encoded(fixture(name)), "{name}");
    }
}

#[test]
fn truncated_files_are_read_as_far_as_they_go() {
    let wav = wav(&tones(44_100), 44_100, 2, INT16);
    let names = ["tones.mp3", "tones.flac", "tones.ogg", "tones.aac", "fragments.m4a", "tones.m4a"];
    let files = names.map(|name| (name, fixture(name))).into_iter().chain([("WAV", wav)]);
    for (name, file) in files {
        let whole = encoded(file.clone());
        let half = encoded(file[..file.len() / 2].to_vec());
        assert!((4_000..24_000).contains(&half.len()), "{name}: {} samples", half.len());
        // The last tenth of a second may hear the cut.
        let sure = half.len() - 1_600;
        assert!(snr(&whole[..sure], &half[..sure]) > 60.0, "{name}");
    }
}

#[test]
fn joined_mp3_files_are_read_to_the_end() {
    let joined = encoded([fixture("tones.mp3"), fixture("tones.mp3")].concat());
    assert!((64_000..68_000).contains(&joined.len()), "{} samples", joined.len());
}

#[test]
fn wav_headers_that_lie_about_lengths() {
    let honest = wav(&tones(16_000), 16_000, 1, INT16);
    for claim in [0, 1, u32::MAX, u32::MAX - 1, 100_000_000] {
        let mut file = honest.clone();
        file[4..8].copy_from_slice(&claim.to_le_bytes());
        assert_eq!(encoded(file.clone()).len(), 32_000, "the file claims {claim}");
        file[40..44].copy_from_slice(&claim.to_le_bytes());
        let wanted = if claim == 1 { 0 } else { 32_000 };
        assert_eq!(encoded(file).len(), wanted, "file and data claim {claim}");
    }
    assert!(encoded(wav(&[], 16_000, 1, INT16)).is_empty());
}

#[test]
fn wav_headers_that_claim_nonsense() {
    for (rate, channels, words) in [
        (0, 1, "claims 0 samples a second"),
        (1_000, 1, "claims 1000 samples"),
        (u32::MAX, 1, "claims 4294967295 samples"),
        (16_000, 0, "claims 0 channels"),
        (16_000, 65_535, "claims 65535 channels"),
    ] {
        let mut file = wav_header(rate, channels, INT16, 100);
        file.resize(144, 0);
        let error = refused(Input::Encoded(file));
        assert_eq!(error.kind(), ErrorKind::InvalidAudio);
        assert!(error.message().contains(words), "{error}");
    }
    let odd = refused(Input::Encoded(wav_header(16_000, 1, Coding { tag: 85, bits: 0 }, 0)));
    assert!(odd.message().contains("coding 85"), "{odd}");
}

#[test]
fn samples_are_mixed_down_and_cleaned() {
    let f32_stereo = |samples: Vec<f32>| Input::F32 { samples, rate: 16_000, channels: 2 };
    assert_eq!(heard(f32_stereo(vec![0.5, 0.25, -1.0, 1.0])), [0.375, 0.0]);
    let odd = vec![f32::NAN, 0.5, f32::INFINITY, f32::NEG_INFINITY, 3.0, 3.0, f32::MAX, f32::MAX];
    assert_eq!(heard(f32_stereo(odd)), [0.25, 0.0, 3.0, 1e6]);
    let i16_mono = Input::I16 { samples: vec![16_384, -32_768], rate: 16_000, channels: 1 };
    assert_eq!(heard(i16_mono), [0.5, -1.0]);
    for rate in [8_000, 16_000, 48_000] {
        assert!(heard(Input::F32 { samples: vec![], rate, channels: 1 }).is_empty());
    }
    let one = heard(Input::F32 { samples: vec![1.0], rate: 8_000, channels: 1 });
    assert_eq!(one.len(), 2);
    let seven = Input::F32 { samples: vec![0.7; 70], rate: 16_000, channels: 7 };
    assert!(heard(seven).iter().all(|value| (value - 0.7).abs() < 1e-6));
}

#[test]
fn samples_out_of_range_are_refused() {
    for (count, rate, channels, words) in [
        (4, 1_999, 1, "rate 1999"),
        (4, 0, 1, "rate 0"),
        (4, 768_001, 1, "rate 768001"),
        (4, 16_000, 0, "channels 0"),
        (65, 16_000, 65, "channels 65"),
        (5, 16_000, 2, "5 samples"),
    ] {
        let error = refused(Input::F32 { samples: vec![0.0; count], rate, channels });
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(words), "{error}");
    }
}

#[test]
fn callers_see_progress_and_can_stop() {
    let mut told = Vec::new();
    let minutes = sine(300.0, 44_100, 240.0);
    let input = Input::F32 { samples: minutes, rate: 44_100, channels: 1 };
    let got = read(input.clone(), &mut |part| {
        told.push(part);
        true
    });
    assert_eq!(got.expect("samples").expect("not stopped").len(), 240 * 16_000);
    assert!(told.len() > 2 && told.is_sorted(), "{told:?}");
    assert!(told.iter().all(|part| (0.0..=1.0).contains(part)));
    let mut left = 2;
    let mut count_down = |_| {
        left -= 1;
        left > 0
    };
    assert_eq!(read(input, &mut count_down), Ok(None));
    for name in ["tones.mp3", "tones.ogg", "tones.flac", "tones.m4a"] {
        assert_eq!(read(Input::Encoded(fixture(name)), &mut |_| false), Ok(None), "{name}");
    }
}
