//! A measured ratio, and how it is told: a row of a table and a line of a file.

use serde::{Deserialize, Serialize};
use std::{fs, path::PathBuf};

/// One comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// The metric, `M1` to `M13` or a name.
    pub metric: String,
    /// What of it.
    pub what: String,
    /// Against whom.
    pub opponent: String,
    /// What the ratio says, such as `throughput over H`.
    pub unit: String,
    /// The median.
    pub ratio: f64,
    /// The least of all pairs.
    pub low: f64,
    /// The greatest.
    pub high: f64,
    /// How many pairs.
    pub pairs: usize,
    /// The same of the product over itself; 1.00 ± 0.03, or the run was too noisy. Absent where nothing was run twice.
    pub control: Option<f64>,
    /// The medians themselves, in words; true of this machine and this hour only.
    pub seen: String,
}

impl Figure {
    /// A figure from ratios pair by pair.
    pub fn new(metric: &str, what: &str, opponent: &str, unit: &str, mut ratios: Vec<f64>) -> Self {
        ratios.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| ratios.get(index).copied().unwrap_or_default();
        Self {
            metric: metric.to_owned(),
            what: what.to_owned(),
            opponent: opponent.to_owned(),
            unit: unit.to_owned(),
            ratio: at(ratios.len() / 2),
            low: at(0),
            high: at(ratios.len().saturating_sub(1)),
            pairs: ratios.len(),
            control: None,
            seen: String::new(),
        }
    }

    /// With the control of its run.
    #[must_use]
    pub fn controlled(mut self, control: f64) -> Self {
        self.control = Some(control);
        self
    }

    /// With what was seen.
    #[must_use]
    pub fn seen(mut self, text: impl Into<String>) -> Self {
        self.seen = text.into();
        self
    }

    /// A peer that could not be had on this machine: told, and never left out.
    pub fn missing(metric: &str, what: &str, opponent: &str, why: &str) -> Self {
        Self::new(metric, what, opponent, "", Vec::new()).seen(format!("missing: {why}"))
    }

    fn row(&self) -> String {
        let Self { metric, what, opponent, unit, .. } = self;
        if self.pairs == 0 {
            return format!("| {metric} | {what} | {opponent} | {unit} | – | – | – | {} |", self.seen);
        }
        let control = match self.control {
            None => "–".to_owned(),
            Some(control) if (control - 1.0).abs() > 0.03 => format!("{control:.2}, too noisy"),
            Some(control) => format!("{control:.2}"),
        };
        let spread = format!("{:.2} to {:.2} ({})", self.low, self.high, self.pairs);
        format!(
            "| {metric} | {what} | {opponent} | {unit} | {:.2} | {spread} | {control} | {} |",
            self.ratio, self.seen
        )
    }
}

/// Where results are kept.
pub fn results() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results")
}

/// Prints the figures of a metric as a table and keeps them as `results/METRIC.json`.
///
/// # Errors
/// When the file cannot be written.
pub fn tell(metric: &str, figures: &[Figure]) -> Result<(), String> {
    println!("\n{HEAD}");
    for figure in figures {
        println!("{}", figure.row());
    }
    let text = serde_json::to_string_pretty(figures).map_err(|error| error.to_string())?;
    let path = results().join(format!("{}.json", metric.to_lowercase()));
    fs::create_dir_all(results()).and_then(|()| fs::write(&path, text + "\n")).map_err(|error| error.to_string())
}

/// The kept figures of these metrics as one table; a metric that was never measured here has no rows.
///
/// # Errors
/// When a file is not what [`tell`] writes.
pub fn table<'a>(metrics: impl IntoIterator<Item = &'a str>) -> Result<String, String> {
    let mut rows = vec![HEAD.to_owned()];
    for metric in metrics {
        let path = results().join(format!("{}.json", metric.to_lowercase()));
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let figures: Vec<Figure> =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        rows.extend(figures.iter().map(Figure::row));
    }
    Ok(rows.join("\n"))
}

/// The head of the tables.
pub const HEAD: &str = "| metric | what | against | ratio of | median | least to greatest (pairs) | control | seen |\n|---|---|---|---|---|---|---|---|";
