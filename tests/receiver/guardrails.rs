//! `lock`, `unlock`, `stop-all`, `resume-all` and `why`: by whom, once, and what everybody else is told.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::{
    api::{
        DeployFreeze, DeployTarget, Environment, deploy_freeze::STOP_ALL, deploy_request::Place,
    },
    domain::ids,
};
use foredeck_testkit::{
    ApiProxy,
    api_proxy::{ApiEffect, ApiFault},
    slack::{Ephemeral, User},
    wait_for,
};
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, text};

const LOCK: &str = "/deploy lock checkout in production \"database migration\" 2h";
const STOP: &str = "/deploy stop-all \"payments are down <!channel>\"";
const UNLOCK: &str = "/deploy unlock checkout in production";

/// A bed of more people.
async fn crowd(namespace: &str) -> Result<Bed> {
    let bed = Bed::new(namespace).await?;
    for person in ["carol", "dave"] {
        bed.slack.add_user(User::named(person), &["deploys"]);
    }
    Ok(bed)
}

fn targets(bed: &Bed) -> Api<DeployTarget> {
    Api::namespaced(bed.client.clone(), &bed.namespace)
}

fn environments(bed: &Bed) -> Api<Environment> {
    Api::namespaced(bed.client.clone(), &bed.namespace)
}

fn freezes(bed: &Bed) -> Api<DeployFreeze> {
    Api::namespaced(bed.client.clone(), &bed.namespace)
}

/// The name of checkout's target in production.
fn name() -> String {
    let place = Place {
        account: "eks-test".to_owned(),
        namespace: "shop-production".to_owned(),
    };
    ids::target_name("checkout", "production", &place)
}

async fn said(bed: &Bed, person: &str, line: &str) -> Result<String> {
    let answer: Ephemeral = bed.typed(person, "deploys", line).await?;
    Ok(text(&answer))
}

/// Lets a person press the stop button, in addition.
pub(crate) async fn may_stop(bed: &Bed, person: &str) -> Result<()> {
    let name = format!("{person}-stops");
    let role: Role = serde_json::from_value(json!({"metadata": {"name": name}, "rules": [{
        "apiGroups": ["foredeck.dev"], "resources": ["deployfreezes"], "resourceNames": [STOP_ALL], "verbs": ["override"],
    }]}))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("{person}@harbor.example"),
        }],
    }))?;
    let parameters = PostParams::default();
    Api::namespaced(bed.client.clone(), &bed.namespace)
        .create(&parameters, &role)
        .await?;
    Api::namespaced(bed.client.clone(), &bed.namespace)
        .create(&parameters, &binding)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_lock_is_its_owners_until_they_lift_it() -> Result<()> {
    let bed = crowd("lock").await?;
    for person in ["bob", "carol"] {
        bed.allow(&bed.namespace, person, &["deploy", "lock"])
            .await?;
    }
    bed.allow(&bed.namespace, "dave", &["override"]).await?;
    let receiver = bed.receiver().await?;
    let locked = said(&bed, "bob", LOCK).await?;
    assert!(
        locked.contains("Locked: *checkout* in *production*"),
        "{locked}"
    );
    let target = targets(&bed).get(&name()).await?;
    let lock = target
        .spec
        .lock
        .clone()
        .unwrap_or_else(|| panic!("{target:?}"));
    assert_eq!(lock.reason, "database migration");
    assert_eq!(
        lock.by.map(|by| by.username).as_deref(),
        Some("bob@harbor.example")
    );
    let ends = lock
        .until
        .map(|until| until.0.duration_since(Timestamp::now()).as_secs());
    assert!(
        ends.is_some_and(|ends| (7000..=7200).contains(&ends)),
        "{ends:?}"
    );
    // Said again, by them and by others.
    let again = said(&bed, "bob", LOCK).await?;
    assert!(again.contains("locked by you already"), "{again}");
    let others = said(&bed, "carol", LOCK).await?;
    for part in [
        "Not locked by you",
        "bob@harbor.example",
        "database migration",
        "until",
        "unlock checkout in production",
    ] {
        assert!(others.contains(part), "{part}: {others}");
    }
    assert_eq!(
        targets(&bed).get(&name()).await?.resource_version(),
        target.resource_version()
    );
    // Another replica knows it too.
    drop(receiver);
    let _other = bed.receiver().await?;
    let refused = said(&bed, "carol", UNLOCK).await?;
    assert!(
        refused.contains("Not allowed") && refused.contains("bob@harbor.example"),
        "{refused}"
    );
    let lifted = said(&bed, "bob", UNLOCK).await?;
    assert!(
        lifted.contains("Unlocked") && lifted.contains("Nothing waits there"),
        "{lifted}"
    );
    assert_eq!(targets(&bed).get(&name()).await?.spec.lock, None);
    let nothing = said(&bed, "bob", UNLOCK).await?;
    assert!(nothing.contains("is not locked"), "{nothing}");
    // With the verb override, another's.
    said(&bed, "carol", LOCK).await?;
    let lifted = said(&bed, "dave", UNLOCK).await?;
    assert!(
        lifted.contains("Unlocked") && lifted.contains("carol@harbor.example"),
        "{lifted}"
    );
    assert_eq!(targets(&bed).get(&name()).await?.spec.lock, None);
    Ok(())
}

