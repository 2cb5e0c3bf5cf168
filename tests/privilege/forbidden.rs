//! What no role may, whoever has its token: refused by the real API server's RBAC, not by a policy.

use anyhow::{Context, Result, ensure};
use axum::http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

use crate::support::{GIT_TOKEN, HOME, Installation, OUTSIDE, TEAM, account};

/// A call that is tried: by whom, what it is, and where.
struct Try {
    who: &'static str,
    what: &'static str,
    method: Method,
    path: String,
    body: Value,
}

const OURS: &str = "/apis/foredeck.dev/v1alpha1/namespaces";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ROLES: [&str; 3] = ["foredeck-controller", "foredeck-receiver", "foredeck-relay"];

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "foredeck.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn asking() -> Value {
    object(
        "DeployRequest",
        "forged",
        &json!({"application": "checkout", "environment": "staging"}),
    )
}

fn approving() -> Value {
    let spec = json!({"request": {"name": "one", "uid": "u"}, "decision": "Approve", "digest": "a".repeat(64)});
    object("DeployApproval", "forged", &spec)
}

fn post(who: &'static str, what: &'static str, path: impl Into<String>, body: Value) -> Try {
    Try {
        who,
        what,
        method: Method::POST,
        path: path.into(),
        body,
    }
}

fn patch(who: &'static str, what: &'static str, path: impl Into<String>, body: Value) -> Try {
    Try {
        who,
        what,
        method: Method::PATCH,
        path: path.into(),
        body,
    }
}

fn get(who: &'static str, what: &'static str, path: impl Into<String>) -> Try {
    Try {
        who,
        what,
        method: Method::GET,
        path: path.into(),
        body: Value::Null,
    }
}

fn delete(who: &'static str, what: &'static str, path: impl Into<String>) -> Try {
    Try {
        who,
        what,
        method: Method::DELETE,
        path: path.into(),
        body: Value::Null,
    }
}

