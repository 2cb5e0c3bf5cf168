//! The relay: tells in Slack how requests go. Touches the API server and Slack through its parts.
//!
//! Level-based: what is to be told follows from the object (`place`, `message`), what was told stands in its status, and
//! the difference is what there is to do (`plan`). So a relay that was away, or killed between any two of its steps, does
//! what is left, and nothing twice.

pub mod message;
pub mod place;
pub mod plan;
pub mod purpose;
#[cfg(test)]
mod testing;
