//! `strftime` over UTC, for templates that put today's date into the prompt.
#![forbid(unsafe_code)]

use std::fmt::Write;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A second of the Gregorian calendar in UTC.
struct Time {
    year: u64,
    /// 0 to 11.
    month: usize,
    /// 1 to 31, and 1 to 366.
    day: u64,
    day_of_year: u64,
    /// 0 is Sunday.
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

/// `seconds` since 1970 in `format`. Known codes: `%Y %y %m %d %e %j %H %I %M %S %p %B %b %h
/// %A %a %F %T %D %R %Z %z %n %t %%`, and `-` after the `%` drops a leading zero. Others stay.
pub(super) fn format(seconds: u64, format: &str) -> String {
    let time = Time::new(seconds);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut code = chars.next();
        let bare = code == Some('-');
        if bare {
            code = chars.next();
        }
        let text = code.map_or("%".into(), |code| time.code(code));
        out.push_str(if bare { text.trim_start_matches(['0', ' ']) } else { &text });
        if bare && text.bytes().all(|b| b == b'0') {
            out.push('0');
        }
    }
    out
}

impl Time {
    /// Counts whole years and months off; exact from 1970 on.
    fn new(seconds: u64) -> Self {
        let days = seconds / 86_400;
        let (mut year, mut rest) = (1970, days);
        // 400 years are always 146,097 days: no loop over a hostile clock's aeons.
        year += rest / 146_097 * 400;
        rest %= 146_097;
        while rest >= 365 + u64::from(leap(year)) {
            rest -= 365 + u64::from(leap(year));
            year += 1;
        }
        let day_of_year = rest + 1;
        let mut month = 0;
        while rest >= month_days(year, month) {
            rest -= month_days(year, month);
            month += 1;
        }
        Self {
            year,
            month,
            day: rest + 1,
            day_of_year,
            // 1 January 1970 was a Thursday.
            weekday: ((days + 4) % 7) as usize,
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    fn code(&self, code: char) -> String {
        let month = MONTHS[self.month];
        let day = DAYS[self.weekday];
        let number = self.month + 1;
        match code {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year % 100),
            'm' => format!("{number:02}"),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'j' => format!("{:03}", self.day_of_year),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{:02}", (self.hour + 11) % 12 + 1),
            'M' => format!("{:02}", self.minute),
            'S' => format!("{:02}", self.second),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.into(),
            'B' => month.into(),
            'b' | 'h' => month[..3].into(),
            'A' => day.into(),
            'a' => day[..3].into(),
            _ => self.compound(code),
        }
    }

    fn compound(&self, code: char) -> String {
        let parts: &[char] = match code {
            'F' => &['Y', '-', 'm', '-', 'd'],
            'T' => &['H', ':', 'M', ':', 'S'],
            'D' => &['m', '/', 'd', '/', 'y'],
            'R' => &['H', ':', 'M'],
            'Z' => return "UTC".into(),
            'z' => return "+0000".into(),
            'n' => return "\n".into(),
            't' => return "\t".into(),
            '%' => return "%".into(),
            other => return format!("%{other}"),
        };
        let mut out = String::new();
        for &part in parts {
            let _ = match part.is_ascii_alphabetic() {
                true => write!(out, "{}", self.code(part)),
                false => write!(out, "{part}"),
            };
        }
        out
    }
}

fn leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_days(year: u64, month: usize) -> u64 {
    match month {
        1 => 28 + u64::from(leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::format;

    // Expected by Python: datetime.fromtimestamp(s, timezone.utc).strftime(f).
    #[test]
    fn agrees_with_python() {
        let all = "%Y-%m-%d %H:%M:%S %y %j %a %A %b %B %I %p %-d %-m %F %T %%";
        let at = |seconds| format(seconds, all);
        assert_eq!(
            at(0),
            "1970-01-01 00:00:00 70 001 Thu Thursday Jan January 12 AM 1 1 1970-01-01 00:00:00 %"
        );
        assert_eq!(
            at(951_827_696),
            "2000-02-29 12:34:56 00 060 Tue Tuesday Feb February 12 PM 29 2 2000-02-29 12:34:56 %"
        );
        assert_eq!(
            at(1_735_689_599),
            "2024-12-31 23:59:59 24 366 Tue Tuesday Dec December 11 PM 31 12 2024-12-31 23:59:59 %"
        );
        assert_eq!(format(0, "%-H %q 100%"), "0 %q 100%");
    }

    #[test]
    fn no_clock_is_too_far_off() {
        assert!(format(u64::MAX, "%F").ends_with(|c: char| c.is_ascii_digit()));
    }
}
