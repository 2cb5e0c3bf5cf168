//! Whether an installation is well: looked at from outside, by whoever asks, and changed in nothing. Touches the API server
//! (reads and access reviews), Vault (its health), the hosts of repositories, and whatever [`Outside`] asks.
//!
//! `judge` is pure: facts in, lines out. Here facts are gathered, each with a deadline, all at once; no trouble of one keeps
//! another from being found.

mod health;
pub mod judge;
pub mod page;
pub mod reader;
pub mod repositories;
pub mod seen;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt, join_all},
    stream,
};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

pub use self::health::Vault;
use self::{
    judge::{
        guardrails, installation, kinds,
        mesh::{self, MeshFacts},
        objects,
        rights::{self, Extent, Role},
        server::{self, VaultFacts},
        slack::{self, Asked, BotFacts},
        wildcards::{self, RoleFacts},
    },
    page::{Finding, Page},
    reader::{Reader, Resource},
    seen::{Seen, Unseen},
};
use crate::{
    access::{self, policies::Policies},
    api::{Application, SpinnakerConnection, conditions::Reason},
    domain::hosts::{self, HostPattern},
    git::{self, GitMetrics, Hosts},
    runtime::{
        cache::Scope,
        rights::{Lack, Right, lack},
        tls::Trust,
    },
};

/// Access reviews under way at once.
const REVIEWS_AT_ONCE: usize = 8;
/// Vaults of connections that are looked at, at most.
const MOST_VAULTS: usize = 10;

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const OURS: &str = "/apis/foredeck.dev/v1alpha1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEW: &str = "/apis/authorization.k8s.io/v1";

/// What is looked at, and for how long.
pub struct DoctorSettings {
    /// Foredeck's own namespace.
    pub home: String,
    /// Where it works; everywhere when empty.
    pub namespaces: Vec<String>,
    /// The namespace of the Leases.
    pub lease_namespace: String,
    /// The Leases' names: the controller's and the relay's.
    pub leases: [String; 2],
    /// The admission policies as they have to be, where a file says so.
    pub policies: Option<Policies>,
    /// The hosts at which Gates may be; not judged when left out.
    pub gate_hosts: Option<Vec<HostPattern>>,
    /// The hosts at which connections' Vaults may be: no other is asked anything.
    pub vault_hosts: Vec<HostPattern>,
    /// The hosts at which repositories may be: no other is asked anything.
    pub git: git::Settings,
    /// How long one answer may take.
    pub deadline: Duration,
    /// The clock.
    pub clock: fn() -> Timestamp,
}

/// What is asked of others than the API server: begun by whoever has the tokens.
pub struct Outside {
    /// Slack, with the bot's token.
    pub bot: BoxFuture<'static, Asked<BotFacts>>,
    /// Slack, with the app-level token.
    pub app: BoxFuture<'static, Asked<()>>,
    /// Okta.
    pub okta: BoxFuture<'static, Asked<()>>,
    /// The Vault that holds the roles' secrets, or why it can't be asked.
    pub vault: Option<Result<Vault, String>>,
}

/// What several lines are about, and is read once.
struct Common {
    reader: Reader,
    settings: DoctorSettings,
    server: Seen<server::ServerFacts>,
    connections: Seen<Vec<SpinnakerConnection>>,
}

const fn resource(path: &'static str, plural: &'static str) -> Resource {
    Resource { path, plural }
}

/// Looks at everything. Lines stand in one order, however long each takes.
pub async fn examine(client: Client, settings: DoctorSettings, outside: Outside) -> Page {
    let reader = Reader::new(client, settings.deadline);
    let deadline = settings.deadline;
    let (server, connections) = futures::join!(
        reader.server(settings.clock),
        reader.list_in(resource(OURS, "spinnakerconnections"), &settings.namespaces)
    );
    let common = Common {
        reader,
        settings,
        server,
        connections,
    };
    let Outside {
        bot,
        app,
        okta,
        vault,
    } = outside;
    let late = |whom: &str| {
        format!(
            "no answer within {} s from {whom}, or from what holds the token",
            2 * deadline.as_secs()
        )
    };
    let checks: Vec<BoxFuture<'_, Vec<Finding>>> = vec![
        async {
            vec![
                server::version(&common.server),
                server::clock(&common.server),
            ]
        }
        .boxed(),
        common.bounded("namespaces", common.namespaces()),
        common.bounded("kinds", common.kinds()),
        common.bounded("rights", common.rights()),
        common.bounded("policies", common.policies()),
        common.bounded("wildcards", common.wildcards()),
        common.bounded("workloads", common.workloads()),
        common.bounded("leases", common.leases()),
        common.bounded("mesh", common.mesh()),
        async {
            objects::connections(
                &common.connections,
                common.settings.gate_hosts.as_deref(),
                (common.settings.clock)(),
            )
        }
        .boxed(),
        common.bounded("applications", common.configuration()),
        common.bounded("freezes", common.freezes()),
        common.bounded("vault", common.vaults(vault)),
        async {
            let answered = tokio::time::timeout(2 * deadline, bot).await;
            vec![slack::bot(
                &answered.unwrap_or_else(|_| Asked::Refused(late("Slack"))),
            )]
        }
        .boxed(),
        async {
            let answered = tokio::time::timeout(2 * deadline, app).await;
            vec![slack::app(
                &answered.unwrap_or_else(|_| Asked::Refused(late("Slack"))),
            )]
        }
        .boxed(),
        async {
            let answered = tokio::time::timeout(2 * deadline, okta).await;
            vec![slack::okta(
                &answered.unwrap_or_else(|_| Asked::Refused(late("Okta"))),
            )]
        }
        .boxed(),
    ];
    let mut findings: Vec<Finding> = join_all(checks).await.into_iter().flatten().collect();
    let partial = common.reader.partial();
    findings.extend(
        partial
            .iter()
            .filter_map(|(what, partial)| partial.line(what)),
    );
    Page::of(findings, server::API_SERVER)
}

