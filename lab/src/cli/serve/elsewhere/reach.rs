//! How functions elsewhere reach the lab: as `localhost`, or from a container.

use crate::cli::setup::setup;
use crate::cli::stop::Stop;
use crate::containers::{Forward, HOST, Subnet, engine};
use std::net::Ipv4Addr;

/// The name and the address of this machine, as the functions have them, and the ports that are served there.
pub(super) struct Reach {
    bridge: Option<(Ipv4Addr, Option<Subnet>)>,
    forwards: Vec<Forward>,
}

impl Reach {
    /// Functions on this machine, which reach its loopback interface.
    pub(super) fn local() -> Self {
        Self { bridge: None, forwards: Vec::new() }
    }

    /// Functions in containers, which reach `address`, or else what the container engine says.
    pub(super) async fn containers(address: Option<Ipv4Addr>) -> Result<Self, Stop> {
        let bridge = match address {
            Some(address) => (address, None),
            None => {
                let bridge = engine::bridge().await.map_err(setup)?;
                (bridge.gateway, Some(bridge.containers))
            }
        };
        Ok(Self { bridge: Some(bridge), forwards: Vec::new() })
    }

    /// The name by which the functions call this machine.
    pub(super) fn host(&self) -> &'static str {
        if self.bridge.is_some() { HOST } else { "localhost" }
    }

    /// The address of this machine that [`host`](Self::host) has to stand for in a container.
    pub(super) fn address(&self) -> Option<Ipv4Addr> {
        self.bridge.map(|(address, _)| address)
    }

    /// In words, where the lab is reachable.
    pub(super) fn described(&self) -> String {
        match self.bridge {
            None => "127.0.0.1 alone".to_owned(),
            Some((address, None)) => format!("127.0.0.1, and {address} for containers; no other address"),
            Some((address, Some(clients))) => {
                format!("127.0.0.1, and {address} for containers in {clients}; no other address")
            }
        }
    }

    /// Lets the functions reach a loopback port.
    pub(super) fn open(&mut self, port: u16) -> Result<(), Stop> {
        let Some((address, clients)) = self.bridge else { return Ok(()) };
        let failed = |error: std::io::Error| {
            let what = format!("port {port} could not be bound at {address}: {error}");
            Stop::Setup(format!("{what}; choose another --port, or another address as --for-containers=ADDRESS"))
        };
        self.forwards.push(Forward::start(address, port, clients).map_err(failed)?);
        Ok(())
    }
}
