//! Control planes with the chart installed, with and without the policies that stamp; and who writes there.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use foredeck::api::{
    Application, DeployApproval, DeployFreeze, DeployRequest, DeployTarget, Environment, Person,
    SpinnakerConnection,
};
use foredeck_testkit::{ControlPlane, helm, wait_for};
use k8s_openapi::api::authorization::v1::LocalSubjectAccessReview;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Where foredeck itself lives.
pub(crate) const HOME: &str = "foredeck-system";
/// Members may write every object of foredeck's as far as RBAC goes, but hold none of foredeck's own verbs: what is refused
/// to them is refused by the policies.
pub(crate) const WRITERS: &str = "writers";
/// Somebody.
pub(crate) const ALICE: &str = "alice@corp.example";
/// Somebody else.
pub(crate) const BOB: &str = "bob@corp.example";

/// What the chart is installed with.
const VALUES: [&str; 6] = [
    "--set",
    "identity.emailDomains={corp.example,corp.test}",
    "--set",
    "identity.usernames={kube-alice}",
    // The tests install these themselves, some of them altered.
    "--set",
    "crds.install=false",
];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The chart, rendered for foredeck's own namespace.
pub(crate) async fn render(arguments: &[&str]) -> Result<String> {
    let chart = root().join("charts/foredeck");
    helm::template(&chart, &[&["--namespace", HOME], arguments].concat()).await
}

/// Arguments that set these values, each key as a whole.
pub(crate) fn set(values: &Value) -> Vec<String> {
    let values = values.as_object().into_iter().flatten();
    values
        .flat_map(|(key, value)| ["--set-json".to_owned(), format!("{key}={value}")])
        .collect()
}

/// The chart with these values, as its documents.
pub(crate) async fn rendered(values: &Value) -> Result<Vec<Value>> {
    let arguments = set(values);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    documents(&render(&arguments).await?)
}

/// Each manifest of a YAML stream.
pub(crate) fn documents(manifests: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifests)?;
    Ok(documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

/// The manifests of that kind.
pub(crate) fn of_kind<'a>(
    manifests: &'a [Value],
    kind: &'a str,
) -> impl Iterator<Item = &'a Value> {
    manifests
        .iter()
        .filter(move |manifest| manifest["kind"] == kind)
}

/// The whole chart as the tests install it.
pub(crate) async fn whole(mutating: bool) -> Result<String> {
    let mutating = format!("admission.mutating={}", if mutating { "on" } else { "off" });
    let values = [&VALUES[..], &["--set-string", &mutating]].concat();
    render(&values).await
}

/// A control plane of the caller's own with the chart installed.
pub(crate) async fn installed(mutating: bool) -> Result<ControlPlane> {
    installed_with(mutating, &foredeck::api::crds()).await
}

async fn installed_with(
    mutating: bool,
    definitions: &[CustomResourceDefinition],
) -> Result<ControlPlane> {
    let plane = ControlPlane::start().await?;
    plane.install_crds(definitions).await?;
    let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}});
    plane.apply(&home.to_string()).await?;
    plane.apply(&whole(mutating).await?).await?;
    plane.apply(&writers()).await?;
    plane.policies_in_force().await?;
    stamps_in_force(&plane).await?;
    Ok(plane)
}

/// Returns once an object of a definition can be made: the API server takes a moment until it can stamp such.
async fn stamps_in_force(plane: &ControlPlane) -> Result<()> {
    let requests = resource::<DeployRequest>();
    let api: Api<DynamicObject> = Api::namespaced_with(
        plane.client_as(ALICE, &[WRITERS]),
        &plane.namespace("stamps").await?,
        &requests,
    );
    let spec = request(&json!({"requester": {"username": ALICE}}));
    let first = DynamicObject::new("first", &requests).data(json!({"spec": spec}));
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    wait_for("a first request", Duration::from_secs(30), async || {
        Ok(api.create(&dry_run, &first).await?)
    })
    .await?;
    Ok(())
}

fn writers() -> String {
    let plurals = all_resources().map(|resource| resource.plural);
    let resources: Vec<String> = plurals
        .iter()
        .flat_map(|plural| [plural.clone(), format!("{plural}/status")])
        .collect();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": WRITERS},
        "rules": [{
            "apiGroups": ["foredeck.dev"], "resources": resources,
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"],
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": WRITERS},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": WRITERS},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": WRITERS}],
    });
    format!("{role}\n---\n{binding}\n")
}

