//! What somebody may see and do is what the real API server's RBAC says.

use std::process::Command;

use anyhow::{Context, Result};
use foredeck::access::{Access, Missing, Permission, Subject};
use foredeck_testkit::ControlPlane;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

fn person(username: &str) -> Subject {
    Subject {
        username: username.to_owned(),
        groups: Vec::new(),
    }
}

/// A role in the namespace, bound to that subject.
async fn grant(client: &Client, namespace: &str, subject: Value, rules: Value) -> Result<()> {
    let role: Role =
        serde_json::from_value(json!({"metadata": {"name": "granted"}, "rules": rules}))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "granted"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "granted"},
        "subjects": [subject],
    }))?;
    let parameters = PostParams::default();
    Api::namespaced(client.clone(), namespace)
        .create(&parameters, &role)
        .await?;
    Api::namespaced(client.clone(), namespace)
        .create(&parameters, &binding)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_person_may_what_rbac_grants_on_application_and_environment() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("access").await?;
    let group = "foredeck.dev";
    let rules = json!([
        {"apiGroups": [group], "resources": ["applications"], "verbs": ["list"]},
        {"apiGroups": [group], "resources": ["applications"], "resourceNames": ["checkout"], "verbs": ["deploy"]},
        {"apiGroups": [group], "resources": ["environments"], "resourceNames": ["staging"], "verbs": ["deploy", "cancel"]},
    ]);
    let alice = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice@corp.example"});
    grant(&plane.admin(), &namespace, alice, rules).await?;
    let access = Access::new(plane.admin());
    let (alice, bob) = (person("alice@corp.example"), person("bob@corp.example"));

    assert!(access.sees(&alice, &namespace).await?);
    assert!(!access.sees(&bob, &namespace).await?);
    assert!(!access.sees(&alice, "default").await?);

    let may = async |who: &Subject, verb: &str, environment: &str| {
        access
            .may(who, verb, &namespace, "checkout", environment)
            .await
    };
    let missing = |verb: &str, resource, name: &str| Missing {
        verb: verb.to_owned(),
        resource,
        name: name.to_owned(),
    };
    let Permission::Granted(rule) = may(&alice, "deploy", "staging").await? else {
        panic!("alice may deploy to staging");
    };
    assert!(rule.contains("RoleBinding \"granted/"), "{rule}");
    assert_eq!(
        may(&alice, "deploy", "production").await?,
        Permission::Refused(vec![missing("deploy", "environments", "production")])
    );
    assert_eq!(
        may(&alice, "cancel", "staging").await?,
        Permission::Refused(vec![missing("cancel", "applications", "checkout")])
    );
    assert_eq!(
        may(&bob, "deploy", "staging").await?,
        Permission::Refused(vec![
            missing("deploy", "applications", "checkout"),
            missing("deploy", "environments", "staging")
        ])
    );
    Ok(())
}

#[tokio::test]
async fn what_everybody_who_is_known_may_a_person_may() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("everybody").await?;
    let everybody = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"});
    let rules =
        json!([{"apiGroups": ["foredeck.dev"], "resources": ["applications"], "verbs": ["list"]}]);
    grant(&plane.admin(), &namespace, everybody, rules).await?;
    let access = Access::new(plane.admin());
    assert!(
        access
            .sees(&person("carol@corp.example"), &namespace)
            .await?
    );
    Ok(())
}

#[tokio::test]
async fn kubectl_says_why_somebody_may_or_may_not() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&foredeck::api::crds()).await?;
    let namespace = plane.namespace("can-i").await?;
    let deployers = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "okta:shop-deployers"});
    let rules = json!([
        {"apiGroups": ["foredeck.dev"], "resources": ["environments"], "resourceNames": ["production"], "verbs": ["deploy"]},
    ]);
    grant(&plane.admin(), &namespace, deployers, rules).await?;
    let can = |groups: &[&str], on: &str| {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(plane.admin_kubeconfig())
            .args(["auth", "can-i", "deploy", on, "-n", &namespace])
            .args(["--as", "alice@corp.example"]);
        for group in groups {
            command.args(["--as-group", group]);
        }
        let output = command.output().context(
            "this test needs kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/",
        )?;
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let deployer = &["okta:shop-deployers"];
    assert_eq!(
        can(deployer, "environments.foredeck.dev/production")?,
        "yes"
    );
    assert_eq!(can(deployer, "environments/production")?, "yes");
    assert_eq!(can(deployer, "environments/staging")?, "no");
    assert_eq!(can(deployer, "applications/checkout")?, "no");
    assert_eq!(can(&[], "environments/production")?, "no");
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_does_not_say_is_an_error() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("silent").await?;
    // Whoever may not ask gets no answer.
    let access = Access::new(plane.client_as("nobody-in-particular", &[]));
    let error = access
        .sees(&person("alice@corp.example"), &namespace)
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "AccessReviewRefused");
    assert!(error.to_string().contains("alice@corp.example"), "{error}");
    Ok(())
}
