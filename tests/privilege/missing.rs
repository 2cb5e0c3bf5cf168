//! What people read while a right is missing that no role can look for beforehand: in the status of what needs it. It goes
//! on when the right is there.

use anyhow::{Context, Result, ensure};
use foredeck::api::{Application, DeployRequest, SpinnakerConnection, deploy_request::Phase};
use foredeck_testkit::wait_for;
use kube::Api;
use serde_json::json;

use crate::{
    rights::{identity, without},
    support::{GIT_TOKEN, Installation, PATIENCE, TEAM, create},
};

/// Takes one right of the controller away, and waits until the API server has noticed.
async fn take(
    installation: &Installation,
    verb: &str,
    resource: &str,
    name: Option<&str>,
) -> Result<()> {
    take_from(installation, "foredeck-controller", verb, resource, name).await
}

async fn take_from(
    installation: &Installation,
    role: &str,
    verb: &str,
    resource: &str,
    name: Option<&str>,
) -> Result<()> {
    let all = installation.rights();
    let right = all.iter().find(|right| {
        right.role == role
            && right.verb == verb
            && right.resource == resource
            && right.name.as_deref() == name
            && right.within.as_deref().is_none_or(|within| within == TEAM)
    });
    let right = right.with_context(|| format!("no right to {verb} {resource} {name:?}"))?;
    let mutated = without(&installation.documents, right)?;
    installation.apply(&[mutated]).await?;
    installation
        .until_may(&right.in_namespace(TEAM), false)
        .await
}

async fn give_back(installation: &Installation) -> Result<()> {
    let role = |kind: &str| ["Role", "ClusterRole"].contains(&kind);
    for document in &installation.documents {
        if role(&identity(document).0) {
            installation.apply(std::slice::from_ref(document)).await?;
        }
    }
    Ok(())
}

async fn ask(installation: &Installation, name: &str) -> Result<()> {
    let alice = installation.plane.client_as("alice@harbor.example", &[]);
    let requests: Api<DeployRequest> = Api::namespaced(alice, TEAM);
    let spec = json!({"application": "checkout", "environment": "staging", "version": name});
    create(&requests, name, spec).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_controller_lacks_is_said_where_it_is_needed() -> Result<()> {
    let installation = Installation::new(&[], &[]).await?;
    let controller = installation
        .start("controller", "foredeck-controller")
        .await?;
    controller.until_ready(PATIENCE).await?;
    installation
        .until_said::<SpinnakerConnection>(TEAM, "own", &["\"True\""])
        .await?;

    take(&installation, "get", "secrets", Some("gate-token")).await?;
    let said = installation
        .until_said::<SpinnakerConnection>(TEAM, "own", &["CredentialsNotFound"])
        .await?;
    for words in [
        "gate-token",
        "no Role in namespace",
        TEAM,
        "foredeck doctor --print-rbac --namespace",
        "It is to be read before it is applied",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    give_back(&installation).await?;
    installation
        .until_said::<SpinnakerConnection>(TEAM, "own", &["\"True\""])
        .await?;

    let policy = Some("foredeck-deployrequests");
    take(&installation, "get", "validatingadmissionpolicies", policy).await?;
    ask(&installation, "unvouched").await?;
    let words = [
        "AccessUnknown",
        "doesn't show the ValidatingAdmissionPolicy",
        "allows foredeck's controller to get it",
    ];
    installation
        .until_said::<DeployRequest>(TEAM, "unvouched", &words)
        .await?;
    give_back(&installation).await?;
    installation
        .until_phase("unvouched", Phase::Succeeded)
        .await?;

    take(&installation, "create", "localsubjectaccessreviews", None).await?;
    ask(&installation, "unasked").await?;
    installation
        .until_said::<DeployRequest>(TEAM, "unasked", &["AccessUnknown"])
        .await?;
    give_back(&installation).await?;
    installation
        .until_phase("unasked", Phase::Succeeded)
        .await?;

    take(
        &installation,
        "create",
        "serviceaccounts/token",
        Some("foredeck-vault"),
    )
    .await?;
    let spec = installation
        .api::<SpinnakerConnection>(TEAM)
        .get("vaulted")
        .await?
        .spec;
    installation
        .create::<SpinnakerConnection>(TEAM, "later", serde_json::to_value(spec)?)
        .await?;
    let words = [
        "LoginFailed",
        "forbids foredeck a token",
        "create serviceaccounts/token for foredeck-vault",
    ];
    installation
        .until_said::<SpinnakerConnection>(TEAM, "later", &words)
        .await?;
    Ok(())
}

/// Who deploys goes on without commits, and is told why there are none.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_a_repository_that_nobody_may_read_is_said_by_name() -> Result<()> {
    let installation = Installation::new(&[], &[]).await?;
    if installation.github.is_none() {
        return Ok(());
    }
    let controller = installation
        .start("controller", "foredeck-controller")
        .await?;
    controller.until_ready(PATIENCE).await?;
    installation
        .until_said::<Application>(TEAM, "checkout", &["\"pipelines\""])
        .await?;
    take(&installation, "get", "secrets", Some(GIT_TOKEN)).await?;
    let words = ["can't be read", GIT_TOKEN, "foredeck doctor --print-rbac"];
    installation
        .until_said::<Application>(TEAM, "checkout", &words)
        .await?;
    ask(&installation, "unread").await?;
    let request = installation.until_phase("unread", Phase::Succeeded).await?;
    let status = request.status.unwrap_or_default();
    assert_eq!(status.resolved.and_then(|resolved| resolved.commit), None);

    give_back(&installation).await?;
    wait_for("the repository to be read", PATIENCE, async || {
        let object = installation
            .api::<Application>(TEAM)
            .get("checkout")
            .await?;
        let status = serde_json::to_string(&object.status)?;
        ensure!(!status.contains("can't be read"), "{status}");
        Ok(())
    })
    .await
}

/// It is the receiver's own right: what the controller may read is of no use to a plan.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_the_receiver_may_not_read_is_said_in_the_plan() -> Result<()> {
    let installation = Installation::new(&[], &[]).await?;
    if installation.github.is_none() {
        return Ok(());
    }
    let role = "foredeck-receiver";
    take_from(&installation, role, "get", "secrets", Some(GIT_TOKEN)).await?;
    let receiver = installation.start("receiver", role).await?;
    receiver.until_ready(PATIENCE).await?;
    let plan = installation.plan("alice", "1.4.1", "staging").await?;
    let said = json!(plan.blocks).to_string();
    for words in ["can't be read", GIT_TOKEN, "foredeck doctor --print-rbac"] {
        ensure!(said.contains(words), "{words}: {said}");
    }
    give_back(&installation).await?;
    wait_for("a plan with a commit", PATIENCE, async || {
        let plan = installation.plan("alice", "1.4.1", "staging").await?;
        let said = json!(plan.blocks).to_string();
        ensure!(said.contains("`1.4.1` ("), "{said}");
        Ok(())
    })
    .await
}
