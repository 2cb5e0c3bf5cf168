//! Everything that foredeck does with a cluster, once: from a command in Slack to the end of what is kept. Each step says
//! which right it is there for, where that isn't plain.

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use foredeck::api::{
    Application, DeployApproval, DeployFreeze, DeployRequest, DeployTarget, Environment, Person,
    deploy_freeze::STOP_ALL, deploy_request::Phase,
};
use foredeck_testkit::{
    ApiProxy, Role,
    api_proxy::{ApiEffect, ApiFault},
    slack::{Ephemeral, User},
    wait_for,
};
use k8s_openapi::api::{coordination::v1::Lease, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::support::{CHANNEL, HOME, Installation, PATIENCE, TEAM, account, create};

/// As whom the roles run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each as itself.
    Separate,
    /// All in one process, which acts as each.
    Single,
}

impl Installation {
    /// Tells it all, and leaves nothing running.
    pub(crate) async fn tell(&self, mode: Mode) -> Result<()> {
        self.frozen_elsewhere().await?;
        let roles = self.begin(mode).await?;
        // A plan that is made before these were looked at is made anew when it is confirmed.
        let words = [
            "\"pipelines\"",
            "staging",
            "production",
            "judged",
            "endless",
        ];
        self.until_said::<Application>(TEAM, "checkout", &words)
            .await?;
        self.vaults_are_asked().await?;
        self.thought_better_of().await?;
        self.asked_in_slack().await?;
        self.approved_and_judged().await?;
        self.canceled().await?;
        self.locked_and_unlocked().await?;
        self.stopped_and_resumed().await?;
        self.frozen().await?;
        self.asked_by_kubectl().await?;
        self.refused_by_name().await?;
        self.said_twice().await?;
        self.told_elsewhere().await?;
        self.taken_over(mode, roles).await
    }

    async fn begin(&self, mode: Mode) -> Result<Vec<Role>> {
        let mut roles = Vec::new();
        let names: &[&str] = match mode {
            Mode::Separate => &["controller", "receiver", "relay"],
            Mode::Single => &["run"],
        };
        for name in names {
            let account = match *name {
                "run" => "foredeck".to_owned(),
                role => format!("foredeck-{role}"),
            };
            roles.push(self.start(name, &account).await?);
        }
        for role in &roles {
            role.until_ready(PATIENCE).await?;
        }
        Ok(roles)
    }

    /// A token of `foredeck-vault`, in the team's namespace and in foredeck's own.
    async fn vaults_are_asked(&self) -> Result<()> {
        wait_for("two logins to Vault", PATIENCE, async || {
            let calls = self.vault.calls();
            let logins = calls.iter().filter(|call| call.path.starts_with("auth/"));
            let logins = logins.count();
            ensure!(logins >= 2, "{logins}: {:?}", calls.len());
            Ok(())
        })
        .await
    }

    /// Takes a plan away: whether another copy of it was carried out is asked of the API server.
    async fn thought_better_of(&self) -> Result<()> {
        let alice = self.slack.user("alice");
        let plan = self.plan("alice", "1.4.1", "staging").await?;
        alice.click(&plan, "plan-cancel")?;
        self.until_asked("foredeck-receiver", "get", "deployrequests")
            .await
    }

    /// Waits until the API server has recorded such a call of a role.
    async fn until_asked(&self, role: &str, verb: &str, resource: &str) -> Result<()> {
        wait_for(
            &format!("{role} to {verb} {resource}"),
            PATIENCE,
            async || {
                let acts = self.acts()?;
                let found = acts.iter().any(|(act, _)| {
                    act.role == role && act.verb == verb && act.resource == resource
                });
                ensure!(found, "{} other acts", acts.len());
                Ok(())
            },
        )
        .await
    }

    /// What somebody is shown who asks for that.
    pub(crate) async fn plan(
        &self,
        who: &str,
        version: &str,
        environment: &str,
    ) -> Result<Ephemeral> {
        let before = self.slack.ephemerals(who).len();
        let line = format!("/deploy checkout {version} to {environment}");
        self.slack.user(who).command(CHANNEL, &line)?;
        wait_for("a plan", PATIENCE, async || {
            let all = self.slack.ephemerals(who);
            let said: Vec<_> = all.iter().map(|one| one.text.clone()).collect();
            let mut new = all.into_iter().skip(before);
            let found = new.find(|one| json!(one.blocks).to_string().contains("plan-deploy"));
            found.with_context(|| format!("{said:#?}"))
        })
        .await
    }

