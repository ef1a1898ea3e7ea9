//! Spans of time after ISO 8601.

use super::from_string;
use async_graphql::{InputValueResult, Scalar, ScalarType, Value};

/// A span of time, kept to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub std::time::Duration);

impl Duration {
    /// From whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }
}

/// Weeks, days, hours, minutes and seconds have a fixed length here; months and years have none and are refused.
fn read(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = rest.split_once('T').map_or((rest, None), |(date, time)| (date, Some(time)));
    if time.is_some_and(str::is_empty) || rest.is_empty() {
        return None;
    }
    let date = parts(date, &[('W', 604_800_000), ('D', 86_400_000)])?;
    let time = parts(time.unwrap_or_default(), &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])?;
    Some(Duration(std::time::Duration::from_millis(date.checked_add(time)?)))
}

/// Sums `<number><unit>` parts whose units come in the given order, in milliseconds.
fn parts(mut text: &str, units: &[(char, u64)]) -> Option<u64> {
    let mut sum = 0_u64;
    let mut units = units.iter();
    while !text.is_empty() {
        let end = text.find(|char: char| char.is_ascii_uppercase())?;
        let (number, rest) = text.split_at_checked(end)?;
        let unit = rest.chars().next()?;
        let (_, milliseconds) = units.find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(part(number, unit, *milliseconds)?)?;
        text = rest.get(1..)?;
    }
    Some(sum)
}

/// Only seconds may have a fraction, of up to three digits.
fn part(number: &str, unit: char, milliseconds: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || fraction.is_some_and(|fraction| unit != 'S' || !digits(fraction) || fraction.len() > 3) {
        return None;
    }
    let fraction = fraction.map_or(Some(0), |fraction| format!("{fraction:0<3}").parse().ok())?;
    whole.parse::<u64>().ok()?.checked_mul(milliseconds)?.checked_add(fraction)
}

fn write(duration: std::time::Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let (days, hours, minutes, seconds) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = String::from("P");
    if days > 0 {
        text.push_str(&format!("{days}D"));
    }
    let mut time = String::new();
    for (value, unit) in [(hours, 'H'), (minutes, 'M')] {
        if value > 0 {
            time.push_str(&format!("{value}{unit}"));
        }
    }
    if millis > 0 {
        time.push_str(format!("{seconds}.{millis:03}").trim_end_matches('0'));
        time.push('S');
    } else if seconds > 0 || (days == 0 && time.is_empty()) {
        time.push_str(&format!("{seconds}S"));
    }
    if !time.is_empty() {
        text.push('T');
        text.push_str(&time);
    }
    text
}

/// A span of time after ISO 8601 in weeks, days, hours, minutes and seconds, such as `PT1H30M` or `P7D`; kept to the
/// millisecond, never negative. Months and years are refused: they have no fixed length.
#[Scalar]
impl ScalarType for Duration {
    fn parse(value: Value) -> InputValueResult<Self> {
        from_string(
            &value,
            read,
            "a duration after ISO 8601 in weeks, days, hours, minutes and seconds, such as `PT1H30M`",
        )
    }

    fn to_value(&self) -> Value {
        Value::String(write(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for bad in [
            "",
            "P",
            "PT",
            "P1DT",
            "1H",
            "PT1",
            "P1M",
            "P1Y",
            "-PT1S",
            "PT1S1H",
            "PT1.S",
            "PT1.5H",
            "PT1.2345S",
            "PT99999999999999999999S",
            "PTS",
            "P1Ü",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0..u64::from(u32::MAX) * 1000) {
            let duration = std::time::Duration::from_millis(millis);
            prop_assert_eq!(read(&write(duration)), Some(Duration(duration)));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,40}") {
            let _ = read(&text);
        }
    }
}
