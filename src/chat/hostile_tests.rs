//! Templates from model files nobody vouches for: each must end soon, as an error or as text,
//! without a stack overflow and without gigabytes.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use serde_json::{json, Map, Value};

use super::Template;
use crate::error::{ErrorKind, Result};

fn render(source: &str) -> Result<String> {
    let template = Template::new(source, "<s>", "</s>")?;
    template.render(&json!([{"role": "user", "content": "x"}]), None, true, &Map::new())
}

/// Renders within 2 seconds (they take less than one; the CI machine is slow).
fn soon(source: &str) -> Result<String> {
    let start = Instant::now();
    let result = render(source);
    let name: String = source.chars().take(80).collect();
    assert!(start.elapsed() < Duration::from_secs(2), "{name}: {:?}", start.elapsed());
    result
}

#[test]
fn work_and_memory_are_bounded() {
    for source in [
        "{{ 'x' * 1000000000 }}",
        "{% set a = 'x' * 1000000 %}{{ a * 1000000 }}",
        "{% set ns = namespace(x='ab') %}{% for i in range(99999) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in [1] * 100000000 %}{% endfor %}",
        "{{ ('a' * 100000).replace('', 'b' * 100000) | length }}",
        "{{ ','.join([1] * 100000000) }}",
        "{{ ([1] * 100000000).count(1) }}",
        "{{ [1] * 100000000 }}",
        "{{ (['x' * 100000] * 100000000) | string }}",
        "{{ (['x' * 100000] * 100000000) | tojson }}",
        "{% set ns = namespace(x=[1]) %}{% set ns.x = ns.x * 100000000 %}",
        "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{% for i in range(9999) %}{{ m(1) }}{% endfor %}",
    ] {
        let error = soon(source).expect_err(source);
        assert_eq!(error.kind(), ErrorKind::InvalidModel, "{source}: {error}");
    }
    let error =
        render("{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}").expect_err("fuel");
    assert!(error.message().contains("exceeded"), "{error}");
}

// Lists that share their items: small in memory, exponential for whoever walks them.
#[test]
fn lists_cannot_explode() {
    let sums = format!("{{% set x = [1] %}}{}", "{% set x = x + x %}".repeat(40));
    let withs = "{% with x = x + x %}".repeat(140);
    let pairs = format!("{{% set x = [1] %}}{}", "{% set x = [x, x] %}".repeat(40));
    let sources = [
        sums,
        format!("{{% set x = [1] %}}{withs}{}", "{% endwith %}".repeat(140)),
        format!("{pairs}{{{{ x }}}}"),
        format!("{pairs}{{{{ x ~ '' }}}}"),
        format!("{pairs}{{{{ '' ~ x }}}}"),
        format!("{pairs}{{{{ x | upper }}}}"),
        format!("{pairs}{{{{ x | tojson }}}}"),
        format!("{pairs}{{{{ ''.join(x) }}}}"),
        "{{ '' ~ ([1] * 100000000) }}".into(),
        "{{ 100000000 * [1] }}".into(),
        "{% set x = [1] * 100000000 %}{{ x == x }}".into(),
    ];
    for source in sources {
        assert!(soon(&source).is_err(), "{source}");
    }
}

#[test]
fn refused_before_any_work() {
    for source in [
        "{{ range(1000000000) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 999999999) }}",
        "{{ '%999999999d' | format(1) }}",
        "{{ 2 ** 100000 }}",
        "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(1) }}",
    ] {
        assert!(soon(source).is_err(), "{source}");
    }
}

// Each of these is a tree, or a loop of trees, that is deeper than any stack.
#[test]
fn deep_sources_are_refused() {
    let n = 30_000;
    let chains = ["+a", "~a", "|e", ".b", "()", "[0]", " and a", " is odd", "**1"];
    for chain in chains {
        assert!(soon(&format!("{{{{ a{} }}}}", chain.repeat(n))).is_err(), "{chain}");
    }
    for prefix in ["-", "not ", "(", "[", "{1:", "a if a else "] {
        assert!(soon(&format!("{{{{ {}a }}}}", prefix.repeat(9_000))).is_err(), "{prefix}");
    }
    assert!(soon(&format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(9_000))).is_err());
    assert!(soon(&"{% if a %}".repeat(9_000)).is_err());
    assert!(soon(&"{% for a in a %}".repeat(8_000)).is_err());
}

