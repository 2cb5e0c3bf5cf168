//! What holds a request is seen before it is asked for, and passed only by those who may: freezes, the stop button, times,
//! the word `override` and the button.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::api::{DeployFreeze, DeployRequest};
use foredeck_testkit::{
    slack::{Ephemeral, User, View},
    wait_for,
};
use jiff::Timestamp;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, buttons, text, words};

const ASK: &str = "/deploy checkout main to staging";

async fn freeze(bed: &Bed, name: &str, spec: Value) -> Result<()> {
    bed.create::<DeployFreeze>(&bed.namespace, name, spec)
        .await?;
    Ok(())
}

async fn lift(bed: &Bed, name: &str) -> Result<()> {
    let api: Api<DeployFreeze> = Api::namespaced(bed.client.clone(), &bed.namespace);
    api.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// A plan, once it shows this, or doesn't any more.
async fn plan(bed: &Bed, person: &str, line: &str, what: &str, shows: bool) -> Result<Ephemeral> {
    wait_for(&format!("{what}: {shows}"), PATIENCE, async || {
        let plan = bed.typed(person, "deploys", line).await?;
        ensure!(text(&plan).contains(what) == shows, "{}", text(&plan));
        Ok(plan)
    })
    .await
}

/// The modal that somebody sees, once it has this title.
pub(crate) async fn modal(bed: &Bed, person: &str, title: &str) -> Result<View> {
    bed.slack
        .until(&format!("{person}'s {title}"), PATIENCE, |world| {
            world.modal(person).filter(|view| view.title() == title)
        })
        .await
}

#[tokio::test]
async fn a_plan_during_a_freeze_says_that_it_will_wait_and_its_click_asks() -> Result<()> {
    let bed = Bed::new("held-freeze").await?;
    let _receiver = bed.receiver().await?;
    let spec = json!({"reason": "year-end closing", "until": "2099-01-01T00:00:00Z", "contact": "the desk"});
    freeze(&bed, "closing", spec).await?;
    let plan = plan(&bed, "alice", ASK, "year-end closing", true).await?;
    let said = text(&plan);
    for part in [
        "held by a freeze",
        "It will wait",
        "the desk",
        "<!date^4070908800^",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(
        buttons(&plan.blocks),
        ["plan-deploy", "plan-edit", "plan-cancel"],
        "alice may not override"
    );
    let accepted = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    assert!(
        text(&accepted).contains("held by a freeze"),
        "{}",
        text(&accepted)
    );
    assert_eq!(bed.request().await?.spec.override_, None);
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_freeze_that_begins_after_the_plan_was_shown_makes_a_new_plan() -> Result<()> {
    let bed = Bed::new("held-begins").await?;
    let _receiver = bed.receiver().await?;
    let first = bed.typed("alice", "deploys", ASK).await?;
    freeze(&bed, "closing", json!({"reason": "year-end closing"})).await?;
    plan(&bed, "alice", ASK, "year-end closing", true).await?;
    let new = bed.pressed("alice", &first, "plan-deploy").await?;
    let said = text(&new);
    assert!(said.contains("Something has changed"), "{said}");
    assert!(said.contains("year-end closing"), "{said}");
    assert!(bed.requests().await?.is_empty(), "nothing starts unseen");
    bed.pressed("alice", &new, "plan-deploy").await?;
    bed.request().await?;
    Ok(())
}

#[tokio::test]
async fn while_everything_is_stopped_every_plan_says_so_first() -> Result<()> {
    let bed = Bed::new("held-stop").await?;
    let _receiver = bed.receiver().await?;
    let spec = json!({"reason": "the database is gone", "by": {"username": "lead@harbor.example"}});
    freeze(&bed, "stop-all", spec).await?;
    for line in [
        ASK,
        "/deploy checkout main to quick",
        "/deploy rollback checkout in production",
    ] {
        let plan = plan(&bed, "alice", line, "Everything is stopped", true).await?;
        let top = words(&plan.blocks[0]);
        assert!(top.contains("Everything is stopped"), "{line}: {top}");
        for part in ["the database is gone", "lead@harbor.example", "resume-all"] {
            assert!(top.contains(part), "{line}: {part}: {top}");
        }
        assert!(
            plan.text
                .starts_with(":octagonal_sign: Everything is stopped"),
            "{}",
            plan.text
        );
    }
    assert!(bed.requests().await?.is_empty());
    lift(&bed, "stop-all").await?;
    plan(&bed, "alice", ASK, "Everything is stopped", false).await?;
    Ok(())
}

#[tokio::test]
async fn an_override_is_typed_by_who_may_and_never_dropped_for_others() -> Result<()> {
    let bed = Bed::new("held-word").await?;
    bed.allow(&bed.namespace, "bob", &["deploy", "override"])
        .await?;
    let _receiver = bed.receiver().await?;
    freeze(&bed, "closing", json!({"reason": "year-end closing"})).await?;
    plan(&bed, "alice", ASK, "year-end closing", true).await?;

    let line = format!("{ASK} override:\"the shop is down\"");
    let refused = bed.typed("alice", "deploys", &line).await?;
    let said = text(&refused);
    assert!(said.contains("Not allowed"), "{said}");
    assert!(said.contains("verb `override` on"), "{said}");
    assert!(said.contains("Ask without the override"), "{said}");
    assert_eq!(buttons(&refused.blocks), Vec::<String>::new());

    let plan = bed.typed("bob", "deploys", &line).await?;
    let said = text(&plan);
    assert!(said.contains("past a freeze"), "{said}");
    assert!(said.contains("the shop is down"), "{said}");
    bed.pressed("bob", &plan, "plan-deploy").await?;
    let word = bed.request().await?.spec.override_.unwrap();
    assert_eq!(word.reason, "the shop is down");
    let by = word.by.unwrap();
    assert_eq!(by.username, "bob@harbor.example");
    assert_eq!(by.slack.unwrap().user, bed.slack.user("bob").id());
    Ok(())
}

#[tokio::test]
async fn a_plan_passes_a_freeze_once_somebody_who_may_says_why() -> Result<()> {
    let bed = Bed::new("held-plan-button").await?;
    bed.allow(&bed.namespace, "bob", &["deploy", "override"])
        .await?;
    let _receiver = bed.receiver().await?;
    freeze(&bed, "closing", json!({"reason": "year-end closing"})).await?;
    let plan = plan(&bed, "bob", ASK, "year-end closing", true).await?;
    assert!(buttons(&plan.blocks).contains(&"plan-override".to_owned()));
    bed.press("bob", &plan, "plan-override")?.answered().await?;
    let form = modal(&bed, "bob", "Override").await?;
    let bob = bed.slack.user("bob");
    bob.fill(&form, "answer", "the shop is down")?;
    bob.submit(&form)?.answered().await?;
    let shown = modal(&bed, "bob", "Plan").await?;
    let said = words(&json!(shown.blocks()));
    assert!(said.contains("the shop is down"), "{said}");
    assert!(bed.requests().await?.is_empty());
    bob.submit(&shown)?.answered().await?;
    let word = bed.request().await?.spec.override_.unwrap();
    assert_eq!(word.reason, "the shop is down");
    // The message with the first plan is another copy of it.
    let other = bed.pressed("bob", &plan, "plan-deploy").await?;
    assert!(!other.text.contains("Accepted"), "{}", text(&other));
    assert_eq!(bed.requests().await?.len(), 1);
    Ok(())
}

fn held() -> Value {
    let closed = json!({"gate": "Freeze", "state": "Closed", "reason": "Frozen", "message": "Held: freeze `closing`."});
    json!({
        "phase": "Queued", "gates": [closed],
        "waiting": {"for": "Freeze", "message": "Held: freeze `closing`.", "since": "2026-01-01T00:00:00Z"},
    })
}

/// A request that a freeze holds, as the receiver knows it, and alice's message about its acceptance, which bob can't press
/// but whose button's value he can send.
pub(crate) async fn held_request(bed: &Bed) -> Result<DeployRequest> {
    let user = bed.slack.user("alice");
    let requester = json!({"username": "alice@harbor.example", "slack": {"team": bed.slack.team_id(), "user": user.id()}});
    let spec = json!({"application": "checkout", "environment": "staging", "version": "v42", "requester": requester});
    bed.create::<DeployRequest>(&bed.namespace, "one", spec)
        .await?;
    bed.set_status("one", held()).await?;
    known(bed, "closing").await?;
    Ok(bed.requests_api().get("one").await?)
}

async fn known(bed: &Bed, shows: &str) -> Result<()> {
    wait_for("the receiver has heard of it", PATIENCE, async || {
        let answer = bed
            .typed("alice", "deploys", "/deploy status checkout")
            .await?;
        ensure!(text(&answer).contains(shows), "{}", text(&answer));
        Ok(())
    })
    .await
}

/// Posts the live message as the relay does.
pub(crate) async fn live(bed: &Bed) -> Result<foredeck_testkit::slack::Message> {
    let request = bed.requests_api().get("one").await?;
    bed.post(&foredeck::relay::message::live(&request, None, None))
        .await
}

/// Presses Override on the message, and says why.
async fn overrides(
    bed: &Bed,
    person: &str,
    on: &foredeck_testkit::slack::Message,
    why: &str,
) -> Result<View> {
    let user = bed.slack.user(person);
    user.click(on, "request-override")?.answered().await?;
    let form = modal(bed, person, "Override").await?;
    user.fill(&form, "answer", why)?;
    user.submit(&form)?.answered().await?;
    modal(bed, person, "Foredeck").await
}

#[tokio::test]
async fn of_two_who_override_a_request_one_wins_and_the_other_is_told() -> Result<()> {
    let bed = Bed::new("held-two").await?;
    bed.slack.add_user(User::named("carol"), &["deploys"]);
    for person in ["bob", "carol"] {
        bed.allow(&bed.namespace, person, &["override"]).await?;
    }
    let _receiver = bed.receiver().await?;
    held_request(&bed).await?;
    let message = live(&bed).await?;

    // Who may not is told whom to ask, and no question is opened.
    let before = bed.slack.ephemerals("alice").len();
    let alice = bed.slack.user("alice");
    alice
        .click(&message, "request-override")?
        .answered()
        .await?;
    let told = bed.shown("alice", before).await?;
    assert!(
        text(&told).contains("no verb `override`"),
        "{}",
        text(&told)
    );

    // Both have the question open; bob answers first.
    let carol = bed.slack.user("carol");
    carol
        .click(&message, "request-override")?
        .answered()
        .await?;
    let late = modal(&bed, "carol", "Override").await?;
    let done = overrides(&bed, "bob", &message, "the shop is down").await?;
    let said = words(&json!(done.blocks()));
    assert!(said.contains("Overridden"), "{said}");
    carol.fill(&late, "answer", "me too")?;
    carol.submit(&late)?.answered().await?;
    let told = modal(&bed, "carol", "Foredeck").await?;
    let said = words(&json!(told.blocks()));
    assert!(said.contains("bob@harbor.example"), "{said}");
    assert!(said.contains("overridden that already"), "{said}");
    let word = bed.requests_api().get("one").await?.spec.override_.unwrap();
    assert_eq!(word.reason, "the shop is down");
    assert_eq!(word.by.unwrap().username, "bob@harbor.example");

    // Once more by bob himself.
    wait_for("bob is told that he did", PATIENCE, async || {
        let before = bed.slack.ephemerals("bob").len();
        let bob = bed.slack.user("bob");
        bob.click(&message, "request-override")?.answered().await?;
        let told = bed.shown("bob", before).await?;
        ensure!(
            text(&told).contains("You have overridden that already"),
            "{}",
            text(&told)
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_has_started_or_is_to_end_is_overridden_by_nobody() -> Result<()> {
    let bed = Bed::new("held-late").await?;
    bed.allow(&bed.namespace, "bob", &["override"]).await?;
    let _receiver = bed.receiver().await?;
    held_request(&bed).await?;
    let message = live(&bed).await?;
    let press = async |shows: &str| {
        wait_for(shows, PATIENCE, async || {
            let before = bed.slack.ephemerals("bob").len();
            let bob = bed.slack.user("bob");
            bob.click(&message, "request-override")?.answered().await?;
            let told = bed.shown("bob", before).await?;
            ensure!(text(&told).contains(shows), "{}", text(&told));
            Ok(())
        })
        .await
    };
    let cancel =
        json!({"spec": {"cancel": {"reason": "no", "by": {"username": "alice@harbor.example"}}}});
    bed.requests_api()
        .patch("one", &PatchParams::default(), &Patch::Merge(&cancel))
        .await?;
    known(&bed, "to be canceled").await?;
    press("is to be canceled").await?;
    bed.set_status(
        "one",
        json!({"phase": "Running", "waiting": null, "stage": "Bake"}),
    )
    .await?;
    known(&bed, "Bake").await?;
    press("nothing to override any more").await?;
    assert_eq!(bed.requests_api().get("one").await?.spec.override_, None);
    Ok(())
}

#[tokio::test]
async fn a_time_for_tonight_is_shown_and_asked_for() -> Result<()> {
    let bed = Bed::new("held-time").await?;
    let _receiver = bed.receiver().await?;
    let at = Timestamp::from_second(Timestamp::now().as_second() + 6 * 3600)?;
    let before = at + Duration::from_hours(1);
    let line = format!("{ASK} at:{at} before:{before}");
    let plan = bed.typed("alice", "deploys", &line).await?;
    let said = text(&plan);
    assert!(said.contains("held by its time"), "{said}");
    for time in [at, before] {
        let date = format!("<!date^{}^", time.as_second());
        assert!(said.contains(&date), "{date}: {said}");
    }
    bed.pressed("alice", &plan, "plan-deploy").await?;
    let spec = bed.request().await?.spec;
    assert_eq!(spec.not_before.map(|time| time.0), Some(at));
    assert_eq!(spec.start_before.map(|time| time.0), Some(before));

    for (times, problem) in [
        ("at:2020-01-01T00:00:00Z", "has passed already"),
        ("before:2020-01-01T00:00:00Z", "would never start"),
        ("at:tonight", "is no time"),
        (
            "at:2099-01-02T00:00:00Z before:2099-01-01T00:00:00Z",
            "the second is not after the first",
        ),
    ] {
        let told = bed
            .typed("alice", "deploys", &format!("{ASK} {times}"))
            .await?;
        assert!(text(&told).contains(problem), "{times}: {}", text(&told));
    }
    Ok(())
}

#[tokio::test]
async fn the_form_asks_for_times_by_the_readers_own_clock() -> Result<()> {
    let bed = Bed::new("held-form").await?;
    let _receiver = bed.receiver().await?;
    let at = Timestamp::now().as_second() + 6 * 3600;
    let plan = bed.typed("alice", "deploys", ASK).await?;
    bed.press("alice", &plan, "plan-edit")?.answered().await?;
    let form = modal(&bed, "alice", "Plan a deployment").await?;
    let alice = bed.slack.user("alice");
    let field = ("at", "form-value");
    alice.select(&form, field, &at.to_string())?;
    alice.submit(&form)?.answered().await?;
    let shown = modal(&bed, "alice", "Plan").await?;
    let said = words(&json!(shown.blocks()));
    assert!(said.contains(&format!("<!date^{at}^")), "{said}");
    alice.submit(&shown)?.answered().await?;
    let spec = bed.request().await?.spec;
    assert_eq!(spec.not_before.map(|time| time.0.as_second()), Some(at));
    assert_eq!(spec.start_before, None);
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    Ok(())
}
