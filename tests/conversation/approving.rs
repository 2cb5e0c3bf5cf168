//! Approvals the whole way: asked for in a thread, given in Slack or by kubectl, by people whom admission, the receiver and
//! the controller tell apart.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployApproval, DeployRequest, Environment, Person,
    conditions::{self, ConditionType, Reason},
    deploy_request::{DecisionKind, Phase},
};
use foredeck_testkit::{slack::Message, wait_for};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, Process, shown};

/// How long a deployment takes.
const WORK: Duration = Duration::from_secs(2);
/// Bob's name where he logs in by OIDC.
const OIDC_BOB: &str = "oidc:bob";

impl Bed {
    /// One approval is needed for this environment from now on.
    pub(crate) async fn guard(&self, environment: &str) -> Result<()> {
        let guarded = json!({"spec": {"protection": {"approvals": {"required": 1}}}});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&guarded));
        let api = self.api::<Environment>();
        api.patch(environment, &parameters, &patch).await?;
        Ok(())
    }

    /// The question in the live message's thread, once it has these words.
    async fn until_asked(&self, words: &[&str]) -> Result<Message> {
        let live = self.until_told(&["checkout"]).await?;
        wait_for(
            &format!("a question with {words:?}"),
            PATIENCE,
            async || {
                let all = self.thread(&live);
                let said: Vec<String> = all.iter().map(shown).collect();
                let found = said
                    .iter()
                    .position(|said| words.iter().all(|word| said.contains(word)));
                found
                    .map(|index| all[index].clone())
                    .with_context(|| format!("{said:#?}"))
            },
        )
        .await
    }

    /// A folder of people of this test's own, in which bob has a second name, and the roles that look there.
    async fn roles_that_know_bob(&self) -> Result<[Process; 3]> {
        let parameters = PostParams::default();
        let group = "foredeck.dev";
        let rules = json!([
            {"apiGroups": [group], "resources": ["persons"], "verbs": ["get", "list", "watch", "create"]},
            {"apiGroups": [group], "resources": ["persons/status"], "verbs": ["patch"]},
            {"apiGroups": [group], "resources": ["deployfreezes"], "verbs": ["get", "create", "delete"]},
        ]);
        let accounts = ["foredeck-controller", "foredeck-receiver"].map(
            |name| json!({"kind": "ServiceAccount", "name": name, "namespace": "foredeck-system"}),
        );
        self.bind("people", rules, json!(accounts)).await?;
        let bob = self.slack.world(|world| world.user("bob").cloned());
        let bob = bob.context("nobody is called bob")?;
        let person: Person = serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "Person", "metadata": {"name": "bob"},
            "spec": {"slack": {"team": self.slack.team_id(), "user": bob.id}, "usernames": [OIDC_BOB]},
        }))?;
        self.api::<Person>().create(&parameters, &person).await?;
        let everything = json!([{"apiGroups": [group], "resources": ["*"], "verbs": ["*"]}]);
        let subject =
            json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OIDC_BOB}]);
        self.bind("oidc-bob", everything, subject).await?;
        let people = ["--home-namespace", &self.namespace];
        Ok([
            self.role("controller", &people).await?,
            self.role("receiver", &people).await?,
            self.role("relay", &[]).await?,
        ])
    }

    pub(crate) async fn bind(&self, name: &str, rules: Value, subjects: Value) -> Result<()> {
        let role: Role =
            serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules}))?;
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": name}, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        }))?;
        let parameters = PostParams::default();
        self.api::<Role>().create(&parameters, &role).await?;
        self.api::<RoleBinding>()
            .create(&parameters, &binding)
            .await?;
        Ok(())
    }

    fn as_oidc_bob(&self) -> Client {
        self.plane.client_as(OIDC_BOB, &["system:authenticated"])
    }

    /// Waits until this approval counts or doesn't, and gives the reason.
    async fn until_judged(&self, approval: &str) -> Result<(String, String)> {
        wait_for(&format!("what {approval} counts"), PATIENCE, async || {
            let approval = self.api::<DeployApproval>().get(approval).await?;
            let conditions = approval.status.unwrap_or_default().conditions;
            let counts = conditions::find(&conditions, ConditionType::Counts);
            let counts = counts.context("nothing was said yet")?;
            Ok((counts.status.clone(), counts.reason.clone()))
        })
        .await
    }
}