/// What one role may, and another not; and what only people may.
fn of_one_role() -> Vec<Try> {
    let (controller, receiver, relay) = (ROLES[0], ROLES[1], ROLES[2]);
    let team = format!("{OURS}/{TEAM}");
    let home = format!("{OURS}/{HOME}");
    let person = object("Person", "forged", &json!({}));
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let status = json!({"status": {"phase": "Succeeded"}});
    let place = json!({"application": "a", "environment": "b", "place": {"account": "c", "namespace": "d"}});
    let target = object("DeployTarget", "forged", &place);
    let freeze = object("DeployFreeze", "stop-all", &json!({"reason": "forged"}));
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases");
    let events = format!("/apis/events.k8s.io/v1/namespaces/{TEAM}/events");
    let secrets = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets");
    vec![
        post(relay, "ask", format!("{team}/deployrequests"), asking()),
        post(
            relay,
            "approve",
            format!("{team}/deployapprovals"),
            approving(),
        ),
        patch(
            relay,
            "change what was asked",
            format!("{team}/deployrequests/one"),
            label.clone(),
        ),
        delete(
            relay,
            "delete a request",
            format!("{team}/deployrequests/one"),
        ),
        patch(
            relay,
            "change a target",
            format!("{team}/deploytargets/one/status"),
            json!({"status": {}}),
        ),
        post(
            relay,
            "make a person",
            format!("{home}/persons"),
            person.clone(),
        ),
        get(relay, "read persons", format!("{home}/persons")),
        get(
            relay,
            "read the controller's Lease",
            format!("{leases}/foredeck-controller"),
        ),
        patch(
            receiver,
            "write a request's status",
            format!("{team}/deployrequests/one/status"),
            status.clone(),
        ),
        patch(
            receiver,
            "write an approval's status",
            format!("{team}/deployapprovals/one/status"),
            json!({"status": {}}),
        ),
        patch(
            receiver,
            "change an approval",
            format!("{team}/deployapprovals/one"),
            label.clone(),
        ),
        delete(
            receiver,
            "take an approval back",
            format!("{team}/deployapprovals/one"),
        ),
        delete(
            receiver,
            "delete a request",
            format!("{team}/deployrequests/one"),
        ),
        patch(
            receiver,
            "write what a person's spec says",
            format!("{home}/persons/one"),
            json!({"spec": {"usernames": ["root"]}}),
        ),
        post(
            receiver,
            "make a person elsewhere",
            format!("{team}/persons"),
            person.clone(),
        ),
        post(
            relay,
            "make a target",
            format!("{team}/deploytargets"),
            target,
        ),
        post(
            receiver,
            "make an environment",
            format!("{team}/environments"),
            object("Environment", "forged", &json!({})),
        ),
        patch(
            receiver,
            "write a target's status",
            format!("{team}/deploytargets/one/status"),
            json!({"status": {"hold": null}}),
        ),
        post(
            receiver,
            "freeze a team",
            format!("{team}/deployfreezes"),
            freeze.clone(),
        ),
        delete(
            receiver,
            "lift a team's freeze",
            format!("{team}/deployfreezes/stop-all"),
        ),
        delete(
            receiver,
            "lift another freeze than the stop button",
            format!("{home}/deployfreezes/weekend"),
        ),
        patch(
            receiver,
            "change the stop button",
            format!("{home}/deployfreezes/stop-all"),
            label.clone(),
        ),
        patch(
            receiver,
            "say how a freeze stands",
            format!("{team}/deployfreezes/one/status"),
            json!({"status": {}}),
        ),
        post(
            relay,
            "press the stop button",
            format!("{home}/deployfreezes"),
            freeze.clone(),
        ),
        delete(
            relay,
            "lift the stop button",
            format!("{home}/deployfreezes/stop-all"),
        ),
        patch(
            relay,
            "lock a target",
            format!("{team}/deploytargets/one"),
            label.clone(),
        ),
        post(
            controller,
            "press the stop button",
            format!("{home}/deployfreezes"),
            freeze,
        ),
        delete(
            controller,
            "lift the stop button",
            format!("{home}/deployfreezes/stop-all"),
        ),
        patch(
            controller,
            "lock a target, or lift a rollback's hold",
            format!("{team}/deploytargets/one"),
            label.clone(),
        ),
        get(
            receiver,
            "read connections",
            format!("{team}/spinnakerconnections"),
        ),
        get(receiver, "list namespaces", "/api/v1/namespaces"),
        get(
            receiver,
            "read a Secret that a connection names",
            format!("{}/gate-token", secrets(TEAM)),
        ),
        get(
            receiver,
            "read a Secret that no repository names",
            format!("{}/stranger", secrets(TEAM)),
        ),
        get(
            receiver,
            "read a repository's login where no Role names it",
            format!("{}/{GIT_TOKEN}", secrets(OUTSIDE)),
        ),
        get(
            relay,
            "read a repository's login",
            format!("{}/{GIT_TOKEN}", secrets(TEAM)),
        ),
        post(
            receiver,
            "tell an event",
            events.clone(),
            json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a"}}),
        ),
        get(
            receiver,
            "read a Lease",
            format!("{leases}/foredeck-controller"),
        ),
        post(
            controller,
            "ask",
            format!("{team}/deployrequests"),
            asking(),
        ),
        post(
            controller,
            "approve",
            format!("{team}/deployapprovals"),
            approving(),
        ),
        post(
            controller,
            "make a person",
            format!("{home}/persons"),
            person,
        ),
        patch(
            controller,
            "write who a person is",
            format!("{home}/persons/one/status"),
            json!({"status": {}}),
        ),
        patch(
            controller,
            "change a connection",
            format!("{team}/spinnakerconnections/own"),
            label.clone(),
        ),
        patch(
            controller,
            "change an environment",
            format!("{team}/environments/staging"),
            label.clone(),
        ),
        delete(
            controller,
            "delete an approval",
            format!("{team}/deployapprovals/one"),
        ),
        delete(
            controller,
            "delete a target",
            format!("{team}/deploytargets/one"),
        ),
        get(
            controller,
            "read a Secret that no connection names",
            format!("{}/stranger", secrets(TEAM)),
        ),
        get(
            controller,
            "read that name in a namespace of no connection",
            format!("{}/gate-token", secrets(OUTSIDE)),
        ),
        get(
            controller,
            "read a repository's login where no Role names it",
            format!("{}/{GIT_TOKEN}", secrets(OUTSIDE)),
        ),
        get(controller, "list namespaces", "/api/v1/namespaces"),
        get(controller, "list events", events),
        patch(
            controller,
            "change the relay's Lease",
            format!("{leases}/foredeck-relay"),
            label.clone(),
        ),
        get(
            controller,
            "read the relay's Lease",
            format!("{leases}/foredeck-relay"),
        ),
        get(
            controller,
            "read another's Lease",
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/any",
        ),
    ]
}

