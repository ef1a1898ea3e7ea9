//! `chimera config show`.

use crate::config::Raw;

/// Every setting with its value and origin, in columns.
pub(super) fn show(raw: &Raw) -> String {
    let rows = raw.show();
    let width = |column: fn(&(&'static str, String, crate::config::Origin)) -> usize| {
        rows.iter().map(column).max().unwrap_or_default()
    };
    let (keys, values) = (width(|row| row.0.len()), width(|row| row.1.len()));
    rows.iter().map(|(key, value, origin)| format!("{key:keys$}  {value:values$}  {origin}\n")).collect()
}
