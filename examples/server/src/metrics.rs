//! What the server has done so far, counted: the numbers of `GET /metrics`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Upper ends of a histogram's buckets, in seconds; the last one has none.
const BOUNDS: [f64; 10] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// How many took how long.
#[derive(Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        let bucket = BOUNDS.partition_point(|&bound| bound < took.as_secs_f64());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// Requests of one method to one route.
#[derive(Default)]
struct Route {
    statuses: BTreeMap<u16, u64>,
    took: Histogram,
}

type Routes = BTreeMap<(&'static str, String), Route>;

/// Counters of the process.
pub(crate) struct Metrics {
    started: Instant,
    routes: Mutex<Routes>,
    in_flight: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    prompt_tokens: AtomicU64,
    generated_tokens: AtomicU64,
}

/// One more for as long as it is there.
pub(crate) struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            routes: Mutex::default(),
            in_flight: Arc::default(),
            connections: Arc::default(),
            prompt_tokens: AtomicU64::default(),
            generated_tokens: AtomicU64::default(),
        }
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request that is being answered.
    pub(crate) fn request(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// A connection that is open.
    pub(crate) fn connection(&self) -> Counted {
        Counted::new(&self.connections)
    }

    /// A request that was answered to its end. `route` is a template of the router's: a path would make
    /// as many lines as clients think of.
    pub(crate) fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let mut routes = self.routes();
        let route = routes.entry((method, route.to_owned())).or_default();
        *route.statuses.entry(status).or_default() += 1;
        route.took.record(took);
    }

    /// Tokens that a request has come to.
    pub(crate) fn tokens(&self, prompt: u64, generated: u64) {
        self.prompt_tokens.fetch_add(prompt, Ordering::Relaxed);
        self.generated_tokens.fetch_add(generated, Ordering::Relaxed);
    }

    /// Prometheus' text format.
    pub(crate) fn write(&self, page: &mut Page) {
        let seconds = self.started.elapsed().as_secs_f64();
        page.gauge("fluid_uptime_seconds", "Since the start.", seconds);
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        page.gauge("fluid_http_requests_in_flight", "Being answered.", load(&self.in_flight));
        page.gauge("fluid_http_connections", "Open connections.", load(&self.connections));
        page.head("fluid_tokens_total", "counter", "Tokens of requests that have ended.");
        page.line("fluid_tokens_total", &[("kind", "prompt")], load(&self.prompt_tokens));
        page.line("fluid_tokens_total", &[("kind", "generated")], load(&self.generated_tokens));
        let routes = self.routes();
        page.head("fluid_http_requests_total", "counter", "Requests that were answered.");
        for ((method, path), route) in routes.iter() {
            for (status, count) in &route.statuses {
                let status = status.to_string();
                let labels = [("method", *method), ("route", path.as_str()), ("status", &status)];
                page.line("fluid_http_requests_total", &labels, count);
            }
        }
        let name = "fluid_http_request_duration_seconds";
        page.head(name, "histogram", "From a request's head to the end of its answer.");
        for ((method, path), route) in routes.iter() {
            page.histogram(name, &[("method", *method), ("route", path.as_str())], &route.took);
        }
    }
}

/// A text in Prometheus' format, as it is being written.
#[derive(Default)]
pub(crate) struct Page(pub(crate) String);

impl Page {
    /// What a name means; its lines follow.
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One number.
    pub(crate) fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }

    /// A number without labels that goes up and down.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.line(name, &[], value);
    }

    /// A histogram's lines.
    pub(crate) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], times: &Histogram) {
        let mut below = 0;
        for (index, count) in times.buckets.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            let bound = BOUNDS.get(index).map_or("+Inf".to_owned(), f64::to_string);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line(&format!("{name}_bucket"), &labels, below);
        }
        let seconds = Duration::from_micros(times.micros.load(Ordering::Relaxed)).as_secs_f64();
        self.line(&format!("{name}_sum"), labels, seconds);
        self.line(&format!("{name}_count"), labels, below);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_at_most_its_bound() {
        let times = Histogram::default();
        for millis in [1, 5, 6, 400_000] {
            times.record(Duration::from_millis(millis));
        }
        let mut page = Page::default();
        page.histogram("x", &[("a", "b")], &times);
        for line in [
            r#"x_bucket{a="b",le="0.005"} 2"#,
            r#"x_bucket{a="b",le="0.025"} 3"#,
            r#"x_bucket{a="b",le="120"} 3"#,
            r#"x_bucket{a="b",le="+Inf"} 4"#,
            r#"x_sum{a="b"} 400.012"#,
            r#"x_count{a="b"} 4"#,
        ] {
            assert!(page.0.lines().any(|written| written == line), "{line} in {}", page.0);
        }
    }

    #[test]
    fn labels_cannot_break_out() {
        let mut page = Page::default();
        page.line("x", &[("a", "\"} 1\nb\\")], 2);
        assert_eq!(page.0, "x{a=\"\\\"} 1\\nb\\\\\"} 2\n");
    }

    #[test]
    fn what_is_counted_goes_when_it_is_dropped() {
        let metrics = Metrics::new();
        let request = metrics.request();
        assert_eq!(metrics.in_flight.load(Ordering::Relaxed), 1);
        drop(request);
        assert_eq!(metrics.in_flight.load(Ordering::Relaxed), 0);
    }
}