/// What none may.
fn of_any(who: &'static str) -> Vec<Try> {
    let home = format!("/api/v1/namespaces/{HOME}");
    let cluster = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "forged"}, "rules": []});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "forged"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": who, "namespace": HOME}],
    });
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "forged"}, "rules": []});
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["a"]}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "forged"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let policies = "/apis/admissionregistration.k8s.io/v1";
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases");
    let another = if who == ROLES[0] { ROLES[1] } else { ROLES[0] };
    vec![
        get(who, "list Secrets", format!("{home}/secrets")),
        get(who, "list all Secrets", "/api/v1/secrets"),
        get(
            who,
            "watch Secrets",
            format!("/api/v1/namespaces/{TEAM}/secrets?watch=1"),
        ),
        post(
            who,
            "make a Secret",
            format!("{home}/secrets"),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "forged"}}),
        ),
        get(who, "read ConfigMaps", format!("{home}/configmaps")),
        get(
            who,
            "read a ConfigMap",
            format!("{home}/configmaps/foredeck-admission-policies"),
        ),
        post(
            who,
            "make a ClusterRole",
            format!("{RBAC}/clusterroles"),
            cluster,
        ),
        post(
            who,
            "make a Role",
            format!("{RBAC}/namespaces/{HOME}/roles"),
            role,
        ),
        post(
            who,
            "bind a role",
            format!("{RBAC}/namespaces/{HOME}/rolebindings"),
            binding,
        ),
        patch(
            who,
            "change its own rights",
            format!("{RBAC}/clusterroles/{who}"),
            json!({"rules": []}),
        ),
        post(
            who,
            "make a token of another role",
            format!("{home}/serviceaccounts/{another}/token"),
            token.clone(),
        ),
        post(
            who,
            "make a token of itself",
            format!("{home}/serviceaccounts/{who}/token"),
            token.clone(),
        ),
        post(
            who,
            "make a token of a team's default",
            format!("/api/v1/namespaces/{TEAM}/serviceaccounts/default/token"),
            token,
        ),
        post(
            who,
            "make a ServiceAccount",
            format!("{home}/serviceaccounts"),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "forged"}}),
        ),
        post(who, "run a Pod", format!("{home}/pods"), pod),
        post(
            who,
            "execute in a Pod",
            format!("{home}/pods/any/exec?command=sh"),
            Value::Null,
        ),
        get(who, "read logs", format!("{home}/pods/any/log")),
        patch(
            who,
            "change an admission policy",
            format!("{policies}/validatingadmissionpolicies/foredeck-persons"),
            json!({}),
        ),
        delete(
            who,
            "delete an admission policy",
            format!("{policies}/validatingadmissionpolicies/foredeck-persons"),
        ),
        delete(
            who,
            "delete an admission policy's binding",
            format!("{policies}/validatingadmissionpolicybindings/foredeck-persons"),
        ),
        get(
            who,
            "list admission policies",
            format!("{policies}/validatingadmissionpolicies"),
        ),
        delete(
            who,
            "delete the controller's Lease",
            format!("{leases}/foredeck-controller"),
        ),
        delete(
            who,
            "delete the relay's Lease",
            format!("{leases}/foredeck-relay"),
        ),
        get(who, "list Leases", leases),
        get(
            who,
            "read custom resource definitions",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        ),
        get(who, "list nodes", "/api/v1/nodes"),
        post(
            who,
            "ask for somebody else's rights anywhere",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "root", "nonResourceAttributes": {"verb": "get", "path": "/"}}}),
        ),
        patch(
            who,
            "change an application",
            format!("{OURS}/{TEAM}/applications/checkout"),
            json!({"metadata": {"labels": {"a": "b"}}}),
        ),
        delete(
            who,
            "delete an environment",
            format!("{OURS}/{TEAM}/environments/staging"),
        ),
    ]
}

