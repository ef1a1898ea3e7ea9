//! Canonical JSON: one value, one sequence of bytes, whatever features serde_json was built with.
//!
//! No white space; members ordered by the bytes of their names; numbers as Rust prints them shortest (integers as
//! digits, floats always with a point or an exponent); escapes only where JSON demands them. Floats are parsed by the
//! standard library, because serde_json's default parser may be off by the last bit and a chain must read back what it
//! wrote. This reads only its own output: the caller re-encodes and compares, which refuses everything else.

use super::codec::Checked;
use serde_json::{Map, Number, Value};

/// The deepest nesting that is stored; both directions recurse.
pub const MAX_DEPTH: usize = 64;

/// The canonical bytes of a value.
///
/// # Errors
/// When it is nested deeper than [`MAX_DEPTH`].
pub fn encode(value: &Value) -> Checked<Vec<u8>> {
    let mut out = String::new();
    write(value, 0, &mut out)?;
    Ok(out.into_bytes())
}

fn write(value: &Value, depth: usize, out: &mut String) -> Checked<()> {
    if depth > MAX_DEPTH {
        return Err(format!("JSON is nested deeper than {MAX_DEPTH} levels"));
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&number_text(number)?),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, depth + 1, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
            out.push('{');
            for (place, (name, member)) in members.into_iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_text(name, out);
                out.push(':');
                write(member, depth + 1, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn number_text(number: &Number) -> Checked<String> {
    if let Some(whole) = number.as_u64() {
        Ok(whole.to_string())
    } else if let Some(whole) = number.as_i64() {
        Ok(whole.to_string())
    } else {
        number.as_f64().map(|float| format!("{float:?}")).ok_or_else(|| "a number is out of range".to_owned())
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The value of canonical bytes.
///
/// # Errors
/// When they are not JSON as [`encode`] writes it. Some other spellings are read too: re-encode to be sure.
pub fn decode(bytes: &[u8]) -> Checked<Value> {
    let text = std::str::from_utf8(bytes).map_err(|_| "JSON is not UTF-8")?;
    let mut parser = Parser { rest: text };
    let value = parser.value(0)?;
    if parser.rest.is_empty() { Ok(value) } else { Err("JSON is followed by something else".to_owned()) }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Checked<()> {
        if self.eat(token) { Ok(()) } else { Err(format!("JSON lacks a {token}")) }
    }

    fn value(&mut self, depth: usize) -> Checked<Value> {
        if depth > MAX_DEPTH {
            return Err(format!("JSON is nested deeper than {MAX_DEPTH} levels"));
        }
        if self.eat("null") {
            Ok(Value::Null)
        } else if self.eat("true") {
            Ok(Value::Bool(true))
        } else if self.eat("false") {
            Ok(Value::Bool(false))
        } else if self.eat("\"") {
            self.text().map(Value::String)
        } else if self.eat("[") {
            self.array(depth)
        } else if self.eat("{") {
            self.object(depth)
        } else {
            self.number()
        }
    }

    fn array(&mut self, depth: usize) -> Checked<Value> {
        let mut items = Vec::new();
        if self.eat("]") {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.eat(",") {
                self.expect("]")?;
                return Ok(Value::Array(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Checked<Value> {
        let mut members = Map::new();
        if self.eat("}") {
            return Ok(Value::Object(members));
        }
        loop {
            self.expect("\"")?;
            let name = self.text()?;
            self.expect(":")?;
            members.insert(name, self.value(depth + 1)?);
            if !self.eat(",") {
                self.expect("}")?;
                return Ok(Value::Object(members));
            }
        }
    }

    /// The rest of a text whose opening quote has been read.
    fn text(&mut self) -> Checked<String> {
        let mut text = String::new();
        loop {
            let stop = self.rest.find(['"', '\\']).ok_or("JSON has an open string")?;
            let (plain, rest) = self.rest.split_at(stop);
            text.push_str(plain);
            self.rest = rest;
            if self.eat("\"") {
                return Ok(text);
            }
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Checked<char> {
        for (token, character) in [("\\\"", '"'), ("\\\\", '\\'), ("\\n", '\n'), ("\\r", '\r'), ("\\t", '\t')] {
            if self.eat(token) {
                return Ok(character);
            }
        }
        self.expect("\\u")?;
        let (digits, rest) = self.rest.split_at_checked(4).ok_or("JSON has a broken escape")?;
        self.rest = rest;
        let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        code.ok_or_else(|| "JSON has a broken escape".to_owned())
    }

    fn number(&mut self) -> Checked<Value> {
        let length = self.rest.find(|next: char| !matches!(next, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
        let (digits, rest) = self.rest.split_at(length.unwrap_or(self.rest.len()));
        self.rest = rest;
        let number = if digits.contains(['.', 'e', 'E']) {
            digits.parse().ok().and_then(Number::from_f64)
        } else if let Ok(whole) = digits.parse::<u64>() {
            Some(Number::from(whole))
        } else {
            digits.parse::<i64>().ok().map(Number::from)
        };
        number.map(Value::Number).ok_or_else(|| "JSON has a broken number".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn members_are_sorted_and_nothing_is_escaped_needlessly() {
        let value = json!({"é": 1, "b": [1.0, -0.0, 1e300, -7, u64::MAX], "a": "\"\\\n\u{1}/é\u{1F600}", "": null});
        let text = String::from_utf8(encode(&value).unwrap()).unwrap();
        assert_eq!(
            text,
            "{\"\":null,\"a\":\"\\\"\\\\\\n\\u0001/é\u{1F600}\",\"b\":[1.0,-0.0,1e300,-7,18446744073709551615],\"é\":1}"
        );
        assert_eq!(decode(text.as_bytes()).unwrap(), value);
    }

    #[test]
    fn nesting_has_a_limit_both_ways() {
        let nested = |levels| (0..levels).fold(json!(1), |value, _| json!([value]));
        assert!(encode(&nested(MAX_DEPTH)).is_ok_and(|bytes| decode(&bytes).is_ok()));
        assert!(encode(&nested(MAX_DEPTH + 1)).is_err());
        assert!(decode("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "nul", "[1", "[1,]", "{\"a\"1}", "\"a", "\"\\x\"", "\"\\uD800\"", "1 ", "--1", "1e999", "{}{}"]
        {
            assert!(decode(text.as_bytes()).is_err(), "{text} was read");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_value_reads_back_exactly(value in any_json()) {
            let bytes = encode(&value).unwrap();
            prop_assert_eq!(decode(&bytes).unwrap(), value.clone());
            prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).is_ok(), true);
            prop_assert_eq!(encode(&decode(&bytes).unwrap()).unwrap(), bytes);
        }
    }
}
