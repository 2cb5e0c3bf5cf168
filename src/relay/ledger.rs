//! What was told about a request or a freeze, as its status holds it, and the writes to it. Touches the API server.
//!
//! A write is a JSON patch that tests the uid and what was told as it was read: it fails when another relay was first,
//! and never because the controller wrote something else.

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{API_DEADLINE, error::RelayError, place::Spot};
use crate::api::{
    DeployFreeze, DeployRequest, RELAY, bounds,
    deploy_request::{EarlierMessage, SlackMessage, SlackStatus},
};

/// A kind whose status holds what was told.
pub(super) trait Told:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned
{
    /// What was told; `None` where there is nothing.
    fn told(&self) -> Option<&SlackStatus>;
    /// Whether there is a status at all.
    fn has_status(&self) -> bool;
}

impl Told for DeployRequest {
    fn told(&self) -> Option<&SlackStatus> {
        self.status.as_ref()?.slack.as_ref()
    }

    fn has_status(&self) -> bool {
        self.status.is_some()
    }
}

impl Told for DeployFreeze {
    fn told(&self) -> Option<&SlackStatus> {
        self.status.as_ref()?.slack.as_ref()
    }

    fn has_status(&self) -> bool {
        self.status.is_some()
    }
}

/// What was told, exactly as the API server has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ledger {
    /// `status.slack`.
    raw: Option<Value>,
    /// Whether there is a status at all.
    has_status: bool,
    /// The same, read.
    pub(super) told: SlackStatus,
}

/// What came of a write.
#[derive(Debug)]
pub(super) enum Written {
    /// It is as wanted.
    Done(Ledger),
    /// It was not as it was read.
    Conflict,
    /// The object is no more.
    Gone,
}

impl Ledger {
    /// As a cache has it.
    pub(super) fn of(object: &impl Told) -> Self {
        let told = object.told();
        Self {
            raw: told.and_then(|told| serde_json::to_value(told).ok()),
            has_status: object.has_status(),
            told: told.cloned().unwrap_or_default(),
        }
    }

    fn from_json(object: &Value) -> Self {
        let status = object.get("status").filter(|status| !status.is_null());
        let raw = status
            .and_then(|status| status.get("slack"))
            .filter(|slack| !slack.is_null())
            .cloned();
        let told = raw.clone().map(serde_json::from_value);
        Self {
            has_status: status.is_some(),
            told: told.and_then(Result::ok).unwrap_or_default(),
            raw,
        }
    }

    /// Whether both hold the same.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        self.told == other.told
    }

    /// The object and what was told, as the API server has them now. `None` when it is no more; one that can't be read is
    /// an error, since it is still there.
    pub(super) async fn read<K: Told>(
        client: &Client,
        object: &K,
    ) -> Result<Option<(K, Self)>, RelayError> {
        let name = object.name_any();
        let found = within("read what is told", api(client, object).get_opt(&name)).await?;
        let Some(found) = found.filter(|found| found.uid() == object.uid()) else {
            return Ok(None);
        };
        let unreadable = |source| RelayError::Unreadable { source };
        let json = serde_json::to_value(&found).map_err(unreadable)?;
        let ledger = Self::from_json(&json);
        let object = serde_json::from_value(json).map_err(unreadable)?;
        Ok(Some((object, ledger)))
    }

    /// Replaces what was told, if it still is what was read.
    pub(super) async fn write<K: Told>(
        &self,
        client: &Client,
        object: &K,
        next: &SlackStatus,
    ) -> Result<Written, RelayError> {
        let doing = "write what was told in Slack";
        let patch = serde_json::from_value(self.patch(object, next));
        let patch = patch.map_err(|error| RelayError::Api {
            doing,
            source: Box::new(kube::Error::SerdeError(error)),
        })?;
        let parameters = PatchParams::apply(RELAY);
        let name = object.name_any();
        let api = api(client, object);
        let patch = Patch::Json::<()>(patch);
        let written = api.patch_status(&name, &parameters, &patch);
        match within(doing, written).await {
            Ok(written) => {
                let json = serde_json::to_value(&written).unwrap_or_default();
                Ok(Written::Done(Self::from_json(&json)))
            }
            Err(RelayError::Api { source, .. }) if is_gone(&source) => Ok(Written::Gone),
            Err(RelayError::Api { source, .. }) if is_conflict(&source) => Ok(Written::Conflict),
            Err(error) => Err(error),
        }
    }

    /// As it was read, but for a status that somebody took away: what is known to have been told is written back, or all
    /// of it would be told again.
    pub(super) async fn restored<K: Told>(
        self,
        client: &Client,
        object: &K,
        known: Self,
    ) -> Result<Self, RelayError> {
        if !self.told.messages.is_empty() || known.told.messages.is_empty() {
            return Ok(self);
        }
        tracing::warn!("what was told in Slack was taken out of the status; it is written back");
        match self.write(client, object, &known.told).await? {
            Written::Done(written) => Ok(written),
            Written::Conflict | Written::Gone => Ok(Self {
                told: known.told,
                ..self
            }),
        }
    }

    fn patch(&self, object: &impl Told, next: &SlackStatus) -> Value {
        let uid = json!({"op": "test", "path": "/metadata/uid", "value": object.meta().uid});
        let (path, value) = if self.has_status {
            ("/status/slack", json!(next))
        } else {
            ("/status", json!({"slack": next}))
        };
        // A test for null holds where there is nothing.
        json!([
            uid,
            {"op": "test", "path": path, "value": self.raw},
            {"op": "add", "path": path, "value": value},
        ])
    }
}

