//! The calls to Gate that Foredeck needs. Touches Gate.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use reqwest::{Method, header::HeaderValue};
use serde_json::Value;

use super::{
    address::Base,
    answer::{Answer, Trouble},
    error::{GateError, Missing},
    judgment,
    metrics::Endpoint,
    model::Execution,
    outcome::{self, Handed, Lookup, Sent},
    pipeline::PipelineConfig,
    settings::{GateSettings, SettingsError},
    text::{clean, plain},
    transport::{Call, Transport, WritePermit},
};
use crate::api::{
    bounds,
    deploy_approval::{ApprovalDecision, JudgmentAnswer},
};

/// How many executions one call asks for: longer queries meet proxies' limits.
pub(super) const BATCH: usize = 20;
/// The longest reason of a cancellation, in code points: it travels in the query.
const REASON: usize = 512;
/// Orca's words for what has not ended.
const UNFINISHED: &str = "NOT_STARTED,RUNNING,PAUSED,SUSPENDED,REDIRECT,BUFFERED";

/// A client of one Gate. Clones share permits and connections.
#[derive(Clone)]
pub struct GateClient {
    inner: Arc<Inner>,
    request_id: Option<HeaderValue>,
}

struct Inner {
    base: Base,
    transport: Transport,
}

impl std::fmt::Debug for GateClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("GateClient")
            .field("base", &self.inner.base)
            .finish_non_exhaustive()
    }
}

/// The right to send one start, one cancel or one answer to a judgment at once: taken before what must not grow stale is
/// checked.
#[derive(Debug)]
pub struct Reservation {
    client: GateClient,
    permit: WritePermit,
}

impl GateClient {
    /// A client; connects to nothing yet.
    pub fn new(settings: GateSettings) -> Result<Self, SettingsError> {
        let transport = Transport::new(&settings)?;
        Ok(Self {
            inner: Arc::new(Inner {
                base: Base::new(settings.url)?,
                transport,
            }),
            request_id: None,
        })
    }