    async fn ask(&self, who: &str, version: &str, environment: &str) -> Result<String> {
        let plan = self.plan(who, version, environment).await?;
        self.slack.user(who).click(&plan, "plan-deploy")?;
        self.request_to(environment).await
    }

    async fn asked_in_slack(&self) -> Result<()> {
        let name = self.ask("alice", "1.4.2", "staging").await?;
        self.until_phase(&name, Phase::Succeeded).await?;
        self.until_told(&["staging", "succeeded"]).await?;
        Ok(())
    }

    /// The second click of a moment finds the approval of the first: it is read.
    async fn approved_and_judged(&self) -> Result<()> {
        let name = self.ask("alice", "1.4.2", "production").await?;
        let question = self.until_told(&["request-approve"]).await?;
        let bob = self.slack.user("bob");
        bob.click_as_seen(&question, "request-approve")?;
        bob.click_as_seen(&question, "request-approve")?;
        self.until_phase(&name, Phase::Succeeded).await?;

        let name = self.ask("alice", "1.4.2", "judged").await?;
        let question = self.until_told(&["judge-go-0"]).await?;
        self.slack.user("bob").click(&question, "judge-go-0")?;
        self.until_phase(&name, Phase::Succeeded).await?;
        let approvals = self.api::<DeployApproval>(TEAM);
        let all = approvals.list(&ListParams::default()).await?.items;
        ensure!(all.len() == 2, "{} approvals", all.len());
        Ok(())
    }

    async fn canceled(&self) -> Result<()> {
        let name = self.ask("alice", "1.4.2", "endless").await?;
        let live = self.until_told(&["endless", "request-cancel"]).await?;
        self.slack.user("bob").click(&live, "request-cancel")?;
        self.until_phase(&name, Phase::Canceled).await?;
        Ok(())
    }

    /// A target that is there, one that isn't yet, and a whole environment.
    async fn locked_and_unlocked(&self) -> Result<()> {
        let alice = self.slack.user("alice");
        for place in ["checkout in staging", "checkout in sealed", "staging"] {
            alice.command(CHANNEL, &format!("/deploy lock {place} \"audit\""))?;
            self.until_locked(place, true).await?;
            alice.command(CHANNEL, &format!("/deploy unlock {place}"))?;
            self.until_locked(place, false).await?;
        }
        Ok(())
    }

    async fn until_locked(&self, place: &str, wanted: bool) -> Result<()> {
        let what = format!("{place} to be locked: {wanted}");
        wait_for(&what, PATIENCE, async || {
            let said = self.slack.ephemerals("alice");
            let said = said.last().map(|last| last.text.clone());
            let locked = match place.strip_prefix("checkout in ") {
                Some(environment) => {
                    let targets = self.api::<DeployTarget>(TEAM);
                    let all = targets.list(&ListParams::default()).await?.items;
                    let mut there = all.iter().filter(|one| one.spec.environment == environment);
                    there.any(|one| one.spec.lock.is_some())
                }
                None => {
                    let environments = self.api::<Environment>(TEAM);
                    environments.get(place).await?.spec.lock.is_some()
                }
            };
            ensure!(locked == wanted, "{said:?}");
            Ok(())
        })
        .await
    }

