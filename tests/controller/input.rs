//! Bad input, and what it gets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployRequest, Environment, SpinnakerConnection,
    deploy_request::{Phase, WaitingFor},
};
use foredeck_testkit::gate::{Operation, Parameter, Pipeline, Stage};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, deploy, environment, message, phase_of, reason};

const QUICK: Duration = Duration::from_millis(300);
/// Long before any timer would look again.
const AT_ONCE: Duration = Duration::from_secs(5);

/// One request, and the answer it is owed.
struct Case {
    name: &'static str,
    spec: Value,
    reason: &'static str,
    /// What the sentence has to say: the thing, the rule, who can change it.
    says: &'static [&'static str],
}

fn case(
    name: &'static str,
    spec: Value,
    reason: &'static str,
    says: &'static [&'static str],
) -> Case {
    Case {
        name,
        spec,
        reason,
        says,
    }
}

/// A request for an action of the application `odd`.
fn odd(action: &str) -> Value {
    json!({"application": "odd", "environment": "staging", "action": action})
}

/// A deployment to staging, with these fields beside.
fn with(fields: Value) -> Value {
    let mut spec = deploy("staging", "main");
    if let (Some(spec), Value::Object(fields)) = (spec.as_object_mut(), fields) {
        spec.extend(fields);
    }
    spec
}

/// A restart in the environment `flexible`, of which nothing is started.
fn elsewhere(target: &Value) -> Value {
    json!({"application": "checkout", "environment": "flexible", "action": "restart", "dryRun": true, "target": target})
}

impl Bed {
    /// Applications and environments with something wrong about them.
    async fn put_oddities(&self) -> Result<()> {
        let placed = |name: &str| {
            Pipeline::new("checkout", name)
                .parameter(Parameter::new("account").required())
                .parameter(Parameter::new("namespace").required())
        };
        self.gate.put_pipeline(
            placed("Switched off")
                .disabled()
                .stage(Stage::deploy("Deploy", QUICK)),
        );
        let payroll = self.gate.put_pipeline(
            Pipeline::new("payroll", "Pay everybody")
                .parameter(Parameter::new("account"))
                .stage(Stage::deploy("Pay", QUICK)),
        );
        let place =
            json!({"account": "{{ target.account }}", "namespace": "{{ target.namespace }}"});
        let odd = json!({"spinnakerApplication": "checkout", "actions": {
            "absent": {"pipeline": "No such pipeline"},
            "disabled": {"pipeline": "Switched off", "parameters": place},
            "broken-name": {"pipeline": "Deploy to {{ enviroment.name }}"},
            "broken-value": {"pipeline": "Restart", "parameters": {"account": "{{ version }}"}},
            "foreign": {"pipeline": payroll, "parameters": {"account": "{{ target.account }}"}},
            "forgetful": {"pipeline": "Deploy to staging", "parameters": place},
            "slashed": {"pipeline": "team/deploy"},
        }});
        self.create::<Application>("odd", odd).await?;
        let theirs = json!({"spinnakerApplication": "payroll", "actions": {"deploy": {"pipeline": "Pay everybody"}}});
        self.create::<Application>("payroll", theirs).await?;
        let abroad =
            json!({"connection": "gate", "target": {"account": "gke-abroad", "namespace": "shop"}});
        self.create::<Environment>("abroad", abroad).await?;
        let narrow = json!({"gateUrl": self.gate.url(), "allow": {
            "applications": ["checkout"], "accounts": ["eks-staging"], "namespaces": ["pr-*"],
        }});
        self.create::<SpinnakerConnection>("narrow", narrow).await?;
        let fenced = json!({"connection": "narrow", "target": {"account": "eks-staging", "namespace": "billing"}});
        self.create::<Environment>("fenced", fenced).await?;
        let unlisted = json!({"gateUrl": self.gate.url()});
        self.create::<SpinnakerConnection>("unlisted", unlisted)
            .await?;
        let closed = json!({"connection": "unlisted", "target": {"account": "eks-closed", "namespace": "shop"}});
        self.create::<Environment>("closed", closed).await?;
        let flexible = json!({
            "connection": "gate", "target": {"account": "eks-dev", "namespace": "shop"},
            "allowTargets": {"accounts": ["eks-dev-2"], "namespacePattern": "pr-[0-9]+|preview"},
        });
        self.create::<Environment>("flexible", flexible).await?;
        Ok(())
    }

    /// A deployment of checkout to an environment that nothing is wrong with, to its end.
    async fn deploy_and_see(&self, name: &str) -> Result<()> {
        self.deploy(name).await?;
        self.until_phase(name, Phase::Succeeded).await?;
        Ok(())
    }
}

