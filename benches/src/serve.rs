//! The servers that are processes of their own: the product over stubs, H and S.

use crate::{
    data::Rows,
    hand,
    installation::{Installation, Plan},
    stock,
};
use chimera::{app, http};
use clap::{Args, ValueEnum};
use std::{net::SocketAddr, time::Duration};

/// Who is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Who {
    /// The product, over stubs.
    Chimera,
    /// H.
    Hand,
    /// S.
    Stock,
}

/// A server to start.
#[derive(Args, Debug)]
pub struct Serve {
    /// Who.
    who: Who,
    /// A PostgreSQL that is filled; rows in memory when absent.
    #[arg(long)]
    postgres: Option<String>,
    /// Service time of the stubs, in microseconds.
    #[arg(long, default_value_t = 0)]
    service: u64,
    /// Personas with their rows.
    #[arg(long, default_value_t = Rows::FULL.personas)]
    personas: u32,
}

/// Answers until it is killed; prints `listening PORT`.
///
/// # Errors
/// What keeps it from listening.
pub async fn serve(wanted: Serve) -> Result<(), Box<dyn std::error::Error>> {
    let plan = Plan {
        rows: wanted.postgres.is_none().then_some(Rows { personas: wanted.personas, ..Rows::FULL }),
        stub: wanted.postgres.is_none().then(|| Duration::from_micros(wanted.service)),
        postgres: wanted.postgres.clone(),
    };
    let installation = Installation::open(&plan).await?;
    match wanted.who {
        Who::Chimera => {
            let parts = app::parts(&installation.shared, &installation.registry, &installation.settings);
            let bound = http::bind(parts.map_err(|refusal| format!("{:?}", refusal.errors))?)?;
            tell(bound.addresses());
            bound.run().await?;
        }
        Who::Hand => {
            let (server, addresses) = hand::listen(&installation)?;
            tell(&addresses);
            server.await?;
        }
        Who::Stock => {
            let (server, addresses) = stock::listen(&installation, wanted.postgres.as_deref()).await?;
            tell(&addresses);
            server.await?;
        }
    }
    Ok(())
}

fn tell(addresses: &[SocketAddr]) {
    let port = addresses.first().map_or(0, SocketAddr::port);
    println!("listening {port}");
}
