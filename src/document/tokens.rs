//! Counts the lexical tokens of a document before it is parsed, so that a hostile text costs no more than reading it.
//!
//! The count is that of the specification's lexer. Text that is not GraphQL is counted somehow and left for the parser
//! to refuse; what matters here is that the count is never lower than what the parser would have to handle, and that
//! nesting is known before anything recurses on it.

/// What a scan found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Tokens; one more than `max_tokens` when there were more.
    pub tokens: u64,
    /// The deepest nesting of `{`, `[` and `(`.
    pub nesting: u32,
}

/// Scans `text`, giving up after `max_tokens`.
pub(super) fn scan(text: &str, max_tokens: u64) -> Scan {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_u32);
    let mut found = Scan::default();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => {
                at += 1;
                continue;
            }
            b'#' => {
                at = skip(bytes, at, |byte| byte != b'\n' && byte != b'\r');
                continue;
            }
            // The byte order mark, which the specification ignores.
            0xEF if bytes.get(at..at + 3) == Some(&[0xEF, 0xBB, 0xBF]) => {
                at += 3;
                continue;
            }
            b'"' => at = string(bytes, at),
            b'{' | b'[' | b'(' => {
                depth = depth.saturating_add(1);
                found.nesting = found.nesting.max(depth);
                at += 1;
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'.' if bytes.get(at..at + 3) == Some(b"...") => at += 3,
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                at = skip(bytes, at, |byte| byte == b'_' || byte.is_ascii_alphanumeric())
            }
            b'-' | b'0'..=b'9' => at = number(bytes, at),
            // Punctuation, and bytes that are not GraphQL.
            _ => at += 1,
        }
        found.tokens += 1;
        if found.tokens > max_tokens {
            break;
        }
    }
    found
}

fn skip(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len())
}

/// The end of a number: digits, a fraction, an exponent with its sign.
fn number(bytes: &[u8], from: usize) -> usize {
    let mut end = skip(bytes, from + 1, |byte| byte.is_ascii_digit());
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = skip(bytes, end + 1, |byte| byte.is_ascii_digit());
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if bytes.get(signed).is_some_and(u8::is_ascii_digit) {
            end = skip(bytes, signed, |byte| byte.is_ascii_digit());
        }
    }
    end
}

/// The end of a string or block string; of the text when it is not closed, of the line for a plain one.
fn string(bytes: &[u8], from: usize) -> usize {
    let block = bytes.get(from..from + 3) == Some(b"\"\"\"");
    let mut at = from + if block { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' if !block => return at + 1,
            b'"' if bytes.get(at..at + 3) == Some(b"\"\"\"") => return at + 3,
            b'\\' if block && bytes.get(at + 1..at + 4) == Some(b"\"\"\"") => at += 4,
            b'\\' if !block => at += 2,
            b'\n' | b'\r' if !block => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> u64 {
        scan(text, 1_000_000).tokens
    }

    #[test]
    fn counts_what_the_specification_calls_a_token() {
        for (text, expected) in [
            ("", 0),
            ("{ a }", 3),
            ("{a,b,,c}", 5),
            ("query Q($id: ID! = \"a b\") @x { f(id: $id) { ...F ... on T { y } } }", 32),
            ("# { a { b } }\n{ a } # more", 3),
            ("\u{feff}{ a }", 3),
            (r#"{ a(s: "x \" { } # y") }"#, 8),
            ("{ a(s: \"\"\"x \\\"\"\" \" { } # \n y\"\"\") }", 8),
            ("{ a(s: \"\") b(s: \"\"\"\"\"\") }", 14),
            ("[1, -2, 3.5, 4e10, -5.25E-3]", 7),
            ("{ a(s: \"não 🏃\") }", 8),
        ] {
            assert_eq!(tokens(text), expected, "{text}");
        }
    }

    #[test]
    fn stops_at_the_limit_and_measures_nesting() {
        assert_eq!(scan(&"a ".repeat(1_000_000), 100).tokens, 101);
        assert_eq!(scan("{ a(b: [[{ c: 1 }]]) { d } }", 100).nesting, 5);
        assert_eq!(scan("\"{{{{\" # {{{\n{ a }", 100).nesting, 1);
        assert_eq!(scan("}}}}{", 100).nesting, 1);
    }

    #[test]
    fn broken_text_is_counted_without_a_panic() {
        for text in [
            "\"open",
            "\"\"\"open",
            "\"a\\",
            "\"",
            "\"\"\"\\\"\"",
            "..",
            "-",
            "1.",
            "1e",
            "1e+",
            "\u{1F3C3}",
            "\"a\nb\"",
        ] {
            assert!(tokens(text) > 0, "{text}");
        }
        proptest::proptest!(|(text in ".{0,200}")| {
            let _ = scan(&text, 50);
        });
    }

    #[test]
    fn never_counts_fewer_names_than_the_parser_finds_fields() {
        let text = "{ a b: c(x: 1) { d, e } ...F } fragment F on T { g }";
        let document = async_graphql::parser::parse_query(text).unwrap();
        let printed = format!("{document:?}").matches("Name(").count() as u64;
        assert!(tokens(text) >= printed, "{} < {printed}", tokens(text));
    }
}
