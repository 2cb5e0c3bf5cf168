//! The whole way as a person sees it: a page in a real browser, the three roles behind it, a real API server, and
//! stand-ins for Slack and for Spinnaker.

mod deck;
mod screen;
mod story;
mod words;
