//! What a person may see and do, by Kubernetes RBAC. Touches the API server: access reviews.
//!
//! An action is a verb on an `Application` *and* on an `Environment`; to see a team is to be allowed to list its
//! `Application`s. Answers are remembered for a moment, refusals too, so that a busy channel asks no more than one person
//! would; the API server's failures are not.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use moka::future::Cache;

use super::Person;
use crate::{api::GROUP, runtime::telemetry::chain};

/// How long an answer on seeing is good.
const SEEING: Duration = Duration::from_mins(1);
/// How long an answer on acting is good: long enough for a plan and its click, short enough for nobody to notice.
const ACTING: Duration = Duration::from_secs(10);
/// The deadline of one review.
const DEADLINE: Duration = Duration::from_secs(2);
/// Answers remembered at most.
const REMEMBERED: u64 = 200_000;
/// The group of everybody whom the API server knows, and so of a person whose user name we know.
const AUTHENTICATED: &str = "system:authenticated";

/// What is asked of the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    username: String,
    verb: String,
    resource: &'static str,
    namespace: String,
    /// Any, when absent.
    name: Option<String>,
}

/// A verb that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The verb.
    pub verb: String,
    /// `applications` or `environments`.
    pub resource: &'static str,
    /// The object.
    pub name: String,
}

/// What a person may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// They may.
    Granted,
    /// They lack these verbs.
    Refused(Vec<Missing>),
}

/// Why the API server gave no answer. Nobody may anything then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccessError {
    /// It refused, or could not be reached.
    #[error("the API server does not say what {username:?} may do")]
    Refused {
        /// Of whom it was asked.
        username: String,
        /// Its answer.
        #[source]
        source: Arc<kube::Error>,
    },
    /// It didn't answer in time.
    #[error("the API server did not say within {} s what {username:?} may do", DEADLINE.as_secs())]
    Silent {
        /// Of whom it was asked.
        username: String,
    },
}

impl AccessError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "AccessReviewRefused",
            Self::Silent { .. } => "AccessReviewSilent",
        }
    }
}

/// Asks the API server, and remembers what it said.
#[derive(Clone)]
pub struct Access {
    client: Client,
    seeing: Cache<Question, bool>,
    acting: Cache<Question, bool>,
}

impl Access {
    /// Asks through this client, which must be allowed to create `localsubjectaccessreviews`.
    pub fn new(client: Client) -> Self {
        let remembering = |time| {
            Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(time)
                .build()
        };
        Self {
            client,
            seeing: remembering(SEEING),
            acting: remembering(ACTING),
        }
    }

    /// Whether the person may see what a team (a namespace) can deploy.
    pub async fn sees(&self, person: &Person, namespace: &str) -> Result<bool, AccessError> {
        let question = Question {
            username: person.username.clone(),
            verb: "list".to_owned(),
            resource: "applications",
            namespace: namespace.to_owned(),
            name: None,
        };
        self.ask(&self.seeing, question).await
    }

    /// Whether the person may do this to that application there. `verb` is the action's name, or one of foredeck's own
    /// (`cancel`, …).
    pub async fn may(
        &self,
        person: &Person,
        verb: &str,
        namespace: &str,
        application: &str,
        environment: &str,
    ) -> Result<Permission, AccessError> {
        let question = |resource, name: &str| Question {
            username: person.username.clone(),
            verb: verb.to_owned(),
            resource,
            namespace: namespace.to_owned(),
            name: Some(name.to_owned()),
        };
        let both = [("applications", application), ("environments", environment)];
        let answers = futures::future::try_join_all(
            both.map(|(resource, name)| self.ask(&self.acting, question(resource, name))),
        )
        .await?;
        let missing: Vec<_> = both
            .into_iter()
            .zip(answers)
            .filter(|(_, allowed)| !allowed)
            .map(|((resource, name), _)| Missing {
                verb: verb.to_owned(),
                resource,
                name: name.to_owned(),
            })
            .collect();
        Ok(if missing.is_empty() {
            Permission::Granted
        } else {
            Permission::Refused(missing)
        })
    }

    async fn ask(
        &self,
        remembered: &Cache<Question, bool>,
        question: Question,
    ) -> Result<bool, AccessError> {
        let asking = self.review(question.clone());
        remembered
            .try_get_with(question, asking)
            .await
            .map_err(|error| AccessError::clone(&error))
    }

    async fn review(&self, question: Question) -> Result<bool, AccessError> {
        let api: Api<LocalSubjectAccessReview> =
            Api::namespaced(self.client.clone(), &question.namespace);
        let username = question.username.clone();
        let review = LocalSubjectAccessReview {
            metadata: ObjectMeta {
                namespace: Some(question.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: SubjectAccessReviewSpec {
                user: Some(question.username),
                groups: Some(vec![AUTHENTICATED.to_owned()]),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(GROUP.to_owned()),
                    resource: Some(question.resource.to_owned()),
                    namespace: Some(question.namespace),
                    name: question.name,
                    verb: Some(question.verb),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            status: None,
        };
        let parameters = PostParams::default();
        match tokio::time::timeout(DEADLINE, api.create(&parameters, &review)).await {
            Err(_) => Err(AccessError::Silent { username }),
            Ok(Err(source)) => {
                tracing::warn!(error = %chain(&source), "an access review failed");
                Err(AccessError::Refused {
                    username,
                    source: Arc::new(source),
                })
            }
            Ok(Ok(answered)) => Ok(answered
                .status
                .is_some_and(|status| status.allowed && status.denied != Some(true))),
        }
    }
}