/// Every kind.
pub(crate) fn all_resources() -> [ApiResource; 8] {
    [
        resource::<Application>(),
        resource::<DeployApproval>(),
        resource::<DeployFreeze>(),
        resource::<DeployRequest>(),
        resource::<DeployTarget>(),
        resource::<Environment>(),
        resource::<Person>(),
        resource::<SpinnakerConnection>(),
    ]
}

pub(crate) fn resource<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// One installation, and a namespace of the test's own.
pub(crate) struct Bed {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
    /// Whether the API server stamps.
    pub(crate) mutating: bool,
}

impl Bed {
    pub(crate) async fn new(mutating: bool, prefix: &str) -> Result<Self> {
        static WITH: OnceCell<Result<ControlPlane>> = OnceCell::const_new();
        static WITHOUT: OnceCell<Result<ControlPlane>> = OnceCell::const_new();
        let plane = if mutating { &WITH } else { &WITHOUT };
        let plane = match plane.get_or_init(|| installed(mutating)).await {
            Ok(plane) => plane,
            Err(error) => bail!("no control plane with the chart: {error:#}"),
        };
        Ok(Self {
            plane,
            namespace: plane.namespace(prefix).await?,
            mutating,
        })
    }

    /// One where the definition lets a cancel be changed: what the policies then say of it.
    pub(crate) async fn with_changeable_cancels(mutating: bool) -> Result<Self> {
        let mut definitions = foredeck::api::crds();
        for version in definitions
            .iter_mut()
            .flat_map(|definition| &mut definition.spec.versions)
        {
            let schema = version.schema.as_mut();
            let root = schema.and_then(|schema| schema.open_api_v3_schema.as_mut());
            let root = root.context("a definition without a schema")?;
            let properties = root.properties.as_mut();
            let spec = properties.and_then(|properties| properties.get_mut("spec"));
            if let Some(rules) = spec.and_then(|spec| spec.x_kubernetes_validations.as_mut()) {
                rules.retain(|rule| !rule.rule.contains(".cancel"));
            }
            if let Some(rules) = &mut root.x_kubernetes_validations {
                rules.retain(|rule| !rule.rule.contains(".cancel"));
            }
        }
        let plane = Box::leak(Box::new(installed_with(mutating, &definitions).await?));
        Ok(Self {
            namespace: plane.namespace("changeable").await?,
            plane,
            mutating,
        })
    }

    /// One with the policies that stamp, and one without.
    pub(crate) async fn both(prefix: &str) -> Result<[Self; 2]> {
        Ok([
            Self::new(true, prefix).await?,
            Self::new(false, prefix).await?,
        ])
    }