// As deep as the limits let through, these must not overflow.
#[test]
fn the_deepest_allowed_sources_are_fine() {
    let chains = ["+a", "~a", "|e", ".b", "()", "[0]", " and a", "**1", "|list"];
    for chain in chains {
        let tag = format!("{{{{ a{} }}}}", chain.repeat(300));
        let _ = soon(&tag);
        let _ = soon(&format!("{}{}", "{% if a %}".repeat(140), tag));
    }
    for prefix in ["-", "not "] {
        let many = format!("{{{{ {}1 }}}}", prefix.repeat(1000)).repeat(60);
        let _ = soon(&many);
    }
    let elifs = format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(500));
    assert_eq!(soon(&elifs).as_deref(), Ok(""));
    let product = format!("x{}", "*1".repeat(480));
    for (grow, times) in [
        ("[x]", 1_990),
        ("x * 1", 4_500),
        (product.as_str(), 32),
        ("x[0:]", 1_990),
        ("x + x", 4_500),
        ("(x|list)[::-1]", 1_990),
        ("{1: x}", 3_000),
        ("x|batch(1)", 3_000),
    ] {
        let source =
            format!("{{% set x = [1] %}}{}", format!("{{% set x = {grow} %}}").repeat(times));
        assert!(super::source::prepare(&source).is_ok(), "{grow}");
        let _ = soon(&source);
        let _ = soon(&format!("{source}{{{{ x }}}}"));
    }
}

#[test]
fn namespaces_cannot_hold_themselves_or_grow_deep() {
    for (source, fine) in [
        ("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", true),
        ("{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a ~ ns.a }}", true),
        ("{% set a = namespace() %}{% set b = namespace() %}{% set a.x = b %}{% set b.x = a %}{{ a == b }}", true),
        ("{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}", false),
        ("{% set ns = namespace(x=[1]) %}{% for i in range(2000) %}{% set ns.x = ns.x * 1 %}{% endfor %}{{ ns.x }}", false),
    ] {
        assert_eq!(soon(source).is_ok(), fine, "{source}: {:?}", soon(source));
    }
}

#[test]
fn broken_sources_name_the_cause() {
    for source in
        ["{% if %}", "{{ 'a }}", "{% nonsense %}", "{{", "{% for x in y %}", "{{ a | nofilter }}"]
    {
        let error = render(source).expect_err(source);
        assert_eq!(error.kind(), ErrorKind::InvalidModel, "{source}: {error}");
    }
}

#[test]
fn deep_messages_are_refused() {
    let deep = (0..500).fold(json!(1), |inner, _| json!([inner]));
    let template = Template::new("{{ messages }}", "", "").expect("a good template");
    let messages = json!([{"role": "user", "content": {"a": deep}}]);
    let error = template.render(&messages, None, true, &Map::new()).expect_err("too deep");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn random_sources_never_panic() {
    let parts = [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "set ",
        "ns.x",
        "=",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "\\",
        "|",
        "for x in ",
        "messages",
        "endfor",
        "if ",
        "endif",
        "-",
        "raw",
        "endraw",
        "generation",
        "\u{20ac}",
        "\n",
        " ",
        ".",
        ",",
        "x",
        "1",
        "tojson",
        "namespace()",
    ];
    for seed in 0..20_000u64 {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let count = next() % 24;
        let source: String = (0..count).map(|_| parts[next() % parts.len()]).collect();
        if let Err(error) = render(&source) {
            assert_ne!(error.kind(), ErrorKind::Internal, "seed {seed}: {source:?}");
        }
    }
}

#[test]
fn any_json_is_taken_or_refused() {
    let template = Template::new(super::CHATML, "", "").expect("the built-in template");
    for messages in
        [json!(null), json!({}), json!("x"), json!([1]), json!([null]), json!([[]]), json!([{}])]
    {
        let _ = template.render(&messages, Some(&Value::Null), false, &Map::new());
    }
}
