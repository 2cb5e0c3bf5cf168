//! What is said of connections, Environments and Applications before anybody deploys.

use std::{fmt::Debug, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, Environment, SpinnakerConnection, application::PipelineDescription,
};
use foredeck_testkit::{
    gate::{Authentication, Operation, Parameter, Pipeline},
    toolbox::{Github, GithubFault, Node},
    wait_for,
};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::support::{Bed, Controller, PATIENCE, application, environment};

const QUICK: Duration = Duration::from_millis(100);
/// Long enough to tell a timer from a watch.
const NEVER: &[&str] = &["--test-refresh", "1h"];
const OFTEN: &[&str] = &["--test-refresh", "300ms"];

async fn bed(name: &str, refresh: &[&str]) -> Result<(Bed, Controller)> {
    let bed = Bed::new(name, QUICK).await?;
    let controller = bed.controller_with(refresh)?;
    Ok((bed, controller))
}

/// Waits until the object's Ready has this status and reason, speaks of the present spec, and its sentence holds `says`.
async fn until<K>(bed: &Bed, name: &str, status: &str, reason: &str, says: &str) -> Result<Value>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + DeserializeOwned
        + Serialize
        + Clone
        + Debug,
{
    let what = format!("{} {name}: {status}, {reason}, {says:?}", K::kind(&()));
    wait_for(&what, PATIENCE, async || {
        let object = serde_json::to_value(bed.api::<K>().get(name).await?)?;
        let conditions = object["status"]["conditions"].as_array().cloned();
        let ready = conditions
            .unwrap_or_default()
            .into_iter()
            .find(|condition| condition["type"] == "Ready")
            .unwrap_or_default();
        let generation = &object["metadata"]["generation"];
        ensure!(
            ready["status"] == status
                && ready["reason"] == reason
                && ready["message"]
                    .as_str()
                    .is_some_and(|message| message.contains(says))
                && ready["observedGeneration"] == *generation
                && object["status"]["observedGeneration"] == *generation,
            "status {}",
            object["status"]
        );
        Ok(object)
    })
    .await
}

async fn all_ready(bed: &Bed) -> Result<()> {
    until::<SpinnakerConnection>(bed, "gate", "True", "ConfigurationValid", "anonymous").await?;
    for name in ["staging", "production"] {
        until::<Environment>(bed, name, "True", "ConfigurationValid", "").await?;
    }
    until::<Application>(bed, "checkout", "True", "ConfigurationValid", "").await?;
    Ok(())
}

async fn descriptions(bed: &Bed) -> Result<Vec<PipelineDescription>> {
    let application = bed.api::<Application>().get("checkout").await?;
    Ok(application.status.unwrap_or_default().pipelines)
}

