//! Which versions never move: what somebody approves is what runs. Touches nothing.

use regex_lite::Regex;

use crate::{
    api::{bounds, conditions::Reason, deploy_request::WaitingFor, environment::ApprovalRules},
    domain::refusal::Refusal,
};

/// What counts as a version that never moves where `approvals.fixedVersions` doesn't say.
pub const FIXED_VERSIONS: &str = r"v?[0-9]+(\.[0-9]+)+([-+.][0-9A-Za-z.-]+)?";
/// Parts of a version that looks fixed by that and isn't: `1.2.x` is a branch, `1.2-SNAPSHOT` the latest of many.
const MOVING: [&str; 3] = ["x", "latest", "snapshot"];
/// A commit, or a digest, by itself or behind an image's name.
const ALWAYS_FIXED: &str = r"^(?:[0-9a-fA-F]{7,40}|(?:.*@)?sha256:[0-9a-fA-F]{64})$";

/// The pattern of versions that never move, made to match whole ones.
///
/// # Errors
/// It is no regular expression.
pub fn fixed_versions(rules: &ApprovalRules) -> Result<Regex, Refusal> {
    let pattern = rules.fixed_versions.as_deref().unwrap_or(FIXED_VERSIONS);
    Regex::new(pattern)
        .and_then(|_| Regex::new(&format!("^(?:{pattern})$")))
        .map_err(|error| {
            Refusal::passing(
                WaitingFor::Configuration,
                Reason::PatternInvalid,
                format!("spec.protection.approvals.fixedVersions of the Environment is no regular expression: {error}."),
            )
        })
}

/// Whether a version is always the same thing: what somebody approves today must be what runs tomorrow.
///
/// # Errors
/// It moves, as a branch does; or the Environment's pattern is no regular expression.
pub fn fixed(rules: &ApprovalRules, version: &str) -> Result<(), Refusal> {
    let always = Regex::new(ALWAYS_FIXED).is_ok_and(|always| always.is_match(version));
    let moves = rules.fixed_versions.is_none()
        && version
            .split(['.', '-', '+'])
            .any(|part| MOVING.iter().any(|word| part.eq_ignore_ascii_case(word)));
    if always || (fixed_versions(rules)?.is_match(version) && !moves) {
        return Ok(());
    }
    Err(Refusal::permanent(
        Reason::VersionMoves,
        format!(
            "version `{}` can become something else after it was approved, and this Environment wants approvals; name a tag or a commit, or who owns the Environment widens spec.protection.approvals.fixedVersions.",
            bounds::cut(version, bounds::NAME)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::tests::rules, *};

    #[test]
    fn a_version_that_moves_can_not_be_approved() {
        let plain = rules(&json!({}));
        let sha = "0123456789abcdef0123456789abcdef01234567";
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = format!("registry.example/shop/checkout@{digest}");
        for fixed_version in [
            "1.2",
            "v1.2.3",
            "v1.2.3-rc.1",
            "1.2.3+build.7",
            "0123456",
            sha,
            &digest,
            &image,
        ] {
            assert_eq!(fixed(&plain, fixed_version), Ok(()), "{fixed_version}");
        }
        for moving in [
            "main",
            "latest",
            "v1",
            "release/1.2",
            "1.2.x",
            "v1.X",
            "1.2-SNAPSHOT",
            "2.0.0-latest",
            "012345",
            "0123456\n",
            "1.2 main",
            &format!("{sha}0"),
            "",
            "sha256:abc",
            "v1.2.3\nmain",
        ] {
            assert_eq!(
                fixed(&plain, moving).unwrap_err().reason,
                Reason::VersionMoves,
                "{moving:?}"
            );
        }
        let own = rules(&json!({"fixedVersions": "build-[0-9]+|nightly"}));
        assert_eq!(fixed(&own, "build-7"), Ok(()));
        assert_eq!(fixed(&own, sha), Ok(()), "a commit never moves");
        for moving in ["build-7-next", "nightly-next", "v1.2.3"] {
            assert!(
                fixed(&own, moving).is_err(),
                "{moving}: the whole has to match"
            );
        }
        for odd in ["(", "a)|(b", "["] {
            let refusal = fixed(&rules(&json!({"fixedVersions": odd})), "main").unwrap_err();
            assert_eq!(
                (refusal.reason, refusal.waiting_for),
                (Reason::PatternInvalid, Some(WaitingFor::Configuration)),
                "{odd}"
            );
        }
    }
}
