//! Stale reads and lost events between the controller and the API server.