    /// The same client, whose calls carry this `X-SPINNAKER-REQUEST-ID`; Spinnaker's services log it. An id that no
    /// header can carry is left out.
    #[must_use]
    pub fn with_request_id(&self, id: &str) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            request_id: HeaderValue::from_str(id).ok(),
        }
    }

    /// One execution in full. The only read that permits a start.
    pub async fn execution(&self, id: &str) -> Lookup {
        match self.get(Endpoint::Execution, &["pipelines", id], &[]).await {
            Err(error) => Lookup::Unclear(error),
            Ok(result) => outcome::lookup(id, result),
        }
    }

    /// Many executions, 20 a call, without the stages' contexts, outputs and tasks where it can be had so.
    ///
    /// One id that Orca doesn't know makes the whole call a 500, and one that is missing from a list proves nothing:
    /// those are asked for singly, and then come in full. Every id that was asked for is in the answer.
    pub async fn executions(&self, ids: &[String]) -> BTreeMap<String, Lookup> {
        let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        ids.sort_unstable();
        ids.dedup();
        join_all(ids.chunks(BATCH).map(|batch| self.batch(batch)))
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    async fn batch(&self, ids: &[&str]) -> Vec<(String, Lookup)> {
        let mut found = Vec::with_capacity(ids.len());
        let mut rest: Vec<&str> = ids.to_vec();
        if !ids.iter().any(|id| id.contains(',')) {
            let query = [("executionIds", &*ids.join(",")), ("expand", "false")];
            match self
                .list(Endpoint::Executions, &["executions"], &query)
                .await
            {
                Ok(entries) => {
                    for execution in entries.into_iter().filter_map(into_execution) {
                        if let Some(index) = rest.iter().position(|id| *id == execution.id) {
                            rest.swap_remove(index);
                            found.push((execution.id.clone(), Lookup::Found(Box::new(execution))));
                        }
                    }
                }
                Err(GateError::Unclear {
                    status: Some(500), ..
                }) => {}
                // It would be the same for each.
                Err(error) => {
                    return ids
                        .iter()
                        .map(|id| ((*id).to_owned(), Lookup::Unclear(error.clone())))
                        .collect();
                }
            }
        }
        let singles = rest
            .into_iter()
            .map(async |id| (id.to_owned(), self.execution(id).await));
        found.extend(join_all(singles).await);
        found
    }

    /// The newest executions of these pipelines, at most `limit` of each, oldest first, without the stages' contexts. Entries that can't be read are
    /// an error: one that is missing could be ours.
    pub async fn executions_of(
        &self,
        config_ids: &[&str],
        limit: usize,
    ) -> Result<Vec<Execution>, GateError> {
        self.executions_where(config_ids, limit, None).await
    }

    /// As [`GateClient::executions_of`], but only what has not ended.
    pub async fn unfinished_of(
        &self,
        config_ids: &[&str],
        limit: usize,
    ) -> Result<Vec<Execution>, GateError> {
        self.executions_where(config_ids, limit, Some(UNFINISHED))
            .await
    }

    async fn executions_where(
        &self,
        config_ids: &[&str],
        limit: usize,
        statuses: Option<&str>,
    ) -> Result<Vec<Execution>, GateError> {
        if config_ids.is_empty() {
            return Ok(Vec::new());
        }
        let (config_ids, limit) = (config_ids.join(","), limit.to_string());
        let mut query = vec![
            ("pipelineConfigIds", config_ids.as_str()),
            ("limit", &limit),
            ("expand", "false"),
        ];
        query.extend(statuses.map(|statuses| ("statuses", statuses)));
        self.list(Endpoint::Executions, &["executions"], &query)
            .await?
            .into_iter()
            .map(|entry| {
                into_execution(entry).ok_or_else(|| {
                    GateError::unclear(200, "an entry of the list is not an execution")
                })
            })
            .collect()
    }

    /// A pipeline by its name, else by its id. By id Gate finds the pipelines of other applications too: compare
    /// [`PipelineConfig::application`].
    pub async fn pipeline(
        &self,
        application: &str,
        name_or_id: &str,
    ) -> Result<PipelineConfig, GateError> {
        let segments = ["applications", application, "pipelineConfigs", name_or_id];
        let raw = self
            .json(Endpoint::Pipeline, &segments, &[])
            .await
            .map_err(|error| {
                named(
                    error,
                    Missing::Pipeline {
                        application: bounds::cut(application, bounds::NAME),
                        pipeline: bounds::cut(name_or_id, bounds::NAME),
                    },
                )
            })?;
        PipelineConfig::decode(raw).map_err(|detail| GateError::unclear(200, detail))
    }

    /// The applications that we may see, by Spinnaker's names for them; Gate's own list, some seconds old, and empty right after
    /// it started. Entries that are none are left out.
    pub async fn applications(&self) -> Result<Vec<String>, GateError> {
        let entries = self
            .list(Endpoint::Applications, &["applications"], &[])
            .await?;
        let names = entries
            .iter()
            .filter_map(|entry| entry.get("name")?.as_str());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// All pipelines of an application; entries that are none are left out.
    pub async fn pipelines(&self, application: &str) -> Result<Vec<PipelineConfig>, GateError> {
        let segments = ["applications", application, "pipelineConfigs"];
        let entries = self
            .list(Endpoint::Pipelines, &segments, &[])
            .await
            .map_err(|error| {
                named(
                    error,
                    Missing::Application(bounds::cut(application, bounds::NAME)),
                )
            })?;
        Ok(entries
            .into_iter()
            .filter_map(|entry| PipelineConfig::decode(entry).ok())
            .collect())
    }

    /// As whom Gate knows us; an error with [`GateError::refuses_login`] when it doesn't, and [`GateError::NotSpinnaker`]
    /// when whatever answers isn't Gate: it has no such path, or something else under it. A proxy's 5xx says neither.
    pub async fn login(&self) -> Result<String, GateError> {
        let answer = self.get(Endpoint::User, &["auth", "user"], &[]).await??;
        // This path is open to all: Gate answers 200 with an empty body to whoever isn't logged in.
        if answer.status == 200 && answer.is_empty() {
            return Err(GateError::LoginRequired);
        }
        if answer.wants_login() {
            return Err(GateError::LoginRequired);
        }
        let other = |detail| Err(GateError::NotSpinnaker { detail });
        match answer.status {
            200 if answer.is_html() => return other("GET /auth/user answers with a page"),
            404 | 405 | 410 => return other("it has no /auth/user"),
            _ => {}
        }
        outcome::body(&answer)?;
        let user = answer.json();
        let name = user
            .as_ref()
            .and_then(|user| user.get("username"))
            .and_then(Value::as_str)
            // An address is what a user's name often is, and none of those that are nobody's business.
            .map(|name| plain(name).trim().to_owned())
            .filter(|name| !name.is_empty());
        match name {
            Some(name) => Ok(bounds::cut(&name, bounds::NAME)),
            None => other("GET /auth/user answers with something else than a user"),
        }
    }

    /// Gate's version, as it says it.
    pub async fn version(&self) -> Result<String, GateError> {
        self.json(Endpoint::Version, &["version"], &[])
            .await?
            .get("version")
            .and_then(Value::as_str)
            .map(clean)
            .filter(|version| !version.is_empty())
            .map(|version| bounds::cut(&version, bounds::NAME))
            .ok_or_else(|| GateError::unclear(200, "the JSON is not a version"))
    }

    /// Waits for the right to send one start, and for its turn where the rate is limited, at most for the request deadline.
    /// Whoever checks a claim before the start
    /// takes this first, so that no wait lies between check and send.
    pub async fn reserve(&self) -> Result<Reservation, GateError> {
        self.reserved(Endpoint::Start).await
    }

    /// As [`GateClient::reserve`], for one [`Reservation::judge`]: taken before it is asked whether the stage waits and the
    /// answer counts.
    pub async fn reserve_judgment(&self) -> Result<Reservation, GateError> {
        self.reserved(Endpoint::Judge).await
    }

    /// As [`GateClient::reserve`], for one [`Reservation::cancel`].
    pub async fn reserve_cancel(&self) -> Result<Reservation, GateError> {
        self.reserved(Endpoint::Cancel).await
    }

    async fn reserved(&self, endpoint: Endpoint) -> Result<Reservation, GateError> {
        let permit = self.inner.transport.reserve(endpoint).await?;
        Ok(Reservation {
            client: self.clone(),
            permit,
        })
    }

    /// `POST /pipelines/start`, once, with exactly these bytes. A caller that drops the future knows nothing.
    pub async fn start(&self, body: Vec<u8>) -> Sent {
        match self.reserve().await {
            Ok(reservation) => reservation.start(body).await,
            Err(_) => outcome::sent(Err(Trouble::NoPermit)),
        }
    }

    /// `POST /pipelines/{application}/{id}`, once, with exactly these bytes.
    pub async fn trigger_v1(&self, application: &str, pipeline_id: &str, body: Vec<u8>) -> Sent {
        match self.reserve().await {
            Ok(reservation) => reservation.trigger_v1(application, pipeline_id, body).await,
            Err(_) => outcome::sent(Err(Trouble::NoPermit)),
        }
    }

    fn address(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<reqwest::Url, GateError> {
        self.inner
            .base
            .address(segments, query)
            .map_err(|name| GateError::NotSendable {
                name: bounds::cut(name, bounds::NAME),
            })
    }

    fn call(
        &self,
        endpoint: Endpoint,
        method: Method,
        url: reqwest::Url,
        body: Option<Vec<u8>>,
    ) -> Call {
        Call {
            endpoint,
            method,
            url,
            body,
            request_id: self.request_id.clone(),
        }
    }

    async fn get(
        &self,
        endpoint: Endpoint,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Result<Answer, Trouble>, GateError> {
        let url = self.address(segments, query)?;
        let call = self.call(endpoint, Method::GET, url, None);
        Ok(self.inner.transport.read(call).await)
    }

    async fn json(
        &self,
        endpoint: Endpoint,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, GateError> {
        let answer = self.get(endpoint, segments, query).await??;
        outcome::body(&answer)?;
        answer
            .json()
            .ok_or_else(|| GateError::unclear(answer.status, "the body is not JSON"))
    }

    async fn list(
        &self,
        endpoint: Endpoint,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<Value>, GateError> {
        match self.json(endpoint, segments, query).await? {
            Value::Array(entries) => Ok(entries),
            _ => Err(GateError::unclear(200, "the JSON is not a list")),
        }
    }
}

impl Reservation {
    /// As [`GateClient::start`], at once.
    pub async fn start(self, body: Vec<u8>) -> Sent {
        self.post(&["pipelines", "start"], body).await
    }

    /// As [`GateClient::trigger_v1`], at once.
    pub async fn trigger_v1(self, application: &str, pipeline_id: &str, body: Vec<u8>) -> Sent {
        self.post(&["pipelines", application, pipeline_id], body)
            .await
    }

    /// Asks for an execution to end, at once. Gate answers before anything happens, and also when nothing does: only the
    /// execution's status tells.
    pub async fn cancel(self, execution_id: &str, reason: &str) -> Result<(), GateError> {
        let reason = bounds::cut(&clean(reason), REASON);
        let url = self.client.address(
            &["pipelines", execution_id, "cancel"],
            &[("reason", &reason)],
        )?;
        let call = self.client.call(Endpoint::Cancel, Method::PUT, url, None);
        let transport = &self.client.inner.transport;
        let answer = transport.write(self.permit, call).await?;
        if answer.is_ok() && !answer.is_html() {
            return Ok(());
        }
        Err(named(
            outcome::refusal(&answer),
            Missing::Execution(bounds::cut(execution_id, bounds::NAME)),
        ))
    }

    /// Hands over somebody's answer to a manual judgment, once and at once: `approval` is the `DeployApproval` that carries
    /// it, and `judged_by` its author; both stay in the stage's context.
    ///
    /// Gate checks nothing of it. It must be sent only to a stage that waits ([`Moment::Waiting`]): an earlier answer is
    /// acknowledged and lost, a later one falsifies the record of a stage that ended.
    ///
    /// [`Moment::Waiting`]: super::Moment::Waiting
    pub async fn judge(
        self,
        answer: &JudgmentAnswer,
        decision: ApprovalDecision,
        approval: &str,
        judged_by: &str,
    ) -> Handed {
        let execution = answer.execution.as_str();
        let segments = ["pipelines", execution, "stages", &answer.stage];
        let url = match self.client.address(&segments, &[]) {
            Ok(url) => url,
            Err(error) => return Handed::Refused(error),
        };
        let body = judgment::patch(answer, decision, approval, judged_by).to_string();
        let body = Some(body.into_bytes());
        let call = self.client.call(Endpoint::Judge, Method::PATCH, url, body);
        let transport = &self.client.inner.transport;
        outcome::judged(execution, transport.write(self.permit, call).await)
    }

    async fn post(self, segments: &[&str], body: Vec<u8>) -> Sent {
        let url = match self.client.address(segments, &[]) {
            Ok(url) => url,
            // Gate's firewall would answer the same.
            Err(error) => {
                return Sent::Refused {
                    status: 400,
                    message: error.to_string(),
                };
            }
        };
        let call = self
            .client
            .call(Endpoint::Start, Method::POST, url, Some(body));
        let transport = &self.client.inner.transport;
        outcome::sent(transport.write(self.permit, call).await)
    }
}

fn into_execution(entry: Value) -> Option<Execution> {
    serde_json::from_value(entry).ok()
}

/// Names what Gate doesn't know.
fn named(error: GateError, what: Missing) -> GateError {
    match error {
        GateError::NotFound { .. } => GateError::NotFound { what },
        other => other,
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