/// Whether there is an entry for a purpose, or room for one.
pub(super) fn has_room(told: &SlackStatus, purpose: &impl ToString) -> bool {
    told.messages.len() < bounds::SLACK_MESSAGES || super::plan::entry(told, purpose).is_some()
}

/// What was told, with another entry for a purpose. `None` when there is no room for it.
pub(super) fn with_entry(told: &SlackStatus, entry: SlackMessage) -> Option<SlackStatus> {
    let mut next = told.clone();
    let known = next
        .messages
        .iter()
        .position(|known| known.purpose == entry.purpose);
    match known {
        Some(index) => next.messages[index] = entry,
        None if next.messages.len() < bounds::SLACK_MESSAGES => next.messages.push(entry),
        None => return None,
    }
    Some(next)
}

/// A message that is about to be posted.
pub(super) fn intent(
    purpose: &impl ToString,
    spot: &Spot,
    earlier: Option<EarlierMessage>,
    since: jiff::Timestamp,
) -> SlackMessage {
    SlackMessage {
        purpose: purpose.to_string(),
        channel: spot.id().to_owned(),
        ts: None,
        thread_ts: spot.thread.as_ref().map(ToString::to_string),
        since: Time(since),
        digest: None,
        phase: None,
        earlier,
        refused: None,
    }
}

fn api<K: Told>(client: &Client, object: &K) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<K>(&());
    let namespace = object.namespace().unwrap_or_default();
    Api::namespaced_with(client.clone(), &namespace, &kind)
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// A test that fails is 422, as a status that breaks the schema is; but that one says what breaks it.
fn is_conflict(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.as_ref().map(|details| details.causes.len());
    status.code == 409 || (status.code == 422 && causes.unwrap_or_default() == 0)
}

async fn within<T>(
    doing: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RelayError> {
    match tokio::time::timeout(API_DEADLINE, call).await {
        Err(_) => Err(RelayError::ApiSilent { doing }),
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(RelayError::Api {
            doing,
            source: Box::new(source),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::deploy_request::Phase,
        relay::{
            purpose::Purpose,
            testing::{changed, now},
        },
        slack::client::Destination,
    };

    #[test]
    fn a_full_list_takes_no_new_purpose_and_still_changes_those_it_has() {
        let entry = |number: usize| {
            let purpose = Purpose::read(&format!("started:C0{number:03}")).unwrap();
            let spot = Spot {
                to: Destination::Channel("C0ASKED".parse().unwrap()),
                thread: None,
            };
            (intent(&purpose, &spot, None, now()), purpose)
        };
        let mut told = SlackStatus::default();
        for number in 0..bounds::SLACK_MESSAGES {
            assert!(has_room(&told, &entry(number).1));
            told = with_entry(&told, entry(number).0).unwrap();
        }
        let (one_more, purpose) = entry(bounds::SLACK_MESSAGES);
        assert!(!has_room(&told, &purpose));
        assert_eq!(with_entry(&told, one_more), None);
        let (mut known, purpose) = entry(0);
        assert!(has_room(&told, &purpose));
        known.ts = Some("1.1".to_owned());
        assert_eq!(with_entry(&told, known.clone()).unwrap().messages[0], known);
    }

    #[test]
    fn a_write_tests_only_the_uid_and_what_was_told() {
        let next = SlackStatus {
            problem: Some("p".to_owned()),
            ..SlackStatus::default()
        };
        let patch = |status: Value| {
            let request = changed(Phase::Running, &json!({"status": status}));
            Ledger::of(&request).patch(&request, &next)
        };
        let uid = json!({"op": "test", "path": "/metadata/uid", "value": "0b1c4d5e"});
        assert_eq!(
            patch(json!({"slack": {"problem": "q"}})),
            json!([uid, {"op": "test", "path": "/status/slack", "value": {"problem": "q"}},
                   {"op": "add", "path": "/status/slack", "value": {"problem": "p"}}])
        );
        assert_eq!(
            patch(json!({})),
            json!([uid, {"op": "test", "path": "/status/slack", "value": null},
                   {"op": "add", "path": "/status/slack", "value": {"problem": "p"}}])
        );
        assert_eq!(
            patch(Value::Null),
            json!([uid, {"op": "test", "path": "/status", "value": null},
                   {"op": "add", "path": "/status", "value": {"slack": {"problem": "p"}}}])
        );
    }
}