#[tokio::test]
async fn of_two_who_lock_at_once_one_wins_and_the_other_is_told_who() -> Result<()> {
    let bed = crowd("both").await?;
    for person in ["bob", "carol"] {
        bed.allow(&bed.namespace, person, &["lock"]).await?;
    }
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    // One that doesn't exist yet, and one that does: bob has seen neither locked when carol locks it.
    for (line, method, resource) in [
        (LOCK, Method::POST, "deploytargets"),
        (
            "/deploy lock staging \"audit\"",
            Method::PATCH,
            "environments",
        ),
    ] {
        let mut held = proxy.hold(method, resource, "bob@harbor.example");
        let before = bed.slack.ephemerals("bob").len();
        let bobs = bed.slack.user("bob").command("deploys", line)?;
        held.arrived().await?;
        let winner = said(&bed, "carol", line).await?;
        held.release();
        bobs.answered().await?;
        let loser = text(&bed.shown("bob", before).await?);
        assert!(winner.contains("Locked:"), "{resource}: {winner}");
        assert!(
            loser.contains("Not locked by you") && loser.contains("carol@harbor.example"),
            "{resource}: {loser}"
        );
        let lock = if resource == "deploytargets" {
            targets(&bed).get(&name()).await?.spec.lock
        } else {
            environments(&bed).get("staging").await?.spec.lock
        };
        let by = lock.and_then(|lock| lock.by).map(|by| by.username);
        assert_eq!(by.as_deref(), Some("carol@harbor.example"), "{resource}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unlock_leaves_a_lock_that_somebody_else_sets_at_the_same_moment() -> Result<()> {
    let bed = crowd("unlock-both").await?;
    for person in ["bob", "carol"] {
        bed.allow(&bed.namespace, person, &["lock"]).await?;
    }
    bed.allow(&bed.namespace, "dave", &["override"]).await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let api = targets(&bed);
    let set = async |lock: Value| {
        let patch = Patch::Merge(json!({"spec": {"lock": lock}}));
        api.patch(&name(), &PatchParams::default(), &patch).await
    };
    // Dave may lift carol's lock, too, and hasn't seen it: he meant bob's.
    for (person, told) in [("bob", "Not allowed"), ("dave", "Not unlocked")] {
        let locked = said(&bed, "bob", LOCK).await?;
        assert!(locked.contains("Locked:"), "{locked}");
        let mut held = proxy.hold(Method::PATCH, "deploytargets", "\"lock\":null");
        let before = bed.slack.ephemerals(person).len();
        let unlock = bed.slack.user(person).command("deploys", UNLOCK)?;
        held.arrived().await?;
        let carols = json!({
            "reason": "audit", "until": null, "by": {"username": "carol@harbor.example", "slack": null},
        });
        set(carols).await?;
        held.release();
        unlock.answered().await?;
        let answer = text(&bed.shown(person, before).await?);
        for part in [told, "carol@harbor.example", "audit"] {
            assert!(answer.contains(part), "{person}: {part}: {answer}");
        }
        let lock = api.get(&name()).await?.spec.lock;
        let by = lock.and_then(|lock| lock.by).map(|by| by.username);
        assert_eq!(by.as_deref(), Some("carol@harbor.example"), "{person}");
        set(Value::Null).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_lock_whose_namespace_is_gone_is_refused_and_not_tried_again() -> Result<()> {
    let bed = crowd("lock-gone").await?;
    bed.allow(&bed.namespace, "bob", &["lock"]).await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let gone = ApiEffect::Refuse(404);
    proxy.inject(ApiFault::new(Method::POST, "deploytargets", gone));
    let refused = said(&bed, "bob", LOCK).await?;
    assert!(
        refused.contains("Nothing was changed: the API server refuses to lock"),
        "{refused}"
    );
    let writes = proxy.writes();
    let tries = writes
        .iter()
        .filter(|write| write.method == Method::POST && write.resource == "deploytargets");
    assert_eq!(tries.count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_lock_that_is_delivered_again_changes_nothing_and_one_that_is_late_does_nothing()
-> Result<()> {
    fn later() -> Timestamp {
        Timestamp::now() + Duration::from_secs(90)
    }
    let bed = crowd("relock").await?;
    bed.allow(&bed.namespace, "bob", &["lock"]).await?;
    let receiver = bed.receiver().await?;
    let command = bed.slack.user("bob").command("deploys", LOCK)?;
    command.answered().await?;
    let mention = bed
        .slack
        .user("bob")
        .mention("deploys", None, "lock staging \"audit\" 2h")?;
    mention.answered().await?;
    let locked = wait_for("both locks", PATIENCE, async || {
        let target = targets(&bed).get(&name()).await?;
        let environment = environments(&bed).get("staging").await?;
        ensure!(target.spec.lock.is_some() && environment.spec.lock.is_some());
        Ok((target.resource_version(), environment.resource_version()))
    })
    .await?;
    for delivery in [&command, &mention] {
        bed.slack.redeliver(delivery).answered().await?;
    }
    let now = async || -> Result<_> {
        let target = targets(&bed).get(&name()).await?.resource_version();
        Ok((
            target,
            environments(&bed).get("staging").await?.resource_version(),
        ))
    };
    assert_eq!(now().await?, locked);
    // Unlocked meanwhile; another process hears the old message.
    let unlocked = said(&bed, "bob", "/deploy unlock staging").await?;
    assert!(unlocked.contains("Unlocked"), "{unlocked}");
    drop(receiver);
    let _late = bed.receiver_as(bed.plane.admin_config(), later).await?;
    bed.slack.redeliver(&mention).answered().await?;
    assert_eq!(environments(&bed).get("staging").await?.spec.lock, None);
    Ok(())
}

#[tokio::test]
async fn a_lock_that_is_over_is_nobodys_and_a_hold_is_lifted_by_who_rolled_back() -> Result<()> {
    let bed = crowd("over").await?;
    for person in ["bob", "carol"] {
        bed.allow(&bed.namespace, person, &["lock"]).await?;
    }
    let _receiver = bed.receiver().await?;
    said(&bed, "bob", LOCK).await?;
    let past = json!({"spec": {"lock": {"until": "2020-01-01T00:00:00Z"}}});
    let api = targets(&bed);
    api.patch(&name(), &PatchParams::default(), &Patch::Merge(past))
        .await?;
    let lifted = said(&bed, "carol", UNLOCK).await?;
    assert!(
        lifted.contains("a lock that is over, by `bob@harbor.example`"),
        "{lifted}"
    );
    let hold = json!({"status": {"hold": {
        "uid": "u1", "name": "slack-1", "by": "bob@harbor.example", "from": "v2", "to": "v1", "since": "2026-01-01T00:00:00Z",
    }}});
    api.patch_status(&name(), &PatchParams::default(), &Patch::Merge(hold))
        .await?;
    let refused = said(&bed, "carol", UNLOCK).await?;
    assert!(
        refused.contains("Not allowed") && refused.contains("a rollback from `v2` to `v1`"),
        "{refused}"
    );
    let lifted = said(&bed, "bob", UNLOCK).await?;
    assert!(lifted.contains("Unlocked"), "{lifted}");
    let unhold = api.get(&name()).await?.spec.unhold;
    let unhold = unhold.map(|unhold| (unhold.uid, unhold.by.map(|by| by.username)));
    assert_eq!(
        unhold,
        Some(("u1".to_owned(), Some("bob@harbor.example".to_owned())))
    );
    let nothing = said(&bed, "bob", UNLOCK).await?;
    assert!(nothing.contains("is not locked"), "{nothing}");
    Ok(())
}

#[tokio::test]
async fn who_may_not_is_told_the_verb_and_who_sees_nothing_is_told_nothing() -> Result<()> {
    let bed = crowd("mayn").await?;
    bed.allow(&bed.namespace, "bob", &["deploy"]).await?;
    let _receiver = bed.receiver().await?;
    let refused = said(&bed, "bob", LOCK).await?;
    for part in [
        "Not allowed",
        "verb `lock` on application *checkout*",
        "verb `lock` on environment *production*",
        &format!(
            "`kubectl describe roles,rolebindings --namespace {}`",
            bed.namespace
        ),
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let refused = said(&bed, "bob", "/deploy lock production \"audit\"").await?;
    assert!(!refused.contains("application"), "{refused}");
    let refused = said(&bed, "bob", "/deploy stop-all \"because\"").await?;
    assert!(refused.contains("`deployfreezes/stop-all`"), "{refused}");
    let refused = said(&bed, "bob", "/deploy resume-all").await?;
    assert!(refused.contains("Not allowed"), "{refused}");
    // Not there, and not to be seen, sound alike.
    for line in [LOCK, UNLOCK, "/deploy why checkout in production"] {
        let hidden = said(&bed, "carol", line).await?;
        assert!(
            hidden.contains("There is no application `checkout` that you may see"),
            "{hidden}"
        );
    }
    let hidden = said(&bed, "carol", "/deploy lock production \"audit\"").await?;
    assert!(
        hidden.contains("There is no environment `production` that you may see"),
        "{hidden}"
    );
    assert!(targets(&bed).get_opt(&name()).await?.is_none());
    assert!(freezes(&bed).get_opt(STOP_ALL).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn the_stop_button_is_pressed_once_and_lifted_by_who_may() -> Result<()> {
    let bed = crowd("stop").await?;
    bed.allow(&bed.namespace, "bob", &["deploy"]).await?;
    bed.allow(&bed.namespace, "dave", &[]).await?;
    for person in ["alice", "bob"] {
        may_stop(&bed, person).await?;
    }
    let _receiver = bed.receiver().await?;
    let stopped = said(&bed, "alice", STOP).await?;
    assert!(stopped.contains("Everything is stopped"), "{stopped}");
    assert!(!stopped.contains("<!channel>"), "{stopped}");
    let freeze = freezes(&bed).get(STOP_ALL).await?;
    let by = freeze.spec.by.as_ref().map(|by| by.username.as_str());
    assert_eq!(by, Some("alice@harbor.example"));
    let again = said(&bed, "alice", STOP).await?;
    assert!(again.contains("stopped by you already"), "{again}");
    let others = said(&bed, "bob", "/deploy stop-all \"me too\"").await?;
    assert!(
        others.contains("stopped already") && others.contains("alice@harbor.example"),
        "{others}"
    );
    assert_eq!(freezes(&bed).get(STOP_ALL).await?.uid(), freeze.uid());
    wait_for("the receiver knows the freeze", PATIENCE, async || {
        let why = said(&bed, "bob", "/deploy why checkout in production").await?;
        ensure!(
            why.contains("*Freeze*") || why.contains("`Freeze`"),
            "{why}"
        );
        Ok(())
    })
    .await?;
    for line in ["/deploy why checkout in production", "/deploy status"] {
        let told = said(&bed, "bob", line).await?;
        let first = told.lines().next().unwrap_or_default();
        assert!(first.contains("*Everything is stopped*"), "{line}: {told}");
    }
    // Who may not lift it is told who did, if they may see anything at all.
    for (person, told) in [("dave", true), ("carol", false)] {
        let refused = said(&bed, person, "/deploy resume-all").await?;
        assert!(refused.contains("Not allowed"), "{person}: {refused}");
        let names = refused.contains("Everything is stopped now by `alice@harbor.example`");
        assert_eq!(names, told, "{person}: {refused}");
    }
    let resumed = said(&bed, "bob", "/deploy resume-all").await?;
    assert!(
        resumed.contains("It goes on") && resumed.contains("alice@harbor.example"),
        "{resumed}"
    );
    assert!(freezes(&bed).get_opt(STOP_ALL).await?.is_none());
    let nothing = said(&bed, "bob", "/deploy resume-all").await?;
    assert!(nothing.contains("Nothing was stopped"), "{nothing}");
    Ok(())
}

#[tokio::test]
async fn the_stop_button_is_not_pressed_again_and_what_was_pressed_anew_is_not_lifted() -> Result<()>
{
    let bed = crowd("stop-lost").await?;
    may_stop(&bed, "alice").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let lost = |effect| ApiFault::new(Method::POST, "deployfreezes", effect).times(1);
    // It may be made still: whoever lifts it then wants that it stays lifted.
    proxy.inject(lost(ApiEffect::Refuse(500)));
    let unknown = said(&bed, "alice", STOP).await?;
    assert!(
        unknown.contains("unknown whether everything is stopped"),
        "{unknown}"
    );
    assert!(freezes(&bed).get_opt(STOP_ALL).await?.is_none());
    proxy.inject(lost(ApiEffect::LoseAnswer));
    let stopped = said(&bed, "alice", STOP).await?;
    assert!(stopped.contains("Everything is stopped"), "{stopped}");
    let first = freezes(&bed).get(STOP_ALL).await?;
    // Lifted and pressed by others while alice's word is on its way.
    let mut held = proxy.hold(Method::DELETE, "deployfreezes", "");
    let resumed = bed
        .slack
        .user("alice")
        .command("deploys", "/deploy resume-all")?;
    held.arrived().await?;
    let parameters = DeleteParams::default();
    freezes(&bed).delete(STOP_ALL, &parameters).await?;
    let spec = json!({"reason": "the disks are full"});
    let anew: DeployFreeze = bed.create(&bed.namespace, STOP_ALL, spec).await?;
    assert_ne!(anew.uid(), first.uid());
    held.release();
    resumed.answered().await?;
    bed.slack
        .until("that it is still stopped", PATIENCE, |world| {
            let all = world.ephemerals("alice");
            let mut all = all.iter().map(text);
            all.find(|told| told.contains("Still stopped") && told.contains("the disks are full"))
        })
        .await?;
    assert_eq!(freezes(&bed).get(STOP_ALL).await?.uid(), anew.uid());
    Ok(())
}

#[tokio::test]
async fn why_shows_every_gate_of_a_request_and_what_one_would_meet() -> Result<()> {
    let bed = crowd("why").await?;
    bed.allow(&bed.namespace, "bob", &["lock"]).await?;
    let _receiver = bed.receiver().await?;
    let free = said(&bed, "alice", "/deploy why checkout in production").await?;
    assert!(free.contains("no freeze or lock would hold"), "{free}");
    said(&bed, "bob", "/deploy lock production \"audit\"").await?;
    wait_for("the lock is told", PATIENCE, async || {
        let why = said(&bed, "alice", "/deploy why checkout in production").await?;
        ensure!(why.contains("audit"), "{why}");
        Ok(())
    })
    .await?;
    let spec = json!({"application": "checkout", "environment": "production", "version": "v42"});
    bed.create::<foredeck::api::DeployRequest>(&bed.namespace, "one", spec)
        .await?;
    let gates: Vec<Value> = ["Policies", "Authorization", "Approval", "Time", "Order", "Freeze", "Lock", "Queue"]
        .into_iter()
        .map(|gate| match gate {
            "Lock" => json!({"gate": gate, "state": "Closed", "message": "locked by `bob` <!here>", "until": "2099-01-01T00:00:00Z"}),
            _ => json!({"gate": gate, "state": "Open"}),
        })
        .collect();
    bed.set_status("one", json!({"phase": "Queued", "gates": gates}))
        .await?;
    wait_for("all gates", PATIENCE, async || {
        let why = said(&bed, "alice", "/deploy why one").await?;
        ensure!(why.contains("*Queue*") || why.contains("`Queue`"), "{why}");
        ensure!(
            !why.contains("<!here>") && why.contains("locked by 'bob'"),
            "{why}"
        );
        Ok(())
    })
    .await?;
    Ok(())
}

/// Writes into the status of an object of that kind, whatever may be read of it afterwards.
async fn scribble<K>(bed: &Bed, name: &str, status: Value) -> Result<()>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let kind = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(bed.client.clone(), &bed.namespace, &kind);
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_can_not_be_read_is_said_to_be_so_and_is_neither_locked_nor_lifted() -> Result<()> {
    // The schema of a status takes any offset, which no clock has.
    const UNREADABLE: &str = "2026-01-01T00:00:00+99:99";
    let bed = crowd("garbled").await?;
    bed.allow(&bed.namespace, "bob", &["lock"]).await?;
    may_stop(&bed, "bob").await?;
    let _receiver = bed.receiver().await?;
    said(&bed, "bob", LOCK).await?;
    let target = json!({"initialized": UNREADABLE});
    scribble::<DeployTarget>(&bed, &name(), target).await?;
    ensure!(targets(&bed).get(&name()).await.is_err());
    for line in [UNLOCK, LOCK] {
        let told = said(&bed, "bob", line).await?;
        for part in [
            "Nothing was changed",
            "*checkout* in *production*",
            "can't be read",
            "until somebody mends that",
        ] {
            assert!(told.contains(part), "{line}: {part}: {told}");
        }
    }
    said(&bed, "bob", STOP).await?;
    let freeze = json!({"since": UNREADABLE});
    scribble::<DeployFreeze>(&bed, STOP_ALL, freeze).await?;
    ensure!(freezes(&bed).get(STOP_ALL).await.is_err());
    let told = said(&bed, "bob", "/deploy resume-all").await?;
    assert!(
        told.contains("Still stopped") && told.contains("can't be read"),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn a_lock_ends_before_the_last_year_that_a_calendar_has() -> Result<()> {
    let bed = crowd("last-year").await?;
    bed.allow(&bed.namespace, "bob", &["lock"]).await?;
    let _receiver = bed.receiver().await?;
    let until = |time: &str| format!("/deploy lock checkout in production \"audit\" until {time}");
    let refused = said(&bed, "bob", &until("9999-01-01T00:00:00Z")).await?;
    assert!(refused.contains("no calendar goes so far"), "{refused}");
    assert!(targets(&bed).get_opt(&name()).await?.is_none());
    let locked = said(&bed, "bob", &until("9998-12-31T23:59:59Z")).await?;
    assert!(locked.contains("Locked:"), "{locked}");
    Ok(())
}