impl Common {
    /// However many answers a check takes, it ends.
    fn bounded<'a>(
        &'a self,
        check: &'static str,
        gathering: impl Future<Output = Vec<Finding>> + Send + 'a,
    ) -> BoxFuture<'a, Vec<Finding>> {
        let deadline = 3 * self.settings.deadline;
        async move {
            tokio::time::timeout(deadline, gathering)
                .await
                .unwrap_or_else(|_| {
                    vec![Unseen::Silent(deadline).line(check, "What there is of it")]
                })
        }
        .boxed()
    }

    async fn namespaces(&self) -> Vec<Finding> {
        let mut names = vec![
            self.settings.home.clone(),
            self.settings.lease_namespace.clone(),
        ];
        names.extend(self.settings.namespaces.clone());
        names.sort();
        names.dedup();
        let looks = names.into_iter().map(async |name| {
            let seen = self
                .reader
                .get::<Value>(resource("/api/v1", "namespaces"), None, &name)
                .await;
            (name, seen.map(|_| ()))
        });
        installation::namespaces(&join_all(looks).await)
    }

    async fn kinds(&self) -> Vec<Finding> {
        let at = resource("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions");
        let looks = crate::api::crds().into_iter().map(async |wanted| {
            let live = self
                .reader
                .get::<CustomResourceDefinition>(at, None, &wanted.name_any())
                .await;
            (wanted, live)
        });
        kinds::definitions(&join_all(looks).await)
    }

    async fn rights(&self) -> Vec<Finding> {
        let who = self.asker().await;
        let scopes = Scope::of(&self.settings.namespaces);
        let policies = match &self.settings.policies {
            Some(policies) => policies.names(),
            None => installation::vouching(),
        };
        let extent = Extent {
            repositories: &self.logins_of_repositories().await,
            home: &self.settings.home,
            scopes: &scopes,
            lease_namespace: &self.settings.lease_namespace,
            leases: &self.settings.leases,
            vault: self.uses_of_vault().is_ok_and(|uses| uses > 0),
            policies: &policies,
        };
        let mut lines = vec![rights::asker(&who)];
        for role in Role::ALL {
            let user = role.user(&self.settings.home);
            let itself = who.as_ref() == Ok(&user);
            let needed = rights::needed(role, &extent);
            lines.push(rights::role(
                role,
                &self.reviewed(needed, &user, itself).await,
            ));
        }
        lines
    }

    /// The Secrets that Applications name for repositories at hosts that are allowed.
    async fn logins_of_repositories(&self) -> BTreeMap<String, BTreeSet<String>> {
        let namespaces = &self.settings.namespaces;
        let seen: Seen<Vec<Application>> = self
            .reader
            .list_in(resource(OURS, "applications"), namespaces)
            .await;
        let mut applications = seen.unwrap_or_default();
        applications.retain(|one| {
            let repository = one.spec.repository.as_ref();
            repository.is_some_and(|named| repositories::allowed(named, &self.settings.git))
        });
        access::rights::repositories(&applications)
    }

    /// As whom we ask.
    async fn asker(&self) -> Seen<String> {
        let at = resource("/apis/authentication.k8s.io/v1", "selfsubjectreviews");
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let review: Value = self.reader.review(at, None, &body).await?;
        let name = review
            .pointer("/status/userInfo/username")
            .and_then(Value::as_str);
        Ok(name.unwrap_or_default().to_owned())
    }

    /// Which of these rights a user has: asked of their own account where we are they.
    async fn reviewed(
        &self,
        needed: Vec<Right>,
        user: &str,
        itself: bool,
    ) -> Seen<Vec<(Right, Option<Lack>)>> {
        let (kind, plural) = if itself {
            ("SelfSubjectAccessReview", "selfsubjectaccessreviews")
        } else {
            ("SubjectAccessReview", "subjectaccessreviews")
        };
        // The groups of every ServiceAccount: roles may be bound to them.
        let groups = json!([
            "system:serviceaccounts",
            format!("system:serviceaccounts:{}", self.settings.home),
            "system:authenticated",
        ]);
        let answers: Vec<Seen<(Right, Option<Lack>)>> = stream::iter(needed)
            .map(async |right| {
                let mut spec = json!({"resourceAttributes": rights::attributes(&right)});
                if !itself {
                    spec["user"] = json!(user);
                    spec["groups"] = groups.clone();
                }
                let body =
                    json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
                let review: Value = self
                    .reader
                    .review(resource(REVIEW, plural), None, &body)
                    .await?;
                let status = review.get("status").cloned().unwrap_or_default();
                let status = serde_json::from_value(status).ok();
                Ok((right, lack(status)))
            })
            .buffered(REVIEWS_AT_ONCE)
            .collect()
            .await;
        answers.into_iter().collect()
    }

    async fn policies(&self) -> Vec<Finding> {
        let (policies, bindings) = futures::join!(
            self.reader.list(
                resource(ADMISSION, "validatingadmissionpolicies"),
                None,
                None
            ),
            self.reader.list(
                resource(ADMISSION, "validatingadmissionpolicybindings"),
                None,
                None
            )
        );
        let vouching = match &self.settings.policies {
            None => installation::presence(&policies, &bindings),
            Some(wanted) => {
                let compared = wanted.since(self.reader.client()).await;
                let compared = compared
                    .map_err(|refusal| (refusal.reason != Reason::AccessUnknown, refusal.message));
                installation::unaltered(&compared)
            }
        };
        vec![
            vouching,
            installation::vault_account(&self.uses_of_vault(), &policies, &bindings),
        ]
    }

    /// How many connections log in to Vault by a `ServiceAccount`.
    fn uses_of_vault(&self) -> Seen<usize> {
        let connections = self.connections.as_ref().map_err(Clone::clone)?;
        let vaults = connections
            .iter()
            .filter_map(|one| one.spec.auth.as_ref()?.mtls.as_ref()?.vault.as_ref());
        Ok(vaults
            .filter(|vault| vault.login.kubernetes.is_some() || vault.login.jwt.is_some())
            .count())
    }

    async fn wildcards(&self) -> Vec<Finding> {
        let (cluster_roles, cluster_bindings, roles, bindings) = futures::join!(
            self.reader.list(resource(RBAC, "clusterroles"), None, None),
            self.reader
                .list(resource(RBAC, "clusterrolebindings"), None, None),
            self.reader.list(resource(RBAC, "roles"), None, None),
            self.reader.list(resource(RBAC, "rolebindings"), None, None)
        );
        wildcards::wildcards(&RoleFacts {
            cluster_roles,
            cluster_bindings,
            roles,
            bindings,
        })
    }

    async fn workloads(&self) -> Vec<Finding> {
        let at = resource("/apis/apps/v1", "deployments");
        let seen = self
            .reader
            .list(
                at,
                Some(&self.settings.home),
                Some("app.kubernetes.io/name=foredeck"),
            )
            .await;
        installation::workloads(&seen, &self.settings.home)
    }

    async fn leases(&self) -> Vec<Finding> {
        let at = resource("/apis/coordination.k8s.io/v1", "leases");
        let [controller, relay] = &self.settings.leases;
        // Who holds one renews it by a clock that is more like the API server's than like ours.
        let now = server::now(&self.server, (self.settings.clock)());
        let looks =
            [(Role::Controller, controller), (Role::Relay, relay)].map(async |(role, name)| {
                let seen = self
                    .reader
                    .get(at, Some(&self.settings.lease_namespace), name)
                    .await;
                installation::lease(role, name, &seen, now)
            });
        join_all(looks).await
    }

    async fn mesh(&self) -> Vec<Finding> {
        let home = Some(self.settings.home.as_str());
        let routes = |path, plural| self.reader.list(resource(path, plural), None, None);
        let (namespace, pods, virtual_services, service_profiles, http_routes) = futures::join!(
            self.reader
                .get(resource("/api/v1", "namespaces"), None, &self.settings.home),
            self.reader.list(
                resource("/api/v1", "pods"),
                home,
                Some("app.kubernetes.io/name=foredeck")
            ),
            routes("/apis/networking.istio.io/v1", "virtualservices"),
            routes("/apis/linkerd.io/v1alpha2", "serviceprofiles"),
            routes("/apis/gateway.networking.k8s.io/v1", "httproutes")
        );
        let gates = self.connections.as_ref().ok().map(|connections| {
            let mut gates: BTreeMap<String, bool> = BTreeMap::new();
            for one in connections {
                if let Some((host, _)) = objects::host(&one.spec.gate_url) {
                    *gates.entry(host).or_default() |= one.spec.gate_url.starts_with("http://");
                }
            }
            gates
        });
        mesh::mesh(&MeshFacts {
            namespace,
            pods,
            virtual_services,
            service_profiles,
            http_routes,
            gates,
        })
    }

    async fn configuration(&self) -> Vec<Finding> {
        let namespaces = &self.settings.namespaces;
        let (applications, environments) = futures::join!(
            self.reader
                .list_in(resource(OURS, "applications"), namespaces),
            self.reader
                .list_in(resource(OURS, "environments"), namespaces)
        );
        let now = (self.settings.clock)();
        let mut lines = vec![
            objects::applications(&applications, now),
            objects::environments(&environments, now),
        ];
        if let Ok(applications) = &applications {
            let hosts = Hosts::new(
                self.reader.client().clone(),
                self.settings.git.clone(),
                GitMetrics::default(),
            );
            let deadline = self.settings.deadline;
            let client = self.reader.client();
            lines.extend(repositories::asked(applications, client, hosts, deadline).await);
        }
        lines
    }

    /// Those that hold where it works are there, and those of its own namespace.
    async fn freezes(&self) -> Vec<Finding> {
        let DoctorSettings {
            home, namespaces, ..
        } = &self.settings;
        let mut wanted = namespaces.clone();
        if !wanted.is_empty() && !wanted.contains(home) {
            wanted.push(home.clone());
        }
        let all = self
            .reader
            .list_in(resource(OURS, "deployfreezes"), &wanted)
            .await;
        guardrails::freezes(&all, home, (self.settings.clock)())
    }

    /// That of the roles' own secrets, and those of connections, where hosts are listed at which they may be.
    async fn vaults(&self, own: Option<Result<Vault, String>>) -> Vec<Finding> {
        let mut lines = Vec::new();
        let mut wanted = Vec::new();
        match own {
            None => {}
            Some(Ok(vault)) => wanted.push(vault),
            Some(Err(why)) => lines.push(Finding::fail(
                "vault",
                &format!("The Vault of the roles' own secrets can't be asked: {why}"),
                "Correct the flags that begin with --vault",
            )),
        }
        let (mut unlisted, mut seen) = (Vec::new(), Vec::new());
        for one in self.connections.iter().flatten() {
            let vault = one
                .spec
                .auth
                .as_ref()
                .and_then(|auth| auth.mtls.as_ref()?.vault.as_ref());
            let Some(vault) = vault else { continue };
            let Some((host, port)) = objects::host(&vault.address) else {
                continue;
            };
            if seen.contains(&vault.address) {
                continue;
            }
            seen.push(vault.address.clone());
            let bundle = vault.tls.as_ref().and_then(|tls| tls.ca_bundle.as_ref());
            let secret = vault
                .tls
                .as_ref()
                .is_some_and(|tls| tls.ca_secret_ref.is_some());
            let trust = bundle.map_or(Ok(Trust::Machine), |pem| Trust::from_pem(pem.as_bytes()));
            match (reqwest::Url::parse(&vault.address), trust) {
                // Whoever may write a connection could otherwise have us call anything that we can reach.
                (Ok(address), Ok(trust))
                    if !secret && hosts::allow(&self.settings.vault_hosts, &host, port) =>
                {
                    wanted.push(Vault {
                        name: format!("The Vault at {host}:{port}"),
                        address,
                        trust,
                    });
                }
                _ => unlisted.push(format!("{host}:{port}")),
            }
        }
        wanted.truncate(MOST_VAULTS);
        let asks = wanted.iter().map(async |vault| {
            let health = health::ask(vault, self.settings.deadline, self.settings.clock).await;
            server::vault(&VaultFacts {
                name: vault.name.clone(),
                health,
            })
        });
        lines.extend(join_all(asks).await);
        if !unlisted.is_empty() {
            let found = format!(
                "Not asked, since only hosts that are listed are, with an authority that the connection itself holds: {}",
                page::few(&unlisted)
            );
            lines.push(Finding::skip(
                "vault",
                &found,
                Some("List them with --allow-vault-host, as the controller's are"),
            ));
        }
        if lines.is_empty() {
            lines.push(Finding::skip(
                "vault",
                "No secret and no certificate comes from a Vault that is known here",
                None,
            ));
        }
        lines
    }
}