async fn description(bed: &Bed, action: &str, environment: &str) -> Result<PipelineDescription> {
    let all = descriptions(bed).await?;
    let found = all
        .iter()
        .find(|one| one.action == action && one.environment == environment);
    found
        .cloned()
        .ok_or_else(|| anyhow::anyhow!("no {action} in {environment}: {all:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_in_order_becomes_ready_and_describes_its_pipelines() -> Result<()> {
    let (bed, _controller) = bed("ready", NEVER).await?;
    all_ready(&bed).await?;
    let connection = bed.api::<SpinnakerConnection>().get("gate").await?;
    ensure!(connection.status.unwrap_or_default().user.as_deref() == Some("anonymous"));

    let all = descriptions(&bed).await?;
    ensure!(
        all.len() == 6 && all.iter().all(|one| one.problem.is_none()),
        "{all:?}"
    );
    let deploy = description(&bed, "deploy", "staging").await?;
    ensure!(
        deploy.name == "Deploy to staging" && deploy.id.is_some(),
        "{deploy:?}"
    );
    let parameter = |name: &str| deploy.parameters.iter().find(|one| one.name == name);
    ensure!(parameter("branch").is_some_and(|one| one.required && one.default.is_none()));
    ensure!(parameter("replicas").is_some_and(|one| one.default.as_deref() == Some("2")));
    ensure!(
        parameter("size").is_some_and(|one| one.options == ["small", "large"] && !one.required)
    );

    // Six descriptions, one list: nothing is asked for singly.
    ensure!(bed.gate.count_calls(Operation::GetConfig) == 0);
    let listed = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(bed.plane.admin_kubeconfig())
        .args([
            "--namespace",
            &bed.namespace,
            "get",
            "applications.foredeck.dev",
        ])
        .output()
        .context("this test needs kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/")?;
    let table = String::from_utf8(listed.stdout)?;
    let words: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    ensure!(
        words.len() == 2 && words[0].contains(&"READY") && words[1].contains(&"True"),
        "{table}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_environment_is_said_and_taken_back() -> Result<()> {
    let (bed, _controller) = bed("places", NEVER).await?;
    all_ready(&bed).await?;
    let spec = |change: Value| json!({"spec": change});
    let say = async |status: &str, reason: &str, says: &str| {
        until::<Environment>(&bed, "staging", status, reason, says).await
    };

    bed.merge::<Environment>("staging", spec(json!({"connection": "other"})))
        .await?;
    say("False", "ConnectionNotFound", "\"other\"").await?;
    until::<Application>(
        &bed,
        "checkout",
        "False",
        "ConnectionNotFound",
        "deploy in staging",
    )
    .await?;
    bed.create::<SpinnakerConnection>("other", bed.connection())
        .await?;
    say("True", "ConfigurationValid", "").await?;

    let pattern = json!({"allowTargets": {"namespacePattern": "pr-[0-9"}});
    bed.merge::<Environment>("staging", spec(pattern)).await?;
    say(
        "False",
        "PatternInvalid",
        "spec.allowTargets.namespacePattern",
    )
    .await?;
    bed.merge::<Environment>("staging", spec(json!({"allowTargets": null})))
        .await?;
    say("True", "ConfigurationValid", "").await?;

    // Both are told; and both when only one of them is mended.
    let place = json!({"target": {"account": "eks-production", "namespace": "shop"}});
    bed.merge::<Environment>("staging", spec(place)).await?;
    say("False", "TargetShared", "\"production\"").await?;
    until::<Environment>(&bed, "production", "False", "TargetShared", "\"staging\"").await?;
    bed.merge::<Environment>("staging", spec(environment("staging")))
        .await?;
    say("True", "ConfigurationValid", "").await?;
    until::<Environment>(&bed, "production", "True", "ConfigurationValid", "").await?;

    let elsewhere = json!({"target": {"account": "gke", "namespace": "shop"}});
    bed.merge::<Environment>("staging", spec(elsewhere)).await?;
    say("False", "NotAllowedByConnection", "spec.allow.accounts").await?;
    ensure!(
        description(&bed, "deploy", "staging")
            .await?
            .parameters
            .is_empty()
    );
    let allow = json!({"allow": {"accounts": ["gke", "eks-*"]}});
    bed.merge::<SpinnakerConnection>("gate", spec(allow))
        .await?;
    say("True", "ConfigurationValid", "").await?;
    all_ready(&bed).await?;
    until_event(&bed, "Environment", "staging", "NotAllowedByConnection").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_application_is_said_and_taken_back() -> Result<()> {
    let (bed, _controller) = bed("actions", OFTEN).await?;
    all_ready(&bed).await?;
    let foreign = bed.gate.put_pipeline(
        Pipeline::new("billing", "Secret").parameter(Parameter::new("card").required()),
    );
    let id = description(&bed, "restart", "staging")
        .await?
        .id
        .unwrap_or_default();
    let say = async |reason: &str, says: &str| {
        until::<Application>(&bed, "checkout", "False", reason, says).await
    };
    for (action, reason, says) in [
        (
            json!({"pipeline": "Deploy to nowhere"}),
            "PipelineNotFound",
            "\"Deploy to nowhere\"",
        ),
        (
            json!({"pipeline": foreign}),
            "PipelineForeign",
            "\"billing\"",
        ),
        (
            json!({"pipeline": "Restart {{ environmnt.name }}"}),
            "TemplateFailed",
            "spec.actions.restart.pipeline",
        ),
        (
            json!({"pipeline": "Restart {{"}),
            "TemplateFailed",
            "syntax error",
        ),
        (
            json!({"pipeline": "Restart", "parameters": {"colour": "{{ version }}"}}),
            "ParameterUnknown",
            "no parameter \"colour\"",
        ),
        (
            json!({"pipeline": "Restart", "parameters": {"account": "{{ vesion }}"}}),
            "TemplateFailed",
            "spec.actions.restart.parameters.account",
        ),
        (
            json!({"pipeline": "Deploy to staging", "parameters": {"size": "huge"}}),
            "ParameterNotOffered",
            "small, large",
        ),
        (
            json!({"pipeline": "Restart", "parameters": {"account": "${ x }"}}),
            "ExpressionRefused",
            "\"account\"",
        ),
    ] {
        replace_restart(&bed, action).await?;
        say(reason, says).await?;
        let shown = description(&bed, "restart", "production").await?;
        ensure!(shown.problem.is_some_and(|problem| problem.contains(says)));
        ensure!(
            shown.parameters.iter().all(|one| one.name != "card"),
            "not theirs to see"
        );
    }
    replace_restart(&bed, json!({"pipeline": "Restart"})).await?;
    all_ready(&bed).await?;

    ensure!(bed.gate.disable(&id));
    say(
        "PipelineDisabled",
        "restart in production, restart in staging",
    )
    .await?;
    ensure!(description(&bed, "restart", "staging").await?.disabled);
    ensure!(bed.gate.set_disabled(&id, false));
    all_ready(&bed).await?;

    // Only a request can tell: no problem of the Application's, and said all the same.
    let dependent =
        json!({"pipeline": "Restart {{ version }}", "parameters": {"x": "{{ previous.version }}"}});
    replace_restart(&bed, dependent).await?;
    all_ready(&bed).await?;
    let shown = description(&bed, "restart", "staging").await?;
    ensure!(
        shown.id.is_none()
            && shown
                .problem
                .is_some_and(|problem| problem.contains("depends on the request"))
    );

    let allow = json!({"spec": {"allow": {"applications": ["other"]}}});
    bed.merge::<SpinnakerConnection>("gate", allow).await?;
    say("NotAllowedByConnection", "spec.allow.applications").await?;
    until_event(&bed, "Application", "checkout", "NotAllowedByConnection").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_connection_is_said_and_taken_back() -> Result<()> {
    let (bed, _controller) = bed("logins", OFTEN).await?;
    all_ready(&bed).await?;
    let known = descriptions(&bed).await?;
    let say = async |reason: &str, says: &str| {
        until::<SpinnakerConnection>(&bed, "gate", "False", reason, says).await
    };

    bed.gate.stop().await;
    say("GateUnreachable", "spec.gateUrl").await?;
    until::<Application>(&bed, "checkout", "Unknown", "GateUnreachable", "").await?;
    ensure!(descriptions(&bed).await? == known, "what is known stays");
    bed.gate.restart().await?;
    all_ready(&bed).await?;

    let authentication = Authentication::Basic {
        user: "foredeck".to_owned(),
        password: "right".to_owned(),
    };
    bed.gate.set_authentication(authentication);
    say("LoginFailed", "renew the credentials").await?;
    until::<Environment>(&bed, "staging", "False", "LoginFailed", "\"gate\"").await?;
    until::<Application>(&bed, "checkout", "False", "LoginFailed", "\"gate\"").await?;
    let shown = description(&bed, "deploy", "staging").await?;
    ensure!(
        shown.problem.is_some() && !shown.parameters.is_empty(),
        "{shown:?}"
    );

    let auth = json!({"spec": {"auth": {"basic": {"secretName": "login"}}}});
    bed.merge::<SpinnakerConnection>("gate", auth).await?;
    say("CredentialsNotFound", "\"login\"").await?;
    let password = async |password: &str| {
        let secret: Secret = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "type": "kubernetes.io/basic-auth",
            "stringData": {"username": "foredeck", "password": password},
        }))?;
        let parameters = PatchParams::apply("test").force();
        bed.api::<Secret>()
            .patch("login", &parameters, &Patch::Apply(&secret))
            .await?;
        anyhow::Ok(())
    };
    password("wrong").await?;
    say("LoginFailed", "").await?;
    password("right").await?;
    until::<SpinnakerConnection>(&bed, "gate", "True", "ConfigurationValid", "foredeck").await?;
    until::<Application>(&bed, "checkout", "True", "ConfigurationValid", "").await?;

    bed.merge::<SpinnakerConnection>("gate", json!({"spec": {"timeouts": {"settle": "10ms"}}}))
        .await?;
    say("SettleTooShort", "1s is used").await?;
    until::<Environment>(&bed, "staging", "True", "ConfigurationValid", "").await?;
    bed.merge::<SpinnakerConnection>("gate", json!({"spec": {"timeouts": {"settle": null}}}))
        .await?;
    until::<SpinnakerConnection>(&bed, "gate", "True", "ConfigurationValid", "").await?;
    bed.merge::<SpinnakerConnection>("gate", json!({"spec": {"gateUrl": "https://["}}))
        .await?;
    say("ConnectionInvalid", "spec.gateUrl").await?;
    until_event(&bed, "SpinnakerConnection", "gate", "ConnectionInvalid").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_pipeline_is_described_as_far_as_a_status_can_hold_it() -> Result<()> {
    let bed = Bed::new("huge", QUICK).await?;
    let text = "ü<\"x\u{0}".repeat(1_000);
    let options: Vec<String> = (0..1_000).map(|option| format!("{option}")).collect();
    let mut huge = Pipeline::new("checkout", "Restart everything");
    for number in 0..500 {
        let parameter = Parameter::new(&format!("parameter-{number}"))
            .default_value(&text)
            .with("description", json!(text));
        let options = options.iter().map(String::as_str);
        huge = huge.parameter(if number < 40 {
            parameter.options(options)
        } else {
            parameter
        });
    }
    bed.gate.put_pipeline(huge);
    let patient = json!({"spec": {"timeouts": {"request": "30s"}}});
    bed.merge::<SpinnakerConnection>("gate", patient).await?;
    replace_restart(&bed, json!({"pipeline": "Restart everything"})).await?;
    let _controller = bed.controller_with(NEVER)?;
    all_ready(&bed).await?;
    let shown = description(&bed, "restart", "production").await?;
    ensure!(shown.incomplete && !shown.parameters.is_empty());
    ensure!(!shown.parameters[0].options.is_empty() && shown.parameters[0].incomplete);
    ensure!(!description(&bed, "deploy", "production").await?.incomplete);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_while_nothing_changes() -> Result<()> {
    let (bed, _controller) = bed("quiet", OFTEN).await?;
    all_ready(&bed).await?;
    // Words that do not change while it stays wrong are no change either.
    replace_restart(&bed, json!({"pipeline": "Nowhere"})).await?;
    until::<Application>(&bed, "checkout", "False", "PipelineNotFound", "").await?;
    let versions = async || {
        let connection = bed.api::<SpinnakerConnection>().get("gate").await?;
        let application = bed.api::<Application>().get("checkout").await?;
        let staging = bed.api::<Environment>().get("staging").await?;
        let production = bed.api::<Environment>().get("production").await?;
        anyhow::Ok([
            connection.resource_version(),
            application.resource_version(),
            staging.resource_version(),
            production.resource_version(),
        ])
    };
    let (before, lists) = (
        versions().await?,
        bed.gate.count_calls(Operation::ListConfigs),
    );
    wait_for("several refreshes", PATIENCE, async || {
        let more = bed.gate.count_calls(Operation::ListConfigs) - lists;
        ensure!(more >= 4, "{more}");
        Ok(())
    })
    .await?;
    ensure!(versions().await? == before);
    Ok(())
}

async fn replace_restart(bed: &Bed, action: Value) -> Result<()> {
    let mut spec = application();
    spec["actions"]["restart"] = action;
    let mut application = bed.api::<Application>().get("checkout").await?;
    application.spec = serde_json::from_value(spec)?;
    let parameters = PatchParams::default();
    let patch = json!([{"op": "replace", "path": "/spec", "value": application.spec}]);
    let patch = Patch::<()>::Json(serde_json::from_value(patch)?);
    bed.api::<Application>()
        .patch("checkout", &parameters, &patch)
        .await?;
    Ok(())
}

async fn until_event(bed: &Bed, kind: &str, name: &str, reason: &str) -> Result<()> {
    let what = format!("an event about {kind} {name}: {reason}");
    wait_for(&what, PATIENCE, async || {
        let all = bed.api::<Event>().list(&ListParams::default()).await?;
        let about = |event: &&Event| {
            let object = &event.involved_object;
            object.kind.as_deref() == Some(kind) && object.name.as_deref() == Some(name)
        };
        let reasons: Vec<_> = all
            .items
            .iter()
            .filter(about)
            .filter_map(|event| event.reason.as_deref())
            .collect();
        ensure!(reasons.contains(&reason), "{reasons:?}");
        Ok(())
    })
    .await
}

/// Everything works without it, minus commits; and the refusal is taken back.
#[tokio::test]
async fn a_repository_that_can_not_be_read_is_said_and_leaves_the_application_ready() -> Result<()>
{
    let Some(node) = Node::fetch().await? else {
        return Ok(());
    };
    let github = Github::start(&node, "acme/checkout").await?;
    let bed = Bed::new("repository", QUICK).await?;
    let allowed = ["--allow-git-host", "127.0.0.1"];
    let _controller = bed.controller_with(&[OFTEN, &allowed].concat())?;
    let good = "every action finds its pipeline in every Environment of this namespace.";
    let ready = async |says: &str| {
        until::<Application>(&bed, "checkout", "True", "ConfigurationValid", says).await
    };
    let name = async |repository: Value| -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"repository": repository}}));
        let applications = bed.api::<Application>();
        applications
            .patch("checkout", &PatchParams::default(), &patch)
            .await?;
        Ok(())
    };
    let secrets = bed.api::<Secret>();
    let hold = async |name: &str, token: &str| -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"token": token},
        });
        secrets
            .create(&PostParams::default(), &serde_json::from_value(secret)?)
            .await?;
        Ok(())
    };
    hold("right", github.token()).await?;
    hold("wrong", "github_pat_nobodys").await?;
    let at = |name: &str, api: &str, secret: &str| json!({"github": name, "apiUrl": api, "secretName": secret});
    let url = github.url();
    ready(good).await?;
    for (repository, says) in [
        (
            at(
                "acme/checkout",
                "https://github.corp.example/api/v3",
                "right",
            ),
            "none of the hosts",
        ),
        (at("acme/checkout", &url, "missing"), "does not exist"),
        (at("acme/checkout", &url, "wrong"), "refuses our login"),
        (
            at("acme/elsewhere", &url, "right"),
            "no repository acme/elsewhere",
        ),
    ] {
        name(repository).await?;
        let application = ready(says).await?;
        let said = application["status"]["conditions"].to_string();
        assert!(said.contains(good), "{said}");
        assert!(!said.contains("github_pat"), "{said}");
    }
    github.set_fault(Some(GithubFault::Status(502)));
    name(at("acme/checkout", &url, "right")).await?;
    ready("doesn't answer as it should").await?;
    github.set_fault(None);
    wait_for("the repository to be read", PATIENCE, async || {
        let application = bed.api::<Application>().get("checkout").await?;
        let said = serde_json::to_string(&application.status)?;
        ensure!(!said.contains("The repository"), "{said}");
        Ok(())
    })
    .await
}
