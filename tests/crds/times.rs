//! Times in specs: what the API server takes, everybody reads who has to.

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::{Kind, installed, refusal, released::through_types, samples};

/// What is a time for people, Kubernetes, its rules and jiff.
const TAKEN: [&str; 14] = [
    "2026-11-27T18:00:00Z",
    "2026-11-27T18:00:00+01:00",
    "2026-11-27T18:00:00-09:30",
    "2026-11-27T18:00:00-00:00",
    "2026-11-27T18:00:00.5Z",
    "2026-11-27T18:00:00.123Z",
    "2026-11-27T23:59:59.999999999-12:00",
    "2024-02-29T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:59",
    "1582-10-10T00:00:00Z",
    "9998-12-31T23:59:59Z",
    "9998-12-31T23:59:59.999999999-14:59",
    "9998-12-31T23:59:59+14:00",
];

/// What one of them doesn't read.
const REFUSED: [&str; 33] = [
    // After the end of jiff's calendar, or in its last year.
    "9999-01-01T00:00:00Z",
    "9999-12-30T22:00:01Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59+14:00",
    // Before the year 1 by another clock.
    "0000-01-01T00:00:00Z",
    "0000-12-31T23:59:59-14:00",
    "-0001-01-01T00:00:00Z",
    "+002026-01-01T00:00:00Z",
    // No clock is so far from UTC.
    "2026-11-27T18:00:00+15:00",
    "2026-11-27T18:00:00+26:00",
    "2026-11-27T18:00:00+99:00",
    "2026-11-27T18:00:00-99:99",
    "2026-11-27T18:00:00+14:60",
    // CEL reads no small letters, and some fractions not either; jiff reads nine digits.
    "2026-11-27t18:00:00z",
    "2026-11-27T18:00:00z",
    "2026-11-27t18:00:00Z",
    "2026-11-27T18:00:00,5Z",
    "2026-11-27T18:00:00x5Z",
    "2026-11-27T18:00:00.1234567890Z",
    "2026-11-27T18:00:00.Z",
    // Kubernetes splits at each t, and looks at two parts.
    "2026-11-27T18:00:00Ztomorrow",
    "2026-11-27T18:00:00Z[UTC]",
    "2026-11-27T18:00:00Z\n",
    "2026-11-27T18:00:00",
    "2026-11-27 18:00:00Z",
    "2026-11-27T18:00Z",
    "2026-11-27T18:00:00+0100",
    "2026-11-27",
    "",
    // No such moments; a leap second is none for Kubernetes.
    "2016-12-31T23:59:60Z",
    "2026-11-27T24:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
];

/// The path of each time below this schema.
fn times(schema: &JSONSchemaProps, path: &[String], found: &mut Vec<Vec<String>>) {
    if schema.format.as_deref() == Some("date-time") {
        found.push(path.to_vec());
    }
    for (name, property) in schema.properties.iter().flatten() {
        let below = [path, std::slice::from_ref(name)].concat();
        times(property, &below, found);
    }
}

/// The least that a schema takes, with this value there.
fn with(schema: &JSONSchemaProps, path: &[String], value: &str) -> Result<Value> {
    let Some((name, below)) = path.split_first() else {
        return Ok(json!(value));
    };
    let property = schema.properties.as_ref().and_then(|all| all.get(name));
    let property = property.with_context(|| format!("there is no {name}"))?;
    let mut object = samples::least(schema)?;
    object.insert(name.clone(), with(property, below, value)?);
    Ok(Value::Object(object))
}

/// Each time that people write, by its kind and its path in the spec.
fn written() -> Result<Vec<(Kind, Vec<String>)>> {
    let mut all = Vec::new();
    for kind in Kind::all() {
        let mut found = Vec::new();
        times(kind.spec()?, &[], &mut found);
        for path in found {
            all.push((Kind::named(kind.name())?, path));
        }
    }
    Ok(all)
}

#[tokio::test]
async fn every_time_in_a_spec_that_the_api_server_takes_decodes_and_others_are_refused()
-> Result<()> {
    let (plane, namespace) = installed("times").await?;
    let mut seen = Vec::new();
    for (kind, path) in written()? {
        let api = kind.api(plane, &namespace);
        let field = format!("spec.{}", path.join("."));
        seen.push(format!("{} {field}", kind.name()));
        let all = TAKEN.iter().map(|time| (time, true));
        let all = all.chain(REFUSED.iter().map(|time| (time, false)));
        for (index, (time, taken)) in all.enumerate() {
            let what = format!("{} with {field}: {time:?}", kind.name());
            let name = format!("{}-{index}", path.join("-").to_lowercase());
            let object = kind.object(&name, with(kind.spec()?, &path, time)?);
            let answer = api.create(&PostParams::default(), &object).await;
            if !taken {
                let said = refusal(&what, answer)?;
                ensure!(said.contains(&field), "{what} is refused with: {said}");
                continue;
            }
            let object = answer.with_context(|| what.clone())?;
            through_types(serde_json::to_value(&object)?).with_context(|| what.clone())?;
            // Each rule of the kind reads it once more when the object is written next.
            let touch = Patch::Merge(json!({"metadata": {"annotations": {"example.com/a": "b"}}}));
            api.patch(&name, &PatchParams::default(), &touch)
                .await
                .with_context(|| what.clone())?;
        }
    }
    let known = [
        "DeployFreeze spec.from",
        "DeployFreeze spec.until",
        "DeployRequest spec.notBefore",
        "DeployRequest spec.startBefore",
        "DeployTarget spec.lock.until",
        "Environment spec.lock.until",
    ];
    seen.sort();
    ensure!(seen == known, "times in specs: {seen:?}");
    Ok(())
}
