//! Names and ids, derived and never drawn: whoever computes them again gets the same. Touches nothing.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::api::{
    actor::SlackPerson,
    artifact::Artifact,
    deploy_request::{DeployRequestSpec, Place},
};

/// SHA-256 of `bytes`, in lower-case hexadecimal (64 characters).
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// SHA-256 over a canonical form: JSON with sorted keys, absent fields left out.
fn digest<T: Serialize>(value: &T) -> String {
    // `serde_json::Value` sorts keys, whatever the order of the fields. Plain structs of strings always serialise.
    sha256(
        serde_json::to_value(value)
            .unwrap_or_default()
            .to_string()
            .as_bytes(),
    )
}

/// What a request asks for, apart from who asks and under which name.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ask<'a> {
    application: &'a str,
    environment: &'a str,
    action: &'a str,
    version: &'a Option<String>,
    /// Left out where it isn't known: a wish is the same then whatever the commit was.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: &'a Option<String>,
    parameters: &'a BTreeMap<String, String>,
    target: &'a Option<crate::api::deploy_request::TargetOverride>,
}

/// The digest of what a request asks for: two requests with one are the same wish.
pub fn ask_digest(spec: &DeployRequestSpec) -> String {
    digest(&Ask {
        application: &spec.application,
        environment: &spec.environment,
        action: &spec.action,
        version: &spec.version,
        commit: &spec.commit,
        parameters: &spec.parameters,
        target: &spec.target,
    })
}

/// The key under which a request runs once: its own, else a digest of its namespace, its name and what it asks for.
pub fn idempotency_key(namespace: &str, name: &str, spec: &DeployRequestSpec) -> String {
    match &spec.idempotency_key {
        Some(key) => key.clone(),
        None => digest(&(namespace, name, ask_digest(spec))),
    }
}

/// The `DeployTarget`'s name: `<application>.<environment>.<hash>`, at most 140 characters.
///
/// The hash keeps apart what dots in names could confuse, and places that one Environment allows.
pub fn target_name(application: &str, environment: &str, place: &Place) -> String {
    let hash = digest(&(application, environment, &place.account, &place.namespace));
    format!("{application}.{environment}.{}", &hash[..12])
}

/// What exactly is to run.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run<'a> {
    /// For which request: an approval of one is none of another that would run the same.
    pub uid: &'a str,
    /// Through which connection.
    pub connection: &'a str,
    /// The Spinnaker application that the pipeline belongs to.
    pub spinnaker_application: &'a str,
    /// The pipeline's id.
    pub pipeline: &'a str,
    /// The digest of its definition.
    pub revision: Option<&'a str>,
    /// With their real values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: &'a BTreeMap<String, String>,
    /// The version.
    pub version: Option<&'a str>,
    /// The commit that it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<&'a str>,
    /// What it gets beside parameters.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub artifacts: &'a [Artifact],
    /// By its name, the Application, the Environment, the account and the namespace.
    pub deploy_target: &'a str,
}

/// The digest of what exactly is to run, as approvals are bound to it and the trigger carries it.
pub fn run_digest(run: &Run<'_>) -> String {
    digest(run)
}

/// The digest of a pipeline's definition, whatever the order of its fields.
pub fn revision(definition: &serde_json::Value) -> String {
    digest(definition)
}

/// Hexadecimal digits of a hash in a name: enough that nobody finds two with one.
const IN_NAME: usize = 20;

/// The name of the `DeployApproval` for the start of one request by one Slack account: of several clicks the first wins.
pub fn approval_name(request_uid: &str, run_digest: &str, approver: &SlackPerson) -> String {
    let hash = digest(&(request_uid, run_digest, &approver.team, &approver.user));
    format!("approval-{}", &hash[..IN_NAME])
}

/// The name of the `DeployApproval` that takes the place of `found`, which had `name` and doesn't count: again the first
/// wins of all that do so. `found` is its uid.
pub fn next_name(name: &str, found: &str) -> String {
    let kind = name.split_once('-').map_or(name, |(kind, _)| kind);
    let hash = digest(&(name, found));
    format!("{kind}-{}", &hash[..IN_NAME])
}

/// What tells one manual judgment from all others, in hexadecimal digits.
pub fn judgment_mark(request_uid: &str, execution: &str, stage: &str) -> String {
    let mut hash = digest(&(request_uid, execution, stage));
    hash.truncate(IN_NAME);
    hash
}

