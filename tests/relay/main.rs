//! The relay from outside: real API server, stand-in Slack, and the test in the controller's place.

mod asking;
mod channels;
mod crowd;
mod faults;
mod killed;
mod life;
mod support;
mod together;
