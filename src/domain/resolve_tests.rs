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
    }
}

impl Case {
    fn resolve(&self) -> Result<Resolution, Refusal> {
        self.resolve_on(None)
    }

    fn resolve_on(&self, target: Option<&DeployTargetStatus>) -> Result<Resolution, Refusal> {
        let mut request: DeployRequest = object("r", &self.request);
        request.metadata.uid = Some(self.uid.to_owned());
        let application: Application =
            object("checkout", &json!({"actions": {"deploy": self.action}}));
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
        let version = version::named(&request, target)?;
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
