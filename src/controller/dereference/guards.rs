//! What keeps a request from starting beside people and policies: its time, order, freezes and locks. Touches the API server
//! (reads).
//!
//! While a request waits, caches do, and cost nothing; right before it is sent all of it is read anew, and so is what a freeze
//! goes by right before it cancels what runs. The same pure functions judge both, and whether others of its line are held.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::join_all;
use jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::{
    Memo, Named,
    gates::{Asked, Asking, Ground, created},
};
use crate::{
    api::{
        Application, DeployFreeze, DeployRequest, DeployTarget, Environment,
        conditions::{self, ConditionType, Reason},
        deploy_freeze::Running,
        deploy_request::{Resolved, WaitingFor},
        deploy_target::DeployTargetStatus,
        environment::After,
    },
    controller::{
        context::Context,
        error::ControllerError,
        objects::{self, within},
    },
    domain::{
        access::{self, OVERRIDE},
        guards::{
            Closed, Guards, Overrider,
            freeze::{self, Freezes, Subject},
            lock,
            order::{self, Before},
            overriding, time,
        },
        ids,
        refusal::Refusal,
        selector::Labels,
        target::misnamed,
    },
    runtime::{
        cache::{Guarded, named as by_name},
        telemetry,
    },
};

/// Whether an override counts; `None` where there is none.
pub(super) type Overriding = Option<Result<Overrider, Refusal>>;

/// What is judged: all that may hold requests for one target.
#[derive(Debug, Clone, Default)]
pub(in crate::controller) struct Ahead {
    freezes: Freezes,
    /// Those of the namespace; `None` where they can't be read, or nobody asks for them.
    labels: Option<Labels>,
    target: Option<DeployTarget>,
    /// Why the target can't be read: then nobody can say whether it is locked.
    unread: Option<Closed>,
    before: Vec<Before>,
}

impl Ahead {
    /// As the caches have it; as the API server has it where they were found to be behind. As this pass read it, where it did.
    pub(super) async fn look(
        context: &Context,
        request: &DeployRequest,
        named: &Named,
        (name, target): (Option<&str>, Option<&DeployTarget>),
        memo: &Memo,
    ) -> Self {
        if let Some(read) = &memo.ahead {
            return read.clone();
        }
        let uid = request.uid().unwrap_or_default();
        let known = Self::known(context, request, named, target).await;
        let behind = context.behind_guards.includes(&uid);
        let Some(name) = name.filter(|_| behind) else {
            return known;
        };
        let read = Self::read(context, request, named, name).await;
        let now = Timestamp::now();
        let judged = |ahead: &Self| ahead.told(request, named, None, now);
        // What this pass read of the target itself says nothing of its cache.
        let namespace = request.namespace().unwrap_or_default();
        let (target, unread) = by_its_name(context.caches.targets.get(&namespace, name));
        let cached = Self {
            target,
            unread,
            ..known
        };
        if judged(&read) == judged(&cached) {
            context.behind_guards.over(&uid);
        }
        read
    }

    /// As the caches have it.
    async fn known(
        context: &Context,
        request: &DeployRequest,
        named: &Named,
        target: Option<&DeployTarget>,
    ) -> Self {
        let namespace = request.namespace().unwrap_or_default();
        let freezes = context.caches.freezes.known(&namespace);
        Self {
            labels: labels(context, &freezes, &namespace).await,
            freezes,
            target: target.cloned(),
            unread: None,
            before: before_known(context, request, named.environment.as_ref()),
        }
    }

    /// As the API server has it now: freezes, the target of that name, and those of the Environments that come before.
    pub(super) async fn read(
        context: &Context,
        request: &DeployRequest,
        named: &Named,
        target: &str,
    ) -> Self {
        let namespace = request.namespace().unwrap_or_default();
        let freezes = freezes_now(context, &namespace);
        let own = objects::read::<DeployTarget>(&context.client, &namespace, target);
        let after = named
            .environment
            .as_ref()
            .map_or(&[][..], |environment| &environment.spec.protection.after);
        let before = after
            .iter()
            .map(|after| before_now(context, request, after));
        let ((freezes, labels), own, before) =
            tokio::join!(Box::pin(freezes), Box::pin(own), Box::pin(join_all(before)));
        let (target, unread) = match own {
            Ok(target) => by_its_name(target),
            Err(error) => (None, Some(unreadable("its DeployTarget", &error))),
        };
        Self {
            freezes,
            labels,
            target,
            unread,
            before,
        }
    }

    /// What holds a request that would run this.
    pub(super) fn judge(
        &self,
        request: &DeployRequest,
        named: &Named,
        resolved: Option<&Resolved>,
        overriding: Overriding,
        now: Timestamp,
    ) -> Guards {
        let frozen = self.frozen(request, named, now);
        self.with(request, named, resolved, overriding, frozen, now)
    }

