//! Servers in turn: short slices in the order A B … B A, so that what drifts drifts for all; ratios pair by pair.

use crate::{
    figure::Figure,
    load::{self, Exchange},
    median,
    process::Server,
};
use std::time::Duration;

/// Pairs of slices, besides one that is thrown away.
pub const PAIRS: usize = 12;
/// Length of a slice.
pub const SLICE: Duration = Duration::from_secs(2);
/// Connections of a closed loop.
pub const CONNECTIONS: usize = 16;

/// Somebody who answers.
pub struct Contender {
    /// The letter or name in the table.
    pub name: &'static str,
    /// It.
    pub server: Server,
    exchanges: Vec<Exchange>,
    slices: Vec<Slice>,
}

/// What one slice showed.
#[derive(Clone, Copy, Debug)]
struct Slice {
    /// Answers a second.
    rate: f64,
    /// Processor time of the server for each answer, in microseconds.
    cpu: f64,
}

impl Contender {
    /// Lets a server learn what is asked of it.
    ///
    /// # Errors
    /// When it answers with an error.
    pub async fn new(name: &'static str, server: Server, bodies: &[String]) -> Result<Self, String> {
        let exchanges = load::learn(server.port, bodies).await.map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { name, server, exchanges, slices: Vec::new() })
    }

    /// Whether both answer the same bytes.
    ///
    /// # Errors
    /// Where they differ.
    pub fn same_answers(&self, other: &Self) -> Result<(), String> {
        for (own, theirs) in self.exchanges.iter().zip(&other.exchanges) {
            if own.answer != theirs.answer {
                let at = own.answer.iter().zip(&theirs.answer).take_while(|(a, b)| a == b).count();
                let part = |answer: &[u8]| {
                    let from = at.saturating_sub(60);
                    String::from_utf8_lossy(&answer[from..answer.len().min(at + 60)]).into_owned()
                };
                return Err(format!(
                    "{} and {} differ at byte {at}: {} / {}",
                    self.name,
                    other.name,
                    part(&own.answer),
                    part(&theirs.answer)
                ));
            }
        }
        Ok(())
    }

    async fn slice(&self, time: Duration) -> Result<Slice, String> {
        let before = self.server.cpu();
        let closed = load::closed(self.server.port, &self.exchanges, CONNECTIONS, time).await;
        let (answers, took) = closed.map_err(|error| format!("{}: {error}", self.name))?;
        let cpu = self.server.cpu() - before;
        Ok(Slice { rate: answers as f64 / took.as_secs_f64(), cpu: cpu.as_secs_f64() * 1e6 / answers.max(1) as f64 })
    }

    /// Its answers a second at saturation, from the slices so far.
    pub fn rate(&self) -> f64 {
        median(&mut self.slices.iter().map(|slice| slice.rate).collect::<Vec<_>>())
    }

    /// What it is asked.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    fn seen(&self) -> String {
        let cpu = median(&mut self.slices.iter().map(|slice| slice.cpu).collect::<Vec<_>>());
        format!("{} {:.0}/s, {cpu:.0} µs", self.name, self.rate())
    }
}

/// Runs all contenders in turn. The first is the product, and the last is the product again.
///
/// # Errors
/// The first wrong answer.
pub async fn run(contenders: &mut [Contender], slice: Duration) -> Result<(), String> {
    for contender in &*contenders {
        contender.slice(slice / 2).await?;
    }
    for pair in 0..PAIRS {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if pair % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let seen = contenders[index].slice(slice).await?;
            contenders[index].slices.push(seen);
        }
    }
    Ok(())
}

/// What a ratio is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Answers a second, ours over theirs.
    Throughput,
    /// Processor time for each answer, ours over theirs.
    Cpu,
    /// Processor time for each answer, theirs over ours.
    CpuSaved,
}

impl Of {
    const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput, ours over theirs",
            Self::Cpu => "cpu a request, ours over theirs",
            Self::CpuSaved => "cpu a request, theirs over ours",
        }
    }

    fn ratio(self, ours: Slice, theirs: Slice) -> f64 {
        match self {
            Self::Throughput => ours.rate / theirs.rate,
            Self::Cpu => ours.cpu / theirs.cpu,
            Self::CpuSaved => theirs.cpu / ours.cpu,
        }
    }
}

/// The figure of the first contender against another, with the control of the first against the last.
pub fn figure(metric: &str, what: &str, contenders: &[Contender], against: &str, of: Of) -> Figure {
    let ratios = |other: &Contender| {
        let ours = contenders[0].slices.iter();
        ours.zip(&other.slices).map(|(ours, theirs)| of.ratio(*ours, *theirs)).collect::<Vec<_>>()
    };
    let other = contenders.iter().find(|contender| contender.name == against).expect("a contender of this run");
    let control = contenders.last().map_or(f64::NAN, |again| median(&mut ratios(again)));
    Figure::new(metric, what, against, of.name(), ratios(other)).controlled(control).seen(format!(
        "{}; {}",
        contenders[0].seen(),
        other.seen()
    ))
}
