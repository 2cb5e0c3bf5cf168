//! What was asked stays what was asked: each property of a spec as emitted, on the real API server.

use anyhow::{Context, Result, ensure};
use foredeck_testkit::ControlPlane;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Map, Value, json};

use crate::{Kind, installed, refusal, samples};

/// What of a request can be set once.
const ONCE: [&str; 2] = ["cancel", "override"];
/// What people write of a target, and change as they like.
const FREE: [&str; 3] = ["release", "lock", "unhold"];

#[tokio::test]
async fn a_request_never_changes_but_for_a_cancel_and_an_override() -> Result<()> {
    let (plane, namespace) = installed("immutable").await?;
    let kind = Kind::named("DeployRequest")?;
    let names = each_property(&kind, async |property| {
        let probe = Probe::new(plane, &namespace, &kind, property)?;
        if ONCE.contains(&property) {
            probe.can_be_set_once().await
        } else {
            probe.can_not_be_added().await
        }?;
        probe.can_not_be_changed().await
    })
    .await?;
    for once in ONCE {
        ensure!(names.iter().any(|name| name == once), "{names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cancel_without_a_reason_gets_none_later() -> Result<()> {
    let (plane, namespace) = installed("cancel").await?;
    let kind = Kind::named("DeployRequest")?;
    let api = kind.api(plane, &namespace);
    let mut spec = kind.least()?;
    spec.insert("cancel".to_owned(), json!({}));
    create(&api, &kind, "bare", &spec).await?;
    let later = merge(&api, "bare", json!({"cancel": {"reason": "after all"}})).await;
    named("cancel", &refusal("a reason given later", later)?)
}

#[tokio::test]
async fn what_does_not_count_can_be_replaced_and_never_taken_back() -> Result<()> {
    let (plane, namespace) = installed("again").await?;
    let kind = Kind::named("DeployRequest")?;
    let api = kind.api(plane, &namespace);
    for (field, judged, refused) in [
        ("cancel", "Cancelable", "CancelRefused"),
        ("override", "Overridden", "OverrideRefused"),
    ] {
        let by = |name: &str| json!({(field): {"reason": name, "by": {"username": name}}});
        create(&api, &kind, field, &kind.least()?).await?;
        merge(&api, field, by("mallory")).await?;
        for (status, replaced) in [("True", false), ("Unknown", false), ("False", true)] {
            let condition = |kind: &str, status: &str, reason: &str| {
                json!({
                    "type": kind, "status": status, "reason": reason, "message": "x",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                })
            };
            // What is said of anything else decides nothing.
            let others = ["Reconciling", "Cancelable", "Overridden"]
                .into_iter()
                .filter(|other| *other != judged);
            let mut conditions: Vec<Value> = others
                .map(|other| condition(other, "False", "Queued"))
                .collect();
            conditions.push(condition(judged, status, refused));
            let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
            api.patch_status(field, &PatchParams::default(), &patch)
                .await?;
            let taken_back = merge(&api, field, json!({(field): null})).await;
            named(field, &refusal("taking it back", taken_back)?)?;
            let answer = merge(&api, field, by("alice")).await;
            if replaced {
                assert_eq!(answer?.data["spec"][field]["by"]["username"], "alice");
            } else {
                named(field, &refusal("replacing one that may count", answer)?)?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_target_stays_what_it_stands_for_and_people_release_and_lock_it() -> Result<()> {
    let (plane, namespace) = installed("target").await?;
    let kind = Kind::named("DeployTarget")?;
    let names = each_property(&kind, async |property| {
        let probe = Probe::new(plane, &namespace, &kind, property)?;
        if FREE.contains(&property) {
            return probe.can_be_changed_freely().await;
        }
        probe.can_not_be_added().await?;
        probe.can_not_be_changed().await
    })
    .await?;
    for free in FREE {
        ensure!(names.iter().any(|name| name == free), "{names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_approval_stays_what_was_said() -> Result<()> {
    let (plane, namespace) = installed("approval").await?;
    let kind = Kind::named("DeployApproval")?;
    let api = kind.api(plane, &namespace);
    let start = json!({
        "request": {"name": "one", "uid": "u1"}, "decision": "Reject", "comment": "not today",
        "digest": "a".repeat(64), "approver": {"username": "alice", "groups": ["a"]},
    });
    let judgment = json!({
        "request": {"name": "one", "uid": "u1"}, "for": "Judgment", "decision": "Approve",
        "judgment": {"execution": "01M", "stage": "s1", "input": "yes"},
    });
    let changes = json!({
        "request": [{"name": "two"}, {"uid": "u2"}],
        "for": ["Judgment", "Start"],
        "decision": ["Approve", "Reject"],
        "comment": ["never", null],
        "digest": ["b".repeat(64), null],
        "judgment": [{"execution": "01N"}, {"stage": "s2"}, {"input": null}, {"input": "no"}, null],
        "approver": [{"username": "bob"}, {"groups": ["b"]}, {"slack": {"team": "T01", "user": "U01"}}, null],
    });
    let names = each_property(&kind, async |property| {
        let mut refusals = 0;
        for (name, spec) in [("start", &start), ("judgment", &judgment)] {
            let name = format!("{name}-{}", property.to_lowercase());
            let spec = spec.as_object().context("a spec")?;
            let before = create(&api, &kind, &name, spec).await?;
            for value in changes[property]
                .as_array()
                .context("no changes of it here")?
            {
                let Err(error) = merge(&api, &name, json!({(property): value})).await else {
                    let now = api.get(&name).await?;
                    ensure!(now.data == before.data, "{name} took {value}");
                    continue;
                };
                refusals += 1;
                // A change may break another rule, too.
                named(property, &error.to_string())?;
            }
        }
        ensure!(refusals > 1, "{refusals} refusals");
        Ok(())
    })
    .await?;
    assert_eq!(names.len(), 7, "{names:?}");
    Ok(())
}

#[tokio::test]
async fn a_null_is_an_absent_property() -> Result<()> {
    let (plane, namespace) = installed("nulls").await?;
    for kind in Kind::all() {
        let api = kind.api(plane, &namespace);
        let least = kind.least()?;
        let mut nulled = least.clone();
        for name in kind
            .spec()?
            .properties
            .iter()
            .flatten()
            .map(|(name, _)| name)
        {
            nulled.entry(name.clone()).or_insert(Value::Null);
        }
        let plain = create(&api, &kind, "plain", &least).await?;
        let nulled = create(&api, &kind, "nulled", &nulled).await?;
        assert_eq!(nulled.data, plain.data, "{}", kind.name());
    }
    let kind = Kind::named("DeployRequest")?;
    let mut spec = kind.least()?;
    spec.insert(
        "target".to_owned(),
        json!({"account": null, "namespace": "pr-1"}),
    );
    let made = create(&kind.api(plane, &namespace), &kind, "nested", &spec).await?;
    assert_eq!(made.data["spec"]["target"], json!({"namespace": "pr-1"}));
    Ok(())
}

async fn each_property(
    kind: &Kind,
    check: impl AsyncFn(&str) -> Result<()>,
) -> Result<Vec<String>> {
    let names: Vec<String> = kind
        .spec()?
        .properties
        .iter()
        .flat_map(|properties| properties.keys().cloned())
        .collect();
    for name in &names {
        check(name).await.with_context(|| format!("spec.{name}"))?;
    }
    Ok(names)
}

/// One property of one kind's spec.
struct Probe<'a> {
    kind: &'a Kind,
    api: Api<DynamicObject>,
    property: &'a str,
    schema: &'a JSONSchemaProps,
    values: [Value; 2],
}

impl<'a> Probe<'a> {
    fn new(
        plane: &ControlPlane,
        namespace: &str,
        kind: &'a Kind,
        property: &'a str,
    ) -> Result<Self> {
        let properties = kind.spec()?.properties.as_ref();
        let schema = properties
            .and_then(|properties| properties.get(property))
            .context("the property")?;
        Ok(Self {
            api: kind.api(plane, namespace),
            values: samples::two(schema)?,
            kind,
            property,
            schema,
        })
    }

    fn with(&self, value: &Value) -> Result<Map<String, Value>> {
        let mut spec = self.kind.least()?;
        spec.insert(self.property.to_owned(), value.clone());
        Ok(spec)
    }

    fn object_name(&self, what: &str) -> String {
        format!("{what}-{}", self.property.to_lowercase())
    }

    async fn patch(&self, object: &str, value: &Value) -> kube::Result<DynamicObject> {
        merge(&self.api, object, json!({(self.property): value})).await
    }

    /// Replaces the object by itself with another value of the property, or without it.
    async fn put(
        &self,
        object: &str,
        value: Option<&Value>,
    ) -> Result<kube::Result<DynamicObject>> {
        let mut present = self.api.get(object).await?;
        let spec = present.data["spec"].as_object_mut().context("a spec")?;
        match value {
            Some(value) => spec.insert(self.property.to_owned(), value.clone()),
            None => spec.remove(self.property),
        };
        Ok(self
            .api
            .replace(object, &PostParams::default(), &present)
            .await)
    }

    fn refused(&self, what: &str, answer: kube::Result<DynamicObject>) -> Result<()> {
        named(self.property, &refusal(what, answer)?)
    }

    async fn can_not_be_added(&self) -> Result<()> {
        let name = self.object_name("without");
        let without = self.kind.least()?;
        if without.contains_key(self.property) {
            let mut without = without;
            without.remove(self.property);
            let answer = self
                .api
                .create(&PostParams::default(), &self.kind.object(&name, without))
                .await;
            return self.refused("an object without a required property", answer);
        }
        create(&self.api, self.kind, &name, &without).await?;
        for value in &self.values {
            self.refused("adding it by a patch", self.patch(&name, value).await)?;
            self.refused("adding it by a put", self.put(&name, Some(value)).await?)?;
        }
        Ok(())
    }

    async fn can_be_set_once(&self) -> Result<()> {
        let name = self.object_name("set");
        create(&self.api, self.kind, &name, &self.kind.least()?).await?;
        self.patch(&name, &self.values[0]).await?;
        self.patch(&name, &self.values[0])
            .await
            .context("saying the same again")?;
        self.refused("changing it", self.patch(&name, &self.values[1]).await)?;
        self.refused("taking it back", self.patch(&name, &Value::Null).await)
    }

    async fn can_not_be_changed(&self) -> Result<()> {
        let name = self.object_name("with");
        let [first, second] = &self.values;
        create(&self.api, self.kind, &name, &self.with(first)?).await?;
        self.refused("changing it by a patch", self.patch(&name, second).await)?;
        self.refused("changing it by a put", self.put(&name, Some(second)).await?)?;
        self.refused(
            "removing it by a patch",
            self.patch(&name, &Value::Null).await,
        )?;
        self.refused("removing it by a put", self.put(&name, None).await?)?;
        self.refused(
            "putting a null in its place",
            self.put(&name, Some(&Value::Null)).await?,
        )?;
        for inner in self
            .schema
            .properties
            .iter()
            .flatten()
            .map(|(inner, _)| inner)
        {
            let answer = self.patch(&name, &json!({(inner): null})).await;
            self.refused(&format!("removing its {inner}"), answer)?;
        }
        Ok(())
    }

    async fn can_be_changed_freely(&self) -> Result<()> {
        let name = self.object_name("free");
        create(&self.api, self.kind, &name, &self.kind.least()?).await?;
        for value in [&self.values[0], &self.values[1], &Value::Null] {
            let answer = self.patch(&name, value).await?;
            assert_eq!(&answer.data["spec"][self.property], value);
        }
        Ok(())
    }
}

async fn create(
    api: &Api<DynamicObject>,
    kind: &Kind,
    name: &str,
    spec: &Map<String, Value>,
) -> Result<DynamicObject> {
    api.create(&PostParams::default(), &kind.object(name, spec.clone()))
        .await
        .with_context(|| format!("creating {name} with {}", json!(spec)))
}

async fn merge(api: &Api<DynamicObject>, name: &str, spec: Value) -> kube::Result<DynamicObject> {
    let patch = Patch::Merge(json!({"spec": spec}));
    api.patch(name, &PatchParams::default(), &patch).await
}

fn named(property: &str, message: &str) -> Result<()> {
    ensure!(
        message.contains(&format!("spec.{property}")),
        "the refusal doesn't name spec.{property}: {message}"
    );
    Ok(())
}
