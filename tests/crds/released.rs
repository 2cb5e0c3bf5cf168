//! What was released stays: each definition of `released/` against today's, and objects of that time as today's API server and
//! types take them.
//!
//! `UPDATE_RELEASED=1 cargo test --test crds released::` writes `released/v<version>/` anew, for a release: the definitions as
//! they are, and an object of each kind with everything in it. What a change breaks on purpose is a line in
//! `released/exceptions.txt`, with a reason.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context, Result, bail, ensure};
use foredeck::api::{
    Application, DeployApproval, DeployFreeze, DeployRequest, DeployTarget, Environment, Person,
    SpinnakerConnection, crds,
};
use foredeck_testkit::ControlPlane;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{Kind, compatibility::breaks, samples};

const HEADER: &str =
    "# Written by `UPDATE_RELEASED=1 cargo test --test crds released::`. Don't edit.\n";

/// An object of a kind: what it is called, what is left out, and what is otherwise than the first that fits.
type Variant = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

/// After the moment that is every other time in them.
const LATER: &str = "2026-01-02T00:00:00Z";

/// Of each kind the objects that together have every field: what can't stand together is left out of one or the other.
const VARIANTS: [Variant; 15] = [
    ("Application", "full", &[], &[]),
    (
        "DeployApproval",
        "start",
        &["spec/judgment"],
        &[("spec/for", "Start")],
    ),
    (
        "DeployApproval",
        "judgment",
        &["spec/digest"],
        &[("spec/for", "Judgment")],
    ),
    (
        "DeployFreeze",
        "actions",
        &["spec/exceptActions"],
        &[("spec/until", LATER)],
    ),
    (
        "DeployFreeze",
        "except-actions",
        &["spec/actions"],
        &[("spec/until", LATER)],
    ),
    ("DeployRequest", "full", &[], &[("spec/startBefore", LATER)]),
    ("DeployTarget", "full", &[], &[]),
    ("Environment", "full", &[], &[]),
    ("Person", "full", &[], &[]),
    (
        "SpinnakerConnection",
        "basic",
        &["spec/auth/token", "spec/auth/mtls", "spec/tls/caBundle"],
        &[],
    ),
    (
        "SpinnakerConnection",
        "token",
        &["spec/auth/basic", "spec/auth/mtls", "spec/tls/caSecretRef"],
        &[],
    ),
    (
        "SpinnakerConnection",
        "certificate",
        &[
            "spec/auth/basic",
            "spec/auth/token",
            "spec/auth/mtls/vault",
            "spec/tls/caBundle",
        ],
        &[],
    ),
    (
        "SpinnakerConnection",
        "vault-kubernetes",
        &[
            "spec/auth/basic",
            "spec/auth/token",
            "spec/auth/mtls/secretName",
            "spec/auth/mtls/vault/login/jwt",
            "spec/auth/mtls/vault/login/token",
            "spec/auth/mtls/vault/tls/caBundle",
            "spec/tls/caBundle",
        ],
        &[],
    ),
    (
        "SpinnakerConnection",
        "vault-token",
        &[
            "spec/auth/basic",
            "spec/auth/token",
            "spec/auth/mtls/secretName",
            "spec/auth/mtls/vault/login/kubernetes",
            "spec/auth/mtls/vault/login/jwt",
            "spec/auth/mtls/vault/tls/caBundle",
            "spec/tls/caBundle",
        ],
        &[],
    ),
    (
        "SpinnakerConnection",
        "vault-jwt",
        &[
            "spec/auth/basic",
            "spec/auth/token",
            "spec/auth/mtls/secretName",
            "spec/auth/mtls/vault/login/kubernetes",
            "spec/auth/mtls/vault/login/token",
            "spec/auth/mtls/vault/tls/caSecretRef",
            "spec/tls/caBundle",
        ],
        &[],
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crds/released")
}

/// Each release, with its definitions and its objects.
struct Release {
    name: String,
    definitions: Vec<Value>,
    objects: Vec<Value>,
}

impl Release {
    fn all() -> Result<Vec<Self>> {
        static UPDATED: LazyLock<Result<()>> = LazyLock::new(update);
        if let Err(error) = &*UPDATED {
            bail!("{error:#}");
        }
        let mut all = Vec::new();
        for entry in fs::read_dir(folder())? {
            let path = entry?.path();
            if path.is_dir() {
                all.push(Self {
                    name: path
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned(),
                    definitions: read(&path)?,
                    objects: read(&path.join("objects"))?,
                });
            }
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        ensure!(!all.is_empty(), "there is no release");
        Ok(all)
    }

    fn definitions(&self) -> Result<Vec<CustomResourceDefinition>> {
        let all = self.definitions.iter().cloned();
        all.map(|one| Ok(serde_json::from_value(one)?)).collect()
    }
}

fn read(folder: &Path) -> Result<Vec<Value>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file)?;
            serde_saphyr::from_str(&text).with_context(|| file.display().to_string())
        })
        .collect()
}