/// The name of the `DeployApproval` for one manual judgment: of several people's answers the first wins.
pub fn judgment_name(mark: &str) -> String {
    format!("judgment-{mark}")
}

/// What tells one input of a manual judgment from the others, in hexadecimal digits.
pub fn input_mark(input: &str) -> String {
    let mut hash = digest(&input);
    hash.truncate(IN_NAME);
    hash
}

/// The execution's id: a ULID of the request's creation time and a hash of its uid.
///
/// Upper-case ULIDs are what Orca sorts and stores without a legacy path.
pub fn execution_id(uid: &str, created: Timestamp) -> String {
    let hash = Sha256::digest(uid.as_bytes());
    let random = hash
        .iter()
        .take(10)
        .fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
    let milliseconds = u64::try_from(created.as_millisecond()).unwrap_or_default();
    Ulid::from_parts(milliseconds, random).to_string()
}

/// What Spinnaker de-duplicates on while an execution runs: `fd-` and 40 hexadecimal digits.
pub fn correlation_id(
    installation: &str,
    namespace: &str,
    deploy_target: &str,
    action: &str,
    key: &str,
) -> String {
    let hash = digest(&(installation, namespace, deploy_target, action, key));
    format!("fd-{}", &hash[..40])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(version: &str) -> DeployRequestSpec {
        serde_json::from_value(
            serde_json::json!({"application": "checkout", "environment": "staging", "version": version}),
        )
        .unwrap()
    }

    #[test]
    fn an_execution_id_is_a_ulid_that_everybody_computes_alike() {
        let created: Timestamp = "2026-11-22T03:04:05Z".parse().unwrap();
        let id = execution_id("0a1b", created);
        assert_eq!(id, execution_id("0a1b", created));
        assert_ne!(id, execution_id("0a1c", created));
        let ulid = Ulid::from_string(&id).unwrap();
        assert_eq!(
            i64::try_from(ulid.timestamp_ms()).unwrap(),
            created.as_millisecond()
        );
        assert_eq!(id.to_uppercase(), id);
    }

    #[test]
    fn what_takes_a_dead_words_place_has_a_name_of_its_own() {
        let first = judgment_name("0a1b");
        let second = next_name(&first, "u1");
        assert!(second.starts_with("judgment-"), "{second}");
        assert_eq!(second, next_name(&first, "u1"));
        let others = [
            first.clone(),
            next_name(&first, "u2"),
            next_name(&second, "u1"),
        ];
        assert!(!others.contains(&second), "{others:?}");
    }

    #[test]
    fn the_default_key_depends_on_name_and_wish_and_nothing_else() {
        let one = idempotency_key("shop", "a", &spec("main"));
        assert_eq!(one, idempotency_key("shop", "a", &spec("main")));
        assert_ne!(one, idempotency_key("shop", "b", &spec("main")));
        assert_ne!(one, idempotency_key("shop", "a", &spec("next")));
        let mut explained = spec("main");
        explained.reason = Some("because".to_owned());
        assert_eq!(one, idempotency_key("shop", "a", &explained));
    }

    #[test]
    fn a_branch_at_another_commit_is_another_wish_and_one_without_is_what_it_always_was() {
        let at = |commit: &str| {
            let mut spec = spec("main");
            spec.commit = Some(commit.repeat(40));
            spec
        };
        assert_ne!(ask_digest(&at("a")), ask_digest(&at("b")));
        assert_eq!(ask_digest(&at("a")), ask_digest(&at("a")));
        let key = |spec: &DeployRequestSpec| idempotency_key("shop", "one", spec);
        assert_ne!(key(&at("a")), key(&at("b")));
        let mut keyed = at("a");
        keyed.idempotency_key = Some("mine".to_owned());
        assert_eq!(
            key(&keyed),
            "mine",
            "whoever gives one says what is the same"
        );
        let before = serde_json::json!({"action": "deploy", "application": "checkout", "environment": "staging",
            "parameters": {}, "target": null, "version": "main"});
        assert_eq!(
            ask_digest(&spec("main")),
            sha256(before.to_string().as_bytes()),
            "what targets remember of earlier requests still counts"
        );
    }

    #[test]
    fn places_of_one_environment_are_different_targets() {
        let place = |namespace: &str| Place {
            account: "eks".to_owned(),
            namespace: namespace.to_owned(),
        };
        let name = target_name("checkout", "preview", &place("pr-1"));
        assert!(name.starts_with("checkout.preview."));
        assert_ne!(name, target_name("checkout", "preview", &place("pr-2")));
    }
}
