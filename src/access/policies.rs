//! Whether the admission policies are there that vouch for who asked. Touches the API server (reads of them), and the file
//! that says how they have to be: again and again, since an upgrade changes both.
//!
//! `spec.requester`, `spec.cancel.by` and `spec.approver` are what admission let pass, so they are worth what the policies
//! are. One that is missing or was altered vouches for nothing; neither does an API server that doesn't show them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::{
    ClusterResourceScope,
    api::admissionregistration::v1::{
        MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding,
    },
};
use kube::{Api, Client, Resource, ResourceExt};
use moka::future::Cache;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    api::{conditions::Reason, deploy_request::WaitingFor},
    domain::refusal::Refusal,
    runtime::telemetry::chain,
};

/// How long it is good that they were all there.
const REMEMBERED: Duration = Duration::from_secs(5);
/// How long what the file said is taken for what it says.
const REREAD: Duration = Duration::from_secs(2);
/// The deadline of one read.
const DEADLINE: Duration = Duration::from_secs(2);

/// Why a file says nothing of policies.
#[derive(Debug, thiserror::Error)]
pub enum PoliciesError {
    /// It can't be read.
    #[error("the admission policies in {path} can't be read")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It isn't YAML.
    #[error("the admission policies are not YAML")]
    NotYaml {
        /// Why.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A document isn't what it says that it is.
    #[error("document {number} of the admission policies is no {kind}")]
    Malformed {
        /// Which, from 1 on.
        number: usize,
        /// What it says that it is.
        kind: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A document is something else.
    #[error(
        "document {number} of the admission policies is a {kind:?}, and neither a policy nor a binding of admissionregistration.k8s.io/v1"
    )]
    Foreign {
        /// Which, from 1 on.
        number: usize,
        /// What it says that it is.
        kind: String,
    },
    /// There is none that refuses.
    #[error(
        "the admission policies refuse nothing: there is no ValidatingAdmissionPolicy with a binding among them"
    )]
    Toothless,
}

impl PoliciesError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "PoliciesUnreadable",
            Self::NotYaml { .. } => "PoliciesNotYaml",
            Self::Malformed { .. } => "PolicyMalformed",
            Self::Foreign { .. } => "PolicyForeign",
            Self::Toothless => "PoliciesToothless",
        }
    }
}

/// One object as it has to be.
#[derive(Debug, Clone)]
enum Wanted {
    Validating(Box<ValidatingAdmissionPolicy>),
    ValidatingBinding(Box<ValidatingAdmissionPolicyBinding>),
    Mutating(Box<MutatingAdmissionPolicy>),
    MutatingBinding(Box<MutatingAdmissionPolicyBinding>),
}

/// The policies as they have to be, and what was last seen of them.
///
/// The default has none, and so nothing is vouched for.
#[derive(Debug, Clone)]
pub struct Policies {
    wanted: Arc<Mutex<Arc<[Wanted]>>>,
    /// Where they were read from, and whether that was just now.
    file: Option<(Arc<Path>, Cache<(), ()>)>,
    /// Since when they have all been there; absent while that isn't known.
    seen: Cache<(), Timestamp>,
}

impl Default for Policies {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Policies {
    fn new(wanted: Vec<Wanted>) -> Self {
        Self {
            wanted: Arc::new(Mutex::new(wanted.into())),
            file: None,
            seen: Cache::builder().time_to_live(REMEMBERED).build(),
        }
    }

    /// Reads how they have to be from a file of YAML documents, as the chart renders it; and again whenever they are looked
    /// at, every two seconds at most. While it can't be read, or holds something else, they have to be as before.
    ///
    /// # Errors
    /// When it can't be read, or holds something else.
    pub fn from_file(path: &Path) -> Result<Self, PoliciesError> {
        Ok(Self {
            file: Some((path.into(), Cache::builder().time_to_live(REREAD).build())),
            ..Self::new(in_file(path)?)
        })
    }

    /// Reads how they have to be from YAML documents.
    ///
    /// # Errors
    /// When they are something else.
    pub fn from_yaml(text: &str) -> Result<Self, PoliciesError> {
        Ok(Self::new(in_yaml(text)?))
    }

    /// The policies and their bindings, as they were last read: the plural and the name of each, by which they are looked at.
    pub fn names(&self) -> Vec<(&'static str, String)> {
        let held = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let names = held.iter().map(|wanted| match wanted {
            Wanted::Validating(one) => ("validatingadmissionpolicies", one.name_any()),
            Wanted::ValidatingBinding(one) => ("validatingadmissionpolicybindings", one.name_any()),
            Wanted::Mutating(one) => ("mutatingadmissionpolicies", one.name_any()),
            Wanted::MutatingBinding(one) => ("mutatingadmissionpolicybindings", one.name_any()),
        });
        names.collect()
    }

