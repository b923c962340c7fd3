//! Every file that is not exactly what was written is refused, with its cause.

use super::*;

const NAMES: &str = "model=abc\ncache_type_k=f16\nflash_attn=auto";
const FIT: Fit<'_> = Fit { fingerprint: NAMES, n_ctx: 8, n_vocab: 100, most_bytes: 1 << 20 };

/// A sequence that was computed without adapters.
fn plain(tokens: Vec<u32>, state: Vec<u8>) -> Saved {
    Saved { tokens, state, adapters: String::new() }
}

fn saved() -> Saved {
    plain(vec![1, 2, 99], (0..=255).collect())
}

fn written(names: &str, saved: &Saved) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = write(&mut bytes, names, saved, &mut |_| true).expect("memory takes it");
    assert_eq!(length, bytes.len() as u64);
    bytes
}

fn read_back(bytes: &[u8], fit: &Fit<'_>) -> Result<Saved> {
    read(bytes, bytes.len() as u64, fit, &mut |_| true).map_err(|fault| match fault {
        Fault::Failed(error) => error,
        Fault::Stopped => panic!("nobody stops it"),
    })
}

/// Reading `bytes` fails with `kind`, and the message holds `words`.
fn refused(bytes: &[u8], fit: &Fit<'_>, kind: ErrorKind, words: &str) {
    let error = read_back(bytes, fit).expect_err(words);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(words), "{error}");
}

/// `bytes` with another number at `place`, the checksum made right again.
fn forged(mut bytes: Vec<u8>, place: usize, number: u32) -> Vec<u8> {
    bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
    let end = bytes.len() - DIGEST as usize;
    let digest = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&digest);
    bytes
}

#[test]
fn what_was_written_comes_back() {
    let bytes = written(NAMES, &saved());
    assert_eq!(read_back(&bytes, &FIT).expect("it fits"), saved());
    let large = plain(vec![7], vec![5; 3 * PIECE + 1]);
    let fit = Fit { most_bytes: 1 << 30, ..FIT };
    assert_eq!(read_back(&written(NAMES, &large), &fit).expect("it fits"), large);
    let adapted = Saved { adapters: "0a1b*0.5 2c3d*-1".to_owned(), ..saved() };
    assert_eq!(read_back(&written(NAMES, &adapted), &FIT).expect("it fits"), adapted);
}

#[test]
fn the_layout_is_as_the_head_of_this_room_says() {
    let bytes = written("a=b", &plain(vec![0x0403_0201], vec![9, 8]));
    let mut expected = b"FLUIDKV\0\x01\0\0\0\x03\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0a=b".to_vec();
    expected.extend([1, 2, 3, 4, 9, 8]);
    let digest = Sha256::digest(&expected);
    expected.extend(digest);
    assert_eq!(bytes, expected);
}

#[test]
fn every_cut_is_refused() {
    let bytes = written(NAMES, &saved());
    for length in 0..bytes.len() {
        let words = if length < MAGIC.len() { "is no saved state" } else { "is cut" };
        refused(&bytes[..length], &FIT, ErrorKind::InvalidState, words);
    }
    let longer = [bytes, vec![0]].concat();
    refused(&longer, &FIT, ErrorKind::InvalidState, "has 1 bytes more than it says");
}

#[test]
fn every_altered_bit_is_refused() {
    let bytes = written(NAMES, &saved());
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[place] ^= 1 << bit;
            let error = read_back(&altered, &FIT).expect_err("a bit is wrong");
            assert_eq!(error.kind(), ErrorKind::InvalidState, "byte {place}, bit {bit}: {error}");
        }
    }
}

#[test]
fn messages_name_the_cause() {
    let bytes = written(NAMES, &saved());
    let invalid = ErrorKind::InvalidState;
    refused(b"GGUF, and what follows", &FIT, invalid, "is no saved state");
    refused(&forged(bytes.clone(), 8, 2), &FIT, invalid, "format version 2, this build reads 1");
    let mut altered = bytes.clone();
    altered[HEADER as usize + NAMES.len() + 20] ^= 1;
    refused(&altered, &FIT, invalid, "its checksum is wrong");
    let first_token = HEADER as usize + NAMES.len();
    refused(&forged(bytes.clone(), first_token, 100), &FIT, invalid, "names token 100");
    refused(&bytes, &Fit { n_ctx: 2, ..FIT }, invalid, "has 3 tokens, the context holds 2");
    let small = Fit { most_bytes: 267, ..FIT };
    refused(&bytes, &small, ErrorKind::OutOfMemory, "load it with a larger cache_ram_mb");
    assert!(read_back(&bytes, &Fit { most_bytes: 268, ..FIT }).is_ok());
    let empty = written(NAMES, &plain(vec![], vec![1]));
    refused(&empty, &FIT, invalid, "has no tokens");
}

#[test]
fn another_model_or_other_options_are_named() {
    let bytes = written(NAMES, &saved());
    for (own, words) in [
        ("model=xyz\ncache_type_k=f16\nflash_attn=auto", "or with other options"),
        ("model=abc\ncache_type_k=q8_0\nflash_attn=auto", "its cache_type_k is f16, here q8_0"),
        ("model=abc\ncache_type_k=f16\nflash_attn=off", "its flash_attn is auto, here off"),
        ("model=abc\ncache_type_k=f16", "or with other options"),
        ("", "or with other options"),
    ] {
        refused(&bytes, &Fit { fingerprint: own, ..FIT }, ErrorKind::InvalidState, words);
    }
}

#[test]
fn no_length_in_the_header_is_believed() {
    let bytes = written(NAMES, &saved());
    for place in [12, 16, 20, 24] {
        for number in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let error = read_back(&forged(bytes.clone(), place, number), &FIT);
            let kind = error.map_err(|error| error.kind());
            let is_same = place == 24 && number == 0;
            assert!(is_same || kind == Err(ErrorKind::InvalidState), "{number} at {place}");
        }
    }
}

#[test]
fn a_stop_ends_it_on_the_way() {
    let large = plain(vec![7], vec![5; 3 * PIECE]);
    let mut looks = 0;
    let mut third = |done: f32| {
        assert!((0.0..=1.0).contains(&done));
        looks += 1;
        looks < 3
    };
    let mut bytes = Vec::new();
    assert!(matches!(write(&mut bytes, NAMES, &large, &mut third), Err(Fault::Stopped)));
    assert!(bytes.len() < 3 * PIECE);
    let bytes = written(NAMES, &large);
    let fit = Fit { most_bytes: 1 << 30, ..FIT };
    let outcome = read(&*bytes, bytes.len() as u64, &fit, &mut |done| done < 0.5);
    assert!(matches!(outcome, Err(Fault::Stopped)));
}

#[test]
fn a_disk_that_fails_is_an_error_of_its_own() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let outcome = write(Full, NAMES, &saved(), &mut |_| true);
    assert!(matches!(outcome, Err(Fault::Failed(error)) if error.kind() == ErrorKind::Io));
}