    fn frozen(&self, request: &DeployRequest, named: &Named, now: Timestamp) -> Frozen {
        let subject = subject(request, named, self.labels.as_ref());
        Frozen::of(&self.freezes, subject, now)
    }

    fn with(
        &self,
        request: &DeployRequest,
        named: &Named,
        resolved: Option<&Resolved>,
        overriding: Overriding,
        frozen: Frozen,
        now: Timestamp,
    ) -> Guards {
        let action = &request.spec.action;
        let own = self
            .target
            .as_ref()
            .and_then(|target| target.status.as_ref());
        let order =
            resolved.and_then(|resolved| order::closed(action, resolved, own, &self.before, now));
        let environment = named.environment.as_ref();
        let lock = match &self.unread {
            Some(unread) => Some(unread.clone()),
            None => lock::closed(environment, self.target.as_ref(), action, now),
        };
        Guards {
            time: time::closed(request, now),
            order,
            freeze: frozen.closed,
            lock,
            overriding,
            running: frozen.running,
            changes_at: frozen.changes_at,
        }
    }

    /// What holds a request, as it said last what it would run.
    pub(super) fn told(
        &self,
        request: &DeployRequest,
        named: &Named,
        overriding: Overriding,
        now: Timestamp,
    ) -> Guards {
        let status = request.status.as_ref();
        let resolved = status.and_then(|status| status.resolved.as_ref());
        self.judge(request, named, resolved, overriding, now)
    }

    /// What holds another request of the same line. Whether its override counts it says itself: that takes asking, and is its
    /// own to find out. What freezes say is looked up by action first: nothing else that they go by differs within a line.
    pub(super) fn of_another(
        &self,
        other: &DeployRequest,
        named: &Named,
        known: &mut HashMap<String, Frozen>,
        now: Timestamp,
    ) -> Guards {
        let action = &other.spec.action;
        let frozen = known.entry(action.clone());
        let frozen = frozen.or_insert_with(|| self.frozen(other, named, now));
        let frozen = frozen.clone();
        let status = other.status.as_ref();
        let told = status.and_then(|status| {
            conditions::find(&status.conditions, ConditionType::Overridden)
                .filter(|told| told.status == "True")
        });
        let overriding = told.map(|told| {
            Ok(Overrider {
                username: String::new(),
                rule: String::new(),
                reason: told.message.clone(),
            })
        });
        let resolved = status.and_then(|status| status.resolved.as_ref());
        self.with(other, named, resolved, overriding, frozen, now)
    }
}

/// What freezes say of a request at one moment.
#[derive(Debug, Clone, Default)]
pub(in crate::controller) struct Frozen {
    closed: Option<Closed>,
    /// Why one cancels what runs, where one does.
    pub(in crate::controller) running: Option<Refusal>,
    /// When one of them begins or ends.
    pub(super) changes_at: Option<Timestamp>,
}

impl Frozen {
    fn of(freezes: &Freezes, subject: Subject<'_>, now: Timestamp) -> Self {
        let verdict = freeze::verdict(freezes, subject, now);
        Self {
            closed: verdict.closed(freezes),
            running: verdict.running(freezes),
            changes_at: verdict.changes_at,
        }
    }
}

/// Why a freeze cancels what runs for this request, where one does, and when that may change, as far as the caches know.
pub(super) async fn running(context: &Context, request: &DeployRequest, named: &Named) -> Frozen {
    let namespace = request.namespace().unwrap_or_default();
    let freezes = context.caches.freezes.known(&namespace);
    let cancels = |freeze: &Arc<DeployFreeze>| freeze.spec.running == Running::Cancel;
    if !freezes.all.iter().any(cancels) {
        return Frozen::default();
    }
    let labels = labels(context, &freezes, &namespace).await;
    let subject = subject(request, named, labels.as_ref());
    Frozen::of(&freezes, subject, Timestamp::now())
}

/// As [`running`], as the API server has it now: what is cancelled doesn't come back. Of labels that can't be read nothing can
/// be said, and a freeze that can't be read says nothing: neither cancels.
pub(in crate::controller) async fn running_now(
    context: &Context,
    request: &DeployRequest,
) -> Frozen {
    let namespace = request.namespace().unwrap_or_default();
    let (client, spec) = (&context.client, &request.spec);
    let ((freezes, labels), application, environment) = tokio::join!(
        Box::pin(freezes_now(context, &namespace)),
        Box::pin(objects::read::<Application>(
            client,
            &namespace,
            &spec.application
        )),
        Box::pin(objects::read::<Environment>(
            client,
            &namespace,
            &spec.environment
        )),
    );
    let named = Named {
        application: known(application),
        environment: known(environment),
        connection: None,
    };
    let subject = subject(request, &named, labels.as_ref());
    Frozen::of(&freezes, subject, Timestamp::now())
}

