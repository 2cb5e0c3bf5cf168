//! stub
use crate::api::bounds;
/// stub
pub fn clean(text: &str) -> String {
    bounds::cut(text, bounds::MESSAGE)
}
