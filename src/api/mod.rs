//! The kinds of `foredeck.dev/v1alpha1`: serde, schema and CEL rules, nothing else. Touches nothing outside.

pub mod actor;
pub mod application;
pub mod artifact;
pub mod bounds;
pub mod conditions;
pub mod connection;
pub mod decision;
pub mod deploy_approval;
pub mod deploy_freeze;
pub mod deploy_request;
pub mod deploy_target;
pub mod environment;
pub mod execution;
pub mod gate;
pub mod lock;
pub mod person;
pub mod resolved;
mod schema;
pub mod selector;
pub mod slack_status;
pub mod trace;
pub mod version;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use application::Application;
pub use connection::SpinnakerConnection;
pub use deploy_approval::DeployApproval;
pub use deploy_freeze::DeployFreeze;
pub use deploy_request::DeployRequest;
pub use deploy_target::DeployTarget;
pub use environment::Environment;
pub use person::Person;

/// The API group of every kind here.
pub const GROUP: &str = "foredeck.dev";

/// The version of every kind here.
pub const VERSION: &str = "v1alpha1";

/// The field manager of the controller's writes.
pub const CONTROLLER: &str = "foredeck-controller";

/// The field manager of the receiver's writes.
pub const RECEIVER: &str = "foredeck-receiver";

/// The field manager of the relay's writes.
pub const RELAY: &str = "foredeck-relay";

/// Says that the controller met this object under this uid. An object whose annotation names another uid is a copy
/// (a restored backup, an export applied elsewhere) and starts nothing.
pub const SEEN_ANNOTATION: &str = "foredeck.dev/seen";

/// The definitions of all kinds, as `foredeck crds` prints them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [
        Application::crd(),
        DeployApproval::crd(),
        DeployFreeze::crd(),
        DeployRequest::crd(),
        DeployTarget::crd(),
        Environment::crd(),
        Person::crd(),
        SpinnakerConnection::crd(),
    ]
    .into_iter()
    .map(schema::finish)
    .collect()
}
