//! Who locks an Environment or a target, who lifts a lock, and who says that a rollback's hold is over.

use std::time::Duration;

use anyhow::{Context, Result};
use foredeck::api::{DeployTarget, Environment};
use foredeck_testkit::wait_for;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{
    ANOTHER, APPLICATION, BOTH, ENVIRONMENT, FLUX, ONE, condition, environment, lock, spec, target,
};
use crate::support::{ALICE, BOB, Bed, Writer, refused, resource, slack_actor};

const CAROL: &str = "carol@corp.example";

/// What can be locked, and what a verb is needed on.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    /// Another of its kind.
    another: &'static str,
    verbs_on: &'static [(&'static str, &'static str)],
    said: &'static str,
    verb_on: &'static str,
    make: fn(&Value) -> Value,
}

const OF_AN_ENVIRONMENT: Place = Place {
    name: "production",
    another: "born",
    verbs_on: &[ENVIRONMENT],
    said: "the Environment \"production\"",
    verb_on: "on the Environment \"production\" in ",
    make: environment,
};
const OF_A_TARGET: Place = Place {
    name: ONE,
    another: ANOTHER,
    verbs_on: &BOTH,
    said: "\"checkout\" in \"production\"",
    verb_on: "on the Environment \"production\" and on the Application \"checkout\" in ",
    make: target,
};

async fn lifts<K: Resource<DynamicType = ()>>(
    who: &Writer<'_>,
    place: Place,
) -> kube::Result<DynamicObject> {
    who.patch::<K>(place.name, spec(&json!({"lock": null})))
        .await
}

async fn locks<K: Resource<DynamicType = ()>>(
    who: &Writer<'_>,
    place: Place,
    reason: &str,
    by: &str,
) -> kube::Result<DynamicObject> {
    who.patch::<K>(place.name, spec(&lock(reason, by))).await
}

#[tokio::test]
async fn a_lock_takes_the_verb_and_is_its_owners_until_it_is_over() -> Result<()> {
    for bed in Bed::both("locks").await? {
        story::<Environment>(&bed, OF_AN_ENVIRONMENT)
            .await
            .context("an environment")?;
    }
    for bed in Bed::both("locks").await? {
        story::<DeployTarget>(&bed, OF_A_TARGET)
            .await
            .context("a target")?;
    }
    Ok(())
}

