//! Who is let in, and whose tokens go to whom.

use foredeck::{
    api::conditions::Reason,
    secrets::{
        service_account::{FOREDECK_VAULT, TokenError, TokenGiver},
        vault::{Login, LoginRefusal, Method, VaultError},
    },
};
use kube::api::DeleteParams;
use secrecy::ExposeSecret;
use serde_json::json;

use super::bed::{AUDIENCE, Bed, assert_says, login_by, session, wanted};

const BOTH: [Method; 2] = [Method::Kubernetes, Method::Jwt];

fn refusal(error: &VaultError) -> LoginRefusal {
    match error {
        VaultError::LoginRefused { refusal, .. } => *refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn both_logins_take_a_token_that_is_asked_for_at_the_api_server() {
    let Some(bed) = Bed::new().await else { return };
    for method in BOTH {
        let session = bed.session(bed.login_of(method, &bed.namespace, AUDIENCE));
        let issued = session.issue(&wanted()).await.unwrap();
        assert!(issued.ends > issued.since);
    }
}

#[tokio::test]
async fn another_namespaces_service_account_gets_no_role_of_this_one() {
    let Some(bed) = Bed::new().await else { return };
    let other = bed.plane.namespace("staging").await.unwrap();
    let made = bed
        .plane
        .service_account_token(&other, FOREDECK_VAULT, &["nobody"]);
    made.await.unwrap();
    for method in BOTH {
        let session = bed.session(bed.login_of(method, &other, AUDIENCE));
        let error = session.issue(&wanted()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::LoginFailed);
        assert!(
            matches!(
                refusal(&error),
                LoginRefusal::ServiceAccount | LoginRefusal::Unsaid
            ),
            "{error:?}"
        );
        assert_says(
            &error,
            &["refuses the login at auth/", "Whoever runs Vault"],
        );
    }
}

#[tokio::test]
async fn a_role_that_wants_another_audience_a_missing_role_and_a_missing_method_are_said() {
    let Some(bed) = Bed::new().await else { return };
    for method in BOTH {
        let session = bed.session(bed.login_of(method, &bed.namespace, "elsewhere"));
        let error = session.issue(&wanted()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::LoginFailed);
        assert_eq!(refusal(&error), LoginRefusal::Audience, "{method:?}");

        let mut login = bed.login_of(method, &bed.namespace, AUDIENCE);
        if let Login::Jwt { role, .. } = &mut login {
            "missing".clone_into(role);
        }
        let error = bed.session(login).issue(&wanted()).await.unwrap_err();
        assert_eq!(refusal(&error), LoginRefusal::Role, "{method:?}");
        assert_says(&error, &["has no role of that name"]);
    }
    let mut login = bed.kubernetes();
    if let Login::Jwt { mount, .. } = &mut login {
        "missing".clone_into(mount);
    }
    let error = bed.session(login).issue(&wanted()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LoginFailed);
    assert_says(&error, &["refuses the login at auth/missing/login"]);
}

#[tokio::test]
async fn a_namespace_of_vault_is_named_in_every_call() {
    let Some(bed) = Bed::new().await else { return };
    bed.vault
        .write("sys/namespaces/team", json!({}))
        .await
        .unwrap();
    bed.vault
        .write("team/sys/mounts/kv", json!({"type": "kv-v2"}))
        .await
        .unwrap();
    let made = bed
        .vault
        .write("team/auth/token/create", json!({"policies": ["root"]}));
    let token = match made.await {
        Ok(made) => made["auth"]["client_token"].as_str().unwrap().to_owned(),
        Err(_) => bed.vault.root_token().to_owned(),
    };
    foredeck_testkit::wait_for("the engine", super::bed::PATIENCE, async || {
        let put = bed
            .vault
            .write("team/kv/data/slack", json!({"data": {"token": "xoxb-one"}}));
        put.await.map(drop)
    })
    .await
    .unwrap();
    super::bed::hush("xoxb-one");
    let secret = foredeck::secrets::vault::SecretPath::new("kv", "slack", "token").unwrap();
    let mut settings = bed.settings(super::bed::by_token(&token));
    let outside = session(settings.clone()).read(&secret).await.unwrap_err();
    assert!(!outside.sentence().is_empty());
    settings.namespace = Some("team".to_owned());
    let inside = session(settings).read(&secret).await.unwrap();
    assert_eq!(inside.expose_secret(), "xoxb-one");
}

#[tokio::test]
async fn no_vault_is_shown_a_token_that_is_good_at_the_api_server() {
    let Some(bed) = Bed::new().await else { return };
    let login = bed.kubernetes();
    let plain = bed
        .plane
        .service_account_token(&bed.namespace, FOREDECK_VAULT, &[]);
    let own = audience(&plain.await.unwrap());
    for audience in [own.as_str(), ""] {
        let giver = TokenGiver::new(bed.plane.admin());
        let tokens = giver.tokens(&bed.namespace, FOREDECK_VAULT, audience);
        let error = tokens.token().await.unwrap_err();
        assert_eq!(error, TokenError::OwnAudience);
    }
    let before = bed.tokens().await;
    let session = bed.session(bed.login_of(Method::Kubernetes, &bed.namespace, &own));
    let error = session.issue(&wanted()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LoginFailed);
    assert_says(&error, &["The audience is one of the API server's own"]);
    assert_eq!(bed.tokens().await, before, "{login:?}");
}

/// The first audience of a token.
fn audience(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["aud"][0].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_right_to_ask_is_for_that_service_account_alone_and_what_lacks_is_said() {
    let Some(bed) = Bed::new().await else { return };
    let user = format!("controller-of-{}", bed.namespace);
    let client = || bed.plane.client_as(&user, &[]);
    let session = bed.session(login_by(
        client(),
        Method::Kubernetes,
        &bed.namespace,
        AUDIENCE,
    ));
    let error = session.issue(&wanted()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LoginFailed);
    assert_says(
        &error,
        &[
            "forbids foredeck a token",
            "foredeck-vault",
            &bed.namespace,
            "serviceaccounts/token",
        ],
    );

    let rights = json!([
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": user},
         "rules": [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"],
                    "resourceNames": [FOREDECK_VAULT]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": user},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
         "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]},
    ]);
    for right in rights.as_array().unwrap() {
        bed.plane.apply(&right.to_string()).await.unwrap();
    }
    foredeck_testkit::wait_for("the right to count", super::bed::PATIENCE, async || {
        Ok(session.issue(&wanted()).await.map(drop)?)
    })
    .await
    .unwrap();
    let made = bed
        .plane
        .service_account_token(&bed.namespace, "default", &["nobody"]);
    made.await.unwrap();
    let others = TokenGiver::new(client()).tokens(&bed.namespace, "default", AUDIENCE);
    let error = others.token().await.unwrap_err();
    assert!(matches!(error, TokenError::Forbidden { .. }), "{error:?}");
}

#[tokio::test]
async fn a_service_account_that_is_not_there_is_said_and_then_made() {
    let Some(bed) = Bed::new().await else { return };
    let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> =
        kube::Api::namespaced(bed.plane.admin(), &bed.namespace);
    let parameters = DeleteParams::default();
    accounts.delete(FOREDECK_VAULT, &parameters).await.unwrap();
    let session = bed.session(bed.kubernetes());
    let error = session.issue(&wanted()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LoginFailed);
    assert_says(
        &error,
        &[
            "There is no ServiceAccount foredeck-vault",
            &bed.namespace,
            "can create it",
        ],
    );
    let made = bed
        .plane
        .service_account_token(&bed.namespace, FOREDECK_VAULT, &["nobody"]);
    made.await.unwrap();
    session.issue(&wanted()).await.unwrap();
}