/// What was read of something that a freeze may select: nothing where it can't be.
fn known<T>(read: Result<Option<T>, ControllerError>) -> Option<T> {
    read.unwrap_or_else(|error| {
        tracing::warn!(error = %telemetry::chain(&error), "can't read what a freeze may select");
        None
    })
}

fn subject<'a>(
    request: &'a DeployRequest,
    named: &'a Named,
    namespace_labels: Option<&'a Labels>,
) -> Subject<'a> {
    let namespace = request.metadata.namespace.as_deref();
    Subject {
        namespace: namespace.unwrap_or_default(),
        namespace_labels,
        application: &request.spec.application,
        application_labels: named.application.as_ref().map(ResourceExt::labels),
        environment: &request.spec.environment,
        environment_labels: named.environment.as_ref().map(ResourceExt::labels),
        action: &request.spec.action,
    }
}

/// The namespace's labels, as they were read some seconds ago at most, where any freeze hangs on them and they can be read.
async fn labels(context: &Context, freezes: &Freezes, namespace: &str) -> Option<Labels> {
    if !freezes.asks_for_labels() {
        return None;
    }
    context.caches.connections.labels(namespace).await.ok()
}

/// The freezes that may hold in that namespace, and its labels where any hangs on them and they can be read, as the API server
/// has both now.
async fn freezes_now(context: &Context, namespace: &str) -> (Freezes, Option<Labels>) {
    let freezes = context.caches.freezes.read(namespace).await;
    let labels = if freezes.asks_for_labels() {
        context.caches.connections.labels_now(namespace).await.ok()
    } else {
        None
    };
    (freezes, labels)
}

/// Whether `spec.override` counts; `None` where there is none.
pub(super) async fn overriding(
    context: &Context,
    request: &DeployRequest,
    ground: &Result<Ground, Refusal>,
    asking: Asking,
) -> Overriding {
    let wanted = request.spec.override_.as_ref()?;
    let ground = match ground {
        Ok(ground) => ground,
        Err(refusal) => return Some(Err(refusal.clone())),
    };
    let asked = Asked::of(context, request, ground, asking);
    let known = match &wanted.by {
        Some(by) => asked.about(by, created(request), OVERRIDE).await,
        None => Err(access::unstamped()),
    };
    let holders = asked.holders(&known, OVERRIDE).await;
    overriding::overriding(request, asked.wish(OVERRIDE, holders.as_deref()), &known)
}

// === What comes before ===

fn before_known(
    context: &Context,
    request: &DeployRequest,
    environment: Option<&Environment>,
) -> Vec<Before> {
    let namespace = request.namespace().unwrap_or_default();
    let after = environment.map_or(&[][..], |environment| &environment.spec.protection.after);
    let all = after.iter().map(|after| {
        let environments = &context.caches.environments;
        let there = match environments.get(&namespace, &after.environment) {
            None => Err(environments
                .problem(&namespace, &after.environment)
                .map_or_else(|| no_environment(after), |why| garbled(after, &why))),
            Some(environment) => {
                let name = target_name(request, &environment);
                let target = context.caches.targets.0.get(&by_name(&namespace, &name));
                there(after, target.as_deref())
            }
        };
        before(after, there)
    });
    all.collect()
}

async fn before_now(context: &Context, request: &DeployRequest, after: &After) -> Before {
    let namespace = request.namespace().unwrap_or_default();
    let (client, name) = (&context.client, &after.environment);
    let read = async {
        let Some(environment) = objects::read::<Environment>(client, &namespace, name).await?
        else {
            return Ok(Err(no_environment(after)));
        };
        let api: Api<Guarded<DeployTarget>> = Api::namespaced(client.clone(), &namespace);
        let target = target_name(request, &environment);
        let target = within("read a DeployTarget", api.get_opt(&target)).await?;
        Ok(there(after, target.as_ref()))
    };
    let read: Result<_, ControllerError> = read.await;
    let there = read.unwrap_or_else(|error| {
        tracing::warn!(error = %telemetry::chain(&error), "can't read what comes before");
        Err(format!(
            "what runs in Environment {name:?} can't be read ({error})"
        ))
    });
    before(after, there)
}

fn target_name(request: &DeployRequest, environment: &Environment) -> String {
    let (spec, place) = (&request.spec, &environment.spec.target);
    ids::target_name(&spec.application, &environment.name_any(), place)
}

