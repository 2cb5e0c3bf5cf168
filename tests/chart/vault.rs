//! What a Vault is shown, and what logs in to a Gate: tokens of the `ServiceAccount` `foredeck-vault`, and Secrets. Who may have
//! them, and who may not.

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::TokenRequest,
        core::v1::{Namespace, Pod, Secret, ServiceAccount},
    },
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::support::{BOB, Bed, HOME, account, render, root};

const ROLES: [&str; 3] = ["controller", "receiver", "relay"];
/// The `ServiceAccount` that a connection logs in to its Vault with.
const VAULT: &str = "foredeck-vault";

/// A token for a Vault.
async fn token(client: &Client, namespace: &str, account: &str) -> kube::Result<TokenRequest> {
    let request = serde_json::from_value(
        json!({"metadata": {}, "spec": {"audiences": ["vault"], "expirationSeconds": 600}}),
    );
    Api::<ServiceAccount>::namespaced(client.clone(), namespace)
        .create_token_request(
            account,
            &PostParams::default(),
            &request.map_err(kube::Error::SerdeError)?,
        )
        .await
}

/// What the API server refuses by RBAC.
fn forbidden<T>(what: &str, answer: kube::Result<T>) -> Result<()> {
    let error = answer
        .err()
        .with_context(|| format!("{what} was let through"))?;
    let kube::Error::Api(status) = &error else {
        return Err(error).context(what.to_owned());
    };
    ensure!(
        status.code == 403 && status.message.contains("cannot"),
        "{what}: {status:?}"
    );
    Ok(())
}

/// What a policy refuses, with these words.
fn kept<T>(what: &str, answer: kube::Result<T>, policy: &str) -> Result<()> {
    let error = answer
        .err()
        .with_context(|| format!("{what} was let through"))?;
    let kube::Error::Api(status) = &error else {
        return Err(error).context(what.to_owned());
    };
    ensure!(
        status.code == 403
            && status.message.contains(&format!("'{policy}'"))
            && status.message.contains("is foredeck's own"),
        "{what}: {}",
        status.message
    );
    Ok(())
}

async fn account_in(bed: &Bed, namespace: &str, name: &str) -> Result<()> {
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace},
    });
    bed.plane.apply(&account.to_string()).await
}

#[tokio::test]
async fn the_controller_makes_tokens_of_foredeck_vault_and_of_no_other_account() -> Result<()> {
    let bed = Bed::new(true, "tokens").await?;
    for name in [VAULT, "foredeck-vault-2", "default"] {
        account_in(&bed, &bed.namespace, name).await?;
    }
    let controller = bed.plane.client_as(&account("controller"), &[]);
    let made = token(&controller, &bed.namespace, VAULT).await?;
    let made = made.status.and_then(|status| status.token);
    ensure!(made.is_some_and(|token| !token.is_empty()), "no token");

    for (namespace, name) in [
        (bed.namespace.as_str(), "foredeck-vault-2"),
        (&bed.namespace, "default"),
        (HOME, "foredeck-controller"),
        (HOME, "foredeck-receiver"),
        (HOME, "foredeck-relay"),
    ] {
        let what = format!("the controller, a token of {namespace}/{name}");
        forbidden(&what, token(&controller, namespace, name).await)?;
    }
    for role in ["receiver", "relay"] {
        let client = bed.plane.client_as(&account(role), &[]);
        for (namespace, name) in [
            (bed.namespace.clone(), VAULT.to_owned()),
            (HOME.to_owned(), format!("foredeck-{role}")),
        ] {
            let what = format!("the {role}, a token of {namespace}/{name}");
            forbidden(&what, token(&client, &namespace, &name).await)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn of_secrets_the_controller_reads_the_ones_that_a_role_names_there() -> Result<()> {
    let bed = Bed::new(true, "secrets").await?;
    for name in ["gate-login", "gate-client", "other"] {
        let secret = Secret {
            metadata: kube::core::ObjectMeta {
                name: Some(name.to_owned()),
                ..Default::default()
            },
            data: Some([("token".to_owned(), ByteString(b"t".to_vec()))].into()),
            ..Secret::default()
        };
        Api::<Secret>::namespaced(bed.plane.admin(), &bed.namespace)
            .create(&PostParams::default(), &secret)
            .await?;
    }
    let secrets_of = |role: &str| {
        Api::<Secret>::namespaced(bed.plane.client_as(&account(role), &[]), &bed.namespace)
    };
    for role in ROLES {
        let what = format!("the {role}, a Secret without a Role");
        forbidden(&what, secrets_of(role).get("gate-client").await)?;
    }

    let example = root().join("examples/connections/rights.yaml");
    let rights = std::fs::read_to_string(example)?
        .replace("namespace: shop", &format!("namespace: {}", bed.namespace));
    bed.plane.apply(&rights).await?;
    let controller = secrets_of("controller");
    controller.get("gate-client").await?;
    forbidden("another Secret", controller.get("other").await)?;
    let all = ListParams::default();
    forbidden("all Secrets", controller.list(&all).await)?;
    for role in ["receiver", "relay"] {
        let what = format!("the {role}, a Secret that the controller may read");
        forbidden(&what, secrets_of(role).get("gate-client").await)?;
    }
    let elsewhere =
        Api::<Secret>::namespaced(bed.plane.client_as(&account("controller"), &[]), HOME);
    forbidden(
        "a Secret of that name elsewhere",
        elsewhere.get("gate-client").await,
    )
}

#[tokio::test]
async fn controller_and_receiver_read_any_namespace_and_no_role_lists_them() -> Result<()> {
    let bed = Bed::new(true, "labels").await?;
    for role in ROLES {
        let namespaces: Api<Namespace> = Api::all(bed.plane.client_as(&account(role), &[]));
        let read = namespaces.get(&bed.namespace).await;
        if role == "relay" {
            forbidden(role, read)?;
        } else {
            read.context(
                "its labels say which shared connections it may use, and which freezes hold there",
            )?;
        }
        forbidden(role, namespaces.list(&ListParams::default()).await)?;
    }
    Ok(())
}

/// The usual right to edit a namespace.
async fn editor(bed: &Bed) -> Result<Client> {
    let rules = json!([{
        "apiGroups": [""], "resources": ["pods", "secrets", "serviceaccounts", "serviceaccounts/token"],
        "verbs": ["get", "create", "update", "patch"],
    }]);
    let metadata = json!({"name": "edit", "namespace": bed.namespace});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "edit"},
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": BOB},
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"},
        ],
    });
    bed.plane
        .apply(&format!("{role}\n---\n{binding}\n"))
        .await?;
    Ok(bed.plane.client_as(BOB, &[]))
}

