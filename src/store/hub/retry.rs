//! When to try again.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use super::fault::Fault;
use super::stop::Stop;
use super::Pauses;
use crate::error::{Error, ErrorKind};

/// Pauses double up to this one.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts failures that nothing good came between.
pub(super) struct Retry<'a> {
    pauses: &'a Pauses,
    stop: &'a Stop,
    most: u32,
    failures: u32,
}

impl<'a> Retry<'a> {
    /// Gives up after `most` failures in a row.
    pub(super) fn new(pauses: &'a Pauses, stop: &'a Stop, most: u32) -> Self {
        Self { pauses, stop, most, failures: 0 }
    }

    /// Something came: the failures before do not count any more.
    pub(super) fn progressed(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next try, where there is one.
    pub(super) fn wait(&mut self, fault: Fault) -> Result<(), Fault> {
        let Fault::Passing(error, asked) = fault else { return Err(fault) };
        self.failures += 1;
        if self.failures >= self.most {
            return Err(Fault::Failed(error));
        }
        if let Some(asked) = asked.filter(|asked| *asked > self.pauses.longest_asked) {
            let message = format!("{}; it asks to wait {} s", error.message(), asked.as_secs());
            return Err(Fault::Failed(Error::new(ErrorKind::Network, message)));
        }
        let doubled = self.pauses.first.saturating_mul(1 << (self.failures - 1).min(16));
        match self.stop.sleep(asked.unwrap_or(doubled.min(LONGEST))) {
            true => Ok(()),
            false => Err(Fault::Stopped),
        }
    }
}

/// What a `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3).
pub(super) fn after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let then = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(date(text)?))?;
    // One that has passed asks for nothing.
    Some(then.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_whitespace().skip(1);
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let mut part = |most: u64| clock.next().flatten().filter(|part| *part <= most);
    let seconds = (part(23)? * 60 + part(59)?) * 60 + part(60)?;
    // Days of the civil calendar, years counted from March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(date("Thu, 29 Feb 2024 23:59:60 GMT"), Some(1_709_251_200));
        for text in ["", "soon", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(after("12", now), Some(Duration::from_secs(12)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(after(date, now), Some(Duration::from_secs(7)));
        assert_eq!(after(date, now + Duration::from_secs(60)), Some(Duration::ZERO));
        assert_eq!(after("-1", now), None);
    }

    #[test]
    fn it_gives_up_after_so_many_failures_in_a_row() {
        let (stop, pauses) = (Stop::new(), Pauses { first: Duration::ZERO, ..Pauses::default() });
        let mut retry = Retry::new(&pauses, &stop, 3);
        for _ in 0..4 {
            retry.wait(Fault::passing("a")).expect("one more");
            retry.wait(Fault::passing("b")).expect("one more");
            retry.progressed();
        }
        retry.wait(Fault::passing("a")).expect("one more");
        retry.wait(Fault::passing("b")).expect("one more");
        assert!(matches!(retry.wait(Fault::passing("c")), Err(Fault::Failed(_))));
        let long =
            Fault::Passing(Error::new(ErrorKind::Network, "d"), Some(Duration::from_secs(9999)));
        let mut retry = Retry::new(&pauses, &stop, 3);
        assert!(
            matches!(retry.wait(long), Err(Fault::Failed(error)) if error.message() == "d; it asks to wait 9999 s")
        );
        stop.raise();
        assert!(matches!(retry.wait(Fault::passing("e")), Err(Fault::Stopped)));
    }
}