async fn story<K: Resource<DynamicType = ()>>(bed: &Bed, place: Place) -> Result<()> {
    let (alice, bob) = (bed.somebody(ALICE, &[]), bed.somebody(BOB, &[]));
    let carol = bed.somebody(CAROL, &[]);
    alice
        .create::<K>(place.name, (place.make)(&json!({})))
        .await?;

    // Setting one takes the verb, on everything that it is of.
    let may_not = [
        &*format!(
            "\"{ALICE}\" may not lock {}: that takes the verb lock",
            place.said
        ),
        place.verb_on,
        "ask somebody who has the verb",
    ];
    let answer = locks::<K>(&alice, place, "mine", ALICE).await;
    refused("without the verb", answer, &may_not)?;
    if let [one, _] = place.verbs_on {
        bed.grant(ALICE, "lock", &[*one]).await?;
        let answer = locks::<K>(&alice, place, "mine", ALICE).await;
        refused("with half of it", answer, &may_not)?;
    }
    bed.grant(ALICE, "lock", place.verbs_on).await?;
    bed.grant(BOB, "lock", place.verbs_on).await?;
    let locked = locks::<K>(&alice, place, "the till\nis migrated", ALICE).await?;
    assert_eq!(locked.data["spec"]["lock"]["by"]["username"], ALICE);

    // While it is in force it is its owner's.
    let may_not = [
        &*format!(
            "\"{BOB}\" may not change or lift the lock of {}",
            place.said
        ),
        "it is \"alice@corp.example\"'s (\"the till is migrated\")",
        "that takes the verb override",
        place.verb_on,
        "Ask \"alice@corp.example\", or somebody who has the verb",
    ];
    refused("lifting another's", lifts::<K>(&bob, place).await, &may_not)?;
    let answer = locks::<K>(&bob, place, "mine now", BOB).await;
    refused("replacing another's", answer, &may_not)?;
    let later = spec(&json!({"lock": {"until": "2030-01-01T00:00:00Z", "by": {"username": BOB}}}));
    let answer = bob.patch::<K>(place.name, later).await;
    refused("changing another's", answer, &may_not)?;
    let label = json!({"metadata": {"labels": {"looked": "at"}}});
    bob.patch::<K>(place.name, label).await?;
    let longer = spec(&json!({"lock": {"until": "2030-01-01T00:00:00Z"}}));
    alice.patch::<K>(place.name, longer).await?;
    // Identity providers disagree about case.
    lifts::<K>(&bed.somebody("Alice@Corp.Example", &[]), place).await?;

    // Somebody who may override lifts it, and takes it over.
    locks::<K>(&alice, place, "again", ALICE).await?;
    bed.grant(CAROL, "override", place.verbs_on).await?;
    let taken = locks::<K>(&carol, place, "mine now", CAROL).await?;
    assert_eq!(taken.data["spec"]["lock"]["by"]["username"], CAROL);
    refused(
        "one's own of before",
        lifts::<K>(&alice, place).await,
        &["may not change or lift"],
    )?;
    lifts::<K>(&carol, place).await?;
    let answer = locks::<K>(&carol, place, "no verb lock", CAROL).await;
    refused("with override alone", answer, &["may not lock"])?;

    // When its time is over, it is nobody's: the controller says so, of this very spec.
    let locked = locks::<K>(&alice, place, "short", ALICE).await?;
    let now = locked.metadata.generation.context("a generation")?;
    let controller = bed.role("controller");
    for (status, reason, generation) in [
        ("True", "Locked", now),
        ("Unknown", "GuardsUnknown", now),
        ("False", "Unlocked", now - 1),
    ] {
        controller
            .status::<K>(place.name, condition(status, reason, generation))
            .await?;
        let answer = locks::<K>(&bob, place, "mine now", BOB).await;
        refused(status, answer, &["may not change or lift"])?;
    }
    controller
        .status::<K>(place.name, condition("False", "Unlocked", now))
        .await?;
    let answer = bed.somebody("dave@corp.example", &[]);
    let answer = lifts::<K>(&answer, place).await;
    refused("without any verb", answer, &["may not lock"])?;
    let taken = locks::<K>(&bob, place, "mine now", BOB).await?;
    assert_eq!(taken.data["spec"]["lock"]["by"]["username"], BOB);
    refused(
        "the new one",
        lifts::<K>(&alice, place).await,
        &["it is \"bob@corp.example\"'s"],
    )?;

    // One that is created with the object says who, and takes the verb too.
    let born = |by: &str| (place.make)(&lock("from the first", by));
    let dave = bed.somebody("dave@corp.example", &[]);
    let answer = dave
        .create::<K>(place.another, born("dave@corp.example"))
        .await;
    refused("born locked", answer, &["may not lock"])?;
    bed.grant(
        ALICE,
        "lock",
        &[("environments", "born"), BOTH[0], APPLICATION],
    )
    .await?;
    let born = alice.create::<K>(place.another, born(ALICE)).await?;
    assert_eq!(born.data["spec"]["lock"]["by"]["username"], ALICE);
    Ok(())
}

async fn deletes<K: Resource<DynamicType = ()>>(
    who: &Writer<'_>,
    place: Place,
) -> kube::Result<DynamicObject> {
    let plain = DeleteParams::default();
    let deleted = who.api::<K>().delete(place.name, &plain).await?;
    Ok(deleted.left().unwrap_or_else(|| gone::<K>(place)))
}

/// As the API server answers that something is deleted.
fn gone<K: Resource<DynamicType = ()>>(place: Place) -> DynamicObject {
    DynamicObject::new(place.name, &resource::<K>())
}

#[tokio::test]
async fn whoever_may_not_lift_a_lock_does_not_delete_what_has_one() -> Result<()> {
    for bed in Bed::both("deletes").await? {
        deleted::<Environment>(&bed, OF_AN_ENVIRONMENT)
            .await
            .context("an environment")?;
    }
    for bed in Bed::both("deletes").await? {
        deleted::<DeployTarget>(&bed, OF_A_TARGET)
            .await
            .context("a target")?;
    }
    Ok(())
}

