//! The real controller and the relay write the same object at the same time, and neither is in the other's way.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployRequest, Person, SpinnakerConnection,
    actor::SlackPerson,
    deploy_request::Phase,
    person::{PersonSpec, name_of},
};
use foredeck::runtime::lease::{Lease, LeaseSettings};
use foredeck_testkit::{
    StandInGate,
    gate::{Parameter, Pipeline, Stage},
    wait_for,
};
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Bed, INSTALL, PATIENCE, all_for, queued, running};

/// A controller as a process of its own; killed when dropped.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A Gate whose pipeline deploys checkout, everything that leads there, and a controller.
async fn controller(bed: &Bed) -> Result<(StandInGate, Controller)> {
    let gate = StandInGate::start().await?;
    gate.put_pipeline(
        Pipeline::new("checkout", "Deploy")
            .parameter(Parameter::new("branch").required())
            .stage(Stage::wait("Bake", Duration::from_secs(1)))
            .stage(Stage::deploy("Deploy", Duration::from_secs(1))),
    );
    let named = |kind: &str, name: &str, spec: serde_json::Value| json!({"apiVersion": "foredeck.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": bed.namespace}, "spec": spec});
    let connection: SpinnakerConnection = serde_json::from_value(named(
        "SpinnakerConnection",
        "gate",
        json!({
            "gateUrl": gate.url(), "deckUrl": "https://deck.example",
            "allow": {"applications": ["checkout"], "accounts": ["*"], "namespaces": ["*"]},
            "timeouts": {"request": "1s", "settle": "3s"},
        }),
    ))?;
    let plain = PostParams::default();
    bed.api().create(&plain, &connection).await?;
    let application: Application = serde_json::from_value(named(
        "Application",
        "checkout",
        json!({"actions": {"deploy": {"pipeline": "Deploy", "parameters": {"branch": "{{ version }}"}}}}),
    ))?;
    bed.api().create(&plain, &application).await?;
    bed.environment(json!({})).await?;
    let log = bed
        .plane
        .directory()
        .join(format!("controller-{}.log", bed.namespace));
    let rules = json!([{"apiGroups": ["foredeck.dev"], "resources": ["*"], "verbs": ["*"]}]);
    let role: Role =
        serde_json::from_value(json!({"metadata": {"name": "deployers"}, "rules": rules}))?;
    bed.api().create(&plain, &role).await?;
    let alice = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice@corp.example"});
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "deployers"}, "subjects": [alice],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployers"},
    }))?;
    bed.api().create(&plain, &binding).await?;
    // What a receiver would keep fresh.
    let slack = SlackPerson {
        team: bed.slack.team_id(),
        user: bed.alice.clone(),
    };
    let name = name_of(&slack);
    let persons: Api<Person> = bed.api();
    persons
        .create(&plain, &Person::new(&name, PersonSpec::default()))
        .await?;
    let known =
        json!({"status": {"username": "alice@corp.example", "checkedAt": Timestamp::now()}});
    persons
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(&known))
        .await?;
    let child = Command::new(env!("CARGO_BIN_EXE_foredeck"))
        .args([
            "controller",
            "--test-minimum-settle",
            "1s",
            "--admin-listen",
            "off",
        ])
        .args([
            "--lease-duration",
            "4s",
            "--lease-namespace",
            &bed.namespace,
        ])
        .args(["--namespace", &bed.namespace])
        .args(["--home-namespace", &bed.namespace])
        .args(["--allow-gate-host", "127.0.0.1"])
        .args(["--admission-policies", &format!("{INSTALL}/admission.yaml")])
        .env("KUBECONFIG", bed.plane.admin_kubeconfig())
        .stdout(Stdio::null())
        .stderr(File::create(log)?)
        .spawn()
        .context("start the controller")?;
    Ok((gate, Controller(child)))
}

#[tokio::test]
async fn what_the_controller_does_is_told_to_its_end() -> Result<()> {
    let bed = Bed::with_policies("together").await?;
    let (gate, _controller) = controller(&bed).await?;
    let _relay = bed.relay()?;
    // One place: each waits for the one before it.
    let names: Vec<String> = (0..4).map(|number| format!("one-{number}")).collect();
    for name in &names {
        bed.request(name, bed.asked()).await?;
    }
    for name in &names {
        let request = wait_for(&format!("{name} has ended"), PATIENCE, async || {
            let request = bed.api::<DeployRequest>().get(name).await?;
            let status = request.status.clone().unwrap_or_default();
            ensure!(status.phase.is_some_and(Phase::is_terminal), "{status:?}");
            Ok(request)
        })
        .await?;
        let status = request.status.clone().unwrap_or_default();
        assert_eq!(status.phase, Some(Phase::Succeeded), "{:?}", status.message);
        let uid = request.uid().unwrap_or_default();
        assert_eq!(gate.launches_of(&uid).len(), 1, "{name}");
        bed.until_posted(name, "end").await?;
    }
    let all_good = |world: &foredeck_testkit::slack::World| {
        let all = world.messages("deploys");
        let good = all
            .iter()
            .filter(|message| message.text().starts_with('✅'))
            .count();
        (good == names.len()).then_some(())
    };
    bed.until_seen("every message says that it succeeded", all_good)
        .await?;
    assert_eq!(all_for(&bed.slack, "deploys", "live").len(), names.len());
    let live = &all_for(&bed.slack, "deploys", "live")[0];
    let text = serde_json::to_string(live.blocks())?;
    assert!(
        text.contains("https://deck.example/"),
        "a link to the execution: {text}"
    );
    Ok(())
}

#[tokio::test]
async fn only_the_relay_that_holds_the_lease_tells() -> Result<()> {
    let bed = Bed::new("lease").await?;
    let hold = |holder: &str| -> Result<_> {
        let settings = LeaseSettings::new(bed.namespace.as_str(), "relay", holder);
        let release = CancellationToken::new();
        let lease = Lease::new(bed.client.clone(), settings.lasting(Duration::from_secs(4)))?;
        Ok((lease.hold(release.clone()), release))
    };
    let ((first, task), release) = hold("first")?;
    first.held().await?;
    let ((second, _task), _release) = hold("second")?;
    second.observed().await?;
    let one = bed.relay_under(bed.settings(), Some(first))?;
    let other = bed.relay_under(bed.settings(), Some(second))?;
    other.ready().await?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    bed.until_posted("one", "live").await?;
    let posts = |metrics: String| metrics.contains(r#"purpose="live",outcome="posted""#);
    assert!(posts(one.metrics()?) && !posts(other.metrics()?));
    one.stop().await?;
    release.cancel();
    task.await??;
    bed.status("one", running()).await?;
    bed.until_says("deploys", "running").await?;
    assert_eq!(all_for(&bed.slack, "deploys", "live").len(), 1);
    Ok(())
}
