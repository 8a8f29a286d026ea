//! A look at every stage on the way to the manager: name, proxy or connection, TLS, health.

use super::{Answer, Clocks, Error, Health, Manager, Reached, Trust, Validity};
use crate::deadline::Deadline;
use crate::net::proxy;
use std::net::IpAddr;
use std::time::Instant;

/// A proxy on the way to the manager.
#[derive(Debug)]
pub struct Through {
    /// Its host and port.
    pub proxy: String,
    /// Its addresses; none where its name does not resolve.
    pub addresses: Vec<IpAddr>,
    /// Whether it connects to the manager.
    pub tunnel: Result<(), Error>,
}

/// Every stage on the way to the manager, each judged on its own; a stage is `None` where the one before
/// it left nothing to ask.
#[derive(Debug)]
pub struct Look {
    /// Its addresses.
    pub addresses: Result<Vec<IpAddr>, Error>,
    /// Who told them, and how long that took: `name server 127.0.0.53, in 3 ms`; `None` where nobody was asked.
    pub told_by: Option<String>,
    /// The proxy the way leads through; the addresses above then matter to the proxy only.
    pub through: Option<Through>,
    /// A TCP connection to one of them.
    pub connection: Option<Result<Reached, Error>>,
    /// Whether its certificate is believed; `None` where no TLS came about.
    pub trust: Option<Trust>,
    /// Its clock and ours.
    pub clocks: Option<Clocks>,
    /// When its certificate is valid; `None` where no answer came with one.
    pub certificate: Option<Validity>,
    /// The health check.
    pub health: Option<Result<Health, Error>>,
}

impl Manager {
    /// Looks at every stage: name, proxy or connection, TLS, health.
    pub async fn look(&self, deadline: Deadline) -> Look {
        // A part of the time for each stage, so that a late one still gets to speak.
        let share = deadline.remaining().mul_f32(0.45);
        let started = Instant::now();
        let nothing = Look {
            addresses: Ok(Vec::new()),
            told_by: None,
            through: None,
            connection: None,
            trust: None,
            clocks: None,
            certificate: None,
            health: None,
        };
        let found = async {
            let found = self.find(deadline.within(share)).await;
            (found, started.elapsed().as_millis())
        };
        let proxy = proxy::on_the_way_to(&self.url());
        let tunnel = async {
            let proxy = proxy?;
            let addresses = proxy.resolve(&self.paths).await.unwrap_or_default();
            let tunnel = self.tunnel(&proxy, deadline.within(share)).await;
            Some(Through { proxy: proxy.name(), addresses, tunnel })
        };
        let ((found, took), through) = futures_util::future::join(found, tunnel).await;
        let told_by = found.as_ref().ok().and_then(|found| found.told_by.clone());
        let told_by = told_by.map(|who| format!("{who}, in {took} ms"));
        let addresses = found.map(|found| found.addresses);
        let mut look = Look { addresses, told_by, through, ..nothing };
        let open = match (&look.through, &look.addresses) {
            (Some(through), _) => through.tunnel.is_ok(),
            (None, Err(_)) => false,
            (None, Ok(addresses)) => {
                let connection = self.connect(addresses, deadline.within(share)).await;
                look.connection.insert(connection).is_ok()
            }
        };
        if open {
            let Answer { trust, clocks, certificate, health } = self.ask(deadline).await;
            look = Look { trust, clocks, certificate, health: Some(health), ..look };
        }
        look
    }
}
