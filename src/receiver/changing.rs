//! A change of an object that others change too: it is written only if the object still is as it was read, so that of two
//! people who do the same at once one is first and the other hears of it. Touches the API server.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::persist::RECEIVER;
use crate::{
    api::actor::Actor,
    runtime::{crash, telemetry},
};

/// Between two looks, where the API server didn't say what became of a write.
const PAUSE: Duration = Duration::from_millis(100);

/// A kind whose objects are changed so.
pub(super) trait Shared:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
{
}

impl<K> Shared for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
{
}

/// What became of one write.
#[derive(Debug)]
pub(super) enum Written<K> {
    /// It is so; the object as it is now.
    Done(K),
    /// It was certainly not written: somebody was faster, and what stands there now is to be judged anew.
    Lost,
    /// It isn't known: only a look tells.
    Look,
    /// It was certainly not written: the API server says why, in its own words.
    Refused(String),
}

/// Why an object couldn't be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The API server says why, in its own words.
    Refused(String),
    /// It answers with something that doesn't decode, and asking again can't help; why it doesn't.
    Undecodable(String),
    /// It didn't answer in time.
    Silent,
}

/// The object as it is now.
pub(super) async fn read<K: Shared>(
    api: &Api<K>,
    name: &str,
    deadline: Instant,
) -> Result<Option<K>, Unread> {
    loop {
        match timeout_at(deadline, api.get_opt(name)).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(kube::Error::Api(status))) if is_refusal(status.code) => {
                return Err(Unread::Refused(status.message.clone()));
            }
            // Anything but an answer that broke off.
            Ok(Err(kube::Error::SerdeError(error))) if error.is_data() => {
                return Err(Unread::Undecodable(error.to_string()));
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %telemetry::chain(&error), "an object can't be looked up");
                pause(deadline).await?;
            }
            Err(_) => return Err(Unread::Silent),
        }
    }
}

/// Creates it.
pub(super) async fn create<K: Shared>(api: &Api<K>, object: &K, deadline: Instant) -> Written<K> {
    let parameters = PostParams {
        field_manager: Some(RECEIVER.to_owned()),
        ..PostParams::default()
    };
    crash::point("before-persist");
    let created = timeout_at(deadline, api.create(&parameters, object)).await;
    crash::point("after-persist");
    // What isn't there is its namespace: no look changes that.
    if let Ok(Err(kube::Error::Api(status))) = &created
        && status.code == 404
    {
        return Written::Refused(status.message.clone());
    }
    written(created.ok(), deadline).await
}

/// Changes these fields of its spec, if it still is as it was read.
pub(super) async fn change<K: Shared>(
    api: &Api<K>,
    found: &K,
    spec: &Value,
    deadline: Instant,
) -> Written<K> {
    let meta = found.meta();
    let patch = json!({
        "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "spec": spec,
    });
    let parameters = PatchParams {
        field_manager: Some(RECEIVER.to_owned()),
        ..PatchParams::default()
    };
    crash::point("before-persist");
    let patch = Patch::Merge(&patch);
    let (name, patch) = (found.name_any(), patch);
    let patched = timeout_at(deadline, api.patch(&name, &parameters, &patch)).await;
    crash::point("after-persist");
    written(patched.ok(), deadline).await
}

/// Deletes it, and no other of its name.
pub(super) async fn delete<K: Shared>(api: &Api<K>, found: &K, deadline: Instant) -> Written<()> {
    let preconditions = Preconditions {
        uid: found.uid(),
        resource_version: None,
    };
    let parameters = DeleteParams::default().preconditions(preconditions);
    crash::point("before-persist");
    let deleted = timeout_at(deadline, api.delete(&found.name_any(), &parameters)).await;
    crash::point("after-persist");
    written(deleted.ok().map(|deleted| deleted.map(drop)), deadline).await
}

/// `None`: there was no answer in time.
async fn written<K>(answer: Option<Result<K, kube::Error>>, deadline: Instant) -> Written<K> {
    match answer {
        Some(Ok(now)) => Written::Done(now),
        Some(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
            before_a_look(deadline).await;
            Written::Lost
        }
        Some(Err(kube::Error::Api(status))) if is_refusal(status.code) => {
            Written::Refused(status.message.clone())
        }
        Some(Err(error)) => {
            tracing::warn!(error = %telemetry::chain(&error), "what became of a write isn't known; looking");
            before_a_look(deadline).await;
            Written::Look
        }
        None => Written::Look,
    }
}

/// Whether asking again can't help.
fn is_refusal(code: u16) -> bool {
    (400..500).contains(&code) && !matches!(code, 404 | 408 | 409 | 429)
}

/// No faster than somebody may change it, and no longer than there is time.
async fn before_a_look(deadline: Instant) {
    sleep_until(deadline.min(Instant::now() + PAUSE)).await;
}

async fn pause(deadline: Instant) -> Result<(), Unread> {
    let until = Instant::now() + PAUSE;
    if until >= deadline {
        return Err(Unread::Silent);
    }
    sleep(PAUSE).await;
    Ok(())
}

/// All of it, and nothing of who stood there before: a merge keeps what isn't named.
pub(super) fn whole(by: &Actor) -> Value {
    json!({
        "username": by.username,
        "groups": (!by.groups.is_empty()).then_some(&by.groups),
        "slack": by.slack,
    })
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[tokio::test]
    async fn what_was_certainly_not_written_is_told_from_what_may_have_been() {
        async fn answered(code: u16) -> Written<()> {
            let status = Status {
                code,
                message: "so it says".to_owned(),
                ..Status::default()
            };
            let error = kube::Error::Api(Box::new(status));
            written(Some(Err(error)), Instant::now()).await
        }
        for code in [404, 409] {
            let written = answered(code).await;
            assert!(matches!(written, Written::Lost), "{code}: {written:?}");
        }
        for code in [408, 429, 500, 503, 504] {
            let written = answered(code).await;
            assert!(matches!(written, Written::Look), "{code}: {written:?}");
        }
        let refused = answered(403).await;
        assert!(
            matches!(&refused, Written::Refused(message) if message == "so it says"),
            "{refused:?}"
        );
        let silent = written::<()>(None, Instant::now()).await;
        assert!(matches!(silent, Written::Look), "{silent:?}");
    }
}
