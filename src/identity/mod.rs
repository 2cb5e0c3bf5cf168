//! Who somebody is and what they may do. Touches Slack (`users.info`) and the API server (access reviews).

pub mod access;
pub mod person;

pub use access::{Access, AccessError, Missing, Permission};
pub use person::{Account, Nobody, Person};
