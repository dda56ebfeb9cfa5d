//! The tokens of WAVE. Nothing is copied and nothing recurses: a token is a part of the text.

use std::borrow::Cow;

use super::super::error::{ValueError, quote};

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// One of `{ } ( ) [ ] : ,`
    Punct(char),
    /// A number, `-inf` included.
    Number(&'t str),
    /// A word, without its `%`.
    Label {
        /// The word.
        word: &'t str,
        /// Whether it was written with a `%`, so that it is no keyword.
        escaped: bool,
    },
    /// What is between the quotes of a char.
    Char(&'t str),
    /// What is between the quotes of a string.
    Str(&'t str),
    /// What is between the triple quotes of a string of several lines.
    Lines(&'t str),
    /// The end of the text.
    End,
}

/// Reads tokens from a text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    rest: &'t str,
    /// The next token and what comes after it, once it has been looked at.
    peeked: Option<(Token<'t>, &'t str)>,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, rest: text, peeked: None }
    }

    /// The next token, which stays.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Token<'t>, ValueError> {
        if let Some((token, _)) = self.peeked {
            return Ok(token);
        }
        let here = self.rest;
        let token = self.lex()?;
        self.peeked = Some((token, std::mem::replace(&mut self.rest, here)));
        Ok(token)
    }

    /// The next token.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Token<'t>, ValueError> {
        match self.peeked.take() {
            Some((token, rest)) => {
                self.rest = rest;
                Ok(token)
            }
            None => self.lex(),
        }
    }

    fn lex(&mut self) -> Result<Token<'t>, ValueError> {
        self.skip_blank();
        let Some(first) = self.rest.chars().next() else { return Ok(Token::End) };
        match first {
            '{' | '}' | '(' | ')' | '[' | ']' | ':' | ',' => {
                self.take(1)?;
                Ok(Token::Punct(first))
            }
            '"' if self.rest.starts_with("\"\"\"") => {
                let inner = self.rest.get(3..).and_then(|inner| inner.split_once("\"\"\""));
                let Some((inner, _)) = inner else { return Err(self.error("a string without end")) };
                self.take(inner.len() + 6)?;
                Ok(Token::Lines(inner))
            }
            '"' | '\'' => {
                Ok(if first == '"' { Token::Str(self.quoted(b'"')?) } else { Token::Char(self.quoted(b'\'')?) })
            }
            '-' | '0'..='9' => {
                let number = run(self.rest, |b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
                if number != "-inf" && !is_number(number) {
                    return Err(self.error(&format!("`{}` is no number", quote(number))));
                }
                self.take(number.len()).map(Token::Number)
            }
            '%' | 'a'..='z' | 'A'..='Z' => {
                let escaped = first == '%';
                let rest = self.rest.strip_prefix('%').unwrap_or(self.rest);
                let word = run(rest, |b| b.is_ascii_alphanumeric() || b == b'-');
                if !crate::name::is_label(word) {
                    return Err(self.error(&format!("`{}` is no name", quote(word))));
                }
                self.take(word.len() + usize::from(escaped))?;
                Ok(Token::Label { word, escaped })
            }
            other => Err(self.error(&format!("`{}` is nothing that WAVE has", quote(&other.to_string())))),
        }
    }

    /// An error at the place where the lexer is.
    #[cold]
    pub(super) fn error(&self, problem: &str) -> ValueError {
        ValueError::new(format!("{problem} (at byte {})", self.text.len() - self.rest.len()))
    }

    fn skip_blank(&mut self) {
        loop {
            let blank = run(self.rest, |b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).len();
            self.rest = self.rest.get(blank..).unwrap_or_default();
            let Some(comment) = self.rest.strip_prefix("//") else { return };
            self.rest = comment.find('\n').and_then(|end| comment.get(end..)).unwrap_or_default();
        }
    }

    /// Takes what is between two quotes; a backslash hides the character after it.
    fn quoted(&mut self, quote: u8) -> Result<&'t str, ValueError> {
        let mut hidden = false;
        let inner = self.rest.get(1..).unwrap_or_default();
        for (at, byte) in inner.bytes().enumerate() {
            match byte {
                _ if hidden => hidden = false,
                b'\\' => hidden = true,
                b'\n' => break,
                byte if byte == quote => {
                    self.take(at + 2)?;
                    return Ok(inner.get(..at).unwrap_or_default());
                }
                _ => {}
            }
        }
        Err(self.error(if quote == b'"' { "a string without end" } else { "a char without end" }))
    }

    fn take(&mut self, bytes: usize) -> Result<&'t str, ValueError> {
        match self.rest.split_at_checked(bytes) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.error("the text ends too early")),
        }
    }
}

