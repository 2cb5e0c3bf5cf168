//! Manifests: applied as kubectl would, server-side and strictly. And admission policies: waited for until they count.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::{self, Scope};
use kube::{Api, Client, Error, ResourceExt};
use serde_json::{Value, json};
use ulid::Ulid;

use crate::wait::wait_for;

/// A second or two are usual.
const IN_FORCE_WITHIN: Duration = Duration::from_mins(1);
/// The label that the mutating sentinel writes.
const LABEL: &str = "foredeck-testkit-sentinel";

/// Applies every document, in its order; those without a namespace that need one go to `default`.
pub(super) async fn apply(client: &Client, manifests: &str) -> Result<()> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(manifests).context("the manifests are no YAML")?;
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        apply_one(client, document).await?;
    }
    Ok(())
}

async fn apply_one(client: &Client, document: Value) -> Result<()> {
    let object: DynamicObject =
        serde_json::from_value(document).context("a manifest is no Kubernetes object")?;
    let types = object
        .types
        .as_ref()
        .context("a manifest has no apiVersion and kind")?;
    let (kind, name) = (&types.kind, object.name_any());
    let doing = || format!("cannot apply the {kind} {name:?}");
    let api = api(
        client,
        &GroupVersionKind::try_from(types)?,
        object.namespace(),
    )
    .await
    .with_context(doing)?;
    let parameters = PatchParams {
        force: true,
        field_manager: Some("foredeck-testkit".to_owned()),
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::default()
    };
    api.patch(&name, &parameters, &Patch::Apply(&object))
        .await
        .with_context(doing)?;
    Ok(())
}

async fn api(
    client: &Client,
    gvk: &GroupVersionKind,
    namespace: Option<String>,
) -> Result<Api<DynamicObject>> {
    let (resource, capabilities) = discovery::pinned_kind(client, gvk).await?;
    Ok(match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = namespace.as_deref().unwrap_or("default");
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    })
}

/// Returns once every admission policy and binding that was written before counts.
///
/// The API server reads policies and bindings in the order in which they were written, so when a sentinel that is written
/// now is obeyed, all the others are.
pub(super) async fn in_force(client: &Client) -> Result<()> {
    let name = format!("sentinel-{}", Ulid::new().to_string().to_lowercase());
    refusing(client, &name).await?;
    let group = client
        .list_api_group_resources("admissionregistration.k8s.io/v1")
        .await?;
    // Below Kubernetes 1.36 nothing mutates.
    if group
        .resources
        .iter()
        .any(|resource| resource.name == "mutatingadmissionpolicies")
    {
        stamping(client, &name).await?;
    }
    Ok(())
}

/// A sentinel that refuses one name is written, obeyed, and taken away.
async fn refusing(client: &Client, name: &str) -> Result<()> {
    let spec = json!({
        "matchConstraints": constraints(),
        "matchConditions": conditions(name),
        "validations": [{"expression": "false", "message": name}],
    });
    let binding = json!({"policyName": name, "validationActions": ["Deny"]});
    let written = Sentinel::write(client, "Validating", name, spec, binding).await?;
    let what = "the validating admission policies to be in force";
    let obeyed = wait_for(what, IN_FORCE_WITHIN, async || {
        match probe(client, name).await {
            Err(Error::Api(status)) if status.message.contains(name) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err(anyhow::anyhow!("what they refuse is let through")),
        }
    })
    .await;
    written.remove().await?;
    obeyed
}

/// A sentinel that labels one name is written, obeyed, and taken away.
async fn stamping(client: &Client, name: &str) -> Result<()> {
    let name = &format!("{name}-stamp");
    let labels = format!("Object{{metadata: Object.metadata{{labels: {{'{LABEL}': 'yes'}}}}}}");
    let spec = json!({
        "matchConstraints": constraints(),
        "matchConditions": conditions(name),
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": labels}}],
    });
    let written =
        Sentinel::write(client, "Mutating", name, spec, json!({"policyName": name})).await?;
    let what = "the mutating admission policies to be in force";
    let obeyed = wait_for(what, IN_FORCE_WITHIN, async || {
        let probed = probe(client, name).await?;
        ensure!(
            probed.labels().contains_key(LABEL),
            "what they stamp is not stamped"
        );
        Ok(())
    })
    .await;
    written.remove().await?;
    obeyed
}

/// Asks for an object that a sentinel knows by its name, and makes none.
async fn probe(client: &Client, name: &str) -> kube::Result<ConfigMap> {
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let object: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": name}})).map_err(Error::SerdeError)?;
    Api::<ConfigMap>::namespaced(client.clone(), "default")
        .create(&dry_run, &object)
        .await
}

fn constraints() -> Value {
    json!({"resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]},
    ]})
}

fn conditions(name: &str) -> Value {
    json!([{"name": "the-sentinel", "expression": format!("object.metadata.name == '{name}'")}])
}

/// A policy and its binding.
struct Sentinel {
    name: String,
    apis: [Api<DynamicObject>; 2],
}

impl Sentinel {
    async fn write(
        client: &Client,
        verb: &str,
        name: &str,
        policy: Value,
        binding: Value,
    ) -> Result<Self> {
        let mut apis = Vec::new();
        for (kind, spec) in [
            (format!("{verb}AdmissionPolicy"), policy),
            (format!("{verb}AdmissionPolicyBinding"), binding),
        ] {
            let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", &kind);
            let (resource, _) = discovery::pinned_kind(client, &gvk).await?;
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let object = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
            api.create(&PostParams::default(), &object)
                .await
                .with_context(|| format!("cannot write the {kind} {name}"))?;
            apis.push(api);
        }
        let apis = <[_; 2]>::try_from(apis)
            .ok()
            .context("a policy and a binding")?;
        Ok(Self {
            name: name.to_owned(),
            apis,
        })
    }

    async fn remove(self) -> Result<()> {
        for api in self.apis.iter().rev() {
            api.delete(&self.name, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}