fn before(after: &After, there: Result<Option<DeployTargetStatus>, String>) -> Before {
    Before {
        environment: after.environment.clone(),
        soak: after.soak.map(Into::into).unwrap_or_default(),
        there,
    }
}

fn no_environment(after: &After) -> String {
    format!(
        "there is no Environment {:?} in this namespace",
        after.environment
    )
}

fn garbled(after: &After, why: &str) -> String {
    format!("Environment {:?} can't be read ({why})", after.environment)
}

fn there(
    after: &After,
    target: Option<&Guarded<DeployTarget>>,
) -> Result<Option<DeployTargetStatus>, String> {
    let name = &after.environment;
    let problem = match target.map(|target| &target.0) {
        None => return Ok(None),
        Some(Err(invalid)) => Some(invalid.error.clone()),
        Some(Ok(target)) => misnamed(target),
    };
    if let Some(problem) = problem {
        return Err(format!(
            "the DeployTarget of Environment {name:?} can't be read ({problem})"
        ));
    }
    let status = target.and_then(|target| target.0.as_ref().ok()?.status.as_ref());
    match status {
        Some(status) if status.initialized.is_some() => Ok(Some(status.clone())),
        _ => Err(format!(
            "what ran in Environment {name:?} is only being found out"
        )),
    }
}

/// The target as it was found by its name; why it says nothing, if it isn't what that says.
fn by_its_name(target: Option<DeployTarget>) -> (Option<DeployTarget>, Option<Closed>) {
    match target.as_ref().and_then(misnamed) {
        None => (target, None),
        Some(problem) => (None, Some(unknown("its DeployTarget", &problem))),
    }
}

/// Something has to be known before it starts, and can't be read.
fn unreadable(what: &str, error: &ControllerError) -> Closed {
    tracing::warn!(error = %telemetry::chain(error), "can't read {what}");
    unknown(what, &error.to_string())
}

fn unknown(what: &str, problem: &str) -> Closed {
    let message = format!(
        "{what} can't be read ({problem}), so whether it is locked can't be known; nothing starts until it can, and it is tried again."
    );
    Closed {
        refusal: Refusal::passing(WaitingFor::Lock, Reason::GuardsUnknown, message),
        until: None,
    }
}

/// Of whose guards the caches are known to have old versions, until they come to what was read; and whose can't be read,
/// until they can.
///
/// Without it each pass would be decided on the old version, mark a start, find out, and take the mark back, for as long as a
/// watch lags.
#[derive(Debug, Default)]
pub(in crate::controller) struct BehindGuards(Mutex<HashSet<String>>);

impl BehindGuards {
    /// Something was read for the request that the caches don't know.
    pub(in crate::controller) fn found(&self, request: &DeployRequest) {
        self.lock().insert(request.uid().unwrap_or_default());
    }

    /// The caches have what was read, or the request is gone.
    pub(in crate::controller) fn over(&self, uid: &str) {
        self.lock().remove(uid);
    }

    pub(super) fn includes(&self, uid: &str) -> bool {
        self.lock().contains(uid)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_target_that_is_not_what_its_name_says_locks_nothing_and_lets_nothing_start() {
        let place = json!({"account": "eks", "namespace": "shop"});
        let name = ids::target_name(
            "checkout",
            "production",
            &serde_json::from_value(place.clone()).unwrap(),
        );
        let target = |application: &str| -> DeployTarget {
            let target = json!({
                "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployTarget", "metadata": {"name": name},
                "spec": {"application": application, "environment": "production", "place": place},
                "status": {"initialized": "2026-01-02T03:04:05Z"},
            });
            serde_json::from_value(target).unwrap()
        };
        let after: After = serde_json::from_value(json!({"environment": "production"})).unwrap();

        let (own, unread) = by_its_name(Some(target("checkout")));
        assert!(own.is_some() && unread.is_none(), "{unread:?}");
        let before = there(&after, Some(&DeserializeGuard(Ok(target("checkout")))));
        assert!(before.is_ok_and(|status| status.is_some()));

        let (forged, unread) = by_its_name(Some(target("toy")));
        assert_eq!(forged, None);
        let refusal = unread.unwrap().refusal;
        assert_eq!(refusal.waiting_for, Some(WaitingFor::Lock));
        assert!(refusal.message.contains("delete it"), "{}", refusal.message);
        let before = there(&after, Some(&DeserializeGuard(Ok(target("toy")))));
        let said = before.unwrap_err();
        assert!(said.contains("delete it"), "{said}");

        let (none, unread) = by_its_name(None);
        assert!(none.is_none() && unread.is_none(), "{unread:?}");
    }
}