async fn deleted<K: Resource<DynamicType = ()>>(bed: &Bed, place: Place) -> Result<()> {
    let (alice, bob) = (bed.somebody(ALICE, &[]), bed.somebody(BOB, &[]));
    let (carol, flux) = (bed.somebody(CAROL, &[]), bed.somebody(FLUX, &[]));
    bed.grant(ALICE, "lock", place.verbs_on).await?;
    for user in [CAROL, FLUX] {
        bed.grant(user, "override", place.verbs_on).await?;
    }
    // Who deletes what nobody locks is RBAC's to say.
    bob.create::<K>(place.name, (place.make)(&json!({})))
        .await?;
    deletes::<K>(&bob, place).await?;

    let locked = (place.make)(&lock("the till\nis migrated", ALICE));
    alice.create::<K>(place.name, locked.clone()).await?;
    let may_not = [
        &*format!(
            "\"{BOB}\" may not delete {} and so lift its lock",
            place.said
        ),
        "it is \"alice@corp.example\"'s (\"the till is migrated\")",
        "that takes the verb override",
        place.verb_on,
    ];
    refused("a person", deletes::<K>(&bob, place).await, &may_not)?;
    let all = bob
        .api::<K>()
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await;
    refused("all at once", all.map(|_| gone::<K>(place)), &may_not)?;
    let words = [
        "only people change or lift another's lock",
        "To delete this lifts it: to lift it do it as yourself",
    ];
    refused("automation", deletes::<K>(&flux, place).await, &words)?;

    // Its owner, who may override, an administrator, and what cleans up for others.
    let cleaner = "system:serviceaccount:kube-system:generic-garbage-collector";
    let cleaner = bed.somebody(cleaner, &[]);
    for who in [&alice, &carol, &bed.administrator(), &cleaner] {
        deletes::<K>(who, place).await?;
        alice.create::<K>(place.name, locked.clone()).await?;
    }
    // When its time is over, it is nobody's.
    let now = alice.api::<K>().get(place.name).await?.metadata.generation;
    let over = condition("False", "Unlocked", now.context("a generation")?);
    bed.role("controller").status::<K>(place.name, over).await?;
    deletes::<K>(&bob, place).await?;

    // Else a namespace would never end.
    alice.create::<K>(place.name, locked).await?;
    let namespaces: Api<Namespace> = Api::all(bed.plane.admin());
    namespaces
        .delete(&bed.namespace, &DeleteParams::default())
        .await?;
    wait_for(
        "what is locked to go with its namespace",
        Duration::from_secs(30),
        async || Ok(deletes::<K>(&bob, place).await.map(drop)?),
    )
    .await
}

