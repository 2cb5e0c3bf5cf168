//! People in a test: who they are, what RBAC grants them, and what they do as themselves.

use anyhow::{Context, Result, ensure};
use foredeck::{
    access::{Access, Subject},
    api::{DeployApproval, DeployRequest, Environment, Person, deploy_request::WaitingFor},
};
use foredeck_testkit::wait_for;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, phase_of};

/// Whoever speaks for people in Slack.
pub(crate) const RECEIVER: &str = "system:serviceaccount:foredeck-system:foredeck-receiver";
/// The controller, where it doesn't run as the administrator.
pub(crate) const CONTROLLER: &str = "system:serviceaccount:foredeck-system:foredeck-controller";
/// Everybody who may write requests and approvals, whatever comes of them.
const WRITERS: &str = "writers";

impl Bed {
    /// A client of somebody, who may write requests and approvals, and is in these groups besides.
    pub(crate) fn somebody(&self, user: &str, groups: &[&str]) -> Client {
        let writers = format!("{WRITERS}:{}", self.namespace);
        let groups: Vec<&str> = groups.iter().copied().chain([writers.as_str()]).collect();
        self.plane.client_as(user, &groups)
    }

    /// Lets everybody of [`Bed::somebody`] write, and the receiver too.
    pub(crate) async fn let_people_write(&self) -> Result<()> {
        let rules = json!([
            {"apiGroups": ["foredeck.dev"], "resources": ["deployrequests", "deployapprovals"], "verbs": ["get", "create", "patch", "delete"]},
        ]);
        let group = format!("{WRITERS}:{}", self.namespace);
        self.bind(
            "writers",
            &rules,
            &[json!({"kind": "Group", "name": group}), user(RECEIVER)],
        )
        .await
    }

    /// Grants verbs on objects: `("environments", "staging", &["deploy"])`. The name takes it back.
    pub(crate) async fn grant(
        &self,
        name: &str,
        subject: Value,
        granted: &[(&str, &str, &[&str])],
    ) -> Result<()> {
        let rules: Vec<Value> = granted
            .iter()
            .map(|(resource, object, verbs)| {
                json!({"apiGroups": ["foredeck.dev"], "resources": [resource], "resourceNames": [object], "verbs": verbs})
            })
            .collect();
        self.bind(name, &json!(rules), &[subject]).await
    }

    /// Grants somebody verbs on checkout and on an environment, and waits until the API server knows.
    pub(crate) async fn let_them(
        &self,
        username: &str,
        verbs: &[&str],
        environment: &str,
    ) -> Result<()> {
        let short = username.split('@').next().unwrap_or(username);
        let name = format!("{short}-{environment}");
        let granted = [
            ("applications", "checkout", verbs),
            ("environments", environment, verbs),
        ];
        self.grant(&name, user(username), &granted).await?;
        for verb in verbs {
            self.until_may(username, verb, environment, true).await?;
        }
        Ok(())
    }

    /// Takes back what [`Bed::let_them`] gave, and waits until the API server knows.
    pub(crate) async fn let_them_no_more(
        &self,
        username: &str,
        verb: &str,
        environment: &str,
    ) -> Result<()> {
        let short = username.split('@').next().unwrap_or(username);
        self.api::<RoleBinding>()
            .delete(&format!("{short}-{environment}"), &DeleteParams::default())
            .await?;
        self.until_may(username, verb, environment, false).await
    }

