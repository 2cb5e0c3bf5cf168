//! Reading and writing objects: every call with a deadline, every write guarded by the version that was read. Touches
//! the API server.

use std::fmt::Debug;

use kube::{
    Api, Client, Resource,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{API_DEADLINE, error::ControllerError};
use crate::{api::CONTROLLER, runtime::cache::Guarded};

/// An object of ours.
pub(super) trait Object:
    Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Serialize
    + Debug
    + Send
    + Sync
    + 'static
{
}
impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Serialize
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// The object as the API server has it now (a quorum read), if it exists.
pub(super) async fn read<K: Object>(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, ControllerError> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    within("read an object", api.get_opt(name)).await
}

/// All objects that the field selector names and that decode, as the API server has them now.
pub(super) async fn list<K: Object>(
    client: &Client,
    namespace: &str,
    fields: &str,
) -> Result<Vec<K>, ControllerError> {
    let listed = list_all::<K>(client, namespace, fields).await?;
    Ok(listed
        .into_iter()
        .filter_map(|object| object.0.ok())
        .collect())
}

/// As [`list`], with those that don't decode.
pub(super) async fn list_all<K: Object>(
    client: &Client,
    namespace: &str,
    fields: &str,
) -> Result<Vec<Guarded<K>>, ControllerError> {
    let api: Api<Guarded<K>> = Api::namespaced(client.clone(), namespace);
    let parameters = ListParams::default().fields(fields);
    let listed = within("list objects", api.list(&parameters)).await?;
    Ok(listed.items)
}

/// Creates the object; one that exists already is read.
pub(super) async fn create<K: Object>(
    client: &Client,
    namespace: &str,
    name: &str,
    object: &K,
) -> Result<Option<K>, ControllerError> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let parameters = PostParams {
        field_manager: Some(CONTROLLER.to_owned()),
        ..PostParams::default()
    };
    match within("create an object", api.create(&parameters, object)).await {
        Ok(created) => Ok(Some(created)),
        Err(ControllerError::Conflict { .. }) => read(client, namespace, name).await,
        Err(error) => Err(error),
    }
}

/// Writes what differs between the object's status and `next`, guarded by the version that the object was read in.
/// `None` when nothing differs, and nothing was asked.
pub(super) async fn write_status<K: Object, S: Serialize>(
    client: &Client,
    object: &K,
    next: &S,
    doing: &'static str,
) -> Result<Option<K>, ControllerError> {
    match change(object, next) {
        Some(change) => patch_status(client, object, &change, doing).await.map(Some),
        None => Ok(None),
    }
}

/// As [`write_status`], but asks the API server even when nothing differs: succeeds only if the object is still as it
/// was read.
pub(super) async fn assert_status<K: Object, S: Serialize>(
    client: &Client,
    object: &K,
    next: &S,
    doing: &'static str,
) -> Result<K, ControllerError> {
    let change = change(object, next).unwrap_or_else(|| json!({}));
    patch_status(client, object, &change, doing).await
}

fn change<K: Object, S: Serialize>(object: &K, next: &S) -> Option<Value> {
    let old = serde_json::to_value(object)
        .ok()
        .and_then(|mut value| value.get_mut("status").map(Value::take));
    let next = serde_json::to_value(next).unwrap_or_default();
    difference(&old.unwrap_or(Value::Null), &next)
}

async fn patch_status<K: Object>(
    client: &Client,
    object: &K,
    change: &Value,
    doing: &'static str,
) -> Result<K, ControllerError> {
    let meta = object.meta();
    let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "status": change});
    let api: Api<K> = Api::namespaced(
        client.clone(),
        meta.namespace.as_deref().unwrap_or_default(),
    );
    let name = meta.name.clone().unwrap_or_default();
    within(
        doing,
        api.patch_status(
            &name,
            &PatchParams::apply(CONTROLLER),
            &Patch::Merge(&patch),
        ),
    )
    .await
}

/// Merges into an object's metadata, guarded by the version that it was read in.
pub(super) async fn annotate<K: Object>(
    client: &Client,
    object: &K,
    annotation: &str,
    value: &str,
) -> Result<K, ControllerError> {
    let meta = object.meta();
    let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version, "annotations": {annotation: value}}});
    let api: Api<K> = Api::namespaced(
        client.clone(),
        meta.namespace.as_deref().unwrap_or_default(),
    );
    let name = meta.name.clone().unwrap_or_default();
    within(
        "annotate an object",
        api.patch(
            &name,
            &PatchParams::apply(CONTROLLER),
            &Patch::Merge(&patch),
        ),
    )
    .await
}

/// A call with a deadline, and with conflicts told from other errors.
pub(super) async fn within<T>(
    doing: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ControllerError> {
    match tokio::time::timeout(API_DEADLINE, call).await {
        Err(_) => Err(ControllerError::ApiSilent { doing }),
        Ok(Ok(value)) => Ok(value),
        // Changed, made or gone since it was read: all mean "look again".
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
            Err(ControllerError::Conflict { doing })
        }
        Ok(Err(source)) => Err(ControllerError::Api {
            doing,
            source: Box::new(source),
        }),
    }
}

/// The merge patch from `old` to `next`: what is gone becomes null. `None` when they are equal.
fn difference(old: &Value, next: &Value) -> Option<Value> {
    match (old, next) {
        _ if old == next => None,
        (Value::Object(old), Value::Object(next)) => {
            let gone = old
                .keys()
                .filter(|key| !next.contains_key(*key))
                .map(|key| (key.clone(), Value::Null));
            let changed = next.iter().filter_map(|(key, value)| {
                difference(old.get(key).unwrap_or(&Value::Null), value)
                    .map(|change| (key.clone(), change))
            });
            Some(Value::Object(gone.chain(changed).collect::<Map<_, _>>()))
        }
        _ => Some(next.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_and_what_is_gone_is_taken_away() {
        let old = json!({"phase": "Running", "waiting": {"for": "Queue"}, "list": [1, 2], "same": {"a": 1}});
        let next = json!({"phase": "Failed", "list": [1], "same": {"a": 1}, "new": {"b": 2}});
        assert_eq!(
            difference(&old, &next),
            Some(json!({"phase": "Failed", "waiting": null, "list": [1], "new": {"b": 2}}))
        );
        assert_eq!(difference(&next, &next.clone()), None);
        assert_eq!(difference(&Value::Null, &next), Some(next));
    }
}
