//! What was asked becomes an object, and an answer knows whether it did. Touches the API server: creates `DeployRequest`s
//! and `DeployApproval`s, patches requests, and reads both by name.
//!
//! A create whose answer is late is looked up by name, and one whose answer is lost is sent again: its name, which nothing
//! but the plan or the question determines, makes that harmless. The stop button alone is only looked for: somebody may
//! have lifted it meanwhile. So nobody is told "not accepted" of something that exists, or that the
//! API server is still about to write.

use std::{
    error::Error as _,
    time::{Duration, SystemTime},
};

use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tracing::Instrument;

use super::{
    begun::Begun,
    changing::{self, Shared},
    overriding::is_overridden,
};
use crate::{
    api::{
        DeployApproval, DeployFreeze, DeployRequest, actor::Actor, deploy_request::Cancel,
        gate::Override,
    },
    domain::access,
    runtime::{crash, telemetry, traces},
};

/// The field manager of the receiver's writes.
pub(super) const RECEIVER: &str = "foredeck-receiver";
/// How long before the deadline a create without an answer is looked up.
const LOOK: Duration = Duration::from_millis(700);
/// How long a create is waited for after its asker was told that the outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two tries of a create, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A kind of which the receiver creates objects.
pub(super) trait Written: Shared + 'static {
    /// Whether a create whose answer is lost may be sent again. Not where somebody may have undone it meanwhile: what they
    /// did would be undone in turn.
    const AGAIN: bool = true;

    /// The request that was created with it.
    fn request(&self) -> Option<&DeployRequest>;
}

impl Written for DeployRequest {
    fn request(&self) -> Option<&DeployRequest> {
        Some(self)
    }
}

impl Written for DeployApproval {
    fn request(&self) -> Option<&DeployRequest> {
        None
    }
}

impl Written for DeployFreeze {
    const AGAIN: bool = false;

    fn request(&self) -> Option<&DeployRequest> {
        None
    }
}

/// What became of a create, as far as its asker can wait.
#[derive(Debug)]
pub(super) enum Created<K = DeployRequest> {
    /// It is known.
    Settled(Settled<K>),
    /// It isn't known yet; this tells once it is.
    Unknown(JoinHandle<Settled<K>>),
}

/// What became of a create.
#[derive(Debug)]
pub(super) enum Settled<K = DeployRequest> {
    /// It exists, by this call.
    New(Box<K>),
    /// An object of that name was there before.
    Existing(Box<K>),
    /// It was certainly not created: the API server says why, in its own words.
    Refused(String),
    /// It was certainly not created: the API server isn't there, or is too busy.
    NotDone,
    /// It can't be found out.
    Unknowable,
}

impl<K> Created<K> {
    /// The fixed word for metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Settled(Settled::New(_)) => "created",
            Self::Settled(Settled::Existing(_)) => "existing",
            Self::Settled(Settled::Refused(_)) => "refused",
            Self::Settled(Settled::NotDone) => "not-done",
            Self::Settled(Settled::Unknowable) | Self::Unknown(_) => "unknown",
        }
    }
}

/// Creates the request, and knows by `deadline` what became of that, if it can be known.
///
/// One that is certainly not created is forgotten by `begun`.
pub(super) async fn create(
    client: &Client,
    begun: &Begun,
    request: DeployRequest,
    deadline: Instant,
) -> Created {
    let undone = {
        let (begun, request) = (begun.clone(), request.clone());
        async move { begun.forget(&request).await }
    };
    write(client, request, deadline, undone).await
}

/// Creates the object, and knows by `deadline` what became of that, if it can be known. `undone` is done once it is
/// certainly not created.
pub(super) async fn write<K: Written>(
    client: &Client,
    object: K,
    deadline: Instant,
    undone: impl Future<Output = ()> + Send + 'static,
) -> Created<K> {
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let name = object.name_any();
    crash::point("before-persist");
    // A task of its own: it goes on when whoever asked can't wait any longer.
    let mut call = tokio::spawn({
        let api = api.clone();
        let about = telemetry::about(&object);
        let creating = async move {
            let posted = timeout(PATIENCE, post(&api, &object)).await;
            let settled = posted.unwrap_or(Settled::Unknowable);
            if matches!(settled, Settled::Refused(_) | Settled::NotDone) {
                undone.await;
            }
            settled
        };
        creating.instrument(about)
    });
    let created = match timeout_at(earlier(deadline), &mut call).await {
        Ok(done) => Created::Settled(done.unwrap_or(Settled::Unknowable)),
        Err(_) => late(&api, &name, call, deadline).await,
    };
    crash::point("after-persist");
    created
}

