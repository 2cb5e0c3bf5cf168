//! Two teams with the same names: a command means one of them, and nobody learns of what they may not see.

use anyhow::{Context, Result, ensure};
use foredeck::api::{Application, DeployRequest};
use foredeck_testkit::{
    slack::{ChannelKind, Ephemeral, Kind},
    wait_for,
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::support::{Bed, PATIENCE, buttons, text};

/// A second team with the same application, and a channel for each.
async fn two_teams(prefix: &str) -> Result<(Bed, String)> {
    let mut bed = Bed::new(prefix).await?;
    let other = bed.plane.namespace(&format!("{prefix}-other")).await?;
    bed.furnish(&other).await?;
    bed.teams.push(other.clone());
    for (namespace, channel) in [(&bed.namespace, "shop"), (&other, "bank")] {
        let bot = bed.slack.bot_user_id();
        let id = bed
            .slack
            .add_channel(channel, ChannelKind::Public, &["alice", "bob", &bot]);
        let api: Api<Application> = Api::namespaced(bed.client.clone(), namespace);
        let patch = Patch::Merge(json!({"spec": {"slack": {"channels": [id]}}}));
        api.patch("checkout", &PatchParams::default(), &patch)
            .await?;
    }
    Ok((bed, other))
}

#[tokio::test]
async fn each_channel_means_its_own_team_and_elsewhere_the_person_picks() -> Result<()> {
    let (bed, other) = two_teams("teams").await?;
    bed.allow(&other, "alice", &["deploy"]).await?;
    let _receiver = bed.receiver().await?;
    let line = "/deploy checkout main to staging";
    for (channel, namespace) in [("shop", &bed.namespace), ("bank", &other)] {
        let plan = bed.typed("alice", channel, line).await?;
        assert!(
            text(&plan).contains(&format!("*{namespace}* / *checkout*")),
            "{}",
            text(&plan)
        );
    }
    let question = bed.typed("alice", "deploys", line).await?;
    assert!(
        question.text.contains("Several teams"),
        "{}",
        text(&question)
    );
    assert_eq!(buttons(&question.blocks).len(), 2, "{}", text(&question));
    let plan = bed.pressed("alice", &question, "team-pick-0").await?;
    assert!(plan.text.starts_with("Plan:"), "{}", text(&plan));
    let named = bed
        .typed(
            "alice",
            "deploys",
            &format!("/deploy {other}/checkout main to staging"),
        )
        .await?;
    assert!(
        text(&named).contains(&format!("*{other}* / *checkout*")),
        "{}",
        text(&named)
    );
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_one_may_not_see_is_answered_as_if_it_were_absent() -> Result<()> {
    let (bed, other) = two_teams("leaks").await?;
    bed.create::<Application>(&other, "ledger", crate::support::application())
        .await?;
    let _receiver = bed.receiver().await?;
    let lines = [
        "/deploy help",
        "/deploy what",
        "/deploy what staging",
        "/deploy status",
        "/deploy status ledger",
        "/deploy history ledger",
        "/deploy history ledgr",
        "/deploy ledger main to staging",
        "/deploy ledger main to nowhere",
        "/deploy cancel ledger in staging",
        "/deploy bogus line that nobody reads",
        "/deploy checkout main to staging",
    ];
    for channel in ["shop", "bank", "deploys"] {
        for line in lines {
            let answer = text(&bed.typed("alice", channel, line).await?);
            assert!(!answer.contains(&other), "{channel} {line}: {answer}");
            if !line.contains("ledg") {
                assert!(!answer.contains("ledger"), "{channel} {line}: {answer}");
            }
        }
    }
    // From a direct message too, and by the team's own name.
    for line in [
        &format!("{other}/checkout main to staging"),
        "ledger main to staging",
    ] {
        let alice = bed.slack.user("alice");
        let before = bed.slack.direct_messages("alice").len();
        alice.direct_message(line)?.answered().await?;
        let answer = bed
            .slack
            .until("an answer", crate::support::PATIENCE, |world| {
                let all = world.direct_messages("alice");
                (all.len() > before + 1)
                    .then(|| all.last().cloned())
                    .flatten()
            })
            .await?;
        assert!(
            answer.content.text.contains("There is no application"),
            "{}",
            answer.content.text
        );
    }
    assert!(bed.requests().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_picked_team_is_shown_a_plan_whatever_the_environment_says_of_confirmations() -> Result<()>
{
    let (bed, other) = two_teams("picks").await?;
    bed.allow(&other, "alice", &["deploy"]).await?;
    let _receiver = bed.receiver().await?;
    let question = bed
        .typed("alice", "deploys", "/deploy checkout main to quick")
        .await?;
    let pick = bed.press("alice", &question, "team-pick-0")?;
    pick.answered().await?;
    let plan = bed
        .slack
        .until("a plan", PATIENCE, |world| {
            let all = world.ephemerals("alice");
            all.into_iter().find(|one| one.text.starts_with("Plan:"))
        })
        .await?;
    assert!(bed.requests().await?.is_empty());
    let accepted = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(accepted.text.contains("Accepted"), "{}", text(&accepted));
    // The question, with the other team's button, still stands on another device.
    let mut other_pick = pick.payload().clone();
    let elements = question
        .blocks
        .iter()
        .find(|block| block["type"] == "actions");
    other_pick["actions"][0]["action_id"] = json!("team-pick-1");
    other_pick["actions"][0]["value"] =
        elements.context("buttons")?["elements"][1]["value"].clone();
    let api = |namespace: &str| Api::<DeployRequest>::namespaced(bed.client.clone(), namespace);
    wait_for(
        "the other team's button tells of it",
        PATIENCE,
        async || {
            bed.slack
                .send_raw(Kind::Interaction, other_pick.clone())
                .answered()
                .await?;
            let all = bed.slack.ephemerals("alice");
            let told = |one: &Ephemeral| {
                one.text
                    .contains("Another copy of this plan was confirmed first")
            };
            ensure!(all.iter().any(told), "{}", bed.slack.describe());
            Ok(())
        },
    )
    .await?;
    let mut all = 0;
    for namespace in &bed.teams {
        all += api(namespace)
            .list(&ListParams::default())
            .await?
            .items
            .len();
    }
    assert_eq!(all, 1);
    Ok(())
}
