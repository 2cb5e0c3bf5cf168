//! What somebody may see and do, by Kubernetes RBAC. Touches the API server: access reviews.
//!
//! An action is a verb on an `Application` *and* on an `Environment`; to see a team is to be allowed to list its
//! `Application`s. Answers are remembered for a moment, refusals too, so that a busy channel asks no more than one person
//! would; the API server's failures are not.

pub mod holders;
pub mod needs;
pub mod policies;
pub mod rights;

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use moka::future::Cache;

pub use crate::domain::access::{Missing, Permission, Subject};
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

/// What the API server says: whether they may, and by which rule. It names none when they may not.
type Answer = Option<String>;

/// What is asked of the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    subject: Subject,
    verb: String,
    resource: &'static str,
    namespace: String,
    /// Any, when absent.
    name: Option<String>,
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
    seeing: Cache<Question, Answer>,
    acting: Cache<Question, Answer>,
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

    /// Whether somebody may see what a team (a namespace) can deploy.
    ///
    /// # Errors
    /// When the API server doesn't say.
    pub async fn sees(&self, subject: &Subject, namespace: &str) -> Result<bool, AccessError> {
        let question = Question {
            subject: subject.clone(),
            verb: "list".to_owned(),
            resource: "applications",
            namespace: namespace.to_owned(),
            name: None,
        };
        let answer = self.remembered(&self.seeing, question).await?;
        Ok(answer.is_some())
    }

    /// Whether somebody may do this to that application there. `verb` is the action's name, or one of foredeck's own
    /// (`cancel`, `approve`, …). The answer may be some seconds old.
    ///
    /// # Errors
    /// When the API server doesn't say.
    pub async fn may(
        &self,
        subject: &Subject,
        verb: &str,
        namespace: &str,
        application: &str,
        environment: &str,
    ) -> Result<Permission, AccessError> {
        let questions = questions(subject, verb, namespace, application, environment);
        let answers = try_join_all(
            questions
                .clone()
                .map(|question| self.remembered(&self.acting, question)),
        );
        Ok(permission(questions, answers.await?))
    }

    /// Whether somebody may do this to one object, whatever they may do to another: `resource` is the plural of one of
    /// foredeck's kinds. The answer may be some seconds old.
    ///
    /// # Errors
    /// When the API server doesn't say.
    pub async fn may_alone(
        &self,
        subject: &Subject,
        verb: &str,
        namespace: &str,
        (resource, name): (&'static str, &str),
    ) -> Result<Permission, AccessError> {
        let question = Question {
            subject: subject.clone(),
            verb: verb.to_owned(),
            resource,
            namespace: namespace.to_owned(),
            name: Some(name.to_owned()),
        };
        let answer = self.remembered(&self.acting, question.clone()).await?;
        Ok(permission([question], vec![answer]))
    }

    /// As [`Access::may`], but asks now, whatever was answered before; and remembers that.
    ///
    /// # Errors
    /// When the API server doesn't say.
    pub async fn may_now(
        &self,
        subject: &Subject,
        verb: &str,
        namespace: &str,
        application: &str,
        environment: &str,
    ) -> Result<Permission, AccessError> {
        let questions = questions(subject, verb, namespace, application, environment);
        let asking = questions.clone().map(async |question| {
            // Of its own, and not with somebody who began to ask before: theirs may be an answer of before.
            let answer = self.review(question.clone()).await;
            match &answer {
                Ok(answer) => self.acting.insert(question, answer.clone()).await,
                Err(_) => self.acting.invalidate(&question).await,
            }
            answer
        });
        Ok(permission(questions, try_join_all(asking).await?))
    }

    async fn remembered(
        &self,
        remembered: &Cache<Question, Answer>,
        question: Question,
    ) -> Result<Answer, AccessError> {
        let asking = self.review(question.clone());
        remembered
            .try_get_with(question, asking)
            .await
            .map_err(|error| AccessError::clone(&error))
    }

    async fn review(&self, question: Question) -> Result<Answer, AccessError> {
        let api: Api<LocalSubjectAccessReview> =
            Api::namespaced(self.client.clone(), &question.namespace);
        let username = question.subject.username.clone();
        let mut groups = question.subject.groups;
        groups.push(AUTHENTICATED.to_owned());
        let review = LocalSubjectAccessReview {
            metadata: ObjectMeta {
                namespace: Some(question.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: SubjectAccessReviewSpec {
                user: Some(question.subject.username),
                groups: Some(groups),
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
                .filter(|status| status.allowed && status.denied != Some(true))
                .map(|status| status.reason.unwrap_or_default())),
        }
    }
}

/// The verb on both.
fn questions(
    subject: &Subject,
    verb: &str,
    namespace: &str,
    application: &str,
    environment: &str,
) -> [Question; 2] {
    [("applications", application), ("environments", environment)].map(|(resource, name)| {
        Question {
            subject: subject.clone(),
            verb: verb.to_owned(),
            resource,
            namespace: namespace.to_owned(),
            name: Some(name.to_owned()),
        }
    })
}

fn permission<const ASKED: usize>(
    questions: [Question; ASKED],
    answers: Vec<Answer>,
) -> Permission {
    let mut rule = String::new();
    let mut missing = Vec::new();
    for (question, answer) in questions.into_iter().zip(answers) {
        match answer {
            // The Environment's is the one that tells.
            Some(said) => rule = said,
            None => missing.push(Missing {
                verb: question.verb,
                resource: question.resource,
                name: question.name.unwrap_or_default(),
            }),
        }
    }
    if missing.is_empty() {
        Permission::Granted(rule)
    } else {
        Permission::Refused(missing)
    }
}