/// The answer's status and its sentence.
async fn answer(
    client: &Client,
    call: &Try,
    acting_as: Option<&str>,
) -> Result<Option<(u16, String)>> {
    let body = if call.body.is_null() {
        Vec::new()
    } else {
        call.body.to_string().into_bytes()
    };
    let kind = if call.method == Method::PATCH {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(&call.path)
        .header("content-type", kind);
    if let Some(user) = acting_as {
        request = request.header("impersonate-user", user);
    }
    match client.request_text(request.body(body)?).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some((status.code, status.message.clone()))),
        Err(error) => Err(error).context(call.what),
    }
}

async fn refused(client: &Client, call: &Try, acting_as: Option<&str>) -> Result<()> {
    let (who, what) = (call.who, call.what);
    let said = answer(client, call, acting_as).await?;
    let (code, message) = said.with_context(|| format!("{who} was let {what}"))?;
    ensure!(
        code == 403 && message.contains("cannot"),
        "{who}: {what}: {code} {message}"
    );
    Ok(())
}

/// Every call of the table, by the real token of whom it is about.
pub(crate) async fn all_refused(installation: &Installation) -> Result<()> {
    for who in ROLES {
        let client = installation.plane.client_of(HOME, who).await?;
        let own = of_one_role().into_iter().filter(|call| call.who == who);
        for call in own.chain(of_any(who)) {
            refused(&client, &call, None).await?;
        }
        let look = get(who, "be somebody", "/api/v1/namespaces/default");
        for somebody in [
            "alice@harbor.example",
            &account(ROLES[0]),
            &account(ROLES[1]),
            "system:admin",
        ] {
            refused(&client, &look, Some(somebody))
                .await
                .context(somebody.to_owned())?;
        }
    }
    Ok(())
}

/// The one account of all roles may nothing but act as one of them; and as nobody else.
pub(crate) async fn single_refused(installation: &Installation) -> Result<()> {
    let who = "foredeck";
    let client = installation.plane.client_of(HOME, who).await?;
    let mut calls = of_any(who);
    calls.push(post(
        who,
        "ask",
        format!("{OURS}/{TEAM}/deployrequests"),
        asking(),
    ));
    calls.push(get(
        who,
        "read applications",
        format!("{OURS}/{TEAM}/applications"),
    ));
    calls.push(get(who, "read persons", format!("{OURS}/{HOME}/persons")));
    let lease =
        format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/foredeck-controller");
    calls.push(get(who, "read a Lease", lease));
    for call in &calls {
        refused(&client, call, None).await?;
    }
    let look = get(who, "be somebody", format!("{OURS}/{TEAM}/applications"));
    let team = format!("system:serviceaccount:{TEAM}:foredeck-controller");
    let vault = format!("system:serviceaccount:{TEAM}:foredeck-vault");
    for somebody in ["alice@harbor.example", "system:admin", &team, &vault] {
        refused(&client, &look, Some(somebody))
            .await
            .context(somebody.to_owned())?;
    }
    for role in ROLES {
        let allowed = answer(&client, &look, Some(&account(role))).await?;
        ensure!(allowed.is_none(), "{role}: {allowed:?}");
    }
    Ok(())
}
