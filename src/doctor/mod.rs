//! What an installation needs and has, checked without loading a model, and said in words.
//!
//! Nothing here fails: whatever is broken is a line of the report. Native libraries are asked on
//! threads of their own, for a bounded time.
#![forbid(unsafe_code)]

mod folders;
mod hub;
mod models;
mod openvino;
mod system;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{json, Value};

use crate::store::hub::HubOptions;

/// What is to be examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Version of the binary interface: major in the upper 16 bits, minor in the lower.
    pub abi: u32,
    /// OpenVINO's library or a folder that holds it, in place of a search.
    pub openvino_library: Option<String>,
    /// Whether to open OpenVINO's library and ask it.
    pub ask_openvino: bool,
    /// How long each native library may take to answer.
    pub patience: Duration,
    /// The folder of models.
    pub model_dir: Option<PathBuf>,
    /// The folder of compiled models.
    pub cache_dir: Option<PathBuf>,
    /// The hub that models are fetched from.
    pub hub: HubOptions,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Nothing to judge.
    Info,
    /// As it should be.
    Ok,
    /// Something works less well, or is missing that some models need.
    Warning,
    /// Something that is needed, or was asked for, does not work.
    Error,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    name: &'static str,
    status: Status,
    /// What is there, a line each.
    found: Vec<String>,
    advice: Option<String>,
}

impl Check {
    fn new(name: &'static str, status: Status, found: impl Into<String>) -> Self {
        Self { name, status, found: vec![found.into()], advice: None }
    }

    /// With a further line on what is there.
    fn and(mut self, found: impl Into<String>) -> Self {
        self.found.push(found.into());
        self
    }

    /// At least as bad as `status`, which `advice` mends. The first advice of the worst status stays.
    fn but(mut self, status: Status, advice: impl Into<String>) -> Self {
        if status > self.status || self.advice.is_none() {
            self.advice = Some(advice.into());
        }
        self.status = self.status.max(status);
        self
    }
}

/// All checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    checks: Vec<Check>,
}

/// Examines everything.
pub fn examine(subject: &Subject) -> Report {
    let mut checks = vec![
        system::libfluid(subject.abi),
        system::platform(),
        system::processor(),
        system::memory(),
        system::gguf_devices(subject.patience),
    ];
    checks.extend(openvino::checks(subject));
    checks.push(folders::models(subject.model_dir.as_deref()));
    checks.extend(models::check(subject.model_dir.as_deref()));
    checks.push(folders::cache(subject.cache_dir.as_deref()));
    checks.push(hub::settings(&subject.hub));
    Report { checks }
}

impl Report {
    /// Whether no check is an error.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.status != Status::Error)
    }

    /// `{"ok": ..., "checks": [...], "text": ...}`
    pub fn json(&self) -> Value {
        let check = |check: &Check| {
            json!({
                "name": check.name,
                "status": check.status.name(),
                "found": check.lines().join("\n"),
                "advice": check.advice,
            })
        };
        let checks: Vec<Value> = self.checks.iter().map(check).collect();
        json!({"ok": self.is_ok(), "checks": checks, "text": self.text()})
    }

    /// The checks for reading: a line for each, more where there is more to say, and how many are bad.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let mut lines = check.lines().into_iter();
            let first = lines.next().unwrap_or_default();
            text += &format!("{:<8} {:<17} {first}\n", check.status.name(), check.name);
            lines.for_each(|line| text += &format!("{:<26} {line}\n", ""));
            if let Some(advice) = &check.advice {
                text += &format!("{:<26} -> {}\n", "", printable(advice));
            }
        }
        let count = |status| self.checks.iter().filter(|check| check.status == status).count();
        text + &match (count(Status::Error), count(Status::Warning)) {
            (0, 0) => "Nothing is missing.\n".to_owned(),
            (0, warnings) => format!("It works, with {}.\n", counted(warnings, "warning")),
            (errors, warnings) => {
                format!("{}, {}.\n", counted(errors, "error"), counted(warnings, "warning"))
            }
        }
    }
}

impl Check {
    fn lines(&self) -> Vec<String> {
        self.found.iter().map(|line| printable(line)).collect()
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Paths and drivers' words may hold anything.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// `bytes` for reading.
fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_well_and_is_as_bad_as_its_worst_check() {
        let good = Check::new("memory", Status::Ok, "23.5 GiB");
        let bad = Check::new("openvino", Status::Ok, "2026.4.1")
            .and("/a\nforged ok")
            .but(Status::Warning, "first")
            .but(Status::Error, "install it")
            .but(Status::Warning, "last");
        let report = Report { checks: vec![good.clone(), bad] };
        assert_eq!(
            report.text(),
            "ok       memory            23.5 GiB\n\
             error    openvino          2026.4.1\n\
             \u{20}                          /a forged ok\n\
             \u{20}                          -> install it\n\
             1 error, 0 warnings.\n"
        );
        let json = report.json();
        assert_eq!((&json["ok"], &json["checks"][0]["advice"]), (&json!(false), &json!(null)));
        assert_eq!(
            json["checks"][1],
            json!({"name": "openvino", "status": "error", "found": "2026.4.1\n/a forged ok", "advice": "install it"})
        );
        let warned = Report { checks: vec![good.clone().but(Status::Warning, "more")] };
        assert!(warned.is_ok() && warned.text().ends_with("It works, with 1 warning.\n"));
        assert!(Report { checks: vec![good] }.text().ends_with("Nothing is missing.\n"));
    }
}
