//! The text of a grammar, character by character.
#![forbid(unsafe_code)]

/// A message without line breaks, with the line and column it is about.
pub(super) type Result<T> = std::result::Result<T, String>;

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Takes `expected` if it comes next.
    pub(super) fn take(&mut self, expected: &str) -> bool {
        let comes = self.text[self.at..].starts_with(expected);
        if comes {
            self.at += expected.len();
        }
        comes
    }

    pub(super) fn expect(&mut self, expected: &str, place: &str) -> Result<()> {
        match self.take(expected) {
            true => Ok(()),
            false => Err(self.wrong(&format!("expected {expected} {place}"))),
        }
    }

    /// `message` with where the reader is and what comes there.
    pub(super) fn wrong(&self, message: &str) -> String {
        let comes = match self.peek() {
            Some(next) => format!("{next:?}"),
            None => "the end".to_owned(),
        };
        format!("{}: {message}, got {comes}", self.place(self.at))
    }

    pub(super) fn place(&self, at: usize) -> String {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}")
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Passes over white space and comments; over line breaks only where `lines`.
    pub(super) fn space(&mut self, lines: bool) {
        while let Some(next) = self.peek() {
            match next {
                '#' => {
                    let rest = &self.text[self.at..];
                    self.at += rest.find(['\r', '\n']).unwrap_or(rest.len());
                }
                ' ' | '\t' => self.at += 1,
                '\r' | '\n' if lines => self.at += 1,
                _ => return,
            }
        }
    }

    /// A rule's name; empty where none comes.
    pub(super) fn name(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        self.at += name.len();
        name
    }

    pub(super) fn number(&mut self) -> Result<u32> {
        let rest = &self.text[self.at..];
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        let number = digits.parse().map_err(|_| self.wrong("expected a number below 2^32"))?;
        self.at += digits.len();
        Ok(number)
    }

    /// A character of a literal or a class, which may be written as an escape.
    pub(super) fn character(&mut self) -> Result<char> {
        let start = self.at;
        let next = self.next().ok_or_else(|| self.wrong("expected a character"))?;
        if next != '\\' {
            return Ok(next);
        }
        let escape = self.next().ok_or_else(|| self.wrong("expected an escape"))?;
        match escape {
            'x' => self.code(2),
            'u' => self.code(4),
            'U' => self.code(8),
            't' => Ok('\t'),
            'r' => Ok('\r'),
            'n' => Ok('\n'),
            '\\' | '"' | '[' | ']' | '-' | '^' => Ok(escape),
            _ => Err(format!(
                "{}: \\{escape} is no escape; there are \\n, \\r, \\t, \\\\, \\\", \\[, \\], \\xHH, \\uHHHH and \\UHHHHHHHH",
                self.place(start)
            )),
        }
    }

    fn code(&mut self, digits: usize) -> Result<char> {
        let start = self.at;
        let text = self.text.get(start..start + digits);
        let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = text.and_then(|text| u32::from_str_radix(text, 16).ok());
        let character = code.and_then(char::from_u32);
        self.at = start + if character.is_some() { digits } else { 0 };
        character.ok_or_else(|| {
            self.wrong(&format!("expected {digits} hexadecimal digits of a Unicode character"))
        })
    }
}