/// The start of a text that is made of such bytes.
fn run(text: &str, such: impl Fn(u8) -> bool) -> &str {
    let end = text.bytes().position(|b| !such(b)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?`
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    if digits(text) {
        return text == "0" || !text.starts_with('0');
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let good_exponent = |text: &str| digits(text.strip_prefix(['-', '+']).unwrap_or(text));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(good_exponent)
}

/// The one character that a char's quotes hold.
pub(super) fn char_of(inner: &str) -> Option<char> {
    if inner.starts_with('\\') {
        let (c, length) = unescape(inner)?;
        return (length == inner.len()).then_some(c);
    }
    let mut chars = inner.chars();
    let c = chars.next()?;
    chars.next().is_none().then_some(c)
}

/// The text that a string's quotes hold; none for an unknown escape.
pub(super) fn text_of(inner: &str) -> Option<Cow<'_, str>> {
    if !inner.contains('\\') {
        return Some(inner.into());
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at_checked(at)?;
        text.push_str(plain);
        let (c, length) = unescape(escape)?;
        text.push(c);
        rest = escape.get(length..)?;
    }
    text.push_str(rest);
    Some(text.into())
}

/// The text of a string of several lines. It starts on the line after the quotes, and the blanks before the closing
/// quotes are taken off each line.
pub(super) fn lines_of(inner: &str) -> Result<String, &'static str> {
    let inner = inner.strip_prefix('\r').unwrap_or(inner);
    let body = inner.strip_prefix('\n').ok_or("a string of several lines starts on the line after its quotes")?;
    let (body, indent) = match body.rsplit_once('\n') {
        Some((body, indent)) => (Some(body), indent),
        None => (None, body),
    };
    if indent.contains(|c| c != ' ') {
        return Err("the quotes that close a string of several lines have a line of their own");
    }
    let mut text = String::new();
    for (at, line) in body.into_iter().flat_map(|body| body.split('\n')).enumerate() {
        let line = line.strip_prefix(indent).ok_or("a line is indented less than the quotes that close the string")?;
        if at > 0 {
            text.push('\n');
        }
        text.push_str(&text_of(line.strip_suffix('\r').unwrap_or(line)).ok_or("an unknown escape")?);
    }
    Ok(text)
}

/// The character of the escape that a text starts with, and the bytes that the escape takes.
fn unescape(text: &str) -> Option<(char, usize)> {
    let mut chars = text.strip_prefix('\\')?.chars();
    let simple = match chars.next()? {
        c @ ('\\' | '\'' | '"') => c,
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        'u' => {
            let (digits, _) = chars.as_str().strip_prefix('{')?.split_once('}')?;
            let good = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let code = u32::from_str_radix(digits, 16).ok().filter(|_| good)?;
            return Some((char::from_u32(code)?, digits.len() + 4));
        }
        _ => return None,
    };
    Some((simple, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_json() {
        for good in ["0", "-0", "10", "-1.5", "1e5", "1.25E-7", "2e+3"] {
            assert!(is_number(good), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "1e", "1e+", "0x10", "1-2", "inf", "1.2.3"] {
            assert!(!is_number(bad), "{bad}");
        }
    }

    #[test]
    fn escapes_are_read_once() {
        assert_eq!(text_of(r#"a\n\"\\n\u{e9}"#).as_deref(), Some("a\n\"\\né"));
        for bad in [r"\x", r"\u{}", r"\u{1234567}", r"\u{d800}", r"\u{12", r"\u{+1}", "\\"] {
            assert_eq!(text_of(bad), None, "{bad}");
            assert_eq!(char_of(bad), None, "{bad}");
        }
        assert_eq!((char_of("é"), char_of(r"\'"), char_of("ab"), char_of("")), (Some('é'), Some('\''), None, None));
    }

    #[test]
    fn strings_of_several_lines_lose_their_indent() {
        assert_eq!(lines_of("\n  a\n    b\\n\r\n  "), Ok("a\n  b\n".to_owned()));
        assert_eq!(lines_of("\n"), Ok(String::new()));
        assert_eq!(lines_of("\r\n\n"), Ok(String::new()));
        for bad in ["", "a\n", "\na", "\na\n  "] {
            assert!(lines_of(bad).is_err(), "{bad:?}");
        }
    }
}
