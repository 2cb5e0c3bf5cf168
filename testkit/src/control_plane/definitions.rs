//! Custom resource definitions: applied, and waited for until the API server serves them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::Request;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};

use crate::wait::wait_for;

const SERVED_WITHIN: Duration = Duration::from_mins(1);

/// Applies `definitions` and returns once each version of each can be listed and discovered.
pub(super) async fn install(
    client: &Client,
    definitions: &[CustomResourceDefinition],
) -> Result<()> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    // One owner for all tests of a process, so that equal definitions are no conflict and no change.
    let owner = PatchParams::apply("foredeck-testkit").force();
    for definition in definitions {
        let name = definition.name_any();
        api.patch(&name, &owner, &Patch::Apply(definition))
            .await
            .with_context(|| format!("cannot install the definition {name}"))?;
    }
    for definition in definitions {
        let name = definition.name_any();
        let what = format!("the definition {name} to be served");
        wait_for(&what, SERVED_WITHIN, async || {
            established(&api.get(&name).await?)?;
            served(client, definition).await
        })
        .await?;
    }
    Ok(())
}

fn established(definition: &CustomResourceDefinition) -> Result<()> {
    let conditions = definition
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let seen: Vec<_> = conditions
        .map(|condition| (condition.type_.as_str(), condition.status.as_str()))
        .collect();
    ensure!(
        seen.contains(&("Established", "True")),
        "its conditions are {seen:?}"
    );
    Ok(())
}

/// "Established" comes a moment before the resource answers, and that before kubectl and others discover it.
async fn served(client: &Client, definition: &CustomResourceDefinition) -> Result<()> {
    let group = &definition.spec.group;
    let plural = &definition.spec.names.plural;
    for version in definition
        .spec
        .versions
        .iter()
        .filter(|version| version.served)
    {
        let group_version = format!("{group}/{}", version.name);
        let list =
            Request::get(format!("/apis/{group_version}/{plural}?limit=1")).body(Vec::new())?;
        client
            .request_text(list)
            .await
            .with_context(|| format!("{plural} of {group_version} cannot be listed"))?;
        let discovered = client.list_api_group_resources(&group_version).await?;
        ensure!(
            discovered
                .resources
                .iter()
                .any(|resource| &resource.name == plural),
            "{group_version} is discovered without {plural}"
        );
        let discovered = client.list_api_groups_aggregated().await?;
        let found = discovered.items.iter().any(|found| {
            found
                .metadata
                .as_ref()
                .and_then(|metadata| metadata.name.as_ref())
                == Some(group)
                && found
                    .versions
                    .iter()
                    .any(|found| found.version.as_ref() == Some(&version.name))
        });
        ensure!(
            found,
            "{group_version} is missing in the list of all groups"
        );
    }
    Ok(())
}
