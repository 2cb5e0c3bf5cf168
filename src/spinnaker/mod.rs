//! spinnaker