/// An object of a kind with all that its schema knows but what these say.
fn full(kind: &Kind, variant: &str, without: &[&str], with: &[(&str, &str)]) -> Result<Value> {
    let all = samples::whole(kind.root()?)?;
    let name = format!("{}-{variant}", kind.name().to_lowercase());
    let mut object = json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": kind.name(), "metadata": {"name": name},
        "spec": all["spec"], "status": all["status"],
    });
    for path in without {
        let (parent, last) = path.rsplit_once('/').context("a path")?;
        let parent = object.pointer_mut(&format!("/{parent}"));
        let parent = parent.and_then(Value::as_object_mut);
        let gone = parent.and_then(|parent| parent.remove(last));
        gone.with_context(|| format!("{name} has no {path}"))?;
    }
    for (path, value) in with {
        let at = object.pointer_mut(&format!("/{path}"));
        *at.with_context(|| format!("{name} has no {path}"))? = json!(value);
    }
    Ok(object)
}

/// Writes this release, where that is wanted.
fn update() -> Result<()> {
    if std::env::var_os("UPDATE_RELEASED").is_none() {
        return Ok(());
    }
    let folder = folder().join(format!("v{}", env!("CARGO_PKG_VERSION")));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("objects"))?;
    for definition in crds() {
        let file = folder.join(format!("{}.yaml", definition.spec.names.plural));
        let text = serde_saphyr::to_string(&definition)?;
        fs::write(file, format!("{HEADER}{text}"))?;
    }
    for (kind, variant, without, with) in VARIANTS {
        let object = full(&Kind::named(kind)?, variant, without, with)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let file = folder.join(format!("objects/{name}.yaml"));
        fs::write(
            file,
            format!("{HEADER}{}", serde_saphyr::to_string(&object)?),
        )?;
    }
    Ok(())
}

/// What may break, each with why: `<path>: <the beginning of what> | <reason>`.
fn exceptions() -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(folder().join("exceptions.txt"))?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (what, reason) = line
                .rsplit_once(" | ")
                .with_context(|| format!("{line}: no reason"))?;
            ensure!(
                reason.len() > 20,
                "{line}: a reason says why nobody is harmed, and from which version on it counts"
            );
            Ok((what.to_owned(), reason.to_owned()))
        })
        .collect()
}

#[test]
fn todays_definitions_break_nobody_who_uses_the_released_ones() -> Result<()> {
    let exceptions = exceptions()?;
    let mut used = BTreeSet::new();
    let mut broken = Vec::new();
    for release in Release::all()? {
        let today: Vec<Value> = crds()
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?;
        for old in &release.definitions {
            let name = &old["metadata"]["name"];
            let Some(new) = today.iter().find(|new| new["metadata"]["name"] == *name) else {
                broken.push(format!("{}: {name} is gone", release.name));
                continue;
            };
            for found in breaks(old, new) {
                let said = found.to_string();
                match exceptions
                    .iter()
                    .find(|(what, _)| said.starts_with(what.as_str()))
                {
                    Some((what, _)) => drop(used.insert(what.clone())),
                    None => broken.push(format!("since {}: {said}", release.name)),
                }
            }
        }
    }
    ensure!(
        broken.is_empty(),
        "this breaks who uses a released version; find a way that doesn't, or say in tests/crds/released/exceptions.txt why it \
         may:\n{}",
        broken.join("\n")
    );
    let stale = exceptions.iter().find(|(what, _)| !used.contains(what));
    ensure!(stale.is_none(), "nothing breaks so any more: {stale:?}");
    Ok(())
}

/// The objects of the release together have each field of its definitions: else what was never written would be kept.
#[test]
fn released_objects_have_every_field() -> Result<()> {
    for release in Release::all()? {
        for definition in &release.definitions {
            let kind = definition["spec"]["names"]["kind"]
                .as_str()
                .unwrap_or_default();
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let mut wanted = BTreeSet::new();
            for part in ["spec", "status"] {
                fields(&schema["properties"][part], part, &mut wanted);
            }
            let mut present = BTreeSet::new();
            for object in release
                .objects
                .iter()
                .filter(|object| object["kind"] == kind)
            {
                for part in ["spec", "status"] {
                    present_in(
                        &object[part],
                        &schema["properties"][part],
                        part,
                        &mut present,
                    );
                }
            }
            let missing: Vec<_> = wanted.difference(&present).collect();
            ensure!(
                missing.is_empty(),
                "{kind} of {}: no object has {missing:?}",
                release.name
            );
        }
    }
    Ok(())
}

fn fields(schema: &Value, path: &str, all: &mut BTreeSet<String>) {
    all.insert(path.to_owned());
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        fields(below, &format!("{path}.{name}"), all);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            fields(&schema[key], &format!("{path}[]"), all);
        }
    }
}