    /// Whether what admission stamped into an object that was created then can be believed: all policies are there, as they
    /// have to be, and none of those that refuse is younger than it. The answer may be some seconds old; a refusal never is.
    ///
    /// That they were as they have to be when it was created isn't known: one that was altered and put back isn't noticed.
    /// And an API server heeds a policy a second or two after it was created, so what is created in the moment in which the
    /// policies are first installed is believed although nobody looked at it.
    ///
    /// # Errors
    /// When it can't be believed, with what to do about that. All but an object older than the policies may come right.
    pub async fn vouch(&self, client: &Client, created_at: Timestamp) -> Result<(), Refusal> {
        older(created_at, self.since(client).await?)
    }

    /// The same, by what the API server says now: for right before something is sent.
    ///
    /// # Errors
    /// As [`Policies::vouch`].
    pub async fn vouch_now(&self, client: &Client, created_at: Timestamp) -> Result<(), Refusal> {
        self.seen.invalidate(&()).await;
        let since = self.look(client).await?;
        self.seen.insert((), since).await;
        older(created_at, since)
    }

    /// Since when all of those that refuse have been there, if all are as they have to be.
    ///
    /// # Errors
    /// As [`Policies::vouch`].
    pub async fn since(&self, client: &Client) -> Result<Timestamp, Refusal> {
        let seen = self.seen.try_get_with((), self.look(client)).await;
        seen.map_err(|refusal: Arc<Refusal>| Refusal::clone(&refusal))
    }

    /// All at once, as the file has them now.
    async fn look(&self, client: &Client) -> Result<Timestamp, Refusal> {
        let wanted = self.wanted().await;
        if wanted.is_empty() {
            return Err(unvouched(
                Reason::PoliciesMissing,
                "Nobody vouches for who asked: this controller wasn't told which admission policies do. The platform team \
                 starts it with --admission-policies and the file that the chart makes (policies.yaml of the ConfigMap \
                 foredeck-admission-policies)."
                    .to_owned(),
            ));
        }
        let looks = wanted.iter().map(|wanted| look_at(client, wanted));
        let created = try_join_all(looks).await?.into_iter().flatten();
        Ok(created.max().unwrap_or(Timestamp::MAX))
    }

    async fn wanted(&self) -> Arc<[Wanted]> {
        if let Some((file, fresh)) = &self.file {
            let reading = async { self.read_again(file).await };
            fresh.get_with((), reading).await;
        }
        let held = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&held)
    }

    async fn read_again(&self, file: &Path) {
        let path: PathBuf = file.to_owned();
        let read = tokio::task::spawn_blocking(move || in_file(&path)).await;
        match read {
            Ok(Ok(wanted)) => {
                *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted.into();
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "the admission policies have to be as they were read before");
            }
            Err(error) => tracing::warn!(%error, "the admission policies were not read again"),
        }
    }
}

/// Nothing is believed that is older than a policy.
fn older(created_at: Timestamp, since: Timestamp) -> Result<(), Refusal> {
    // Kubernetes tells seconds apart, and no less.
    if created_at.as_second() >= since.as_second() {
        return Ok(());
    }
    Err(Refusal::permanent(
        Reason::PoliciesMissing,
        format!(
            "Nobody vouches for who asked: this was created before all of the admission policies were there, which is \
             since {since}. Make a new one."
        ),
    ))
}

fn in_file(path: &Path) -> Result<Vec<Wanted>, PoliciesError> {
    let text = fs::read_to_string(path).map_err(|source| PoliciesError::Unreadable {
        path: path.display().to_string(),
        source,
    })?;
    in_yaml(&text)
}

fn in_yaml(text: &str) -> Result<Vec<Wanted>, PoliciesError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|source| PoliciesError::NotYaml {
            source: Box::new(source),
        })?;
    let documents = documents.into_iter().filter(|document| !document.is_null());
    let wanted = documents
        .enumerate()
        .map(|(index, document)| wanted(index + 1, document))
        .collect::<Result<Vec<_>, _>>()?;
    let refuses = |name: &str| {
        wanted.iter().any(|wanted| {
                matches!(wanted, Wanted::ValidatingBinding(binding) if binding.spec.policy_name == name)
            })
    };
    let toothless = !wanted
        .iter()
        .any(|wanted| matches!(wanted, Wanted::Validating(policy) if refuses(&policy.name_any())));
    if toothless {
        return Err(PoliciesError::Toothless);
    }
    Ok(wanted)
}