    /// The stop button takes a right in foredeck's own namespace.
    async fn stopped_and_resumed(&self) -> Result<()> {
        let group = "rbac.authorization.k8s.io";
        let metadata = json!({"name": "stop-button", "namespace": HOME});
        self.apply(&[
            json!({
                "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata,
                "rules": [{
                    "apiGroups": ["foredeck.dev"], "resources": ["deployfreezes"], "resourceNames": [STOP_ALL],
                    "verbs": ["override"],
                }],
            }),
            json!({
                "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": "Role", "name": "stop-button"},
                "subjects": [{"apiGroup": group, "kind": "User", "name": "alice@harbor.example"}],
            }),
        ])
        .await?;
        let freezes = self.api::<DeployFreeze>(HOME);
        let alice = self.slack.user("alice");
        for (command, wanted) in [("stop-all \"a drill\"", true), ("resume-all", false)] {
            alice.command(CHANNEL, &format!("/deploy {command}"))?;
            wait_for(command, PATIENCE, async || {
                let said = self.slack.ephemerals("alice");
                let said = said.last().map(|last| last.text.clone());
                let there = freezes.get_opt(STOP_ALL).await?.is_some();
                ensure!(there == wanted, "{said:?}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// The controller says how it stands, and the relay tells a channel: of the team's and of foredeck's own. Of places that Slack
    /// refuses there it tells in two events of one reason.
    async fn frozen(&self) -> Result<()> {
        let channel = self.slack.channel(CHANNEL)?.id;
        for (namespace, channels) in [
            (TEAM, vec![channel.as_str()]),
            (HOME, vec![channel.as_str(), "C0000000001", "C0000000002"]),
        ] {
            let spec = json!({
                "reason": "a drill", "environments": ["nowhere"],
                "notify": {"slack": {"channels": channels}},
            });
            self.create::<DeployFreeze>(namespace, "drill", spec)
                .await?;
            self.until_said::<DeployFreeze>(namespace, "drill", &["\"Active\"", "\"ts\""])
                .await?;
            if namespace == HOME {
                self.until_repeated(HOME, "DeployFreeze").await?;
            }
            let freezes = self.api::<DeployFreeze>(namespace);
            freezes.delete("drill", &DeleteParams::default()).await?;
        }
        Ok(())
    }

    /// A freeze of foredeck's own namespace asks for the labels of the team's, which it doesn't select: nothing starts by
    /// those who may not read them.
    async fn frozen_elsewhere(&self) -> Result<()> {
        let selector = json!({"matchLabels": {"team": "another"}});
        let spec = json!({"reason": "an inventory", "namespaceSelector": selector});
        self.create::<DeployFreeze>(HOME, "elsewhere", spec).await?;
        Ok(())
    }

    /// It starts, ends, and is deleted after its time.
    async fn asked_by_kubectl(&self) -> Result<()> {
        let alice = self.plane.client_as("alice@harbor.example", &[]);
        let requests: Api<DeployRequest> = Api::namespaced(alice, TEAM);
        let spec = json!({"application": "checkout", "environment": "staging", "version": "main", "ttlAfterFinished": "1s"});
        create(&requests, "by-kubectl", spec).await?;
        wait_for("the request to be deleted", PATIENCE, async || {
            let left = requests.get_opt("by-kubectl").await?;
            ensure!(left.is_none(), "{:?}", left.and_then(|left| left.status));
            Ok(())
        })
        .await
    }

    /// Who may is said in the refusal, by bindings, roles and cluster roles.
    async fn refused_by_name(&self) -> Result<()> {
        let carol = self.plane.client_as("carol@harbor.example", &[]);
        let requests: Api<DeployRequest> = Api::namespaced(carol, TEAM);
        let spec = json!({"application": "checkout", "environment": "staging", "version": "main"});
        create(&requests, "refused", spec).await?;
        let denied = self.until_phase("refused", Phase::Denied).await?;
        let message = denied
            .status
            .and_then(|status| status.message)
            .unwrap_or_default();
        ensure!(message.contains("alice@harbor.example"), "{message}");
        Ok(())
    }

    /// An event of a reason that was told before is counted to it, which patches that.
    async fn said_twice(&self) -> Result<()> {
        let environments = self.api::<Environment>(TEAM);
        for connection in ["missing", "own", "missing"] {
            let patch = Patch::Merge(json!({"spec": {"connection": connection}}));
            environments
                .patch("staging", &PatchParams::default(), &patch)
                .await?;
            let (status, reason) = match connection {
                "own" => ("True", "ConfigurationValid"),
                _ => ("False", "ConnectionNotFound"),
            };
            wait_for(
                &format!("staging to be {status} with {connection}"),
                PATIENCE,
                async || {
                    let now = serde_json::to_value(environments.get("staging").await?)?;
                    let said = now["status"].to_string();
                    ensure!(
                        said.contains(&format!("{status:?}")) && said.contains(reason),
                        "{said}"
                    );
                    Ok(())
                },
            )
            .await?;
        }
        self.until_repeated(TEAM, "Environment").await
    }

    /// Slack refuses one place after the other, of which the relay tells in two events of one reason.
    async fn told_elsewhere(&self) -> Result<()> {
        let notify = json!({"slack": {"channel": "C0000000001"}});
        let patch = Patch::Merge(json!({"spec": {"notify": notify}}));
        self.api::<Environment>(TEAM)
            .patch("judged", &PatchParams::default(), &patch)
            .await?;
        ensure!(self.slack.remove_app_from(CHANNEL), "it wasn't there");
        self.ask("alice", "1.4.3", "judged").await?;
        self.until_repeated(TEAM, "DeployRequest").await
    }

    /// Waits for an event about something of this kind that was told more than once.
    async fn until_repeated(&self, namespace: &str, kind: &str) -> Result<()> {
        let events: Api<Event> = Api::namespaced(self.plane.admin(), namespace);
        wait_for(
            &format!("a repeated event about a {kind}"),
            PATIENCE,
            async || {
                let all = events.list(&ListParams::default()).await?.items;
                let of = |event: &&Event| {
                    event
                        .regarding
                        .as_ref()
                        .and_then(|about| about.kind.as_deref())
                        == Some(kind)
                };
                let known: Vec<_> = all
                    .iter()
                    .filter(of)
                    .map(|one| (&one.reason, &one.note))
                    .collect();
                let mut told = all.iter().filter(of);
                ensure!(told.any(|one| one.series.is_some()), "{known:#?}");
                Ok(())
            },
        )
        .await
    }

    /// The next ones read what the last ones told, and take over their Leases. Somebody else has written who carol is
    /// meanwhile: that is read first.
    async fn taken_over(&self, mode: Mode, roles: Vec<Role>) -> Result<()> {
        for role in &roles {
            role.terminate()?;
        }
        for role in &roles {
            role.until_ended(PATIENCE).await?;
        }
        drop(roles);
        let proxy = ApiProxy::start(&self.plane).await?;
        let overtaken = ApiFault::new(Method::PATCH, "persons/status", ApiEffect::Refuse(409));
        proxy.inject(overtaken.times(1));
        let roles = match mode {
            Mode::Separate => {
                let receiver = account("foredeck-receiver");
                let receiver = self.plane.kubeconfig_through_as(&proxy.url(), &receiver)?;
                vec![
                    self.start("controller", "foredeck-controller").await?,
                    self.start("relay", "foredeck-relay").await?,
                    self.start_with("receiver", &receiver)?,
                ]
            }
            Mode::Single => {
                vec![self.start_with("run", &self.plane.kubeconfig_through(&proxy.url())?)?]
            }
        };
        for role in &roles {
            role.until_ready(PATIENCE).await?;
        }
        self.slack.add_user(User::named("carol"), &[CHANNEL]);
        self.slack.user("carol").command(CHANNEL, "/deploy")?;
        let persons = self.api::<Person>(HOME);
        wait_for("carol to be known", PATIENCE, async || {
            let all = persons.list(&ListParams::default()).await?.items;
            let names: Vec<_> = all
                .iter()
                .map(|person| person.status.as_ref()?.username.clone())
                .collect();
            let known = names
                .iter()
                .flatten()
                .any(|name| name.starts_with("carol@"));
            ensure!(known, "{names:?}");
            Ok(())
        })
        .await?;
        let leases: Api<Lease> = Api::namespaced(self.plane.admin(), HOME);
        for name in ["foredeck-controller", "foredeck-relay"] {
            wait_for(
                &format!("the Lease {name} to be held"),
                PATIENCE,
                async || {
                    let lease = leases.get(name).await?;
                    let holder = lease.spec.and_then(|spec| spec.holder_identity);
                    ensure!(holder.is_some_and(|holder| !holder.is_empty()), "nobody");
                    Ok(())
                },
            )
            .await?;
        }
        Ok(())
    }
}
