//! Mentions, direct messages, questions, and lines that can't be read.

use anyhow::{Result, ensure};
use foredeck::api::Environment;
use foredeck_testkit::{
    slack::{ChannelKind, User},
    wait_for,
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::support::{Bed, PATIENCE, buttons, text, words};

#[tokio::test]
async fn a_mention_is_answered_to_its_author_alone() -> Result<()> {
    let bed = Bed::new("mention").await?;
    let _receiver = bed.receiver().await?;
    let before = bed.slack.messages("deploys").len();
    let asked = bed
        .slack
        .user("alice")
        .mention("deploys", None, "checkout main to staging")?;
    asked.answered().await?;
    let plan = bed.shown("alice", 0).await?;
    assert!(plan.text.starts_with("Plan:"), "{}", text(&plan));
    assert_eq!(
        bed.slack.messages("deploys").len(),
        before + 1,
        "her own words only"
    );
    let accepted = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    bed.request().await?;
    Ok(())
}

#[tokio::test]
async fn a_request_from_a_thread_is_told_of_in_that_thread() -> Result<()> {
    let bed = Bed::new("thread").await?;
    let _receiver = bed.receiver().await?;
    let parent = bed
        .slack
        .user("bob")
        .say("deploys", None, "anything new?")?;
    let asked = bed.slack.user("alice").mention(
        "deploys",
        Some(&parent.message.ts),
        "checkout main to quick",
    )?;
    asked.answered().await?;
    let request = bed.request().await?;
    let place = request.spec.notify.unwrap().slack.unwrap();
    assert_eq!(place.thread_ts, Some(parent.message.ts));
    let answer = bed.shown("alice", 0).await?;
    assert_eq!(answer.thread_ts, place.thread_ts);
    Ok(())
}

#[tokio::test]
async fn a_direct_message_is_answered_in_the_open() -> Result<()> {
    let bed = Bed::new("direct").await?;
    let _receiver = bed.receiver().await?;
    let alice = bed.slack.user("alice");
    alice
        .direct_message("checkout main to staging")?
        .answered()
        .await?;
    let plan = bed
        .slack
        .until("a plan", PATIENCE, |world| {
            let all = world.direct_messages("alice");
            all.into_iter().find(|message| message.by_app)
        })
        .await?;
    assert!(
        plan.content.text.starts_with("Plan:"),
        "{}",
        plan.content.text
    );
    assert!(bed.slack.ephemerals("alice").is_empty());
    alice.click(&plan, "plan-deploy")?.answered().await?;
    bed.slack
        .until("the plan is replaced", PATIENCE, |world| {
            let all = world.direct_messages("alice");
            all.into_iter()
                .find(|message| message.ts == plan.ts && message.content.text.contains("Accepted"))
        })
        .await?;
    let request = bed.request().await?;
    assert!(
        request
            .spec
            .notify
            .unwrap()
            .slack
            .unwrap()
            .channel
            .starts_with('D')
    );
    Ok(())
}

#[tokio::test]
async fn a_plan_can_be_taken_away() -> Result<()> {
    let bed = Bed::new("dismiss").await?;
    let _receiver = bed.receiver().await?;
    let plan = bed
        .typed("alice", "deploys", "/deploy checkout main to staging")
        .await?;
    bed.press("alice", &plan, "plan-cancel")?.answered().await?;
    bed.slack
        .until("the plan is gone", PATIENCE, |world| {
            world
                .ephemerals("alice")
                .iter()
                .all(|one| one.ts != plan.ts)
                .then_some(())
        })
        .await?;
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_quoted_with_the_nearest_form() -> Result<()> {
    let bed = Bed::new("unreadable").await?;
    let _receiver = bed.receiver().await?;
    let answer = bed
        .typed(
            "alice",
            "deploys",
            "/deploy checkout main to staging <!channel> *boom*",
        )
        .await?;
    let all = text(&answer);
    assert!(all.contains("can't be read, nothing was started"), "{all}");
    assert!(all.contains("/deploy checkout"), "{all}");
    // The one place where it stands as it was typed is a block that Slack doesn't parse.
    assert!(!answer.text.contains("<!channel>"), "{all}");
    assert_eq!(buttons(&answer.blocks), ["form-open"]);
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn help_holds_what_the_person_may_do_here() -> Result<()> {
    let bed = Bed::new("help").await?;
    bed.allow(&bed.namespace, "bob", &[]).await?;
    let _receiver = bed.receiver().await?;
    let alice = text(&bed.typed("alice", "deploys", "/deploy help").await?);
    assert!(
        alice.contains("/deploy checkout main to staging"),
        "{alice}"
    );
    assert!(
        alice.contains("/deploy restart checkout in staging"),
        "{alice}"
    );
    let bob = text(&bed.typed("bob", "deploys", "/deploy help").await?);
    assert!(bob.contains("/deploy status"), "{bob}");
    assert!(!bob.contains("/deploy checkout main to staging"), "{bob}");
    assert!(bob.contains("start nothing"), "{bob}");
    Ok(())
}

#[tokio::test]
async fn help_says_so_where_it_has_not_looked_everywhere() -> Result<()> {
    let bed = Bed::new("helpcut").await?;
    bed.allow(&bed.namespace, "bob", &[]).await?;
    for name in ["one", "two", "three"] {
        let spec = crate::support::environment(name, "Always");
        bed.create::<Environment>(&bed.namespace, name, spec)
            .await?;
    }
    let _receiver = bed.receiver().await?;
    let bob = text(&bed.typed("bob", "deploys", "/deploy help").await?);
    assert!(bob.contains("I looked at the first few"), "{bob}");
    assert!(!bob.contains("start nothing"), "{bob}");
    let alice = text(&bed.typed("alice", "deploys", "/deploy help").await?);
    assert!(!alice.contains("I looked at the first few"), "{alice}");
    Ok(())
}

#[tokio::test]
async fn questions_are_answered_from_what_is_known() -> Result<()> {
    let bed = Bed::new("questions").await?;
    let _receiver = bed.receiver().await?;
    let nothing = bed.typed("alice", "deploys", "/deploy status").await?;
    assert!(
        nothing.text.contains("Nothing is under way"),
        "{}",
        text(&nothing)
    );
    bed.typed("alice", "deploys", "/deploy checkout main to quick")
        .await?;
    bed.request().await?;
    let status = foredeck_testkit::wait_for("the status", PATIENCE, async || {
        let answer = bed
            .typed("alice", "deploys", "/deploy status checkout")
            .await?;
        anyhow::ensure!(answer.text.contains("One deployment"), "{}", text(&answer));
        Ok(answer)
    })
    .await?;
    assert!(
        text(&status).contains("alice@harbor.example"),
        "{}",
        text(&status)
    );
    let what = bed
        .typed("alice", "deploys", "/deploy what staging")
        .await?;
    assert!(what.text.contains("was deployed"), "{}", text(&what));
    let history = bed
        .typed("alice", "deploys", "/deploy history checkout")
        .await?;
    assert!(
        history.text.contains("Nothing of that kind ran"),
        "{}",
        text(&history)
    );
    let absent = bed
        .typed("alice", "deploys", "/deploy history chekout")
        .await?;
    assert!(
        text(&absent).contains("Did you mean `checkout`"),
        "{}",
        text(&absent)
    );
    Ok(())
}

#[tokio::test]
async fn whoever_is_no_member_is_nobody() -> Result<()> {
    let bed = Bed::new("nobody").await?;
    let _receiver = bed.receiver().await?;
    let guest = User {
        is_restricted: true,
        ..User::named("gina")
    };
    let bot = User {
        is_bot: true,
        ..User::named("robot")
    };
    let left = User {
        email: None,
        ..User::named("noel")
    };
    let stranger = User {
        is_stranger: true,
        ..User::named("sten")
    };
    let gone = User {
        team: Some("T0ELSEWHERE".to_owned()),
        ..User::named("tove")
    };
    for user in [guest, bot, left, stranger, gone] {
        let name = user.name.clone();
        bed.slack.add_user(user, &["deploys"]);
        bed.allow(&bed.namespace, &name, &["deploy"]).await?;
        let answer = bed
            .typed(&name, "deploys", "/deploy checkout main to quick")
            .await?;
        assert!(
            answer.text.contains("Not allowed, nothing was started"),
            "{}",
            text(&answer)
        );
    }
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn whoever_lacks_a_verb_is_told_which() -> Result<()> {
    let bed = Bed::new("verbs").await?;
    bed.allow(&bed.namespace, "bob", &["restart"]).await?;
    let _receiver = bed.receiver().await?;
    let answer = bed
        .typed("bob", "deploys", "/deploy checkout main to quick")
        .await?;
    let all = text(&answer);
    assert!(all.contains("Not allowed, nothing was started"), "{all}");
    assert!(
        all.contains("`bob@harbor.example` has no verb `deploy` on application *checkout*"),
        "{all}"
    );
    assert!(all.contains("environment *quick*"), "{all}");
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn pasted_parameters_reach_the_request() -> Result<()> {
    let bed = Bed::new("payload").await?;
    let _receiver = bed.receiver().await?;
    let answer = bed
        .typed(
            "alice",
            "deploys",
            "/deploy checkout main to quick reason:\"hotfix & more\" {\"replicas\": 3, \"tier\": \"1.10\"}",
        )
        .await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    let spec = bed.request().await?.spec;
    assert_eq!(spec.parameters["replicas"], "3");
    assert_eq!(spec.parameters["tier"], "1.10");
    assert_eq!(spec.reason.as_deref(), Some("hotfix & more"));
    Ok(())
}

#[tokio::test]
async fn a_cancel_that_does_not_count_uses_up_nobodys() -> Result<()> {
    let bed = Bed::new("recancel").await?;
    let _receiver = bed.receiver().await?;
    bed.typed("alice", "deploys", "/deploy checkout main to quick")
        .await?;
    let name = bed.request().await?.name_any();
    let by = json!({"username": "mallory", "groups": ["strangers"]});
    let cancel = json!({"spec": {"cancel": {"reason": "mine now", "by": by}}});
    bed.requests_api()
        .patch(&name, &PatchParams::default(), &Patch::Merge(cancel))
        .await?;
    let line = format!("/deploy cancel {name}");
    wait_for("the cancel is known", PATIENCE, async || {
        let answer = bed.typed("alice", "deploys", &line).await?;
        ensure!(
            answer.text.contains("asked for that already"),
            "{}",
            text(&answer)
        );
        Ok(())
    })
    .await?;
    let condition = json!({
        "type": "Cancelable", "status": "False", "reason": "CancelRefused", "message": "x",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    bed.set_status(&name, json!({"conditions": [condition]}))
        .await?;
    wait_for("it is to be canceled", PATIENCE, async || {
        let answer = bed.typed("alice", "deploys", &line).await?;
        ensure!(answer.text.contains("To be canceled"), "{}", text(&answer));
        Ok(())
    })
    .await?;
    // Nothing of the other one is left in it.
    let cancel = bed.request().await?.spec.cancel.unwrap();
    assert_eq!(cancel.reason, None);
    let by = cancel.by.unwrap();
    assert_eq!(by.username, "alice@harbor.example");
    assert_eq!(by.groups, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_request_is_cancelled_by_a_line_and_a_late_one_is_explained() -> Result<()> {
    let bed = Bed::new("cancel").await?;
    bed.allow(&bed.namespace, "bob", &["deploy"]).await?;
    let _receiver = bed.receiver().await?;
    bed.typed("alice", "deploys", "/deploy checkout main to quick")
        .await?;
    let request = bed.request().await?;
    let name = request.name_any();
    let refused = foredeck_testkit::wait_for("the request is known", PATIENCE, async || {
        let answer = bed
            .typed("bob", "deploys", &format!("/deploy cancel {name}"))
            .await?;
        anyhow::ensure!(answer.text.contains("Not allowed"), "{}", text(&answer));
        Ok(answer)
    })
    .await?;
    assert!(text(&refused).contains("`cancel`"), "{}", text(&refused));
    let answer = bed
        .typed(
            "alice",
            "deploys",
            "/deploy cancel checkout in quick reason:\"wrong branch\"",
        )
        .await?;
    assert!(answer.text.contains("To be canceled"), "{}", text(&answer));
    let cancel = bed.request().await?.spec.cancel.unwrap();
    assert_eq!(cancel.reason.as_deref(), Some("wrong branch"));
    let by = cancel.by.unwrap();
    assert_eq!(by.username, "alice@harbor.example");
    assert_eq!(by.slack, bed.request().await?.spec.requester.unwrap().slack);
    bed.set_status(
        &name,
        serde_json::json!({"phase": "Canceled", "finishedAt": "2026-01-02T03:04:05Z"}),
    )
    .await?;
    foredeck_testkit::wait_for("the end is known", PATIENCE, async || {
        let answer = bed
            .typed("alice", "deploys", &format!("/deploy cancel {name}"))
            .await?;
        anyhow::ensure!(
            answer.text.contains("nothing to cancel any more"),
            "{}",
            text(&answer)
        );
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_channel_without_the_app_is_told_of_before_anything_starts() -> Result<()> {
    let bed = Bed::new("membership").await?;
    let _receiver = bed.receiver().await?;
    bed.slack.remove_app_from("deploys");
    let plan = bed
        .typed("alice", "deploys", "/deploy checkout main to staging")
        .await?;
    let invite = format!("/invite <@{}>", bed.slack.bot_user_id());
    assert!(
        words(&serde_json::json!(plan.blocks)).contains(&invite),
        "{}",
        text(&plan)
    );
    Ok(())
}

#[tokio::test]
async fn what_failed_before_it_had_a_target_is_told_of() -> Result<()> {
    let bed = Bed::new("failed").await?;
    let _receiver = bed.receiver().await?;
    bed.typed("alice", "deploys", "/deploy checkout main to quick")
        .await?;
    let request = bed.request().await?;
    let failed = serde_json::json!({"phase": "Failed", "finishedAt": "2026-01-02T03:04:05Z"});
    bed.set_status(&request.name_any(), failed).await?;
    for line in ["/deploy status checkout", "/deploy status quick"] {
        foredeck_testkit::wait_for("the end is known", PATIENCE, async || {
            let answer = bed.typed("alice", "deploys", line).await?;
            anyhow::ensure!(
                text(&answer).contains("Last: "),
                "{line}: {}",
                text(&answer)
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_command_in_the_apps_own_conversation_is_answered_in_the_open() -> Result<()> {
    let bed = Bed::new("owncommand").await?;
    let _receiver = bed.receiver().await?;
    let alice = bed.slack.user("alice");
    alice.direct_message("status")?.answered().await?;
    let channel = bed.slack.direct_messages("alice")[0].channel.clone();
    alice
        .command(&channel, "/deploy checkout main to staging")?
        .answered()
        .await?;
    bed.slack
        .until("a plan", PATIENCE, |world| {
            let all = world.direct_messages("alice");
            all.into_iter()
                .find(|message| message.content.text.starts_with("Plan:"))
        })
        .await?;
    assert!(bed.slack.ephemerals("alice").is_empty());
    Ok(())
}

#[tokio::test]
async fn a_conversation_between_two_people_is_not_the_apps() -> Result<()> {
    let bed = Bed::new("pair").await?;
    let _receiver = bed.receiver().await?;
    let bob = bed.slack.user("bob").id().to_owned();
    let pair = bed
        .slack
        .add_channel("", ChannelKind::Direct(bob), &["alice", "bob"]);
    let plan = bed
        .typed("alice", &pair, "/deploy checkout main to staging")
        .await?;
    assert!(text(&plan).contains("I am no member"), "{}", text(&plan));
    assert!(bed.slack.messages(&pair).is_empty());
    Ok(())
}

/// What is asked for in a channel that another organisation reads is refused, until the Environment allows it.
#[tokio::test]
async fn among_strangers_nothing_is_asked_for() -> Result<()> {
    let bed = Bed::new("shared").await?;
    bed.slack
        .change_channel("deploys", |channel| channel.is_ext_shared = true);
    let _receiver = bed.receiver().await?;
    let said = bed
        .typed("alice", "deploys", "/deploy checkout main to quick")
        .await?;
    assert!(
        text(&said).contains("shared with another organisation"),
        "{}",
        text(&said)
    );
    let before = bed.slack.ephemerals("alice").len();
    let alice = bed.slack.user("alice");
    alice
        .mention("deploys", None, "checkout main to quick")?
        .answered()
        .await?;
    let said = bed.shown("alice", before).await?;
    assert!(
        text(&said).contains("shared with another organisation"),
        "{}",
        text(&said)
    );
    // Only the asker sees what is answered, so asking what runs is fine.
    let said = bed
        .typed("alice", "deploys", "/deploy status checkout")
        .await?;
    assert!(
        !text(&said).contains("shared with another organisation"),
        "{}",
        text(&said)
    );
    assert!(bed.requests().await?.is_empty());
    let api: kube::Api<Environment> = kube::Api::namespaced(bed.client.clone(), &bed.namespace);
    let allowed = kube::api::Patch::Merge(json!({"spec": {"protection": {"allowShared": true}}}));
    api.patch("quick", &kube::api::PatchParams::default(), &allowed)
        .await?;
    wait_for("it is allowed", PATIENCE, async || {
        bed.typed("alice", "deploys", "/deploy checkout main to quick")
            .await?;
        anyhow::ensure!(bed.requests().await?.len() == 1);
        Ok(())
    })
    .await
}
