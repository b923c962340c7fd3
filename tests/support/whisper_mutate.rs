//! Damages one file of a Whisper folder, by a seed.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

mod dice;

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use self::dice::Dice;

/// The files that are damaged; the first ones more often.
const TARGETS: [&str; 10] = [
    "openvino_decoder_model.xml",
    "openvino_decoder_model.xml",
    "openvino_decoder_model.xml",
    "openvino_encoder_model.xml",
    "openvino_encoder_model.xml",
    "openvino_decoder_model.bin",
    "openvino_encoder_model.bin",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
];

/// Values that numbers are set to.
const STRANGE: [&str; 14] = [
    "0",
    "1",
    "2",
    "-1",
    "3",
    "7",
    "127",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "1e9",
];

/// Words of a description that stand for one another.
const WORDS: [&str; 20] = [
    "f32",
    "f16",
    "i64",
    "i32",
    "u8",
    "i8",
    "boolean",
    "bf16",
    "Const",
    "Parameter",
    "Result",
    "ReadValue",
    "Assign",
    "Add",
    "MatMul",
    "Concat",
    "Gather",
    "Reshape",
    "Convert",
    "ScaledDotProductAttention",
];

/// A whole model's folder.
pub struct Originals {
    folder: PathBuf,
    files: Vec<(&'static str, Vec<u8>)>,
}

/// One damaged file in an otherwise whole folder.
pub struct Mutant {
    original: PathBuf,
    file: &'static str,
    bytes: Vec<u8>,
    pub description: String,
}

impl Mutant {
    /// Makes `folder` this mutant: links to the whole files, and the damaged one.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir_all(folder).ok();
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(&self.original)? {
            let name = entry?.file_name();
            if name != self.file {
                symlink(self.original.join(&name), folder.join(&name))?;
            }
        }
        fs::write(folder.join(self.file), &self.bytes)
    }
}

impl Originals {
    pub fn read(folder: &str) -> Self {
        let folder = fs::canonicalize(folder).expect("a model's folder");
        let read = |name: &'static str| (name, fs::read(folder.join(name)).expect("its file"));
        let mut names = TARGETS.to_vec();
        names.dedup();
        let files = names.into_iter().map(read).collect();
        Self { folder, files }
    }

    /// The mutant of `seed`, the same on every machine.
    pub fn mutant(&self, seed: u64) -> Mutant {
        let mut dice = Dice::new(seed);
        let file = dice.pick(&TARGETS);
        let original = self.files.iter().find(|(name, _)| *name == file);
        let mut bytes = original.expect("it was read").1.clone();
        let mut description = file.to_owned();
        for _ in 0..1 + dice.below(3) {
            description += "; ";
            description += &match file.rsplit('.').next() {
                Some("bin") => damage_weights(&mut bytes, &mut dice),
                _ => damage_text(&mut bytes, &mut dice),
            };
        }
        Mutant { original: self.folder.clone(), file, bytes, description }
    }
}

fn damage_weights(bytes: &mut Vec<u8>, dice: &mut Dice) -> String {
    let at = dice.below(bytes.len().max(1));
    match dice.below(4) {
        0 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        1 => {
            let more = 1 + dice.below(5_000);
            bytes.resize(bytes.len() + more, 0xa5);
            format!("{more} bytes more")
        }
        2 => {
            let end = bytes.len().min(at + 1 + dice.below(64));
            bytes.drain(at..end);
            format!("bytes {at} to {end} were cut")
        }
        _ => {
            let (end, value) = (bytes.len().min(at + 4_096), dice.next() as u8);
            bytes[at..end].fill(value);
            format!("bytes {at} to {end} are {value}")
        }
    }
}

fn damage_text(bytes: &mut Vec<u8>, dice: &mut Dice) -> String {
    let at = dice.below(bytes.len().max(1));
    match dice.below(16) {
        0 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        1 => {
            let flip = 1 << dice.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= flip;
            }
            format!("{flip:#04x} flipped at {at}")
        }
        2 => {
            let lines = line_at(bytes, at);
            let text = bytes.drain(lines).collect::<Vec<u8>>();
            format!("no line {:?}", start_of(&text))
        }
        3 => {
            let line = bytes[line_at(bytes, at)].to_vec();
            let to = line_at(bytes, dice.below(bytes.len().max(1))).start;
            bytes.splice(to..to, line.iter().copied());
            format!("a second line {:?} at {to}", start_of(&line))
        }
        4..=6 => replace_word(bytes, at, dice),
        _ => replace_number(bytes, at, dice),
    }
}

/// Puts a strange number, or another number of the file, in place of the next one.
fn replace_number(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) -> String {
    let Some(place) = number_at(bytes, at) else { return "nothing".to_owned() };
    let own = String::from_utf8_lossy(&bytes[place.clone()]).into_owned();
    let new = match dice.below(4) {
        0 => {
            let other = number_at(bytes, dice.below(bytes.len()));
            other.map_or_else(String::new, |it| String::from_utf8_lossy(&bytes[it]).into_owned())
        }
        1 => {
            own.parse::<u64>().map_or_else(|_| "x".to_owned(), |it| it.wrapping_add(1).to_string())
        }
        _ => dice.pick(&STRANGE).to_owned(),
    };
    let around = place.start.saturating_sub(30)..place.start;
    let before = String::from_utf8_lossy(&bytes[around]).into_owned();
    let start = place.start;
    bytes.splice(place, new.bytes());
    format!("{own} became {new} at {start}, after {:?}", before)
}

fn number_at(bytes: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    let start = at + bytes[at..].iter().position(u8::is_ascii_digit)?;
    let length = bytes[start..].iter().position(|byte| !byte.is_ascii_digit());
    Some(start..length.map_or(bytes.len(), |length| start + length))
}

fn replace_word(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) -> String {
    let is_word = |window: &[u8]| WORDS.iter().find(|word| window.starts_with(word.as_bytes()));
    let found = (at..bytes.len().min(at + 20_000))
        .find_map(|place| is_word(&bytes[place..]).map(|word| (place, *word)));
    let Some((place, word)) = found else { return "no word".to_owned() };
    let new = dice.pick(&WORDS);
    bytes.splice(place..place + word.len(), new.bytes());
    format!("{word} became {new} at {place}")
}

fn line_at(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let start = bytes[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |it| it + 1);
    let end = bytes[at..].iter().position(|&byte| byte == b'\n');
    start..end.map_or(bytes.len(), |it| at + it + 1)
}

fn start_of(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(80)]).trim().to_owned()
}