#[tokio::test]
async fn who_asked_in_slack_needs_another_to_say_yes_in_the_thread() -> Result<()> {
    let bed = Bed::new("approve", WORK).await?;
    bed.guard("production").await?;
    let _roles = bed.all_roles().await?;
    bed.ask_and_confirm("alice", "/deploy checkout 1.4.2 to production")
        .await?;
    let question = bed.until_asked(&["request-approve", "1.4.2"]).await?;
    let name = bed.only_request().await?.name_any();
    bed.until_phase(&name, Phase::AwaitingApproval).await?;
    ensure!(bed.gate.launches().is_empty(), "it was not approved yet");

    bed.slack
        .user("alice")
        .click(&question, "request-approve")?;
    bed.until_whispered("alice", &["asked for it yourself"])
        .await?;
    ensure!(
        bed.api::<DeployApproval>()
            .list(&ListParams::default())
            .await?
            .items
            .is_empty(),
        "her own word is not even written down"
    );

    bed.slack.user("bob").click(&question, "request-approve")?;
    let request = bed.until_phase(&name, Phase::Succeeded).await?;
    let uid = request.uid().unwrap_or_default();
    assert_eq!(bed.gate.launches_of(&uid).len(), 1);
    let status = request.status.unwrap_or_default();
    let approved = status
        .decisions
        .iter()
        .find(|decision| decision.what == DecisionKind::Approved);
    let by = approved.and_then(|decision| decision.by.clone());
    assert_eq!(by.as_deref(), Some("bob@harbor.example"));
    let answered = bed.until_asked(&["bob@harbor.example"]).await?;
    assert_eq!(answered.ts, question.ts, "the question itself says it");
    ensure!(
        !shown(&answered).contains("request-approve"),
        "{}",
        shown(&answered)
    );
    let violations = bed.slack.violations();
    ensure!(violations.is_empty(), "{violations:?}");
    Ok(())
}

#[tokio::test]
async fn what_one_human_asked_for_in_slack_they_do_not_approve_by_kubectl() -> Result<()> {
    let bed = Bed::new("two-names", WORK).await?;
    bed.guard("production").await?;
    let _roles = bed.roles_that_know_bob().await?;
    bed.ask_and_confirm("bob", "/deploy checkout 1.4.2 to production")
        .await?;
    let name = bed.only_request().await?.name_any();
    let request = bed.until_phase(&name, Phase::AwaitingApproval).await?;
    let digest = request
        .status
        .as_ref()
        .and_then(|status| status.resolved.as_ref())
        .map(|resolved| resolved.digest.clone());
    let approval: DeployApproval = serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployApproval", "metadata": {"name": "by-kubectl"},
        "spec": {"request": {"name": name, "uid": request.uid()}, "decision": "Approve", "digest": digest},
    }))?;
    let approval = Api::<DeployApproval>::namespaced(bed.as_oidc_bob(), &bed.namespace)
        .create(&PostParams::default(), &approval)
        .await?;
    let stamped = approval.spec.approver.map(|approver| approver.username);
    assert_eq!(stamped.as_deref(), Some(OIDC_BOB), "admission wrote it");
    let judged = bed.until_judged("by-kubectl").await?;
    assert_eq!(
        judged,
        ("False".to_owned(), Reason::ApproverIsRequester.to_string())
    );
    bed.until_phase(&name, Phase::AwaitingApproval).await?;
    ensure!(bed.gate.launches().is_empty(), "nobody else said yes");
    Ok(())
}

#[tokio::test]
async fn what_one_human_asked_for_by_kubectl_they_do_not_approve_in_slack() -> Result<()> {
    let bed = Bed::new("two-ways", WORK).await?;
    bed.guard("production").await?;
    let _roles = bed.roles_that_know_bob().await?;
    let request: DeployRequest = serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "metadata": {"name": "by-kubectl"},
        "spec": {"application": "checkout", "environment": "production", "version": "1.4.2"},
    }))?;
    Api::<DeployRequest>::namespaced(bed.as_oidc_bob(), &bed.namespace)
        .create(&PostParams::default(), &request)
        .await?;
    let question = bed.until_asked(&["request-approve"]).await?;
    bed.slack.user("bob").click(&question, "request-approve")?;
    bed.until_whispered("bob", &["asked for it yourself"])
        .await?;
    bed.until_phase("by-kubectl", Phase::AwaitingApproval)
        .await?;
    ensure!(bed.gate.launches().is_empty(), "nobody else said yes");

    bed.slack
        .user("alice")
        .click(&question, "request-approve")?;
    bed.until_phase("by-kubectl", Phase::Succeeded).await?;
    assert_eq!(bed.gate.launches().len(), 1);
    Ok(())
}
