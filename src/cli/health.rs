//! `chimera health`: asks the running server of the same settings whether requests may be sent to it.
//!
//! For the health check of a container, which has neither curl nor a shell of its own. It opens no store and touches no
//! data folder, so it may run beside the server.

use super::{Failure, complain, say};
use crate::config::{Settings, reachable};
use std::{net::SocketAddr, process::ExitCode, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longer than the server gives its stores to say how they are.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of the answer only its first line is read.
const STATUS_LINE: usize = "HTTP/1.1 200".len();

/// Exit code 0 when the answer is 200, and 1 otherwise: 2 has no meaning to Docker.
pub(super) async fn run(settings: &Settings, live: bool) -> Result<ExitCode, Failure> {
    let (path, good) = if live { ("/live", "the server runs") } else { ("/ready", "the server is ready") };
    let at = reachable(settings.listen);
    match tokio::time::timeout(PATIENCE, status(at, path)).await {
        Ok(Ok(200)) => {
            say(format_args!("{good}"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Ok(status)) => complain(format_args!("chimera: {at}{path} answers {status}")),
        Ok(Err(error)) => complain(format_args!("chimera: nothing answers at {at}{path}: {error}")),
        Err(_) => complain(format_args!("chimera: {at}{path} does not answer within {} s", PATIENCE.as_secs())),
    }
    Ok(ExitCode::FAILURE)
}

/// The status of a GET.
async fn status(at: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; STATUS_LINE];
    stream.read_exact(&mut line).await?;
    let line = String::from_utf8_lossy(&line);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    status.ok_or_else(|| std::io::Error::other("it does not speak HTTP"))
}
