//! What foredeck's tests and demo run against: the real Kubernetes control plane, and stand-ins for what no registry ships.
//!
//! Never imports foredeck: what vouches for foredeck must not share its mistakes.

pub mod api_proxy;
pub mod browser;
pub mod collector;
pub mod control_plane;
pub mod definitions;
pub mod gate;
pub mod helm;
mod leash;
mod provision;
pub mod role;
mod server;
pub mod sink;
pub mod slack;
pub mod tls;
pub mod toolbox;
pub mod vault;
pub mod wait;

pub use api_proxy::ApiProxy;
pub use collector::Collector;
pub use control_plane::{AuditedCall, ControlPlane};
pub use gate::StandInGate;
pub use role::{Role, RoleCommand};
pub use sink::StandInSink;
pub use slack::StandInSlack;
pub use vault::FalseVault;
pub use wait::wait_for;
