//! Codes and English names of the languages that Whisper knows.
#![forbid(unsafe_code)]

/// Code and English name, in the order of the model's language tokens (`LANGUAGES` in
/// `whisper/tokenizer.py`). `iw` is how the `.en` models still write Hebrew.
const NAMES: [(&str, &str); 101] = [
    ("en", "english"),
    ("zh", "chinese"),
    ("de", "german"),
    ("es", "spanish"),
    ("ru", "russian"),
    ("ko", "korean"),
    ("fr", "french"),
    ("ja", "japanese"),
    ("pt", "portuguese"),
    ("tr", "turkish"),
    ("pl", "polish"),
    ("ca", "catalan"),
    ("nl", "dutch"),
    ("ar", "arabic"),
    ("sv", "swedish"),
    ("it", "italian"),
    ("id", "indonesian"),
    ("hi", "hindi"),
    ("fi", "finnish"),
    ("vi", "vietnamese"),
    ("he", "hebrew"),
    ("uk", "ukrainian"),
    ("el", "greek"),
    ("ms", "malay"),
    ("cs", "czech"),
    ("ro", "romanian"),
    ("da", "danish"),
    ("hu", "hungarian"),
    ("ta", "tamil"),
    ("no", "norwegian"),
    ("th", "thai"),
    ("ur", "urdu"),
    ("hr", "croatian"),
    ("bg", "bulgarian"),
    ("lt", "lithuanian"),
    ("la", "latin"),
    ("mi", "maori"),
    ("ml", "malayalam"),
    ("cy", "welsh"),
    ("sk", "slovak"),
    ("te", "telugu"),
    ("fa", "persian"),
    ("lv", "latvian"),
    ("bn", "bengali"),
    ("sr", "serbian"),
    ("az", "azerbaijani"),
    ("sl", "slovenian"),
    ("kn", "kannada"),
    ("et", "estonian"),
    ("mk", "macedonian"),
    ("br", "breton"),
    ("eu", "basque"),
    ("is", "icelandic"),
    ("hy", "armenian"),
    ("ne", "nepali"),
    ("mn", "mongolian"),
    ("bs", "bosnian"),
    ("kk", "kazakh"),
    ("sq", "albanian"),
    ("sw", "swahili"),
    ("gl", "galician"),
    ("mr", "marathi"),
    ("pa", "punjabi"),
    ("si", "sinhala"),
    ("km", "khmer"),
    ("sn", "shona"),
    ("yo", "yoruba"),
    ("so", "somali"),
    ("af", "afrikaans"),
    ("oc", "occitan"),
    ("ka", "georgian"),
    ("be", "belarusian"),
    ("tg", "tajik"),
    ("sd", "sindhi"),
    ("gu", "gujarati"),
    ("am", "amharic"),
    ("yi", "yiddish"),
    ("lo", "lao"),
    ("uz", "uzbek"),
    ("fo", "faroese"),
    ("ht", "haitian creole"),
    ("ps", "pashto"),
    ("tk", "turkmen"),
    ("nn", "nynorsk"),
    ("mt", "maltese"),
    ("sa", "sanskrit"),
    ("lb", "luxembourgish"),
    ("my", "myanmar"),
    ("bo", "tibetan"),
    ("tl", "tagalog"),
    ("mg", "malagasy"),
    ("as", "assamese"),
    ("tt", "tatar"),
    ("haw", "hawaiian"),
    ("ln", "lingala"),
    ("ha", "hausa"),
    ("ba", "bashkir"),
    ("jw", "javanese"),
    ("su", "sundanese"),
    ("yue", "cantonese"),
    ("iw", "hebrew"),
];

/// Other names and codes that people write.
const ALIASES: [(&str, &str); 15] = [
    ("burmese", "my"),
    ("valencian", "ca"),
    ("flemish", "nl"),
    ("haitian", "ht"),
    ("letzeburgesch", "lb"),
    ("pushto", "ps"),
    ("panjabi", "pa"),
    ("moldavian", "ro"),
    ("moldovan", "ro"),
    ("sinhalese", "si"),
    ("castilian", "es"),
    ("mandarin", "zh"),
    // Today's codes of languages that Whisper names by older or wider ones.
    ("jv", "jw"),
    ("nb", "no"),
    ("fil", "tl"),
];

/// The English name of `code`, lower case, as OpenAI's `verbose_json` writes it; `code` itself
/// for a language that this table lacks.
pub(super) fn name(code: &str) -> &str {
    NAMES.iter().find(|(c, _)| *c == code).map_or(code, |(_, name)| name)
}

/// The codes that `text` may stand for, likeliest first: a code (`en`, `EN`), an English name
/// (`English`) or a language tag whose first part is a code (`en-US`, `pt_BR`). A model has at
/// most one of them.
pub(super) fn codes(text: &str) -> Vec<String> {
    let lower = text.trim().to_lowercase();
    let first = lower.split(['-', '_']).next().unwrap_or_default();
    let mut codes = vec![lower.clone(), first.to_owned()];
    codes.extend(NAMES.iter().filter(|(_, n)| *n == lower).map(|(c, _)| (*c).to_owned()));
    let aliases = ALIASES.iter().filter(|(a, _)| *a == lower || *a == first);
    codes.extend(aliases.map(|(_, c)| (*c).to_owned()));
    // Hebrew is `he` in newer and `iw` in older vocabularies.
    match first {
        "he" => codes.push("iw".to_owned()),
        "iw" => codes.push("he".to_owned()),
        _ => {}
    }
    codes
}

/// Languages written without spaces between words; their text is split at characters instead.
pub(super) fn has_no_spaces(code: &str) -> bool {
    matches!(code, "zh" | "ja" | "th" | "lo" | "my" | "yue")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_verbose_json() {
        assert_eq!(name("en"), "english");
        assert_eq!(name("yue"), "cantonese");
        assert_eq!(name("xx"), "xx");
    }

    #[test]
    fn people_write_languages_in_many_ways() {
        let has = |text: &str, code: &str| codes(text).iter().any(|c| c == code);
        for text in ["en", "EN", " English ", "en-US", "en_GB"] {
            assert!(has(text, "en"), "{text}");
        }
        assert!(has("Haitian Creole", "ht"));
        assert!(has("zh-Hant-TW", "zh"));
        assert!(has("jv", "jw"));
        assert!(has("Hebrew", "he") && has("Hebrew", "iw") && has("he", "iw"));
        assert!(!has("Klingon", "en"));
    }

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = NAMES.iter().map(|(code, _)| code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), NAMES.len());
    }
}
