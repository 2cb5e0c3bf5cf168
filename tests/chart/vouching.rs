//! The controller believes what admission stamps only while all policies are there as the chart has them.

use std::time::Duration;

use anyhow::{Context, Result};
use foredeck::{
    access::policies::Policies,
    api::{conditions::Reason, deploy_request::WaitingFor},
    domain::refusal::Refusal,
};
use foredeck_testkit::{ControlPlane, wait_for};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    admissionregistration::v1::{
        MutatingAdmissionPolicy, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    },
    core::v1::ConfigMap,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{HOME, account, installed, root, whole};

/// How long something that happens in seconds may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the chart gives the controller to compare with.
async fn mounted(plane: &ControlPlane) -> Result<String> {
    let maps: Api<ConfigMap> = Api::namespaced(plane.admin(), HOME);
    let map = maps.get("foredeck-admission-policies").await?;
    map.data
        .and_then(|mut data| data.remove("policies.yaml"))
        .context("policies.yaml")
}

/// A refusal that is no answer of before.
async fn refusal(client: &Client, yaml: &str) -> Result<Refusal> {
    let policies = Policies::from_yaml(yaml)?;
    let answer = policies.vouch(client, Timestamp::MAX).await;
    answer.err().context("they are vouched for")
}

#[tokio::test]
async fn what_the_chart_installs_is_what_the_controller_wants() -> Result<()> {
    for mutating in [true, false] {
        let plane = installed(mutating).await?;
        let yaml = mounted(&plane).await?;
        assert_eq!(yaml.contains("kind: MutatingAdmissionPolicy\n"), mutating);
        let policies = Policies::from_yaml(&yaml)?;
        // By the rights that the chart gives it.
        let controller = plane.client_as(&account("controller"), &[]);
        let vouched = policies.vouch(&controller, Timestamp::now()).await;
        assert_eq!(vouched, Ok(()), "mutating: {mutating}");

        let since = policies.since(&controller).await;
        let since = since.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
        let before = since - SignedDuration::from_secs(1);
        let refused = policies.vouch(&controller, before).await.unwrap_err();
        assert_eq!(refused.reason, Reason::PoliciesMissing);
        assert!(
            refused.message.contains("created before"),
            "{}",
            refused.message
        );
        assert_eq!(policies.vouch(&controller, since).await, Ok(()));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_applied_without_helm_serves_as_well() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.install_crds(&foredeck::api::crds()).await?;
    for name in ["admission-without-mutation.yaml", "admission.yaml"] {
        let file = root().join("examples/install").join(name);
        plane.apply(&std::fs::read_to_string(&file)?).await?;
        let policies = Policies::from_file(&file)?;
        assert_eq!(
            policies.vouch(&plane.admin(), Timestamp::now()).await,
            Ok(()),
            "{name}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn one_that_is_missing_or_altered_vouches_for_nothing() -> Result<()> {
    let plane = installed(true).await?;
    let (client, yaml) = (plane.admin(), mounted(&plane).await?);
    let remembering = Policies::from_yaml(&yaml)?;
    assert_eq!(remembering.vouch(&client, Timestamp::now()).await, Ok(()));

    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let warns = json!({"spec": {"validationActions": ["Warn"]}});
    assert_eq!(remembering.vouch(&client, Timestamp::now()).await, Ok(()));
    change(&bindings, "foredeck-deployrequests", warns).await?;
    // Right before something is sent nothing is remembered.
    let now = remembering.vouch_now(&client, Timestamp::now()).await;
    let now = now.err().context("what was altered is believed")?;
    assert_eq!(now.reason, Reason::PoliciesAltered);
    assert!(now.message.contains("upgrade"), "{}", now.message);
    let refused = refusal(&client, &yaml).await?;
    assert_eq!(refused.reason, Reason::PoliciesAltered);
    assert_eq!(refused.waiting_for, Some(WaitingFor::Authorization));
    let named = "ValidatingAdmissionPolicyBinding \"foredeck-deployrequests\"";
    assert!(refused.message.contains(named), "{}", refused.message);
    restore(&plane, &bindings, "foredeck-deployrequests").await?;
    assert_eq!(remembering.vouch(&client, Timestamp::now()).await, Ok(()));
    // Whoever was told that all is well finds out soon, and finds out at once that all is well again.
    let warns = json!({"spec": {"validationActions": ["Warn"]}});
    change(&bindings, "foredeck-deployrequests", warns).await?;
    wait_for("the change to be noticed", PATIENCE, async || {
        let vouched = remembering.vouch(&client, Timestamp::now()).await;
        anyhow::ensure!(vouched.is_err(), "it is believed");
        Ok(())
    })
    .await?;
    restore(&plane, &bindings, "foredeck-deployrequests").await?;
    assert_eq!(remembering.vouch(&client, Timestamp::now()).await, Ok(()));

    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    for lax in [
        json!({"spec": {"failurePolicy": "Ignore"}}),
        json!({"spec": {"validations": [{"expression": "true"}]}}),
        json!({"spec": {"matchConditions": [{"name": "never", "expression": "false"}]}}),
        json!({"spec": {"matchConstraints": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}}),
    ] {
        change(&policies, "foredeck-deployapprovals", lax.clone()).await?;
        let refused = refusal(&client, &yaml)
            .await
            .with_context(|| lax.to_string())?;
        assert_eq!(refused.reason, Reason::PoliciesAltered, "{lax}");
        restore(&plane, &policies, "foredeck-deployapprovals").await?;
        let vouched = Policies::from_yaml(&yaml)?
            .vouch(&client, Timestamp::now())
            .await;
        assert_eq!(vouched, Ok(()), "{lax} was taken back");
    }

    let since = async || {
        Policies::from_yaml(&yaml)?
            .since(&client)
            .await
            .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
    };
    let before = since().await?;
    let stamps: Api<MutatingAdmissionPolicy> = Api::all(client.clone());
    stamps
        .delete("foredeck-approver", &DeleteParams::default())
        .await?;
    let refused = refusal(&client, &yaml).await?;
    assert_eq!(refused.reason, Reason::PoliciesMissing);
    assert!(
        refused
            .message
            .contains("MutatingAdmissionPolicy \"foredeck-approver\" is missing"),
        "{}",
        refused.message
    );
    plane.apply(&whole(true).await?).await?;
    assert_eq!(
        Policies::from_yaml(&yaml)?
            .vouch(&client, Timestamp::now())
            .await,
        Ok(())
    );
    // A stamp that is new makes nothing older than it unbelievable: what it writes is checked anyway.
    assert_eq!(since().await?, before);
    Ok(())
}

#[tokio::test]
async fn an_upgrade_of_the_chart_needs_no_restart() -> Result<()> {
    let plane = installed(true).await?;
    let (client, before) = (plane.admin(), mounted(&plane).await?);
    let file = plane.directory().join("mounted.yaml");
    std::fs::write(&file, &before)?;
    let policies = Policies::from_file(&file)?;
    assert_eq!(policies.vouch_now(&client, Timestamp::now()).await, Ok(()));

    let upgraded = crate::support::render(&[
        "--set-string",
        "admission.mutating=on",
        "--set",
        "identity.emailDomains={corp.test}",
    ])
    .await?;
    plane.apply(&upgraded).await?;
    let refused = policies.vouch_now(&client, Timestamp::now()).await;
    let refused = refused.err().context("two versions are believed")?;
    assert_eq!(refused.reason, Reason::PoliciesAltered);
    std::fs::write(&file, mounted(&plane).await?)?;
    wait_for("the new file to be read", PATIENCE, async || {
        let vouched = policies.vouch(&client, Timestamp::now()).await;
        anyhow::ensure!(vouched.is_ok(), "{vouched:?}");
        Ok(())
    })
    .await?;
    // What the file says now is what counts.
    std::fs::write(&file, &before)?;
    wait_for("the old file to be read", PATIENCE, async || {
        let vouched = policies.vouch_now(&client, Timestamp::now()).await;
        anyhow::ensure!(vouched.is_err(), "it is believed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_seen_vouches_for_nothing() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let file = root().join("examples/install/admission.yaml");
    let nobody = plane.client_as("nobody-in-particular", &[]);
    let refused = refusal(&nobody, &std::fs::read_to_string(file)?).await?;
    assert_eq!(refused.reason, Reason::AccessUnknown);
    assert!(
        refused.message.contains("cannot get resource"),
        "{}",
        refused.message
    );

    let untold = Policies::default()
        .vouch(&plane.admin(), Timestamp::MAX)
        .await;
    let untold = untold
        .err()
        .context("nothing was named, and it is believed")?;
    assert_eq!(untold.reason, Reason::PoliciesMissing);
    assert!(
        untold.message.contains("--admission-policies"),
        "{}",
        untold.message
    );
    Ok(())
}

/// As the chart has it, whatever was done to it: an apply alone would leave what others added.
async fn restore<K>(plane: &ControlPlane, api: &Api<K>, name: &str) -> Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    api.delete(name, &DeleteParams::default()).await?;
    plane.apply(&whole(true).await?).await
}

async fn change<K>(api: &Api<K>, name: &str, change: Value) -> Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await?;
    Ok(())
}