fn present_in(value: &Value, schema: &Value, path: &str, all: &mut BTreeSet<String>) {
    if value.is_null() {
        return;
    }
    all.insert(path.to_owned());
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        present_in(&value[name], below, &format!("{path}.{name}"), all);
    }
    let further = &schema["additionalProperties"];
    let items = value
        .as_array()
        .map(|items| (items.iter().collect::<Vec<_>>(), &schema["items"]));
    let values = value.as_object().filter(|_| further.is_object());
    let values = values.map(|values| (values.values().collect(), further));
    if let Some((below, schema)) = items.or(values) {
        for one in below {
            present_in(one, schema, &format!("{path}[]"), all);
        }
    }
}

/// Everything that `old` says, `new` says too.
fn keeps(path: &str, old: &Value, new: &Value) -> Result<()> {
    match (old, new) {
        (Value::Object(old), Value::Object(_)) => {
            for (name, value) in old {
                keeps(&format!("{path}.{name}"), value, &new[name])?;
            }
            Ok(())
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (old, new) in old.iter().zip(new) {
                keeps(&format!("{path}[]"), old, new)?;
            }
            Ok(())
        }
        _ => {
            ensure!(old == new, "{path} was {old} and is {new}");
            Ok(())
        }
    }
}

/// An object as today's types read and write it.
pub(crate) fn through_types(object: Value) -> Result<Value> {
    fn through<K: DeserializeOwned + Serialize>(object: Value) -> Result<Value> {
        Ok(serde_json::to_value(serde_json::from_value::<K>(object)?)?)
    }
    match object["kind"].as_str() {
        Some("Application") => through::<Application>(object),
        Some("DeployApproval") => through::<DeployApproval>(object),
        Some("DeployFreeze") => through::<DeployFreeze>(object),
        Some("DeployRequest") => through::<DeployRequest>(object),
        Some("DeployTarget") => through::<DeployTarget>(object),
        Some("Environment") => through::<Environment>(object),
        Some("Person") => through::<Person>(object),
        Some("SpinnakerConnection") => through::<SpinnakerConnection>(object),
        other => bail!("no type for {other:?}"),
    }
}

#[test]
fn released_objects_lose_nothing_in_todays_types() -> Result<()> {
    for release in Release::all()? {
        for object in &release.objects {
            let name = format!("{} {}", release.name, object["metadata"]["name"]);
            let now = through_types(object.clone()).with_context(|| name.clone())?;
            for part in ["spec", "status"] {
                keeps(part, &object[part], &now[part]).with_context(|| name.clone())?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn released_objects_are_kept_read_and_written_under_todays_definitions() -> Result<()> {
    for release in Release::all()? {
        let plane = ControlPlane::start().await?;
        let namespace = plane.namespace("released").await?;
        plane.install_crds(&release.definitions()?).await?;
        for object in &release.objects {
            create(&plane, &namespace, object).await?;
        }
        plane.install_crds(&crds()).await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(plane.admin());
        for object in &release.objects {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let what = || format!("{name} of {}", release.name);
            let kind = Kind::named(object["kind"].as_str().unwrap_or_default())?;
            let definition = format!("{}.foredeck.dev", kind.definition.spec.names.plural);
            let definition = definitions.get(&definition).await?;
            let stored = definition.status.and_then(|status| status.stored_versions);
            ensure!(stored == Some(vec!["v1alpha1".to_owned()]), "{stored:?}");

            let api = kind.api(&plane, &namespace);
            let now = serde_json::to_value(api.get(name).await?)?;
            keeps(
                "object",
                &json!({"spec": object["spec"], "status": object["status"]}),
                &now,
            )
            .with_context(what)?;
            let typed = through_types(now).with_context(what)?;
            for part in ["spec", "status"] {
                keeps(part, &object[part], &typed[part]).with_context(what)?;
            }
            // Rules are looked at again for what is written.
            let plain = PatchParams::default();
            let labels = json!({"metadata": {"labels": {"example.com/upgraded": "yes"}}});
            api.patch(name, &plain, &Patch::Merge(labels))
                .await
                .with_context(what)?;
            let status = json!({"status": typed["status"]});
            let written = api.patch_status(name, &plain, &Patch::Merge(status)).await;
            let written = serde_json::to_value(written.with_context(what)?)?;
            keeps("status", &object["status"], &written["status"]).with_context(what)?;
            // And it can be made anew, from a backup or a commit.
            let other = plane.namespace("again").await?;
            create(&plane, &other, object).await.with_context(what)?;
        }
    }
    Ok(())
}

async fn create(plane: &ControlPlane, namespace: &str, object: &Value) -> Result<()> {
    let kind = Kind::named(object["kind"].as_str().unwrap_or_default())?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let api = kind.api(plane, namespace);
    let made: DynamicObject = kind.object(name, object["spec"].clone());
    let created = api.create(&PostParams::default(), &made).await;
    created.with_context(|| format!("create {name}"))?;
    let status = Patch::Merge(json!({"status": object["status"]}));
    let written = api
        .patch_status(name, &PatchParams::default(), &status)
        .await;
    let written = written.with_context(|| format!("the status of {name}"))?;
    let written = serde_json::to_value(written)?;
    keeps(
        "object",
        &json!({"spec": object["spec"], "status": object["status"]}),
        &written,
    )
    .with_context(|| name.to_owned())
}
