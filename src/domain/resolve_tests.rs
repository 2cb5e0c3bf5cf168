//! What exactly is to run: what its digest covers, what of it is shown, and which version may be approved.

use serde_json::{Value, json};

use super::*;

fn object<K: serde::de::DeserializeOwned>(name: &str, spec: &Value) -> K {
    let object =
        json!({"metadata": {"name": name, "namespace": "shop", "uid": name}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

/// What a case changes.
#[derive(Clone)]
struct Case {
    request: Value,
    action: Value,
    protection: Value,
    pipeline: Pipeline,
    uid: &'static str,
    /// The connection's namespace.
    home: &'static str,
    place: Place,
    /// What the version was found to be.
    commit: Option<&'static str>,
    repository: bool,
}

fn case() -> Case {
    let parameter = |name: &str| ParameterDescription {
        name: name.to_owned(),
        ..ParameterDescription::default()
    };
    Case {
        request: json!({"application": "checkout", "environment": "production", "version": "v1.2.3", "parameters": {"size": "small", "token": "hunter2"}}),
        action: json!({"pipeline": "Deploy", "parameters": {"tag": "{{ version }}"}, "secretParameters": ["token"]}),
        protection: json!({}),
        pipeline: Pipeline {
            application: "checkout".to_owned(),
            id: "4f0a".to_owned(),
            name: "Deploy".to_owned(),
            disabled: false,
            revision: Some("r1".to_owned()),
            expected: Vec::new(),
            parameters: ["tag", "size", "token", "zone"].map(parameter).to_vec(),
        },
        uid: "u-1",
        home: "shop",
        place: Place {
            account: "eks".to_owned(),
            namespace: "shop".to_owned(),
        },
        commit: None,
        repository: false,
    }
}

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

impl Case {
    fn resolve(&self) -> Result<Resolution, Refusal> {
        self.resolve_on(None)
    }

    fn resolve_on(&self, target: Option<&DeployTargetStatus>) -> Result<Resolution, Refusal> {
        let mut request: DeployRequest = object("r", &self.request);
        request.metadata.uid = Some(self.uid.to_owned());
        let mut application: Application =
            object("checkout", &json!({"actions": {"deploy": self.action}}));
        if self.repository {
            let repository = json!({"github": "shop/checkout"});
            application.spec.repository = serde_json::from_value(repository).unwrap();
        }
        let environment: Environment = object(
            "production",
            &json!({"connection": "gate", "target": {"account": "eks", "namespace": "shop"}, "protection": self.protection}),
        );
        let mut connection: SpinnakerConnection = object(
            "gate",
            &json!({"gateUrl": "http://gate", "allow": {"applications": ["*"], "accounts": ["*"], "namespaces": ["*"]}}),
        );
        connection.metadata.namespace = Some(self.home.to_owned());
        let configuration = Configuration {
            application: &application,
            environment: &environment,
            connection: &connection,
        };
        let mut version = version::named(&request, target)?;
        version.commit = self.commit.map(str::to_owned).or(version.commit);
        resolve(
            &request,
            configuration,
            &self.place,
            target,
            &version,
            &self.pipeline,
        )
    }

    fn changed(&self, change: impl FnOnce(&mut Self)) -> Resolved {
        let mut case = self.clone();
        change(&mut case);
        case.resolve().unwrap().resolved
    }
}

#[test]
fn the_digest_covers_everything_and_each_change_is_named() {
    let case = case();
    let before = case.resolve().unwrap().resolved;
    assert_eq!(case.resolve().unwrap().resolved, before);
    assert_eq!(changes(&before, &before), Vec::<String>::new());
    let told = |after: &Resolved| {
        assert_ne!(after.digest, before.digest);
        changes(&before, after).join(", ")
    };
    let revision = case.changed(|case| case.pipeline.revision = Some("r2".to_owned()));
    assert_eq!(told(&revision), "the pipeline's definition");
    let other = case.changed(|case| case.pipeline.id = "4f0b".to_owned());
    assert_eq!(told(&other), "the pipeline");
    let version = case.changed(|case| case.request["version"] = json!("v1.2.4"));
    assert_eq!(told(&version), "the version, parameter `tag`");
    let parameter =
        case.changed(|case| case.request["parameters"] = json!({"token": "hunter2", "zone": "x"}));
    assert_eq!(told(&parameter), "parameter `size`, parameter `zone`");
    let secret = case.changed(|case| case.request["parameters"]["token"] = json!("hunter3"));
    assert_eq!(
        told(&secret),
        "a parameter that is secret, or whose the connection is"
    );
    let shared = case.changed(|case| case.home = "foredeck-system");
    assert_eq!(told(&shared), told(&secret), "another of the same name");
    let commit = case.changed(|case| case.commit = Some(A));
    assert_eq!(told(&commit), "the commit");
    let moved = case.changed(|case| case.commit = Some(B));
    assert_ne!(moved.digest, commit.digest, "of one branch");
    let place = case.changed(|case| case.place.namespace = "shop-2".to_owned());
    assert_eq!(told(&place), "the cluster or namespace");
    let environment = case.changed(|case| case.request["environment"] = json!("production-2"));
    assert_eq!(told(&environment), "the cluster or namespace");
    let another_request = case.changed(|case| case.uid = "u-2");
    assert_ne!(
        another_request.digest, before.digest,
        "an approval of one request is none of another"
    );
}

#[test]
fn secret_values_are_sent_and_shown_nowhere() {
    let resolution = case().resolve().unwrap();
    assert_eq!(resolution.resolved.parameters["token"], parameters::MASK);
    assert_eq!(resolution.parameters["token"], "hunter2");
    let unmarked = case().changed(|case| case.action["secretParameters"] = json!([]));
    assert_eq!(
        unmarked.digest, resolution.resolved.digest,
        "the mask is no part of what runs"
    );
    let shown = format!(
        "{resolution:?} {}",
        serde_json::to_string(&resolution.resolved).unwrap()
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    let mut offered = case();
    offered.pipeline.parameters[2].options = vec!["hunter3".to_owned()];
    let refusal = offered.resolve().unwrap_err();
    assert_eq!(refusal.reason, Reason::ParameterNotOffered);
    assert!(!refusal.message.contains("hunter"), "{}", refusal.message);
    let mut long = case();
    long.request["parameters"]["token"] = json!("hunter2".repeat(200));
    assert!(!long.resolve().unwrap_err().message.contains("hunter"));
}

#[test]
fn where_approvals_are_wanted_a_version_that_moves_is_refused_if_anything_hangs_on_it() {
    let ran = |version: &str| -> DeployTargetStatus {
        let run = |version: &str| {
            json!({"uid": "x", "name": "x", "action": "deploy", "version": version, "connection": "gate", "phase": "Succeeded",
                "reason": "Succeeded", "sentAt": "2026-11-22T12:00:00Z", "finishedAt": "2026-11-22T12:00:00Z"})
        };
        serde_json::from_value(json!({
            "initialized": "2026-11-22T12:00:00Z", "current": run(version), "history": [run(version), run("moving")],
        }))
        .unwrap()
    };
    let with = |version: Option<&str>, templates: Value| {
        let mut case = case();
        case.protection = json!({"approvals": {"required": 1}});
        case.request["version"] = json!(version);
        case.action = json!({"pipeline": "Deploy", "parameters": templates});
        case
    };
    let refused = |found: Result<Resolution, Refusal>| found.err().map(|refusal| refusal.reason);
    let moves = Some(Reason::VersionMoves);
    let uses = json!({"tag": "{{ version }}"});
    assert_eq!(refused(with(Some("v1.2.3"), uses.clone()).resolve()), None);
    assert_eq!(refused(with(Some("main"), uses.clone()).resolve()), moves);
    assert_eq!(
        refused(with(Some("main"), json!({})).resolve()),
        moves,
        "it says that it runs that"
    );
    assert_eq!(
        refused(with(None, json!({})).resolve()),
        None,
        "it runs no version"
    );
    let (now_main, now_fixed) = (ran("main"), ran("v1.0.0"));
    assert_eq!(
        refused(with(None, json!({})).resolve_on(Some(&now_main))),
        None,
        "nothing hangs on what runs there"
    );
    assert_eq!(
        refused(with(None, uses.clone()).resolve_on(Some(&now_main))),
        moves
    );
    assert_eq!(refused(with(None, uses).resolve_on(Some(&now_fixed))), None);
    let back = json!({"tag": "{{ previous.version }}"});
    assert_eq!(
        refused(with(Some("v1.2.3"), back).resolve_on(Some(&now_fixed))),
        moves
    );
    let mut open = with(Some("main"), json!({"tag": "{{ version }}"}));
    open.protection = json!({});
    assert_eq!(
        refused(open.resolve()),
        None,
        "nobody approves anything there"
    );
}

/// What ran on a target, the newest first: action, version, commit.
fn ran(runs: &[(&str, &str, Option<&str>)]) -> DeployTargetStatus {
    let runs: Vec<Value> = runs
        .iter()
        .map(|(action, version, commit)| {
            json!({"uid": "x", "name": "x", "action": action, "version": version, "commit": commit, "connection": "gate",
                "phase": "Succeeded", "reason": "Succeeded", "sentAt": "2026-11-22T12:00:00Z", "finishedAt": "2026-11-22T12:00:00Z"})
        })
        .collect();
    serde_json::from_value(json!({
        "initialized": "2026-11-22T12:00:00Z", "current": runs.first(), "history": runs,
    }))
    .unwrap()
}

#[test]
fn a_branch_whose_commit_is_known_may_be_approved_unless_its_name_is_handed_on() {
    let with = |commit: Option<&'static str>, templates: Value| {
        let mut case = case();
        case.protection = json!({"approvals": {"required": 1}});
        case.request["version"] = json!("main");
        case.action = json!({"pipeline": "Deploy", "parameters": templates});
        case.commit = commit;
        case
    };
    let reason = |case: &Case| case.resolve().err().map(|refusal| refusal.reason);
    let moves = Some(Reason::VersionMoves);
    let (by_commit, by_name) = (
        json!({"tag": "{{ short_commit }}"}),
        json!({"tag": "{{ version }}-{{ commit }}"}),
    );
    assert_eq!(reason(&with(Some(A), by_commit.clone())), None);
    assert_eq!(reason(&with(Some(A), json!({}))), None);
    assert_eq!(reason(&with(Some(A), by_name.clone())), moves);
    assert_eq!(reason(&with(None, by_commit)), moves);
    let mut artifact = with(Some(A), json!({}));
    artifact.action["artifacts"] =
        json!([{"type": "docker/image", "name": "shop/checkout", "version": "{{ version }}"}]);
    assert_eq!(reason(&artifact), moves, "an artifact hands it on, too");
    let mut tag = with(Some(A), by_name);
    tag.request["version"] = json!("v1.2.3");
    assert_eq!(reason(&tag), None);
}

#[test]
fn runs_of_one_branch_are_told_apart_by_their_commits() {
    let before = |runs: &[(&str, &str, Option<&str>)]| {
        let found = previous(&ran(runs));
        found.map(|version| (version.name.unwrap_or_default(), version.commit))
    };
    let known = |name: &str, commit: &str| Some((name.to_owned(), Some(commit.to_owned())));
    let unknown = |name: &str| Some((name.to_owned(), None));
    let main = |commit| ("deploy", "main", Some(commit));
    let (forgotten, tag) = (("deploy", "main", None), ("deploy", "v1", None));
    assert_eq!(before(&[main(B), main(A)]), known("main", A));
    assert_eq!(
        before(&[main(B), main(B), main(A)]),
        known("main", A),
        "one that ran twice is one"
    );
    assert_eq!(
        before(&[("deploy", "release", Some(A)), main(A), tag]),
        unknown("v1"),
        "one commit under two names is one"
    );
    assert_eq!(
        before(&[("rollback", "main", Some(A)), main(B), main(A), tag]),
        unknown("v1"),
        "a second rollback goes further back"
    );
    assert_eq!(
        before(&[main(B), ("rollback", "v1", None), main(A)]),
        known("main", A)
    );
    assert_eq!(
        before(&[main(B), forgotten, tag]),
        unknown("v1"),
        "nobody knows whether that is another one"
    );
    assert_eq!(before(&[forgotten, forgotten, tag]), unknown("v1"));
    assert_eq!(before(&[forgotten, main(A)]), known("main", A));
    assert_eq!(before(&[main(A)]), None);
    let (one, two) = ("1".repeat(40), "2".repeat(40));
    assert_eq!(
        before(&[("deploy", &one, None), ("deploy", &two, None)]),
        known(&two, &two),
        "a whole SHA-1 says itself which commit it is"
    );
}

#[test]
fn a_template_that_needs_a_commit_nobody_knows_says_so() {
    let with = |template: &str, repository: bool| {
        let mut case = case();
        case.request["version"] = json!("main");
        case.action = json!({"pipeline": "Deploy", "parameters": {"tag": template}});
        case.repository = repository;
        case
    };
    let refusal = |case: &Case| case.resolve().unwrap_err();
    for template in [
        "{{ commit }}",
        "app:{{ short_commit }}",
        "{{ commit[:12] }}",
    ] {
        let lacking = refusal(&with(template, true));
        assert_eq!(lacking.reason, Reason::CommitUnknown, "{}", lacking.message);
        for part in [template, "`main`", "\"deploy\""] {
            assert!(lacking.message.contains(part), "{}", lacking.message);
        }
        assert!(!lacking.message.contains("undefined"));
    }
    let unnamed = refusal(&with("{{ commit }}", false));
    assert_eq!(unnamed.reason, Reason::TemplateFailed);
    assert!(
        unnamed
            .message
            .contains("spec.repository of Application `checkout`"),
        "{}",
        unnamed.message
    );
    let mistaken = refusal(&with("{{ commit }} {{ versoin }}", true));
    assert_eq!(mistaken.reason, Reason::TemplateFailed, "it lacks more");
    assert!(
        with("{{ commit | default('none') }}", true)
            .resolve()
            .is_ok()
    );
    let mut known = with("{{ commit }}/{{ short_commit }}", true);
    known.commit = Some(A);
    assert_eq!(
        known.resolve().unwrap().resolved.parameters["tag"],
        format!("{A}/{}", &A[..7])
    );
    let back = with("{{ previous.short_commit }}", true);
    let forgotten = ran(&[("deploy", "v2", None), ("deploy", "v1", None)]);
    let lacking = back.resolve_on(Some(&forgotten)).unwrap_err();
    assert_eq!(lacking.reason, Reason::TemplateFailed);
    assert!(
        lacking.message.contains("`v1`, which ran before"),
        "{}",
        lacking.message
    );
    let remembered = ran(&[("deploy", "v2", None), ("deploy", "v1", Some(B))]);
    let found = back.resolve_on(Some(&remembered)).unwrap();
    assert_eq!(found.resolved.parameters["tag"], &B[..7]);
}
