//! stub
use super::{client::GateClient, outcome::Lookup};
/// Coalesces look-ups.
#[derive(Debug, Clone)]
pub struct Poller {
    client: GateClient,
}
impl Poller {
    /// A poller.
    pub fn new(client: GateClient) -> Self {
        Self { client }
    }
    /// One look.
    pub async fn look(&self, id: &str) -> Lookup {
        self.client.execution(id).await
    }
}
