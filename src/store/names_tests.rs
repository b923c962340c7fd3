//! Names that are names, names that are not, and mutations of both.
#![forbid(unsafe_code)]

use std::path::Component;

use super::*;

fn remote(name: &str) -> Option<(Remote, Option<String>)> {
    let name = Name::parse(name).expect("a name");
    Some((name.remote?, name.quant))
}

#[test]
fn names_are_local_or_of_a_hub() {
    let text = |text: &str| Some(text.to_owned());
    let repo = "ggml-org/gemma-3-4b-it-GGUF";
    for (name, revision, file, quant) in [
        ("", None, None, None),
        (":Q8_0", None, None, text("Q8_0")),
        ("@main", text("main"), None, None),
        ("@v1.0:UD-Q4_K_XL", text("v1.0"), None, text("UD-Q4_K_XL")),
        ("/a b.gguf", None, text("a b.gguf"), None),
        ("@0a1b/sub/x-00001-of-00002.GGUF", text("0a1b"), text("sub/x-00001-of-00002.GGUF"), None),
    ] {
        let expected = Some((Remote { repo: repo.to_owned(), revision, file }, quant));
        assert_eq!(remote(&format!("{repo}{name}")), expected, "{name}");
    }
    for local in
        ["phi-4-mini", "my model", "folder/file.gguf", "a/b/c", "a--b/c", "own er/c", "a/b.git"]
    {
        assert_eq!(remote(local), None, "{local}");
    }
    let name = Name::parse("phi-4-mini:q8_0").expect("a name");
    assert_eq!((&*name.path, name.quant.as_deref()), ("phi-4-mini", Some("q8_0")));
}

#[test]
fn what_leads_elsewhere_is_refused_with_a_sentence() {
    let long = "a".repeat(256);
    let deep = ["a"; 9].join("/");
    for (name, why) in [
        ("..", "\"..\""),
        ("a/../b", "\"..\""),
        ("a/b/../../../etc/passwd.gguf", "\"..\""),
        ("/etc/passwd", "absolute"),
        ("//host/share", "absolute"),
        ("C:", "drive letter"),
        ("c:/models", "drive letter"),
        ("a/C:b/c", "drive letter"),
        ("C:Q4_K_M", "drive letter"),
        ("a\\..\\b", "backslash"),
        ("\\\\host\\share", "backslash"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\u{9b}b", "control character"),
        (".hidden", "dot"),
        ("a/.git/config", "dot"),
        (".", "dot"),
        ("a.", "dot"),
        ("a /b", "space"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("", "empty"),
        ("CON", "device"),
        ("a/nul.gguf", "device"),
        ("com1.tar.gz/x", "device"),
        ("LPT\u{b9}", "device"),
        ("a?b", "<>"),
        ("ab:b:c", "quantisation"),
        ("ab:", "quantisation"),
        ("a/b.gguf:Q8_0", "one quantisation"),
        (&long, "255"),
        (&deep, "parts"),
    ] {
        let error = Name::parse(name).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name}");
        assert!(error.message().contains(why), "{name}: {error}");
        assert!(!error.message().chars().any(char::is_control), "{name}: {error}");
    }
}

#[test]
fn paths_are_told_from_names() {
    for path in ["/a", "./a.gguf", "../a"] {
        assert!(is_path(path), "{path}");
    }
    for name in ["a", "a/b", ".a", "..a/b", "..", "a/../b"] {
        assert!(!is_path(name), "{name}");
    }
}

/// Every name that is let through lies below the folder that it is joined to, by every part of it.
#[test]
fn no_mutated_name_leads_out() {
    const PIECES: [&str; 24] = [
        "..",
        ".",
        "/",
        "//",
        "\\",
        ":",
        "@",
        "C:",
        "a",
        "gguf",
        ".gguf",
        "\0",
        "\u{202e}",
        " ",
        "~",
        "CON",
        "nul",
        "\u{ff0e}",
        "%2e%2e",
        "-",
        "é",
        "\t",
        "$HOME",
        "owner/repo",
    ];
    // A small generator of its own: the same names on each run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut accepted = 0;
    for _ in 0..200_000 {
        let count = 1 + next(7);
        let name: String = (0..count).map(|_| PIECES[next(PIECES.len())]).collect();
        let Ok(parsed) = Name::parse(&name) else { continue };
        accepted += 1;
        let remote = parsed.remote.clone();
        let file = remote.as_ref().and_then(|remote| remote.file.clone());
        let repo = remote.map(|remote| remote.repo);
        for path in [Some(parsed.path.clone()), file, repo].into_iter().flatten() {
            let joined = Path::new("/models/llm").join(&path);
            assert!(joined.starts_with("/models/llm"), "{name:?}");
            let stays =
                Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
            assert!(stays && !path.contains(['\\', ':']), "{name:?}");
        }
    }
    assert!(accepted > 10_000, "only {accepted} names were let through");
}
