//! Headers that claim more than there is: refused before anything is allocated by the claim.

use super::{read, vorbis, Input};
use crate::error::{Error, ErrorKind};

fn refused(bytes: Vec<u8>) -> Error {
    read(Input::Encoded(bytes), &mut |_| true).expect_err("it is refused")
}

/// An MP4 box of some content.
fn mp4_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = content.len() as u32 + 8;
    [&length.to_be_bytes(), kind.as_slice(), content].concat()
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A file whose first track's sample table holds `table`.
fn mp4_with(table: &[u8]) -> Vec<u8> {
    let nested = [b"stbl", b"minf", b"mdia", b"trak", b"moov"]
        .iter()
        .fold(table.to_vec(), |inner, kind| mp4_box(kind, &inner));
    [mp4_box(b"ftyp", b"M4A \0\0\0\0"), nested].concat()
}

#[test]
fn mp4_tables_that_claim_billions_of_entries() {
    let tables: [(&[u8; 4], &[u32]); 6] = [
        (b"stsz", &[0, 0, u32::MAX]),
        (b"stsc", &[0, u32::MAX]),
        (b"stco", &[0, u32::MAX]),
        (b"co64", &[0, 1 << 30]),
        (b"stts", &[0, u32::MAX, 1, 1]),
        (b"stco", &[0, 2, 1]),
    ];
    for (kind, fields) in tables {
        let error = refused(mp4_with(&mp4_box(kind, &numbers(fields))));
        assert_eq!(error.kind(), ErrorKind::InvalidAudio);
        let words = format!("a table \"{}\"", kind.escape_ascii());
        assert!(error.message().contains(&words), "{error}");
    }
}

#[test]
fn mp4_boxes_that_claim_more_than_the_file() {
    let long = [&1u32.to_be_bytes(), b"hdlr".as_slice(), &(1u64 << 60).to_be_bytes()].concat();
    let fine = mp4_box(b"free", &[0; 40]);
    let short = [&3u32.to_be_bytes(), b"hdlr".as_slice()].concat();
    for (inner, words) in [(long, "a box \"hdlr\""), (short, "without a header")] {
        let error = refused(mp4_with(&[fine.clone(), inner].concat()));
        assert!(error.message().contains(words), "{error}");
    }
    let deep = (0..40).fold(Vec::new(), |inner, _| mp4_box(b"moov", &inner));
    let error = refused([mp4_box(b"ftyp", b"M4A \0\0\0\0"), deep].concat());
    assert!(error.message().contains("too deep"), "{error}");
}

/// Bits, the lowest of each byte first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(mut self, value: u64, count: u32) -> Self {
        self.0.extend((0..count).map(|nth| value >> nth & 1 == 1));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let byte =
            |bits: &[bool]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
        self.0.chunks(8).map(byte).collect()
    }
}

/// A setup header of one codebook whose entries all have one length.
fn setup(dimensions: u64, entries: u64, lookup: u64) -> Vec<u8> {
    let bits = Bits::default()
        .put(0, 8)
        .put(0x56_4342, 24)
        .put(dimensions, 16)
        .put(entries, 24)
        .put(1, 1)
        .put(7, 5)
        .put(entries, u64::BITS - entries.leading_zeros())
        .put(lookup, 4)
        .put(0, 64)
        .put(0, 4)
        .put(0, 1);
    let bits = (0..64).fold(bits, |bits, _| bits.put(0, 64));
    [b"\x05vorbis".as_slice(), &bits.bytes()].concat()
}

#[test]
fn vorbis_codebooks_that_claim_terabytes() {
    vorbis::check_setup(&setup(8, 256, 1)).expect("a codebook like real ones");
    vorbis::check_setup(&setup(2, 1_000, 2)).expect("another one");
    for (dimensions, entries, lookup) in [
        (65_535, 65_535, 1),
        (65_535, 200, 1),
        (2, 100_000, 1),
        (65_535, 256, 2),
        (8, 256, 3),
        (0, 256, 1),
    ] {
        let error = vorbis::check_setup(&setup(dimensions, entries, lookup));
        assert_eq!(
            error.expect_err("it is refused").kind(),
            ErrorKind::InvalidAudio,
            "{dimensions} dimensions, {entries} entries, lookup {lookup}"
        );
    }
    for length in 0..setup(8, 256, 1).len() - 512 {
        vorbis::check_setup(&setup(8, 256, 1)[..length]).expect_err("it is cut off");
    }
}

#[test]
fn flac_metadata_that_claims_gigabytes_is_not_read() {
    let file = include_bytes!("../../tests/data/tones.flac");
    let samples = |bytes: &[u8]| read(Input::Encoded(bytes.to_vec()), &mut |_| true);
    // A picture with a text of 4 GB, between STREAMINFO and the next block.
    let picture = numbers(&[0x0600_0008, 0, u32::MAX]);
    let edited = [&file[..42], &picture, &file[42..]].concat();
    assert_eq!(samples(&edited), samples(file));
    let error = refused(file[..30].to_vec());
    assert!(error.message().contains("ends within its headers"), "{error}");
}
