//! Who somebody is, and what becomes of their requests when that changes: groups, mappings, guests, strangers, those who
//! left.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::{
    api::{Person, person::PersonSpec},
    slack::{
        actions::{self, Target},
        blocks::{Block, Message},
        elements::{Button, Element},
        text::Mrkdwn,
    },
};
use foredeck_testkit::{
    slack::{RequestUrls, Team, User},
    wait_for,
};
use kube::{
    ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::support::{Bed, PATIENCE, text};

const GROUP: &str = "slack:shop-deployers";

/// bob may deploy by a user group alone; what is known of it is asked for often.
async fn grouped(prefix: &str) -> Result<Bed> {
    let mut bed = Bed::new(prefix).await?;
    bed.people.slack_groups = Some("slack:".parse()?);
    bed.people.limit = Duration::from_mins(1);
    bed.slack.add_group("shop-deployers", &["bob"]);
    bed.allow_group(GROUP, &["deploy"]).await?;
    Ok(bed)
}

/// Writes a Person, as a platform team does.
async fn map(bed: &Bed, name: &str, of: &str, spec: PersonSpec) -> Result<()> {
    let slack = json!({"team": bed.slack.team_id(), "user": bed.slack.user(of).id()});
    let spec = PersonSpec {
        slack: Some(serde_json::from_value(slack)?),
        ..spec
    };
    let person = Person::new(name, spec);
    bed.persons()
        .create(&PostParams::default(), &person)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_group_alone_allows_and_is_stamped_and_no_longer_once_somebody_left_it() -> Result<()> {
    let bed = grouped("group").await?;
    let _receiver = bed.receiver().await?;
    let plan = bed
        .typed("bob", "deploys", "/deploy checkout main to staging")
        .await?;
    assert!(plan.text.starts_with("Plan:"), "{}", text(&plan));
    let known = bed
        .until_known("bob", "in the group", |status| {
            status.sources.iter().any(|source| source.groups == [GROUP])
        })
        .await?;
    assert_eq!(known.username.as_deref(), Some("bob@harbor.example"));
    let accepted = bed.pressed("bob", &plan, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    let requester = bed.request().await?.spec.requester.unwrap();
    assert_eq!(requester.groups, [GROUP]);

    // The request waits; the controller looks at what is written down before it starts anything.
    bed.slack
        .change_group("shop-deployers", |group| group.users.clear());
    bed.slack
        .tell_of_group("shop-deployers")?
        .answered()
        .await?;
    let left = bed
        .until_known("bob", "in no group", |status| {
            status.sources.iter().all(|source| source.groups.is_empty())
        })
        .await?;
    assert_eq!(left.sources.len(), 1);
    assert_eq!(left.nobody, None);
    let refused = bed
        .typed("bob", "deploys", "/deploy checkout main to staging")
        .await?;
    assert!(!refused.text.starts_with("Plan:"), "{}", text(&refused));
    Ok(())
}

#[tokio::test]
async fn user_groups_that_slack_does_not_show_allow_nothing_and_that_is_said() -> Result<()> {
    let bed = grouped("hidden").await?;
    bed.slack
        .change_app(|app| app.scopes.retain(|scope| scope != "usergroups:read"));
    let _receiver = bed.receiver().await?;
    let refused = bed
        .typed("bob", "deploys", "/deploy checkout main to staging")
        .await?;
    assert!(text(&refused).contains("Not allowed"), "{}", text(&refused));
    assert!(
        text(&refused).contains("usergroups:read"),
        "{}",
        text(&refused)
    );
    let known = bed
        .until_known("bob", "a problem", |status| {
            status.sources.iter().any(|source| source.problem.is_some())
        })
        .await?;
    assert_eq!(known.sources[0].at, None);
    assert_eq!(known.sources[0].groups, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn user_groups_count_only_where_they_are_wanted() -> Result<()> {
    let mut bed = grouped("off").await?;
    bed.people.slack_groups = None;
    let _receiver = bed.receiver().await?;
    let refused = bed
        .typed("bob", "deploys", "/deploy checkout main to staging")
        .await?;
    assert!(!refused.text.starts_with("Plan:"), "{}", text(&refused));
    assert!(bed.slack.calls_of("usergroups.list").is_empty());
    Ok(())
}

#[tokio::test]
async fn the_list_of_user_groups_is_asked_for_once_for_many() -> Result<()> {
    let bed = grouped("once").await?;
    let _receiver = bed.receiver().await?;
    for _ in 0..5 {
        bed.typed("bob", "deploys", "/deploy what staging").await?;
        bed.typed("alice", "deploys", "/deploy what staging")
            .await?;
    }
    assert_eq!(bed.slack.calls_of("usergroups.list").len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_click_of_somebody_who_was_deactivated_starts_nothing() -> Result<()> {
    let bed = Bed::new("left").await?;
    let receiver = bed.receiver().await?;
    let plan = bed
        .typed("alice", "deploys", "/deploy checkout main to staging")
        .await?;
    bed.until_known("alice", "a member", |status| {
        status.username.is_some() && status.nobody.is_none()
    })
    .await?;
    // The click is on its way when the account is switched off.
    bed.slack.deliver_by_http(nowhere());
    let click = bed.press("alice", &plan, "plan-deploy")?;
    assert!(click.answered().await.is_err());
    bed.slack.deliver_by_http(receiver.urls());
    bed.slack.change_user("alice", |user| user.deleted = true);
    bed.slack.tell_of_user("alice")?.answered().await?;
    let was = text(&plan);
    bed.slack.redeliver(&click).answered().await?;
    let refused = bed
        .slack
        .until("a refusal", PATIENCE, |world| {
            let all = world.ephemerals("alice");
            all.into_iter().find(|one| text(one) != was)
        })
        .await?;
    assert!(text(&refused).contains("deactivated"), "{}", text(&refused));
    assert!(bed.requests().await?.is_empty());
    // And what they asked for before isn't started by it either.
    let known = bed
        .until_known("alice", "nobody", |status| status.nobody.is_some())
        .await?;
    assert_eq!(known.nobody.as_deref(), Some("Deactivated"));
    Ok(())
}

fn nowhere() -> RequestUrls {
    let url = "http://127.0.0.1:1/slack".to_owned();
    RequestUrls {
        commands: url.clone(),
        interactivity: url.clone(),
        options: None,
        events: url,
    }
}

#[tokio::test]
async fn the_click_of_a_slack_connect_stranger_does_nothing_even_if_a_person_maps_them()
-> Result<()> {
    let bed = Bed::new("connect").await?;
    let _receiver = bed.receiver().await?;
    bed.slack.add_team(Team {
        id: "T0OTHER0001".to_owned(),
        name: "Other".to_owned(),
        domain: "other".to_owned(),
    });
    let eve = User {
        team: Some("T0OTHER0001".to_owned()),
        is_stranger: true,
        ..User::named("eve")
    };
    bed.slack.add_user(eve, &["deploys"]);
    // With the name of somebody who may.
    let spec = PersonSpec {
        username: Some("alice@harbor.example".to_owned()),
        ..PersonSpec::default()
    };
    map(&bed, "eve", "eve", spec).await?;
    bed.typed("alice", "deploys", "/deploy checkout main to quick")
        .await?;
    let request = bed.request().await?;
    let live = live_message(&bed, &request).await?;
    bed.slack
        .user("eve")
        .click(&live, actions::REQUEST_CANCEL)?
        .answered()
        .await?;
    let told = bed.shown("eve", 0).await?;
    assert!(text(&told).contains("other workspaces"), "{}", text(&told));
    assert_eq!(bed.request().await?.spec.cancel, None);
    Ok(())
}

/// A message like the relay's, with its button.
async fn live_message(
    bed: &Bed,
    request: &foredeck::api::DeployRequest,
) -> Result<foredeck_testkit::slack::Message> {
    let target = Target {
        namespace: bed.namespace.clone(),
        name: request.name_any(),
        uid: request.uid().context("a uid")?,
    };
    let value = target.value().context("a value")?;
    let button = Button::new(actions::REQUEST_CANCEL, "Cancel").value(value);
    let words = Mrkdwn::fixed("checkout is on its way");
    let message = Message::new(
        words.clone(),
        [
            Block::section(words),
            Block::actions([Element::from(button)]),
        ],
    );
    bed.post(&message).await
}

#[tokio::test]
async fn a_mapping_gives_the_name_and_takes_the_status() -> Result<()> {
    let bed = Bed::new("mapping").await?;
    let user = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "arn:bob"});
    bed.bind(&bed.namespace, "mapped", user, &["deploy", "cancel"])
        .await?;
    let _receiver = bed.receiver().await?;
    let spec = PersonSpec {
        username: Some("arn:bob".to_owned()),
        usernames: vec!["bob@elsewhere.example".to_owned()],
        ..PersonSpec::default()
    };
    map(&bed, "bob", "bob", spec).await?;
    let plan = wait_for(
        "bob is known as who he is mapped to",
        PATIENCE,
        async || {
            let plan = bed
                .typed("bob", "deploys", "/deploy checkout main to staging")
                .await?;
            ensure!(plan.text.starts_with("Plan:"), "{}", text(&plan));
            Ok(plan)
        },
    )
    .await?;
    bed.pressed("bob", &plan, "plan-deploy").await?;
    let requester = bed.request().await?.spec.requester.unwrap();
    assert_eq!(requester.username, "arn:bob");
    let written = wait_for("the status of the mapped Person", PATIENCE, async || {
        let status = bed.persons().get("bob").await?.status.unwrap_or_default();
        ensure!(status.username.as_deref() == Some("arn:bob"), "{status:?}");
        Ok(status)
    })
    .await?;
    assert!(written.checked_at.is_some());
    let spec = bed.persons().get("bob").await?.spec;
    assert_eq!(spec.usernames, ["bob@elsewhere.example"]);
    Ok(())
}

#[tokio::test]
async fn who_asked_under_another_name_cancels_their_own() -> Result<()> {
    let bed = Bed::new("names").await?;
    let spec = PersonSpec {
        usernames: vec!["Bob@Elsewhere.example".to_owned()],
        ..PersonSpec::default()
    };
    map(&bed, "bob", "bob", spec).await?;
    bed.allow(&bed.namespace, "bob", &[]).await?;
    let _receiver = bed.receiver().await?;
    // By kubectl, as admission stamps it.
    let spec = json!({
        "application": "checkout", "environment": "staging", "version": "main",
        "requester": {"username": "bob@elsewhere.example"},
    });
    bed.create::<foredeck::api::DeployRequest>(&bed.namespace, "by-kubectl", spec)
        .await?;
    wait_for("it is to be canceled", PATIENCE, async || {
        let answer = bed
            .typed("bob", "deploys", "/deploy cancel by-kubectl")
            .await?;
        ensure!(answer.text.contains("To be canceled"), "{}", text(&answer));
        Ok(())
    })
    .await?;
    let by = bed.request().await?.spec.cancel.unwrap().by.unwrap();
    assert_eq!(by.username, "bob@harbor.example");
    Ok(())
}

#[tokio::test]
async fn a_guest_is_nobody_and_nothing_is_kept_of_them() -> Result<()> {
    let bed = Bed::new("guest").await?;
    let _receiver = bed.receiver().await?;
    let guest = User {
        is_restricted: true,
        ..User::named("gus")
    };
    bed.slack.add_user(guest, &["deploys"]);
    let refused = bed
        .typed("gus", "deploys", "/deploy checkout main to staging")
        .await?;
    assert!(text(&refused).contains("guests"), "{}", text(&refused));
    // Once somebody else is known, gus would be too: what is asked first is done first.
    bed.typed("alice", "deploys", "/deploy what staging")
        .await?;
    bed.until_known("alice", "known", |status| status.username.is_some())
        .await?;
    let all = bed.persons().list(&ListParams::default()).await?;
    let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, [bed.person_name("alice")]);
    Ok(())
}

#[tokio::test]
async fn a_member_who_becomes_a_guest_is_nobody_at_once() -> Result<()> {
    let bed = Bed::new("demoted").await?;
    let _receiver = bed.receiver().await?;
    bed.typed("alice", "deploys", "/deploy what staging")
        .await?;
    bed.slack
        .change_user("alice", |user| user.is_restricted = true);
    bed.slack.tell_of_user("alice")?.answered().await?;
    let refused = bed
        .typed("alice", "deploys", "/deploy checkout main to staging")
        .await?;
    assert!(text(&refused).contains("guests"), "{}", text(&refused));
    Ok(())
}

#[tokio::test]
async fn addresses_of_other_domains_are_nobodys_and_names_have_the_clusters_form() -> Result<()> {
    let mut bed = Bed::new("domain").await?;
    bed.people.names.domains = vec!["harbor.example".parse()?];
    bed.people.names.format = "oidc:{email}".parse()?;
    let user = json!({
        "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "oidc:bob@harbor.example",
    });
    bed.bind(&bed.namespace, "oidc", user, &["deploy"]).await?;
    let other = User {
        email: Some("mallory@sub.harbor.example".to_owned()),
        ..User::named("mallory")
    };
    bed.slack.add_user(other, &["deploys"]);
    let _receiver = bed.receiver().await?;
    let refused = bed
        .typed("mallory", "deploys", "/deploy checkout main to quick")
        .await?;
    assert!(
        text(&refused).contains("--email-domain"),
        "{}",
        text(&refused)
    );
    assert!(bed.requests().await?.is_empty());
    bed.typed("bob", "deploys", "/deploy checkout main to quick")
        .await?;
    let requester = bed.request().await?.spec.requester.unwrap();
    assert_eq!(requester.username, "oidc:bob@harbor.example");
    Ok(())
}

#[tokio::test]
async fn whoever_a_waiting_request_names_is_known_though_nobody_asks_again() -> Result<()> {
    let bed = Bed::new("waiting").await?;
    let slack = json!({"team": bed.slack.team_id(), "user": bed.slack.user("bob").id()});
    let spec = json!({
        "application": "checkout", "environment": "staging", "version": "main",
        "requester": {"username": "bob@harbor.example", "slack": slack},
    });
    bed.create::<foredeck::api::DeployRequest>(&bed.namespace, "waits", spec)
        .await?;
    let (_one, _other) = (bed.receiver().await?, bed.receiver().await?);
    let known = bed
        .until_known("bob", "known", |status| status.checked_at.is_some())
        .await?;
    assert_eq!(known.username.as_deref(), Some("bob@harbor.example"));
    Ok(())
}