#[tokio::test]
async fn whoever_edits_a_namespace_makes_no_token_of_foredeck_vault() -> Result<()> {
    let bed = Bed::new(true, "editor").await?;
    for name in [VAULT, "shop"] {
        account_in(&bed, &bed.namespace, name).await?;
    }
    let bob = editor(&bed).await?;
    token(&bob, &bed.namespace, "shop")
        .await
        .context("a token of another account is nobody's business")?;
    let made = token(&bob, &bed.namespace, VAULT).await;
    kept("kubectl create token", made, "foredeck-vault-tokens")?;
    // A kubelet asks for the tokens of the Pods that it runs.
    let node = bed.plane.client_as("system:node:one", &["system:nodes"]);
    let made = token(&node, &bed.namespace, VAULT).await;
    kept("a kubelet", made, "foredeck-vault-tokens")?;
    // Administrators can look for what is wrong.
    token(&bed.plane.admin(), &bed.namespace, VAULT).await?;

    let pods: Api<Pod> = Api::namespaced(bob.clone(), &bed.namespace);
    let pod = |name: &str, account: Option<&str>| -> Result<Pod> {
        let mut spec = json!({"containers": [{"name": "one", "image": "registry.example/one"}]});
        if let Some(account) = account {
            spec["serviceAccountName"] = account.into();
        }
        Ok(serde_json::from_value(
            json!({"metadata": {"name": name}, "spec": spec}),
        )?)
    };
    for (name, account) in [("bare", None), ("shop", Some("shop"))] {
        pods.create(&PostParams::default(), &pod(name, account)?)
            .await
            .with_context(|| format!("the Pod {name}"))?;
    }
    for client in [bob.clone(), bed.plane.admin()] {
        let pods: Api<Pod> = Api::namespaced(client, &bed.namespace);
        let made = pods
            .create(&PostParams::default(), &pod("thief", Some(VAULT))?)
            .await;
        kept("a Pod", made, "foredeck-vault-pods")?;
    }

    let secrets: Api<Secret> = Api::namespaced(bob, &bed.namespace);
    let secret = |name: &str, account: &str| -> Result<Secret> {
        Ok(serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}},
            "type": "kubernetes.io/service-account-token",
        }))?)
    };
    secrets
        .create(&PostParams::default(), &secret("shop", "shop")?)
        .await
        .context("the Secret of another account")?;
    let plain: Secret =
        serde_json::from_value(json!({"metadata": {"name": "plain"}, "stringData": {"a": "b"}}))?;
    secrets.create(&PostParams::default(), &plain).await?;
    let made = secrets
        .create(&PostParams::default(), &secret("thief", VAULT)?)
        .await;
    kept("a Secret", made, "foredeck-vault-secrets")?;
    let turned = secrets
        .patch(
            "shop",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(
                json!({"metadata": {"annotations": {"kubernetes.io/service-account.name": VAULT}}}),
            ),
        )
        .await;
    kept("a Secret that is turned", turned, "foredeck-vault-secrets")
}

#[tokio::test]
async fn where_no_vault_is_wanted_there_is_no_right_to_tokens() -> Result<()> {
    for (value, wanted) in [("true", true), ("false", false)] {
        let rendered = render(&["--set", &format!("vault.enabled={value}")]).await?;
        for part in ["serviceaccounts/token", "foredeck-vault-pods"] {
            assert_eq!(rendered.contains(part), wanted, "{value}: {part}");
        }
    }
    Ok(())
}