    /// Somebody whom RBAC lets write, in those further groups.
    pub(crate) fn somebody(&self, user: &str, groups: &[&str]) -> Writer<'_> {
        self.writer(user, &[&[WRITERS], groups].concat())
    }

    /// A role's `ServiceAccount`, which RBAC lets write far more than the chart does.
    pub(crate) fn role(&self, role: &str) -> Writer<'_> {
        self.somebody(&account(role), &[])
    }

    /// The administrator.
    pub(crate) fn administrator(&self) -> Writer<'_> {
        Writer {
            bed: self,
            client: self.plane.admin(),
        }
    }

    fn writer(&self, user: &str, groups: &[&str]) -> Writer<'_> {
        Writer {
            bed: self,
            client: self.plane.client_as(user, groups),
        }
    }

    /// Gives somebody a verb on objects of that name; returns once the API server heeds it.
    pub(crate) async fn grant(&self, user: &str, verb: &str, on: &[(&str, &str)]) -> Result<()> {
        self.grant_in(&self.namespace, user, verb, on).await
    }

    /// The same in that namespace.
    pub(crate) async fn grant_in(
        &self,
        namespace: &str,
        user: &str,
        verb: &str,
        on: &[(&str, &str)],
    ) -> Result<()> {
        let rules: Vec<Value> = on
            .iter()
            .map(|(resource, name)| {
                json!({"apiGroups": ["foredeck.dev"], "resources": [resource], "resourceNames": [name], "verbs": [verb]})
            })
            .collect();
        let name = format!("{}-{verb}", user.replace(['@', ':'], "-"));
        let metadata = json!({"name": name, "namespace": namespace});
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules,
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        self.plane
            .apply(&format!("{role}\n---\n{binding}\n"))
            .await?;
        for (resource, name) in on {
            let review: LocalSubjectAccessReview = serde_json::from_value(json!({
                "metadata": {"namespace": namespace},
                "spec": {"user": user, "resourceAttributes": {
                    "namespace": namespace, "verb": verb, "group": "foredeck.dev", "resource": resource, "name": name,
                }},
            }))?;
            let reviews: Api<LocalSubjectAccessReview> =
                Api::namespaced(self.plane.admin(), namespace);
            wait_for("the right to count", Duration::from_secs(30), async || {
                let reviewed = reviews.create(&PostParams::default(), &review).await?;
                ensure!(
                    reviewed.status.is_some_and(|status| status.allowed),
                    "not yet"
                );
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// A request of that name, asked by somebody in their own name.
    pub(crate) async fn asked_by(&self, user: &str, name: &str) -> Result<DynamicObject> {
        let requester = json!({"username": user});
        self.somebody(user, &[])
            .create::<DeployRequest>(name, request(&json!({"requester": requester})))
            .await
            .with_context(|| format!("{user} asks for {name}"))
    }
}

/// The user name of a role's `ServiceAccount`.
pub(crate) fn account(role: &str) -> String {
    format!("system:serviceaccount:{HOME}:foredeck-{role}")
}

/// A request's spec with something more.
pub(crate) fn request(more: &Value) -> Value {
    let mut spec = json!({"application": "checkout", "environment": "production"});
    merge(&mut spec, more);
    spec
}

fn merge(into: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}

/// Who the receiver may speak for.
pub(crate) fn slack_actor(username: &str, groups: &[&str]) -> Value {
    json!({"username": username, "groups": groups, "slack": {"team": "T01", "user": "U01"}})
}

/// Somebody who writes to the API server.
pub(crate) struct Writer<'a> {
    bed: &'a Bed,
    client: Client,
}

impl Writer<'_> {
    pub(crate) fn api<K: Resource<DynamicType = ()>>(&self) -> Api<DynamicObject> {
        self.api_in::<K>(if K::kind(&()) == "Person" {
            HOME
        } else {
            &self.bed.namespace
        })
    }

    pub(crate) fn api_in<K: Resource<DynamicType = ()>>(
        &self,
        namespace: &str,
    ) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource::<K>())
    }

    pub(crate) async fn create<K: Resource<DynamicType = ()>>(
        &self,
        name: &str,
        spec: Value,
    ) -> kube::Result<DynamicObject> {
        let object = DynamicObject::new(name, &resource::<K>()).data(json!({"spec": spec}));
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
    }

    pub(crate) async fn patch<K: Resource<DynamicType = ()>>(
        &self,
        name: &str,
        patch: Value,
    ) -> kube::Result<DynamicObject> {
        let patch = Patch::Merge(patch);
        self.api::<K>()
            .patch(name, &PatchParams::default(), &patch)
            .await
    }

    pub(crate) async fn status<K: Resource<DynamicType = ()>>(
        &self,
        name: &str,
        status: Value,
    ) -> kube::Result<DynamicObject> {
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<K>()
            .patch_status(name, &PatchParams::default(), &patch)
            .await
    }
}

/// Checks that a policy refused, in a sentence with these words in it; gives the sentence.
pub(crate) fn refused(
    what: &str,
    answer: kube::Result<DynamicObject>,
    words: &[&str],
) -> Result<String> {
    let message = match answer {
        Ok(object) => bail!("{what} was let through: {}", object.data),
        Err(kube::Error::Api(status)) => status.message.clone(),
        Err(other) => return Err(other).with_context(|| what.to_owned()),
    };
    ensure!(
        message.contains("ValidatingAdmissionPolicy 'foredeck-"),
        "{what} was not refused by a policy: {message}"
    );
    for word in words {
        ensure!(
            message.contains(word),
            "{what}: {word:?} is missing in: {message}"
        );
    }
    Ok(message)
}
