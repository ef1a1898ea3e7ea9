//! What is measured, against whom, and how. Every claim is a ratio taken in one run on one machine.
//!
//! H is a handler written by hand ([`hand`]), S the stack of a team's first day ([`stock`]); both answer the same bytes
//! from the same data ([`data`], [`documents`]) as the product, which stands over stubs ([`stub`]) or over real stores.
//! Servers are processes of their own on one core ([`process`]), the load comes from the other ([`load`]), and they take
//! turns ([`duel`]). `bin/bench.rs` is the command, `metrics` what it can measure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench stops at the first surprise")]

pub mod data;
pub mod delay;
pub mod documents;
pub mod duel;
pub mod figure;
pub mod hand;
pub mod installation;
pub mod load;
pub mod metrics;
pub mod process;
pub mod queue;
pub mod serve;
pub mod stock;
pub mod stub;

use std::time::{Duration, Instant};
/// The middle of some figures.
///
/// # Panics
/// When there are none.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    *figures.get(figures.len() / 2).expect("figures")
}

/// Ratios of ours to theirs, slice by slice.
#[derive(Debug, Default)]
pub struct Ratios {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Ratios {
    /// Notes one pair of rates.
    pub fn add(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }

    /// `name`, both medians, the median ratio and its least and greatest, as a row of a table.
    pub fn row(&mut self, name: &str) -> String {
        let mut ratios: Vec<f64> = self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs).collect();
        let middle = median(&mut ratios);
        let (low, high) = (ratios.first().copied().unwrap_or(0.0), ratios.last().copied().unwrap_or(0.0));
        let (ours, theirs) = (median(&mut self.ours), median(&mut self.theirs));
        format!("| {name} | {ours:.0} | {theirs:.0} | {middle:.2} | {low:.2} to {high:.2} |")
    }
}

/// Times of calls.
#[derive(Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// Runs `call` and notes how long it took.
    pub async fn measure<T>(&mut self, call: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let answer = call.await;
        self.0.push(begun.elapsed().as_secs_f64() * 1000.0);
        answer
    }

    /// The given part of all times is at most this, in milliseconds.
    pub fn quantile(&mut self, part: f64) -> f64 {
        self.0.sort_unstable_by(f64::total_cmp);
        let index = ((self.0.len() as f64 * part).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }
}

/// Something a second.
pub fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
