//! Whether the API server serves our kinds, in our version. Touches it: discovery.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use tokio::time::timeout;

/// The deadline of one look.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is missing, and what to do about it, in one line; nothing when all of these plurals are served.
///
/// # Errors
/// When the API server doesn't say.
pub async fn missing(
    client: &Client,
    (group, version): (&str, &str),
    plurals: &BTreeSet<&'static str>,
) -> kube::Result<Option<String>> {
    let group_version = format!("{group}/{version}");
    let served = within(client.list_api_group_resources(&group_version)).await?;
    let versions = match &served {
        Some(_) => Vec::new(),
        None => {
            let groups = within(client.list_api_groups()).await?.unwrap_or_default();
            let ours = groups.groups.into_iter().find(|known| known.name == group);
            let versions = ours.map(|ours| ours.versions).unwrap_or_default();
            versions.into_iter().map(|known| known.version).collect()
        }
    };
    Ok(sentence(
        (group, version),
        plurals,
        &plurals_of(served.as_ref()),
        &versions,
    ))
}

/// What is asked for, unless it isn't there.
async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<Option<T>> {
    let answer = timeout(DEADLINE, call).await;
    match answer.map_err(|late| kube::Error::Service(Box::new(late)))? {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

fn plurals_of(served: Option<&APIResourceList>) -> BTreeSet<&str> {
    let resources = served.map(|list| list.resources.as_slice());
    let names = resources.unwrap_or_default().iter();
    names.map(|resource| resource.name.as_str()).collect()
}

/// `others` are the versions that are served where ours isn't.
fn sentence(
    (group, version): (&str, &str),
    wanted: &BTreeSet<&'static str>,
    served: &BTreeSet<&str>,
    others: &[String],
) -> Option<String> {
    let missing: Vec<String> = wanted
        .iter()
        .filter(|plural| !served.contains(**plural))
        .map(|plural| format!("{plural}.{group}"))
        .collect();
    if !others.is_empty() {
        let others = others.join(" and ");
        return Some(format!(
            "{group} is served as {others}, and not as {version}, which this program speaks: install the definitions of \
             this version (crds.install in the chart's values, or kubectl apply -f crds/)"
        ));
    }
    let verb = match missing.len() {
        0 => return None,
        1 => "isn't",
        _ => "aren't",
    };
    Some(format!(
        "{} {verb} there: install the definitions (crds.install in the chart's values, or kubectl apply -f crds/)",
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_says_what_is_missing_and_what_to_do() {
        let ours = ("foredeck.dev", "v1alpha1");
        let wanted = BTreeSet::from(["applications", "deployrequests"]);
        let said = |served: &[&'static str], others: &[&str]| {
            let served = served.iter().copied().collect();
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            sentence(ours, &wanted, &served, &others)
        };
        assert_eq!(
            said(&["applications", "deployrequests", "persons"], &[]),
            None
        );
        assert_eq!(
            said(&["applications"], &[]).unwrap(),
            "deployrequests.foredeck.dev isn't there: install the definitions (crds.install in the chart's values, or \
             kubectl apply -f crds/)"
        );
        let none = said(&[], &[]).unwrap();
        assert!(
            none.starts_with(
                "applications.foredeck.dev, deployrequests.foredeck.dev aren't there: "
            ),
            "{none}"
        );
        let other = said(&[], &["v1beta1"]).unwrap();
        assert!(
            other.starts_with("foredeck.dev is served as v1beta1, and not as v1alpha1, "),
            "{other}"
        );
    }
}