fn wanted(number: usize, document: Value) -> Result<Wanted, PoliciesError> {
    let text = |name: &str| {
        document
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let kind = text("kind").to_owned();
    if text("apiVersion") != "admissionregistration.k8s.io/v1" {
        return Err(PoliciesError::Foreign { number, kind });
    }
    let read = match kind.as_str() {
        "ValidatingAdmissionPolicy" => serde_json::from_value(document).map(Wanted::Validating),
        "ValidatingAdmissionPolicyBinding" => {
            serde_json::from_value(document).map(Wanted::ValidatingBinding)
        }
        "MutatingAdmissionPolicy" => serde_json::from_value(document).map(Wanted::Mutating),
        "MutatingAdmissionPolicyBinding" => {
            serde_json::from_value(document).map(Wanted::MutatingBinding)
        }
        _ => return Err(PoliciesError::Foreign { number, kind }),
    };
    read.map_err(|source| PoliciesError::Malformed {
        number,
        kind,
        source,
    })
}

/// Since when it has vouched. One that stamps doesn't: what it writes, another checks.
async fn look_at(client: &Client, wanted: &Wanted) -> Result<Option<Timestamp>, Refusal> {
    let created = match wanted {
        Wanted::Validating(one) => look(client, &**one, |a, b| a.spec == b.spec).await?,
        Wanted::ValidatingBinding(one) => look(client, &**one, |a, b| a.spec == b.spec).await?,
        Wanted::Mutating(one) => {
            look(client, &**one, |a, b| a.spec == b.spec).await?;
            return Ok(None);
        }
        Wanted::MutatingBinding(one) => {
            look(client, &**one, |a, b| a.spec == b.spec).await?;
            return Ok(None);
        }
    };
    Ok(Some(created))
}

/// When it was created, if it is there and as it has to be.
async fn look<K>(
    client: &Client,
    wanted: &K,
    same: impl Fn(&K, &K) -> bool,
) -> Result<Timestamp, Refusal>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let (kind, name) = (K::kind(&()), wanted.name_any());
    let api: Api<K> = Api::all(client.clone());
    let unknown = |why: String| {
        tracing::warn!(%kind, %name, %why, "an admission policy can't be looked at");
        unvouched(
            Reason::AccessUnknown,
            format!(
                "It can't be said whether anybody vouches for who asked: the API server doesn't show the {kind} \"{name}\" \
                 ({why}). It is asked again; if it stays, the platform team allows foredeck's controller to get it."
            ),
        )
    };
    let live = match tokio::time::timeout(DEADLINE, api.get_opt(&name)).await {
        Err(_) => {
            return Err(unknown(format!(
                "no answer within {} s",
                DEADLINE.as_secs()
            )));
        }
        Ok(Err(error)) => return Err(unknown(chain(&error))),
        Ok(Ok(live)) => live.filter(|live| live.meta().deletion_timestamp.is_none()),
    };
    let Some(live) = live else {
        return Err(unvouched(
            Reason::PoliciesMissing,
            format!(
                "Nobody vouches for who asked: the {kind} \"{name}\" is missing, without which anybody could ask in the name \
                 of another. The platform team installs foredeck's chart again; then make a new request."
            ),
        ));
    };
    if !same(&live, wanted) {
        return Err(unvouched(
            Reason::PoliciesAltered,
            format!(
                "Nobody vouches for who asked: the {kind} \"{name}\" isn't what foredeck's chart says. Right after an upgrade of \
                 the chart that is over once the controller's own file is the new one too, a minute or two later. Otherwise the \
                 platform team finds out who changed it, deletes it and installs the chart again: what was asked meanwhile is \
                 then asked anew."
            ),
        ));
    }
    Ok(live
        .creation_timestamp()
        .map_or(Timestamp::MAX, |created| created.0))
}

fn unvouched(reason: Reason, message: String) -> Refusal {
    Refusal::passing(WaitingFor::Authorization, reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: one}
spec: {failurePolicy: Fail}
";
    const BINDING: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: one}
spec: {policyName: one, validationActions: [Deny]}
";

    #[test]
    fn a_file_holds_policies_with_their_bindings_and_nothing_else() {
        let read = |text: &str| in_yaml(text).map_err(|error| error.reason());
        let both = format!("# A remark.\n---{POLICY}---{BINDING}");
        assert_eq!(read(&both).unwrap().len(), 2);
        let refused = |text: &str| read(text).unwrap_err();
        assert_eq!(refused(""), "PoliciesToothless");
        assert_eq!(refused(POLICY), "PoliciesToothless");
        assert_eq!(refused(BINDING), "PoliciesToothless");
        assert_eq!(
            refused(&both.replace("policyName: one", "policyName: two")),
            "PoliciesToothless"
        );
        assert_eq!(refused("a: [b"), "PoliciesNotYaml");
        assert_eq!(
            refused(&format!("{both}---\nkind: ConfigMap\napiVersion: v1\n")),
            "PolicyForeign"
        );
        assert_eq!(refused(&both.replace("/v1", "/v1beta1")), "PolicyForeign");
        assert_eq!(refused(&both.replace("[Deny]", "Deny")), "PolicyMalformed");
        let absent = Policies::from_file(Path::new("/nonexistent/policies.yaml"));
        assert_eq!(absent.unwrap_err().reason(), "PoliciesUnreadable");
    }
}
