//! The bounds of every field that we fill from outside, and the cuts that keep them. Touches nothing.
//!
//! The API server prices CEL rules by the declared bounds and refuses a status that exceeds them, so whatever comes
//! from Gate is cut here before it is written. Lengths are Unicode code points, as in JSON Schema.

/// Names of Kubernetes objects that appear in other names: a DNS label.
pub const LABEL: usize = 63;
/// Names, ids, accounts: anything that names one thing.
pub const NAME: usize = 253;
/// Digests: SHA-256 in hexadecimal.
pub const DIGEST: usize = 64;
/// Idempotency keys.
pub const KEY: usize = 128;
/// URLs.
pub const URL: usize = 1024;
/// The value of one parameter.
pub const VALUE: usize = 1024;
/// Sentences for people.
pub const MESSAGE: usize = 2048;
/// Parameters of a request.
pub const PARAMETERS: usize = 64;
/// Stages kept in a status.
pub const STAGES: usize = 100;
/// Finished requests shown in a target's history.
pub const HISTORY: usize = 20;
/// Idempotency keys that a target remembers.
pub const KEYS: usize = 500;
/// Pipelines described in an application's status.
pub const PIPELINES: usize = 100;
/// Options of one pipeline parameter described in an application's status.
pub const OPTIONS: usize = 100;

/// `text` cut to `most` code points, the last of which is then an ellipsis.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(most.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_cut_text_has_at_most_so_many_code_points() {
        assert_eq!(cut("grün", 4), "grün");
        assert_eq!(cut("grüne", 4), "grü…");
        assert_eq!(cut("", 4), "");
    }
}
