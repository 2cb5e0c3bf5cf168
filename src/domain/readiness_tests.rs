//! Tables of what is said of which configuration.

use serde_json::{Value, json};

use super::*;
use crate::{
    api::{Application, application::ParameterDescription},
    domain::{login::KnownCertificate, resolve::Pipeline},
};

fn object<K: serde::de::DeserializeOwned>(name: &str, spec: &Value) -> K {
    let metadata = json!({"name": name, "namespace": "shop", "generation": 2});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn gate(settle: &str) -> SpinnakerConnection {
    object(
        "gate",
        &json!({
            "gateUrl": "http://gate", "timeouts": {"settle": settle},
            "allow": {"applications": ["checkout"], "accounts": ["eks"], "namespaces": ["*"]},
        }),
    )
}

fn said(status: &str, reason: &str, generation: i64) -> SpinnakerConnection {
    let mut connection = gate("150s");
    let condition = json!({
        "type": "Ready", "status": status, "reason": reason, "message": "as it says itself.",
        "observedGeneration": generation, "lastTransitionTime": "2026-11-22T00:00:00Z",
    });
    connection.status = serde_json::from_value(json!({"conditions": [condition]})).unwrap();
    connection
}

fn staging(change: &Value) -> Environment {
    let mut spec = json!({"connection": "gate", "target": {"account": "eks", "namespace": "shop"}});
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    object("staging", &spec)
}

fn checkout(pipeline: &str, parameters: &Value) -> Application {
    object(
        "checkout",
        &json!({"actions": {"deploy": {"pipeline": pipeline, "parameters": parameters}}}),
    )
}

fn refusal(reason: Reason) -> Refusal {
    Refusal::passing(WaitingFor::Spinnaker, reason, "Gate says so.")
}

fn pipeline(application: &str, disabled: bool) -> Pipeline {
    Pipeline {
        expected: Vec::new(),
        application: application.to_owned(),
        id: "4f0a".to_owned(),
        name: "Deploy".to_owned(),
        disabled,
        revision: None,
        parameters: vec![ParameterDescription {
            name: "size".to_owned(),
            required: true,
            options: vec!["small".to_owned(), "large".to_owned()],
            ..ParameterDescription::default()
        }],
    }
}

/// The description of the Application's one action where it finds `found`.
fn described(
    application: &Application,
    found: Result<Pipeline, Refusal>,
    known: Option<&PipelineDescription>,
) -> Description {
    let environment = staging(&json!({}));
    let (name, action) = application.spec.actions.first_key_value().unwrap();
    let action = (name.as_str(), action);
    let wanted = wanted(application, &environment, action);
    let found = match wanted {
        Ok(Wanted::Named(_)) => found.map(|found| Some((gate("150s"), found))),
        _ => Ok(None),
    };
    describe((application, &environment), action, &wanted, &found, known)
}

fn plain() -> Description {
    described(
        &checkout("Deploy", &json!({})),
        Ok(pipeline("checkout", false)),
        None,
    )
}

#[test]
fn a_connection_is_ready_when_gate_knows_us_and_its_settle_time_is_safe() {
    let minimum = Duration::from_secs(150);
    let login = refusal(Reason::LoginFailed);
    for (settle, found, ready, reason, says) in [
        (
            "150s",
            Ok("foredeck"),
            true,
            Reason::ConfigurationValid,
            "\"foredeck\"",
        ),
        (
            "149s",
            Ok("foredeck"),
            false,
            Reason::SettleTooShort,
            "149s",
        ),
        (
            "149s",
            Err(&login),
            false,
            Reason::LoginFailed,
            "Gate says so.",
        ),
        (
            "150s",
            Err(&refusal(Reason::GateUnreachable)),
            false,
            Reason::GateUnreachable,
            "spec.gateUrl",
        ),
    ] {
        let verdict = connection(&gate(settle), minimum, found, &LoginState::default());
        assert_eq!((verdict.ready, verdict.reason), (Some(ready), reason));
        assert!(verdict.message.contains(says), "{}", verdict.message);
    }
}

#[test]
fn a_certificate_that_can_not_be_renewed_and_a_clock_that_is_off_are_said_of_a_ready_connection() {
    let minimum = Duration::from_secs(150);
    let say = |login: &LoginState| connection(&gate("150s"), minimum, Ok("foredeck"), login);
    let end = "2030-01-02T03:04:05Z".parse().unwrap();
    let with = |trouble, skew| LoginState {
        current: Some(1),
        trouble,
        certificate: Some(KnownCertificate {
            serial: "01".to_owned(),
            life: SignedDuration::from_hours(1),
            not_after: end,
            ends: end,
            skew: SignedDuration::from_secs(skew),
        }),
    };
    let trouble = Some(refusal(Reason::CertificateIssueFailed));
    let mut login = with(trouble, -62);
    let verdict = say(&login);
    assert_eq!(verdict.ready, Some(true));
    assert_eq!(
        verdict.message,
        "Gate answers, and knows foredeck as \"foredeck\". The client certificate in use lasts until 2030-01-02T03:04:05Z. Renewing it fails: Gate says so. Vault's clock is 62 s behind the controller's; whoever runs the two can set them by the same time."
    );
    // What was shown to Gate before is no longer said to be in use.
    login.current = None;
    assert!(!say(&login).message.contains("in use"));
    assert_eq!(
        say(&with(None, 30)).message,
        "Gate answers, and knows foredeck as \"foredeck\"."
    );
}

#[test]
fn an_environment_says_the_first_thing_that_is_wrong() {
    let shared = || Err(refusal(Reason::TargetShared));
    let pattern = staging(&json!({"allowTargets": {"namespacePattern": "("}}));
    let elsewhere = staging(&json!({"target": {"account": "gke", "namespace": "shop"}}));
    let good = staging(&json!({"allowTargets": {"namespacePattern": "pr-[0-9]+"}}));
    let reason = |environment: &Environment, connection: Option<&SpinnakerConnection>, shared| {
        super::environment(environment, connection, shared)
            .err()
            .map(|refusal| refusal.reason)
    };
    let fine = gate("150s");
    assert_eq!(reason(&good, Some(&fine), Ok(())), None);
    assert_eq!(
        reason(&good, None, Ok(())),
        Some(Reason::ConnectionNotFound)
    );
    assert_eq!(
        reason(&pattern, Some(&fine), shared()),
        Some(Reason::PatternInvalid)
    );
    assert_eq!(
        reason(&elsewhere, Some(&fine), shared()),
        Some(Reason::TargetShared)
    );
    let not_allowed = Some(Reason::NotAllowedByConnection);
    assert_eq!(reason(&elsewhere, Some(&fine), Ok(())), not_allowed);
    for (connection, expected) in [
        (said("False", "LoginFailed", 2), Some(Reason::LoginFailed)),
        (
            said("False", "CredentialsNotFound", 2),
            Some(Reason::CredentialsNotFound),
        ),
        // Said of an earlier spec, passing, or no hindrance.
        (said("False", "LoginFailed", 1), None),
        (said("False", "GateUnreachable", 2), None),
        (said("False", "SettleTooShort", 2), None),
        (said("True", "ConfigurationValid", 2), None),
    ] {
        assert_eq!(reason(&good, Some(&connection), Ok(())), expected);
    }
}

#[test]
fn a_gate_that_just_failed_is_left_alone() {
    assert!(askable(&gate("150s")).is_ok());
    assert!(askable(&said("False", "SettleTooShort", 2)).is_ok());
    assert!(askable(&said("False", "GateUnreachable", 1)).is_ok());
    for reason in ["GateUnreachable", "SpinnakerBusy", "LoginFailed"] {
        let refusal = askable(&said("False", reason, 2)).unwrap_err();
        assert_eq!(refusal.reason.to_string(), reason);
        assert_eq!(refusal.message, "as it says itself.");
    }
}

#[test]
fn only_names_of_the_request_make_a_pipeline_unknown() {
    let wanted = |template: &str| {
        let application = checkout(template, &json!({}));
        let (name, action) = application.spec.actions.first_key_value().unwrap();
        super::wanted(&application, &staging(&json!({})), (name, action))
            .map_err(|refusal| refusal.reason)
    };
    let named = |name: &str| Ok(Wanted::Named(name.to_owned()));
    let failed = Err(Reason::TemplateFailed);
    for (template, expected) in [
        ("Deploy", named("Deploy")),
        (
            "{{ action }} {{ application.name }} to {{ environment.name }}",
            named("deploy checkout to staging"),
        ),
        (
            "{{ target.account }}/{{ target.namespace }}",
            named("eks/shop"),
        ),
        ("Deploy {{ version }}", Ok(Wanted::OfTheRequest)),
        ("Deploy {{ previous.version }}", Ok(Wanted::OfTheRequest)),
        (
            "{% if reason %}Hotfix{% else %}Deploy{% endif %}",
            Ok(Wanted::OfTheRequest),
        ),
        // The sample is no number of parts, but a request's version may be.
        (
            "{{ version | split('-') | list | slice(2) | first / 0 }}",
            Ok(Wanted::OfTheRequest),
        ),
        ("Deploy {{ versoin }}", failed.clone()),
        ("Deploy {{ version.major }}", failed.clone()),
        (
            "Deploy {{ version }} {{ envrionment.name }}",
            failed.clone(),
        ),
        ("Deploy {{ version", failed),
    ] {
        assert_eq!(wanted(template), expected, "{template}");
    }
}

#[test]
fn a_description_says_what_a_request_would_meet() {
    let one = plain();
    assert_eq!(one.trouble, None);
    assert_eq!(one.shown.id.as_deref(), Some("4f0a"));
    assert_eq!(one.shown.parameters.len(), 1);
    let fine = |disabled| Ok(pipeline("checkout", disabled));
    let given = |size: &str| checkout("Deploy", &json!({"size": size}));
    for (application, found, reason, shows) in [
        (given("large"), fine(false), None, true),
        (given("{{ version }}"), fine(false), None, true),
        (
            given("huge"),
            fine(false),
            Some(Reason::ParameterNotOffered),
            true,
        ),
        (
            given("${x}"),
            fine(false),
            Some(Reason::ExpressionRefused),
            true,
        ),
        (
            given("{{ nobody }}"),
            fine(false),
            Some(Reason::TemplateFailed),
            true,
        ),
        (
            checkout("Deploy", &json!({"colour": "{{ version }}"})),
            fine(false),
            Some(Reason::ParameterUnknown),
            true,
        ),
        (
            given("large"),
            fine(true),
            Some(Reason::PipelineDisabled),
            true,
        ),
        (
            given("large"),
            Ok(pipeline("billing", false)),
            Some(Reason::PipelineForeign),
            false,
        ),
        (
            given("large"),
            Err(refusal(Reason::PipelineNotFound)),
            Some(Reason::PipelineNotFound),
            false,
        ),
        (
            checkout("{{ oops", &json!({})),
            fine(false),
            Some(Reason::TemplateFailed),
            false,
        ),
        (
            checkout("{{ version }}", &json!({})),
            fine(false),
            None,
            false,
        ),
    ] {
        let one = described(&application, found, None);
        assert_eq!(one.trouble.as_ref().map(|refusal| refusal.reason), reason);
        assert_eq!(
            !one.shown.parameters.is_empty() && one.shown.id.is_some(),
            shows,
            "{one:?}"
        );
        if let Some(refusal) = one.trouble {
            assert_eq!(one.shown.problem, Some(refusal.message));
        }
    }
}

#[test]
fn what_is_known_stays_while_gate_cannot_be_asked() {
    let known = plain().shown;
    let application = checkout("Deploy", &json!({}));
    let again = |reason| described(&application, Err(refusal(reason)), Some(&known));
    for reason in PASSING {
        assert_eq!(again(reason).shown, known);
        assert!(again(reason).trouble.is_some());
    }
    let login = again(Reason::LoginFailed).shown;
    assert_eq!(
        (&login.id, &login.parameters),
        (&known.id, &known.parameters)
    );
    assert_eq!(login.problem.as_deref(), Some("Gate says so."));
    let gone = again(Reason::PipelineNotFound).shown;
    assert!(gone.id.is_none() && gone.parameters.is_empty());
    // The action names another pipeline by now.
    let renamed = checkout("Deploy anew", &json!({}));
    let other = described(&renamed, Err(refusal(Reason::SpinnakerBusy)), Some(&known));
    assert!(other.shown.id.is_none() && other.shown.problem.is_some());
}

#[test]
fn an_application_is_ready_when_every_description_is() {
    let trouble = |reason, message: &str| Description {
        trouble: Some(Refusal::permanent(reason, message)),
        ..plain()
    };
    let busy = || trouble(Reason::SpinnakerBusy, "Busy.");
    let gone = |message| trouble(Reason::PipelineNotFound, message);
    for (all, ready, reason, message) in [
        (
            vec![],
            Some(true),
            Reason::ConfigurationValid,
            "no Environment",
        ),
        (
            vec![plain()],
            Some(true),
            Reason::ConfigurationValid,
            "every action",
        ),
        (
            vec![plain(), busy()],
            None,
            Reason::SpinnakerBusy,
            "deploy in staging: Busy.",
        ),
        (
            vec![busy(), gone("Gone.")],
            Some(false),
            Reason::PipelineNotFound,
            "deploy in staging: Gone.",
        ),
        (
            vec![gone("Gone."); 5],
            Some(false),
            Reason::PipelineNotFound,
            "deploy in staging, deploy in staging, deploy in staging and 2 more: Gone.",
        ),
        (
            vec![gone("One."), gone("Two."), gone("Three."), gone("Four.")],
            Some(false),
            Reason::PipelineNotFound,
            "deploy in staging: Three. And 1 more: see status.pipelines.",
        ),
    ] {
        let verdict = super::application(&all);
        assert_eq!((verdict.ready, verdict.reason), (ready, reason));
        assert!(verdict.message.contains(message), "{}", verdict.message);
    }
}

#[test]
fn a_repository_that_can_not_be_read_is_told_and_keeps_nobody_from_deploying() {
    let good = || application(&[]);
    assert_eq!(good().noting(repository("acme/shop", Ok(false))), good());
    for (asked, words) in [
        (Ok(true), "acme/shop is archived"),
        (
            Err("there is no repository acme/shop"),
            "acme/shop can't be read: there is no repository acme/shop.",
        ),
    ] {
        let verdict = good().noting(repository("acme/shop", asked));
        assert_eq!(verdict.ready, Some(true));
        assert_eq!(verdict.reason, good().reason);
        assert!(verdict.message.starts_with(&good().message), "{verdict:?}");
        assert!(verdict.message.contains(words), "{verdict:?}");
    }
}

#[test]
fn what_comes_before_an_environment_is_there_and_comes_before_it() {
    let environment = |name: &str, after: &[&str]| -> Environment {
        let after: Vec<Value> = after
            .iter()
            .map(|name| json!({"environment": name}))
            .collect();
        object(
            name,
            &json!({
                "connection": "gate", "target": {"account": "eks", "namespace": name}, "protection": {"after": after},
            }),
        )
    };
    let all = [
        environment("dev", &[]),
        environment("staging", &["dev"]),
        environment("production", &["dev", "staging"]),
        environment("itself", &["itself"]),
        environment("lost", &["dev", "nowhere"]),
        environment("one", &["two"]),
        environment("two", &["dev", "three"]),
        environment("three", &["one"]),
        environment("beside", &["one"]),
    ];
    let rows = [
        ("dev", None),
        ("staging", None),
        ("production", None),
        ("itself", Some("names \"itself\" itself")),
        ("lost", Some("names Environment \"nowhere\", which isn't")),
        (
            "one",
            Some("one comes after two, which comes after three, which comes after one."),
        ),
        (
            "three",
            Some("three comes after one, which comes after two, which comes after three."),
        ),
        // Nothing is wrong with it but with what comes before it, which says so.
        ("beside", None),
    ];
    for (name, wrong) in rows {
        let own = all.iter().find(|one| one.name_any() == name).unwrap();
        match (order(own, &all), wrong) {
            (Ok(()), None) => {}
            (Err(refusal), Some(wrong)) => {
                assert_eq!(refusal.reason, Reason::OrderInvalid, "{name}");
                assert!(refusal.message.contains(wrong), "{}", refusal.message);
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}
