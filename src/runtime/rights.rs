//! Which rights a process lacks, asked of the API server. Touches it: reviews of our own access.

use std::{collections::BTreeMap, fmt, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        SubjectAccessReviewStatus,
    },
};
use kube::{Api, Client, api::PostParams};
use tokio::time::timeout;

/// The deadline of one review.
const DEADLINE: Duration = Duration::from_secs(5);
/// Reviews under way at once.
const AT_ONCE: usize = 4;
/// What is said at most: more of the same helps nobody.
const SAID: usize = 4;

/// Something that a process has to be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Such as `list`.
    pub verb: &'static str,
    /// The API group; empty for the core's.
    pub group: &'static str,
    /// The plural, perhaps with a subresource: `deployrequests/status`.
    pub resource: &'static str,
    /// Where; everywhere when absent.
    pub namespace: Option<String>,
    /// Which one; any when absent.
    pub name: Option<String>,
}

impl Right {
    fn review(&self) -> SelfSubjectAccessReview {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (self.resource, None),
        };
        SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(self.verb.to_owned()),
                    group: Some(self.group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    namespace: self.namespace.clone(),
                    name: self.name.clone(),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        }
    }

    /// What it is about: the same for its verbs.
    fn object(&self) -> Object {
        let group = self.group;
        let dot = if group.is_empty() { "" } else { "." };
        Object {
            resource: format!("{}{dot}{group}", self.resource),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
        }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    resource: String,
    name: Option<String>,
    namespace: Option<String>,
}

impl fmt::Display for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.resource)?;
        if let Some(name) = &self.name {
            write!(formatter, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(formatter, " in namespace {namespace}"),
            None if self.name.is_some() => Ok(()),
            None => formatter.write_str(" in all namespaces"),
        }
    }
}

/// How far a right is lacking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// The API server says that we don't have it.
    Missing,
    /// It says that it couldn't judge everything, and why: a role that a binding names isn't there, say.
    Unknown(String),
}

/// Those that we don't have, or may not have, of these.
///
/// # Errors
/// When the API server doesn't say.
pub async fn lacking(client: &Client, rights: &[Right]) -> kube::Result<Vec<(Right, Lack)>> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let api = &api;
    let asked = stream::iter(rights.iter().cloned()).map(|right| async move {
        let (plain, review) = (PostParams::default(), right.review());
        let answer = timeout(DEADLINE, api.create(&plain, &review)).await;
        let answer = answer.map_err(|late| kube::Error::Service(Box::new(late)))??;
        Ok::<_, kube::Error>(lack(answer.status).map(|lack| (right, lack)))
    });
    let answers: Vec<Option<(Right, Lack)>> = asked.buffered(AT_ONCE).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

/// What an access review says, as far as we don't have the right.
pub fn lack(status: Option<SubjectAccessReviewStatus>) -> Option<Lack> {
    let status = status.unwrap_or_default();
    if status.allowed {
        return None;
    }
    Some(match status.evaluation_error {
        Some(why) if !why.is_empty() && status.denied != Some(true) => Lack::Unknown(why),
        _ => Lack::Missing,
    })
}

/// As whom the API server knows us, if it says.
pub async fn user(client: &Client) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let (plain, review) = (PostParams::default(), SelfSubjectReview::default());
    let answer = timeout(DEADLINE, api.create(&plain, &review)).await;
    answer.ok()?.ok()?.status?.user_info?.username
}

/// What is missing, for whom, and what to do about it, in one line.
pub fn sentence(missing: &[Right], user: Option<&str>) -> String {
    let mut objects: BTreeMap<Object, Vec<&str>> = BTreeMap::new();
    for right in missing {
        objects.entry(right.object()).or_default().push(right.verb);
    }
    let more = objects.len().saturating_sub(SAID);
    let said = objects.iter().take(SAID);
    let said: Vec<String> = said
        .map(|(object, verbs)| format!("{} {object}", verbs.join(", ")))
        .collect();
    let mut said = said.join("; ");
    if more > 0 {
        said = format!("{said}; and {more} more");
    }
    let everywhere = missing.iter().any(|right| {
        right.namespace.is_none() && right.name.is_none() && right.group == crate::api::GROUP
    });
    let narrower = if everywhere {
        ", or say which namespaces to work in (namespaces in the chart's values, --namespace)"
    } else {
        ""
    };
    format!(
        "can't {said}: forbidden for {}: install the chart's rights{narrower}",
        user.unwrap_or("the user of this process")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(verb: &'static str, resource: &'static str, namespace: Option<&str>) -> Right {
        Right {
            verb,
            group: "foredeck.dev",
            resource,
            namespace: namespace.map(str::to_owned),
            name: None,
        }
    }

    #[test]
    fn a_sentence_says_what_is_missing_for_whom_and_what_to_do() {
        let one = [
            right("list", "deployrequests", Some("shop")),
            right("watch", "deployrequests", Some("shop")),
        ];
        assert_eq!(
            sentence(
                &one,
                Some("system:serviceaccount:foredeck-system:foredeck-relay")
            ),
            "can't list, watch deployrequests.foredeck.dev in namespace shop: forbidden for \
             system:serviceaccount:foredeck-system:foredeck-relay: install the chart's rights"
        );
        let everywhere = [right("patch", "deployrequests/status", None)];
        assert_eq!(
            sentence(&everywhere, None),
            "can't patch deployrequests/status.foredeck.dev in all namespaces: forbidden for the user of this process: \
             install the chart's rights, or say which namespaces to work in (namespaces in the chart's values, --namespace)"
        );
        let lease = Right {
            group: "coordination.k8s.io",
            name: Some("foredeck-relay".to_owned()),
            ..right("update", "leases", Some("foredeck-system"))
        };
        let said = sentence(&[lease], None);
        assert!(
            said.starts_with(
                "can't update leases.coordination.k8s.io foredeck-relay in namespace foredeck-system: "
            ),
            "{said}"
        );
    }

    #[test]
    fn what_could_not_be_evaluated_is_not_known() {
        let said = |allowed, denied, error: Option<&str>| {
            lack(Some(SubjectAccessReviewStatus {
                allowed,
                denied,
                evaluation_error: error.map(str::to_owned),
                ..SubjectAccessReviewStatus::default()
            }))
        };
        assert_eq!(said(true, None, Some("broken")), None);
        assert_eq!(said(false, None, None), Some(Lack::Missing));
        assert_eq!(said(false, Some(true), Some("broken")), Some(Lack::Missing));
        let unknown = Lack::Unknown("broken".to_owned());
        assert_eq!(said(false, None, Some("broken")), Some(unknown));
    }

    #[test]
    fn a_sentence_stays_short() {
        let many: Vec<Right> = (0..100)
            .map(|number| right("list", "persons", Some(&format!("team-{number:03}"))))
            .collect();
        let said = sentence(&many, None);
        assert!(said.contains("team-003; and 96 more: forbidden"), "{said}");
    }

    #[test]
    fn a_subresource_is_asked_for_as_one() {
        let review = right("patch", "deployrequests/status", None).review();
        let asked = review.spec.resource_attributes.unwrap();
        assert_eq!(asked.resource.as_deref(), Some("deployrequests"));
        assert_eq!(asked.subresource.as_deref(), Some("status"));
    }
}