#[tokio::test]
async fn nobody_has_the_garbage_collector_lift_a_lock() -> Result<()> {
    let owners =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "never-there", "uid": "u"}]);
    let owned = json!({"metadata": {"ownerReferences": owners}});
    let disowned = json!({"metadata": {"ownerReferences": null}});
    let label = json!({"metadata": {"labels": {"looked": "at"}}});
    for bed in Bed::both("owned").await? {
        for user in [ALICE, BOB] {
            bed.grant(user, "lock", &BOTH).await?;
        }
        let (alice, bob) = (bed.somebody(ALICE, &[]), bed.somebody(BOB, &[]));

        // A target is nobody's, whether somebody locks it or not.
        let words = "metadata.ownerReferences of a target are nobody's to set";
        let mut born = DynamicObject::new(ANOTHER, &resource::<DeployTarget>())
            .data(json!({"spec": target(&json!({}))}));
        born.metadata.owner_references = Some(serde_json::from_value(owners.clone())?);
        let answer = bob
            .api::<DeployTarget>()
            .create(&PostParams::default(), &born)
            .await;
        refused("born with an owner", answer, &[words])?;
        alice
            .create::<DeployTarget>(ONE, target(&json!({})))
            .await?;
        let answer = bob.patch::<DeployTarget>(ONE, owned.clone()).await;
        refused("without a lock", answer, &[words])?;
        locks::<DeployTarget>(&alice, OF_A_TARGET, "mine", ALICE).await?;
        for who in [&alice, &bob] {
            let answer = who.patch::<DeployTarget>(ONE, owned.clone()).await;
            refused("with a lock", answer, &[words])?;
        }
        let administrator = bed.administrator();
        administrator
            .patch::<DeployTarget>(ONE, owned.clone())
            .await?;
        bob.patch::<DeployTarget>(ONE, label.clone()).await?;
        bob.patch::<DeployTarget>(ONE, disowned.clone()).await?;

        // What makes Environments may own them, but nobody's lock.
        let name = OF_AN_ENVIRONMENT.name;
        alice
            .create::<Environment>(name, environment(&json!({})))
            .await?;
        bob.patch::<Environment>(name, owned.clone()).await?;
        bob.patch::<Environment>(name, disowned.clone()).await?;
        locks::<Environment>(&alice, OF_AN_ENVIRONMENT, "mine", ALICE).await?;
        let answer = bob.patch::<Environment>(name, owned.clone()).await;
        let words = [
            "metadata.ownerReferences of the Environment \"production\" may not change",
            "while \"alice@corp.example\" locks it",
        ];
        refused("a locked environment", answer, &words)?;
        alice.patch::<Environment>(name, owned.clone()).await?;
        bob.patch::<Environment>(name, label.clone()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hold_keeps_no_lock_whose_time_is_over() -> Result<()> {
    let bed = Bed::new(true, "held").await?;
    for user in [ALICE, BOB] {
        bed.grant(user, "lock", &BOTH).await?;
    }
    let made = bed
        .somebody(ALICE, &[])
        .create::<DeployTarget>(ONE, target(&lock("short", ALICE)))
        .await?;
    let now = made.metadata.generation.context("a generation")?;
    bed.role("controller")
        .status::<DeployTarget>(ONE, condition("True", "Held", now))
        .await?;
    bed.somebody(BOB, &[])
        .patch::<DeployTarget>(ONE, spec(&lock("mine now", BOB)))
        .await?;
    Ok(())
}

#[tokio::test]
async fn nobody_locks_in_the_name_of_another() -> Result<()> {
    for bed in Bed::both("forged").await? {
        bed.grant(ALICE, "lock", &BOTH).await?;
        let alice = bed.somebody(ALICE, &[]);
        alice
            .create::<Environment>("production", environment(&json!({})))
            .await?;
        alice
            .create::<DeployTarget>(ONE, target(&json!({})))
            .await?;
        for (by, words) in [
            (
                json!({"username": BOB}),
                "nobody locks in the name of another",
            ),
            (
                json!({"username": ALICE, "groups": ["okta:leads"]}),
                "okta:leads",
            ),
            (slack_actor(ALICE, &[]), "spec.lock.by.slack"),
            (
                Value::Null,
                "write spec.lock.by.username: \"alice@corp.example\"",
            ),
        ] {
            let said = spec(&json!({"lock": {"reason": "why", "by": by}}));
            let answers = [
                alice.patch::<Environment>("production", said.clone()).await,
                alice.patch::<DeployTarget>(ONE, said).await,
            ];
            for answer in answers {
                if bed.mutating {
                    let stamped = json!({"username": ALICE, "groups": ["writers"]});
                    assert_eq!(answer?.data["spec"]["lock"]["by"], stamped, "{words}");
                } else {
                    refused(words, answer, &[words])?;
                }
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn automation_locks_and_never_lifts_anothers() -> Result<()> {
    for bed in Bed::both("automation").await? {
        for verb in ["lock", "override"] {
            bed.grant(FLUX, verb, &BOTH).await?;
            bed.grant(ALICE, verb, &BOTH).await?;
        }
        let (alice, flux) = (bed.somebody(ALICE, &[]), bed.somebody(FLUX, &[]));
        alice
            .create::<DeployTarget>(ONE, target(&json!({})))
            .await?;
        locks::<DeployTarget>(&flux, OF_A_TARGET, "an alert fires", FLUX).await?;
        lifts::<DeployTarget>(&flux, OF_A_TARGET).await?;
        locks::<DeployTarget>(&alice, OF_A_TARGET, "mine", ALICE).await?;
        for answer in [
            lifts::<DeployTarget>(&flux, OF_A_TARGET).await,
            locks::<DeployTarget>(&flux, OF_A_TARGET, "an alert fires", FLUX).await,
        ] {
            let words = [
                "is one of Kubernetes' own users, and only people change or lift another's lock",
                "is \"alice@corp.example\"'s (\"mine\")",
                "What is applied without spec.lock leaves it alone",
            ];
            refused("automation", answer, &words)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_hold_is_over_when_who_rolled_back_or_an_overrider_says_so() -> Result<()> {
    for bed in Bed::both("unhold").await? {
        let alice = bed.somebody(ALICE, &[]);
        alice
            .create::<DeployTarget>(ONE, target(&json!({})))
            .await?;
        let hold = |uid: &str, by: Value| json!({"hold": {"uid": uid, "name": "back", "by": by, "since": "2026-01-01T00:00:00Z"}});
        let unhold =
            |uid: &str, by: &str| spec(&json!({"unhold": {"uid": uid, "by": {"username": by}}}));
        let controller = bed.role("controller");
        let nothing_holds = "no rollback holds this target: leave spec.unhold out";
        let answer = alice.patch::<DeployTarget>(ONE, unhold("u1", ALICE)).await;
        refused("before any rollback", answer, &[nothing_holds])?;

        controller
            .status::<DeployTarget>(ONE, hold("u1", json!(ALICE)))
            .await?;
        let answer = alice.patch::<DeployTarget>(ONE, unhold("u0", ALICE)).await;
        let words = "spec.unhold.uid is \"u0\", and the rollback that holds this target is \"u1\"";
        refused("another rollback", answer, &[words])?;
        let bob = bed.somebody(BOB, &[]);
        let may_not = [
            "\"bob@corp.example\" may not say whether this rollback's hold is over",
            "\"alice@corp.example\" rolled back, and for anybody else that takes the verb override on the Environment \
             \"production\" and on the Application \"checkout\"",
            "Ask \"alice@corp.example\", or somebody who has the verb",
        ];
        let answer = bob.patch::<DeployTarget>(ONE, unhold("u1", BOB)).await;
        refused("a stranger", answer, &may_not)?;
        let lifted = bed
            .somebody("Alice@corp.example", &[])
            .patch::<DeployTarget>(ONE, unhold("u1", "Alice@corp.example"))
            .await?;
        assert_eq!(lifted.data["spec"]["unhold"]["uid"], "u1");
        let answer = bob
            .patch::<DeployTarget>(ONE, spec(&json!({"unhold": null})))
            .await;
        refused("holding again", answer, &may_not[..1])?;

        bed.grant(BOB, "override", &BOTH).await?;
        bed.grant(FLUX, "override", &BOTH).await?;
        controller
            .status::<DeployTarget>(ONE, hold("u2", Value::Null))
            .await?;
        let flux = bed.somebody(FLUX, &[]);
        let answer = flux.patch::<DeployTarget>(ONE, unhold("u2", FLUX)).await;
        refused("automation", answer, &["which counts for people only"])?;
        let forged = alice.patch::<DeployTarget>(ONE, unhold("u2", BOB)).await;
        refused("in another's name", forged, &["spec.unhold"])?;
        let lifted = bob.patch::<DeployTarget>(ONE, unhold("u2", BOB)).await?;
        assert_eq!(lifted.data["spec"]["unhold"]["by"]["username"], BOB);

        controller
            .status::<DeployTarget>(ONE, hold("u3", json!(ALICE)))
            .await?;
        let receiver = bed.role("receiver");
        let by = |by: Value| spec(&json!({"unhold": {"uid": "u3", "by": by}}));
        let answer = receiver
            .patch::<DeployTarget>(ONE, by(json!({"slack": null})))
            .await;
        refused(
            "the receiver for nobody in Slack",
            answer,
            &["spec.unhold.by.slack"],
        )?;
        receiver
            .patch::<DeployTarget>(ONE, by(slack_actor(ALICE, &[])))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_target_that_is_made_anew_keeps_the_hold_that_it_had() -> Result<()> {
    let hold = json!({"hold": {"uid": "u1", "name": "back", "by": ALICE, "since": "2026-01-01T00:00:00Z"}});
    let born = |by: &str| target(&json!({"unhold": {"uid": "u1", "by": {"username": by}}}));
    for bed in Bed::both("anew").await? {
        for user in [BOB, FLUX] {
            bed.grant(user, "override", &BOTH).await?;
        }
        let (alice, bob) = (bed.somebody(ALICE, &[]), bed.somebody(BOB, &[]));
        alice
            .create::<DeployTarget>(ONE, target(&json!({})))
            .await?;
        bed.role("controller")
            .status::<DeployTarget>(ONE, hold.clone())
            .await?;
        // Nobody locks it: who may delete it is RBAC's to say. What is made anew doesn't say who rolled back.
        deletes::<DeployTarget>(&alice, OF_A_TARGET).await?;
        let may_not = [
            "\"alice@corp.example\" may not say whether this rollback's hold is over (spec.unhold)",
            "that takes the verb override on the Environment \"production\" and on the Application \"checkout\"",
            "Leave it out of a new target, or ask somebody who has the verb",
        ];
        let answer = alice.create::<DeployTarget>(ONE, born(ALICE)).await;
        refused("who may not override", answer, &may_not)?;
        let flux = bed.somebody(FLUX, &[]);
        let answer = flux.create::<DeployTarget>(ONE, born(FLUX)).await;
        refused("automation", answer, &["which counts for people only"])?;

        // Who may override, and who restores a backup.
        let restorer = "system:admin";
        let administrator = (restorer, bed.somebody(restorer, &["system:masters"]));
        for (user, who) in [(BOB, bob), administrator] {
            let made = who.create::<DeployTarget>(ONE, born(user)).await?;
            assert_eq!(made.data["spec"]["unhold"]["by"]["username"], user);
            deletes::<DeployTarget>(&alice, OF_A_TARGET).await?;
        }
        alice
            .create::<DeployTarget>(ONE, target(&json!({})))
            .await?;
    }
    Ok(())
}