    /// Lets a controller read what lies in no namespace: namespaces, and the admission policies.
    pub(crate) async fn bind_everywhere(&self, subject: &Value) -> Result<()> {
        let name = format!("controller:{}", self.namespace);
        let role: ClusterRole = serde_json::from_value(json!({
            "metadata": {"name": name}, "rules": [
                {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
                {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["get"]},
            ],
        }))?;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": name}, "subjects": [subject],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        }))?;
        let plain = PostParams::default();
        Api::all(self.client.clone()).create(&plain, &role).await?;
        Api::all(self.client.clone())
            .create(&plain, &binding)
            .await?;
        Ok(())
    }

    pub(crate) async fn bind(&self, name: &str, rules: &Value, subjects: &[Value]) -> Result<()> {
        let role: Role =
            serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules}))?;
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": name}, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        }))?;
        let plain = PostParams::default();
        self.api::<Role>().create(&plain, &role).await?;
        self.api::<RoleBinding>().create(&plain, &binding).await?;
        Ok(())
    }

    /// The API server hears of bindings by a watch of its own.
    async fn until_may(
        &self,
        username: &str,
        verb: &str,
        environment: &str,
        wanted: bool,
    ) -> Result<()> {
        let access = Access::new(self.client.clone());
        let subject = Subject {
            username: username.to_owned(),
            groups: Vec::new(),
        };
        let what = format!("{username} may {verb}: {wanted}");
        wait_for(&what, PATIENCE, async || {
            let asked = access.may_now(&subject, verb, &self.namespace, "checkout", environment);
            ensure!(asked.await?.is_granted() == wanted, "not yet");
            Ok(())
        })
        .await
    }

    /// Creates a request as somebody.
    pub(crate) async fn request_as(
        &self,
        client: &Client,
        name: &str,
        spec: Value,
    ) -> Result<DeployRequest> {
        let object: DeployRequest = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        }))?;
        let api: Api<DeployRequest> = Api::namespaced(client.clone(), &self.namespace);
        // Rights to write come by a watch, too.
        wait_for(&format!("{name} to be created"), PATIENCE, async || {
            Ok(api.create(&PostParams::default(), &object).await?)
        })
        .await
    }

    /// Asks as the receiver does, for somebody in Slack.
    pub(crate) async fn request_in_slack(
        &self,
        name: &str,
        mut spec: Value,
        actor: &Value,
    ) -> Result<DeployRequest> {
        spec["requester"] = actor.clone();
        let receiver = self.plane.client_as(RECEIVER, &[]);
        self.request_as(&receiver, name, spec).await
    }

    /// Cancels as the receiver does, for somebody in Slack.
    pub(crate) async fn cancel_in_slack(&self, name: &str, actor: &Value) -> Result<()> {
        let receiver = self.plane.client_as(RECEIVER, &[]);
        let api: Api<DeployRequest> = Api::namespaced(receiver, &self.namespace);
        let cancel = json!({"spec": {"cancel": {"reason": "changed my mind", "by": actor}}});
        api.patch(name, &PatchParams::default(), &Patch::Merge(cancel))
            .await?;
        Ok(())
    }

    /// Approves what the request's status says would run now, or says no to it.
    pub(crate) async fn answer(
        &self,
        client: &Client,
        name: &str,
        request: &str,
        answer: Value,
    ) -> Result<DeployApproval> {
        let asked = self
            .until(request, "resolved", |request| {
                request
                    .status
                    .as_ref()
                    .is_some_and(|status| status.resolved.is_some())
            })
            .await?;
        let resolved = asked
            .status
            .as_ref()
            .and_then(|status| status.resolved.clone());
        let mut spec = json!({
            "request": {"name": request, "uid": asked.uid()}, "decision": "Approve",
            "digest": resolved.context("not resolved")?.digest,
        });
        if let (Some(spec), Value::Object(answer)) = (spec.as_object_mut(), answer) {
            spec.extend(answer);
        }
        let object: DeployApproval = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        }))?;
        let api: Api<DeployApproval> = Api::namespaced(client.clone(), &self.namespace);
        wait_for(&format!("{name} to be created"), PATIENCE, async || {
            Ok(api.create(&PostParams::default(), &object).await?)
        })
        .await
    }

    /// Approves as somebody.
    pub(crate) async fn approve(&self, username: &str, request: &str) -> Result<DeployApproval> {
        let short = username.split('@').next().unwrap_or(username);
        let name = format!("{request}-{short}");
        self.answer(&self.somebody(username, &[]), &name, request, json!({}))
            .await
    }

    /// Somebody in Slack, whom the receiver has found: with these groups, as of that time.
    pub(crate) async fn person(&self, slack: &str, status: Value) -> Result<()> {
        let name = format!("slack-t1-{}", slack.to_ascii_lowercase());
        let api = self.api::<Person>();
        if api.get_opt(&name).await?.is_none() {
            self.create::<Person>(&name, json!({})).await?;
        }
        let status = Patch::Merge(json!({"status": status}));
        api.patch_status(&name, &PatchParams::default(), &status)
            .await?;
        Ok(())
    }

    /// The rules of an environment.
    pub(crate) async fn protect(&self, environment: &str, protection: Value) -> Result<()> {
        let rules = json!({"spec": {"protection": protection}});
        self.merge::<Environment>(environment, rules).await?;
        Ok(())
    }

    pub(crate) async fn until_kept_by(
        &self,
        name: &str,
        subject: WaitingFor,
        says: &str,
    ) -> Result<DeployRequest> {
        self.until(
            name,
            &format!("waiting for {subject:?}: {says}"),
            |request| {
                let status = request.status.as_ref();
                let waiting = status.and_then(|status| status.waiting.as_ref());
                waiting.is_some_and(|waiting| {
                    waiting.subject == subject && waiting.message.contains(says)
                }) || phase_of(request).is_terminal()
            },
        )
        .await
        .and_then(|request| {
            ensure!(
                !phase_of(&request).is_terminal(),
                "{name} ended: {:?}",
                request.status
            );
            Ok(request)
        })
    }

    /// Waits until the controller says of an approval whether it counts, and for that reason.
    pub(crate) async fn until_counts(&self, name: &str, wanted: &str) -> Result<()> {
        wait_for(&format!("{name} to be {wanted}"), PATIENCE, async || {
            let approval = self.api::<DeployApproval>().get(name).await?;
            let status = approval.status.unwrap_or_default();
            let said = status.conditions.iter().find(|said| said.type_ == "Counts");
            let said = said.map(|said| format!("{} {}", said.status, said.reason));
            ensure!(said.as_deref() == Some(wanted), "{said:?}");
            Ok(())
        })
        .await
    }
}

/// A user, as RBAC names one.
pub(crate) fn user(name: &str) -> Value {
    match name
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
    {
        Some((namespace, name)) => {
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        None => json!({"kind": "User", "name": name}),
    }
}

/// A group, as RBAC names one.
pub(crate) fn group(name: &str) -> Value {
    json!({"kind": "Group", "name": name})
}

/// Somebody in Slack, as the receiver stamps them.
pub(crate) fn in_slack(username: &str, slack: &str) -> Value {
    json!({"username": username, "slack": {"team": "T1", "user": slack}})
}
