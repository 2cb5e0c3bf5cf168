//! The stand-in on TLS: its own certificate, and whose certificates it wants from clients. Touches what it listens with.

use anyhow::{Context, Result};
use tokio::sync::watch;

use super::{Authentication, StandInGate, Timing};
use crate::tls::Issued;

/// What the stand-in shows, and what it wants to be shown.
#[derive(Debug, Clone)]
pub struct GateTls {
    /// Its own certificate.
    pub server: Issued,
    /// PEM: every client must show a certificate of one of these authorities, as at Gate's `apiPort`. With `None` nobody is
    /// asked for one.
    pub clients: Option<String>,
}

impl StandInGate {
    /// Starts on a free port of 127.0.0.1 with quick timing, on TLS. If it wants certificates, they say who calls
    /// ([`Authentication::X509`]): without one, with an expired one or with another authority's the handshake is refused.
    pub async fn start_tls(tls: GateTls) -> Result<Self> {
        Self::start_tls_with(0, Timing::default(), tls).await
    }

    /// The same on the given port (0: a free one), with the given timing.
    pub async fn start_tls_with(port: u16, timing: Timing, tls: GateTls) -> Result<Self> {
        let (config, _) = watch::channel(tls.server.server_config(tls.clients.as_deref())?);
        let gate = Self::listen(port, timing, Some(config)).await?;
        if tls.clients.is_some() {
            gate.set_authentication(Authentication::X509);
        }
        Ok(gate)
    }

    /// Changes what it shows and wants, for connections from now on. Those that are there stay.
    ///
    /// # Errors
    /// When something can't be read, or it isn't on TLS.
    pub fn set_tls(&self, tls: &GateTls) -> Result<()> {
        let config = self.inner.tls.as_ref().context("this Gate has no TLS")?;
        config.send_replace(tls.server.server_config(tls.clients.as_deref())?);
        Ok(())
    }

    /// Why handshakes were refused, oldest first, in rustls' words: `peer sent no certificates`, `invalid peer
    /// certificate: Expired…`, `…: UnknownIssuer`; or the alert of a client that refused ours.
    pub fn refused_handshakes(&self) -> Vec<String> {
        self.inner.tally.refusals()
    }
}
