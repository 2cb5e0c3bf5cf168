//! A stand-in for Spinnaker's Gate that behaves as the real one was recorded to.

/// A running stand-in.
#[derive(Debug)]
pub struct StandInGate {}
