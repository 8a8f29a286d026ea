//! One TCP connection to a host of several addresses.

use crate::deadline::Deadline;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;

/// Connects to all the addresses at once; the first that answers counts, so that a broken family or host
/// beside a good one costs nothing.
///
/// # Errors
/// Of several failures the one that came furthest, which says most: a refusal, then silence
/// ([`io::ErrorKind::TimedOut`]), then no route.
pub async fn dial(addresses: &[IpAddr], port: u16, deadline: Deadline) -> io::Result<(TcpStream, SocketAddr)> {
    let mut attempts: FuturesUnordered<_> = addresses
        .iter()
        .map(|&address| async move {
            let address = SocketAddr::new(address, port);
            match tokio::time::timeout_at(deadline.instant().into(), TcpStream::connect(address)).await {
                Ok(connected) => connected.map(|stream| (stream, address)),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
        .collect();
    let mut worst: Option<io::Error> = None;
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(connected) => return Ok(connected),
            Err(error) if worst.as_ref().is_none_or(|known| rank(&error) < rank(known)) => worst = Some(error),
            Err(_) => {}
        }
    }
    Err(worst.unwrap_or_else(|| io::ErrorKind::TimedOut.into()))
}

fn rank(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => 0,
        io::ErrorKind::TimedOut => 1,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => 2,
        _ => 3,
    }
}