/// The answer is late: whichever comes first, it or a look by name.
async fn late<K: Written>(
    api: &Api<K>,
    name: &str,
    mut call: JoinHandle<Settled<K>>,
    deadline: Instant,
) -> Created<K> {
    let seen = async {
        match api.get_opt(name).await {
            Ok(Some(found)) => found,
            // Not there proves nothing while the create may still be under way.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        done = &mut call => Created::Settled(done.unwrap_or(Settled::Unknowable)),
        found = seen => Created::Settled(Settled::New(Box::new(found))),
        () = tokio::time::sleep_until(deadline) => Created::Unknown(call),
    }
}

/// When to look instead of waiting.
fn earlier(deadline: Instant) -> Instant {
    deadline.checked_sub(LOOK).unwrap_or(deadline)
}

/// Sends the create until it is known what became of it.
///
/// Only what the first try says may be taken as "not done": once a try ended without an answer, it may still be written,
/// whatever the next one is told, and an object that isn't there yet proves nothing.
async fn post<K: Written>(api: &Api<K>, object: &K) -> Settled<K> {
    let began = SystemTime::now();
    let settled = create_until_known(api, object).await;
    if let Settled::New(created) = &settled {
        let took = began.elapsed().unwrap_or_default();
        telemetry::about(&**created).in_scope(|| {
            let duration_ms = telemetry::milliseconds(took);
            tracing::info!(duration_ms, "created for somebody in Slack");
        });
    }
    if let Settled::New(created) = &settled
        && let Some(request) = created.request()
        && let Some(span) = traces::step_since("request.create", request, began)
    {
        span.ended(None);
    }
    settled
}

async fn create_until_known<K: Written>(api: &Api<K>, object: &K) -> Settled<K> {
    let parameters = PostParams {
        field_manager: Some(RECEIVER.to_owned()),
        ..PostParams::default()
    };
    let mut open = false;
    let (mut pause, longest) = PAUSES;
    loop {
        let error = match api.create(&parameters, object).await {
            Ok(created) => return Settled::New(Box::new(created)),
            Err(error) => error,
        };
        match proof(&error) {
            Proof::Exists => return look(api, &object.name_any(), open).await,
            Proof::Refused(message) if !open => return Settled::Refused(message),
            Proof::NotSent if !open => {
                tracing::warn!(error = %telemetry::chain(&error), "the API server didn't take an object");
                return Settled::NotDone;
            }
            Proof::Refused(_) | Proof::NotSent | Proof::None => open = true,
        }
        if !K::AGAIN {
            tracing::warn!(error = %telemetry::chain(&error), "what became of a create isn't known; looking");
            return appeared(api, &object.name_any()).await;
        }
        tracing::warn!(error = %telemetry::chain(&error), "what became of a create isn't known; sending it again");
        tokio::time::sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

/// The object of that name, once it is seen: one that isn't there yet proves nothing.
async fn appeared<K: Written>(api: &Api<K>, name: &str) -> Settled<K> {
    let (mut pause, longest) = PAUSES;
    loop {
        match api.get_opt(name).await {
            Ok(Some(found)) => return Settled::New(Box::new(found)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = %telemetry::chain(&error), "an object can't be looked up");
            }
        }
        tokio::time::sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

/// The object of that name, which exists; `ours` says whether an earlier try may have made it.
async fn look<K: Written>(api: &Api<K>, name: &str, ours: bool) -> Settled<K> {
    loop {
        match api.get_opt(name).await {
            Ok(Some(found)) if ours => return Settled::New(Box::new(found)),
            Ok(Some(found)) => return Settled::Existing(Box::new(found)),
            // Somebody has deleted it meanwhile: it may have been started before that.
            Ok(None) => return Settled::Unknowable,
            Err(error) => {
                tracing::warn!(error = %telemetry::chain(&error), "an object can't be looked up");
                tokio::time::sleep(PAUSES.0).await;
            }
        }
    }
}

/// What an error of a create proves.
#[derive(Debug, PartialEq, Eq)]
enum Proof {
    /// There is an object of that name.
    Exists,
    /// The API server has refused it.
    Refused(String),
    /// It never got there, or was turned away unread.
    NotSent,
    /// Nothing.
    None,
}

fn proof(error: &kube::Error) -> Proof {
    match error {
        kube::Error::Api(status) => match status.code {
            409 if status.reason == "AlreadyExists" => Proof::Exists,
            // Nobody waited any longer; or another write was in the way, such as one of a quota.
            408 | 409 => Proof::None,
            429 => Proof::NotSent,
            400..=499 => Proof::Refused(status.message.clone()),
            _ => Proof::None,
        },
        _ if never_connected(error) => Proof::NotSent,
        _ => Proof::None,
    }
}

/// Whether the connection itself failed.
fn never_connected(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    if let kube::Error::Service(inner) = error {
        cause = Some(inner.as_ref());
    }
    while let Some(error) = cause {
        let connecting = error.downcast_ref::<hyper_util::client::legacy::Error>();
        if connecting.is_some_and(hyper_util::client::legacy::Error::is_connect) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What became of somebody's word that was to be set on a request.
#[derive(Debug)]
pub(super) enum Put {
    /// It is written; the object as it is now.
    Done(Box<DeployRequest>),
    /// Somebody's word stands there that counts, or may.
    Before(Box<DeployRequest>),
    /// The request is gone, or another of that name stands there.
    Gone,
    /// It was certainly not written: the API server says why, in its own words.
    Refused(String),
    /// It isn't known whether it was written.
    Unknown,
}

/// Asks for the request's end, by `deadline`.
pub(super) async fn cancel(
    client: &Client,
    request: &DeployRequest,
    cancel: Cancel,
    deadline: Instant,
) -> Put {
    let word = json!({"cancel": whole(cancel.reason.as_deref(), cancel.by.as_ref())});
    crash::point("before-ask-cancel");
    let patched = set(client, request, &word, deadline).await;
    crash::point("after-ask-cancel");
    let is_ours = |now: &DeployRequest| now.spec.cancel.as_ref() == Some(&cancel);
    settle(
        client,
        request,
        patched,
        is_ours,
        access::is_canceled,
        deadline,
    )
    .await
}

/// Has the request pass order, freezes and locks, by `deadline`.
pub(super) async fn override_(
    client: &Client,
    request: &DeployRequest,
    word: Override,
    deadline: Instant,
) -> Put {
    let set_to = json!({"override": whole(Some(&word.reason), word.by.as_ref())});
    crash::point("before-ask-override");
    let patched = set(client, request, &set_to, deadline).await;
    crash::point("after-ask-override");
    let is_ours = |now: &DeployRequest| now.spec.override_.as_ref() == Some(&word);
    let stands = |now: &DeployRequest| is_overridden(now) || access::is_canceled(now);
    settle(client, request, patched, is_ours, stands, deadline).await
}

/// Sets it, if that is the request still. `None`: it isn't known whether it was set.
async fn set(
    client: &Client,
    request: &DeployRequest,
    spec: &serde_json::Value,
    deadline: Instant,
) -> Option<Result<DeployRequest, String>> {
    // The uid: another request of that name, made since, isn't what was meant.
    let patch = json!({"metadata": {"uid": request.metadata.uid}, "spec": spec});
    let (parameters, patch) = (PatchParams::apply(RECEIVER), Patch::Merge(&patch));
    let (api, name) = (api_of(client, request), request.name_any());
    let patched = api.patch(&name, &parameters, &patch);
    match timeout_at(earlier(deadline), patched).await {
        Ok(Ok(now)) => Some(Ok(now)),
        Ok(Err(kube::Error::Api(status))) if (400..500).contains(&status.code) => {
            Some(Err(status.message.clone()))
        }
        Ok(Err(_)) | Err(_) => None,
    }
}

async fn settle(
    client: &Client,
    request: &DeployRequest,
    patched: Option<Result<DeployRequest, String>>,
    is_ours: impl Fn(&DeployRequest) -> bool,
    stands: impl Fn(&DeployRequest) -> bool,
    deadline: Instant,
) -> Put {
    let refused = match patched {
        Some(Ok(now)) => return Put::Done(Box::new(now)),
        Some(Err(message)) => Some(message),
        None => None,
    };
    // A conflict may be one of writes or one of uids: only what stands there now tells them apart.
    let api = api_of(client, request);
    let Ok(Ok(now)) = timeout_at(deadline, api.get_opt(&request.name_any())).await else {
        return refused.map_or(Put::Unknown, Put::Refused);
    };
    let now = now.filter(|now| now.metadata.uid == request.metadata.uid);
    match (now, refused) {
        (None, _) => Put::Gone,
        (Some(now), _) if is_ours(&now) => Put::Done(Box::new(now)),
        (Some(now), _) if stands(&now) => Put::Before(Box::new(now)),
        (Some(_), Some(message)) => Put::Refused(message),
        (Some(_), None) => Put::Unknown,
    }
}

fn api_of(client: &Client, request: &DeployRequest) -> Api<DeployRequest> {
    Api::namespaced(client.clone(), &request.namespace().unwrap_or_default())
}

/// All of it, and nothing of a word that stood there before: a merge keeps what isn't named.
fn whole(reason: Option<&str>, by: Option<&Actor>) -> serde_json::Value {
    json!({"reason": reason, "by": by.map(changing::whole)})
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answered(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status {
            code,
            message: "so it says".to_owned(),
            ..Status::default()
        }))
    }

    #[test]
    fn only_what_was_certainly_not_done_counts_as_not_done() {
        let exists = Status {
            code: 409,
            reason: "AlreadyExists".to_owned(),
            ..Status::default()
        };
        assert_eq!(proof(&kube::Error::Api(Box::new(exists))), Proof::Exists);
        assert_eq!(proof(&answered(429)), Proof::NotSent);
        for code in [400, 403, 404, 422] {
            assert_eq!(
                proof(&answered(code)),
                Proof::Refused("so it says".to_owned()),
                "{code}"
            );
        }
        // Behind each of these the object may have been written, or may be with another try.
        for code in [408, 409, 500, 502, 503, 504] {
            assert_eq!(proof(&answered(code)), Proof::None, "{code}");
        }
    }

    #[tokio::test]
    async fn nobody_listening_is_certainly_not_done() {
        crate::runtime::tls::install();
        // Reserved, and nobody can listen there.
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Client::try_from(crate::runtime::client::bounded(config)).unwrap();
        let api: Api<DeployRequest> = Api::namespaced(client, "shop");
        let error = api.get("any").await.unwrap_err();
        assert_eq!(proof(&error), Proof::NotSent, "{error:?}");
    }
}
