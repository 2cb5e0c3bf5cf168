//! The real etcd and kube-apiserver, built once from Go modules.

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {}