fn hopeless() -> Vec<Case> {
    vec![
        case(
            "no-action",
            with(json!({"action": "fly"})),
            "ActionNotFound",
            &["no action \"fly\"", "deploy, restart, rollback"],
        ),
        case(
            "no-pipeline",
            odd("absent"),
            "PipelineNotFound",
            &["\"No such pipeline\"", "\"checkout\"", "does not exist"],
        ),
        case(
            "slashed",
            odd("slashed"),
            "PipelineNotFound",
            &["\"team/deploy\""],
        ),
        case(
            "disabled",
            odd("disabled"),
            "PipelineDisabled",
            &["\"Switched off\"", "enable it in Spinnaker"],
        ),
        case(
            "broken-name",
            json!({"application": "odd", "environment": "staging", "action": "broken-name", "version": "v1"}),
            "TemplateFailed",
            &["{{ enviroment.name }}", "correct the template"],
        ),
        case(
            "broken-value",
            odd("broken-value"),
            "TemplateFailed",
            &["{{ version }}", "undefined", "correct the template"],
        ),
        case(
            "missing",
            odd("forgetful"),
            "ParameterMissing",
            &["\"branch\"", "spec.parameters"],
        ),
        case(
            "not-offered",
            with(json!({"parameters": {"size": "huge"}})),
            "ParameterNotOffered",
            &["\"huge\"", "small, large"],
        ),
        case(
            "unknown",
            with(json!({"parameters": {"colour": "red"}})),
            "ParameterUnknown",
            &["no parameter \"colour\"", "branch"],
        ),
        case(
            "taken",
            with(json!({"parameters": {"branch": "other"}})),
            "ParameterUnknown",
            &["\"branch\"", "set by the Application's action \"deploy\""],
        ),
        case(
            "expression-value",
            with(json!({"parameters": {"replicas": "${1+1}"}})),
            "ExpressionRefused",
            &["\"replicas\"", "write the value itself"],
        ),
        case(
            "expression-version",
            json!({"application": "checkout", "environment": "staging", "version": "v${x}"}),
            "ExpressionRefused",
            &["spec.version"],
        ),
        case(
            "expression-reason",
            with(json!({"reason": "because ${x}"})),
            "ExpressionRefused",
            &["spec.reason"],
        ),
        case(
            "no-target",
            with(json!({"target": {"namespace": "pr-1"}})),
            "TargetNotAllowed",
            &[
                "\"pr-1\"",
                "its owner can widen spec.allowTargets.namespacePattern",
            ],
        ),
        case(
            "no-account",
            elsewhere(&json!({"account": "eks-prod"})),
            "TargetNotAllowed",
            &[
                "\"eks-prod\"",
                "its owner can add it to spec.allowTargets.accounts",
            ],
        ),
        case(
            "half-a-match",
            elsewhere(&json!({"namespace": "pr-12-evil"})),
            "TargetNotAllowed",
            &["\"pr-12-evil\""],
        ),
        case(
            "other-half",
            elsewhere(&json!({"namespace": "my-preview"})),
            "TargetNotAllowed",
            &["\"my-preview\""],
        ),
        case(
            "foreign",
            odd("foreign"),
            "PipelineForeign",
            &[
                "\"Pay everybody\"",
                "\"payroll\"",
                "spec.spinnakerApplication",
            ],
        ),
        case(
            "not-ours",
            json!({"application": "payroll", "environment": "staging"}),
            "NotAllowedByConnection",
            &["\"payroll\"", "\"gate\"", "spec.allow.applications"],
        ),
        case(
            "abroad",
            json!({"application": "checkout", "environment": "abroad", "action": "restart"}),
            "NotAllowedByConnection",
            &["\"gke-abroad\"", "spec.allow.accounts"],
        ),
        case(
            "fenced",
            json!({"application": "checkout", "environment": "fenced", "action": "restart"}),
            "NotAllowedByConnection",
            &["\"billing\"", "spec.allow.namespaces"],
        ),
        case(
            "closed",
            json!({"application": "checkout", "environment": "closed", "action": "restart"}),
            "NotAllowedByConnection",
            &["\"unlisted\"", "its owner can add it"],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_start_fails_with_the_rule_and_who_can_change_it_and_is_not_tried_again()
-> Result<()> {
    let bed = Bed::new("input", QUICK).await?;
    bed.put_oddities().await?;
    let _controller = bed.controller()?;
    let cases = hopeless();
    for case in &cases {
        bed.request(case.name, case.spec.clone()).await?;
    }
    for case in &cases {
        let ended = bed.until_ended(case.name).await?;
        let (phase, text) = (phase_of(&ended), message(&ended));
        ensure!(phase == Phase::Failed, "{}: {phase:?} {text}", case.name);
        for condition in ["Succeeded", "Stalled"] {
            let seen = reason(&ended, condition);
            ensure!(
                seen == case.reason,
                "{}: {condition} {seen}: {text}",
                case.name
            );
        }
        for part in case.says {
            ensure!(
                text.contains(part),
                "{}: {part:?} not in {text:?}",
                case.name
            );
        }
        let status = ended.status.unwrap_or_default();
        ensure!(
            status.waiting.is_none() && status.attempt.is_none(),
            "{}: {status:?}",
            case.name
        );
        ensure!(status.finished_at.is_some(), "{}: {status:?}", case.name);
    }
    ensure!(bed.gate.launches().is_empty(), "{:?}", bed.gate.launches());
    // One has no version of its own: only a target can say that nothing ran before.
    let targets = bed.targets().await?;
    ensure!(
        targets.len() == 1
            && targets[0]
                .status
                .as_ref()
                .is_some_and(|status| status.keys.is_empty()),
        "{targets:?}"
    );

    // Looked at again, they cost Gate nothing; the one call is the dry run's, which came after them.
    let before = bed.gate.count_calls(Operation::Any);
    for case in &cases {
        bed.touch(case.name).await?;
    }
    for (name, target, account, namespace) in [
        (
            "by-account",
            json!({"account": "eks-dev-2"}),
            "eks-dev-2",
            "shop",
        ),
        (
            "by-pattern",
            json!({"namespace": "pr-12"}),
            "eks-dev",
            "pr-12",
        ),
        (
            "by-both",
            json!({"account": "eks-dev-2", "namespace": "preview"}),
            "eks-dev-2",
            "preview",
        ),
    ] {
        bed.request(name, elsewhere(&target)).await?;
        let ended = bed.until_phase(name, Phase::Succeeded).await?;
        ensure!(
            reason(&ended, "Succeeded") == "DryRun",
            "{}",
            message(&ended)
        );
        let resolved = ended
            .status
            .unwrap_or_default()
            .resolved
            .context("not resolved")?;
        ensure!(
            (
                resolved.target.account.as_str(),
                resolved.target.namespace.as_str()
            ) == (account, namespace),
            "{resolved:?}"
        );
        ensure!(
            resolved.parameters.get("account").map(String::as_str) == Some(account),
            "{resolved:?}"
        );
    }
    let calls = bed.gate.calls();
    // The catalogue lists pipelines, and asks by name only for what no list has.
    let asked: Vec<&str> = calls[before..]
        .iter()
        .filter(|call| call.operation == Operation::GetConfig)
        .filter_map(|call| call.pipeline.as_deref())
        .filter(|name| ["Restart", "Switched off", "Deploy to staging"].contains(name))
        .collect();
    ensure!(asked == ["Restart"; 3], "{asked:?}");
    ensure!(
        bed.gate.launches().is_empty() && bed.targets().await?.len() == 1,
        "a dry run leaves nothing"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_waited_for_and_its_coming_is_heard_at_once() -> Result<()> {
    let bed = Bed::new("missing", QUICK).await?;
    let _controller = bed.controller()?;
    let connectionless =
        json!({"connection": "later", "target": {"account": "eks-none", "namespace": "shop"}});
    bed.create::<Environment>("connectionless", connectionless)
        .await?;
    let cases = [
        case(
            "application",
            json!({"application": "late", "environment": "staging", "action": "restart"}),
            "ApplicationNotFound",
            &["Application \"late\"", "as soon as somebody creates it"],
        ),
        case(
            "environment",
            deploy("late", "main"),
            "EnvironmentNotFound",
            &["Environment \"late\"", "as soon as somebody creates it"],
        ),
        case(
            "connection",
            json!({"application": "checkout", "environment": "connectionless", "action": "restart"}),
            "ConnectionNotFound",
            &["SpinnakerConnection \"later\"", "as soon as there is one"],
        ),
    ];
    for case in &cases {
        bed.request(case.name, case.spec.clone()).await?;
        let waits = bed
            .until(case.name, case.reason, |request| {
                reason(request, "Reconciling") == case.reason
            })
            .await?;
        let text = message(&waits);
        ensure!(phase_of(&waits) == Phase::Pending, "{text}");
        for part in case.says {
            ensure!(
                text.contains(part),
                "{}: {part:?} not in {text:?}",
                case.name
            );
        }
        let waiting = waits
            .status
            .unwrap_or_default()
            .waiting
            .context("it does not wait")?;
        ensure!(
            waiting.subject == WaitingFor::Configuration && waiting.until.is_some(),
            "{waiting:?}"
        );
        // As if it had waited for long: by its own timer it looks every two minutes now.
        let long_ago = json!({"status": {"waiting": {"since": "2026-01-01T00:00:00Z"}}});
        bed.merge_status(case.name, long_ago).await?;
    }
    // Takes longer than the timers that were set before.
    bed.gate.put_pipeline(pipeline("Deploy to late"));
    bed.deploy_and_see("meanwhile").await?;
    bed.deploy_and_see("meanwhile-2").await?;
    ensure!(bed.gate.launches().len() == 2);

    let came = Instant::now();
    bed.create::<Application>("late", json!({"spinnakerApplication": "checkout", "actions": {"restart": {
        "pipeline": "Restart", "parameters": {"account": "{{ target.account }}", "namespace": "{{ target.namespace }}"},
    }}})).await?;
    bed.create::<Environment>("late", environment("late"))
        .await?;
    bed.create::<SpinnakerConnection>("later", bed.connection())
        .await?;
    for case in &cases {
        bed.until(case.name, "picked up", |request| {
            phase_of(request) != Phase::Pending
        })
        .await?;
        ensure!(
            came.elapsed() < AT_ONCE,
            "{} was picked up after {:?}",
            case.name,
            came.elapsed()
        );
    }
    for case in &cases {
        let ended = bed.until_phase(case.name, Phase::Succeeded).await?;
        ensure!(bed.launches(&ended) == 1);
    }
    Ok(())
}

/// What checkout's pipelines take.
fn pipeline(name: &str) -> Pipeline {
    Pipeline::new("checkout", name)
        .parameter(Parameter::new("account").required())
        .parameter(Parameter::new("namespace").required())
        .parameter(Parameter::new("branch").required())
        .stage(Stage::deploy("Deploy", QUICK))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_can_not_be_read_stops_nothing_but_itself_and_is_told_so() -> Result<()> {
    let bed = Bed::new("unreadable", QUICK).await?;
    // A time that the schema takes for one and no clock ever shows.
    bed.deploy("broken").await?;
    bed.merge_status(
        "broken",
        json!({"status": {"phase": "Pending", "finishedAt": "2026-01-01T00:00:00+99:99"}}),
    )
    .await?;
    ensure!(bed.get("broken").await.is_err(), "it can be read after all");
    let _controller = bed.controller()?;
    bed.deploy_and_see("sound").await?;
    let note = bed.until_event("broken", "Invalid").await?;
    ensure!(note.contains("can't be read and is left alone"), "{note}");
    ensure!(bed.gate.launches().len() == 1);
    Ok(())
}

/// Writes conditions into the status of an object of that kind, whatever may be read of it afterwards.
async fn scribble<K>(bed: &Bed, name: &str, conditions: Value) -> Result<()>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let kind = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(bed.client.clone(), &bed.namespace, &kind);
    let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
    api.patch_status(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_and_can_not_be_read_is_not_said_to_be_missing() -> Result<()> {
    let bed = Bed::new("garbled", QUICK).await?;
    let garbled = json!([{
        "type": "Ready", "status": "True", "reason": "Later", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00+99:99",
    }]);
    scribble::<Application>(&bed, "checkout", garbled.clone()).await?;
    scribble::<Environment>(&bed, "staging", garbled).await?;
    let read = bed.api::<Environment>().get("staging").await;
    ensure!(read.is_err(), "it can be read after all");
    let _controller = bed.controller()?;
    let request = bed.deploy("first").await?;
    let waits = async |named: &str| {
        let said = |request: &DeployRequest| {
            let text = message(request);
            reason(request, "Reconciling") == "ConfigurationUnreadable"
                && [named, "can't be read", "somebody mends that"]
                    .iter()
                    .all(|part| text.contains(part))
        };
        bed.until("first", named, said).await
    };
    let waiting = waits("Application \"checkout\"").await?.status;
    let waiting = waiting.and_then(|status| status.waiting);
    ensure!(
        waiting
            .as_ref()
            .is_some_and(|waiting| waiting.subject == WaitingFor::Configuration),
        "{waiting:?}"
    );
    ensure!(bed.launches(&request) == 0);
    scribble::<Application>(&bed, "checkout", json!([])).await?;
    waits("Environment \"staging\"").await?;
    ensure!(bed.launches(&request) == 0);
    // So hears whoever comes after it.
    let mut follows = environment("later");
    follows["protection"] = json!({"after": [{"environment": "staging"}]});
    bed.create::<Environment>("later", follows).await?;
    bed.gate.put_pipeline(pipeline("Deploy to later"));
    bed.request("second", deploy("later", "main")).await?;
    bed.until("second", "order can't be said", |request| {
        let status = request.status.as_ref();
        let waiting = status.and_then(|status| status.waiting.as_ref());
        waiting.is_some_and(|waiting| {
            let told = &waiting.message;
            told.contains("Environment \"staging\" can't be read")
        })
    })
    .await?;
    scribble::<Environment>(&bed, "staging", json!([])).await?;
    let ended = bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(bed.launches(&ended) == 1);
    Ok(())
}
