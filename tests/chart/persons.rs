//! Who somebody is, the platform team says; what Slack and other sources say of them, the receiver writes down, within bounds.

use anyhow::{Context, Result};
use foredeck::api::Person;
use serde_json::{Value, json};
use ulid::Ulid;

use crate::support::{ALICE, Bed, refused};

/// All persons are in one namespace.
fn name() -> String {
    format!("slack-t01-{}", Ulid::new()).to_lowercase()
}

#[tokio::test]
async fn the_receiver_makes_persons_with_an_empty_spec() -> Result<()> {
    for bed in Bed::both("made").await? {
        let receiver = bed.role("receiver");
        for (field, value) in [
            ("username", json!(ALICE)),
            ("usernames", json!(["kubernetes-admin"])),
            ("slack", json!({"team": "T01", "user": "U02"})),
        ] {
            let answer = receiver
                .create::<Person>(&name(), json!({(field): value}))
                .await;
            refused(
                field,
                answer,
                &[&format!("spec.{field} of a person is the platform team's")],
            )?;
        }
        let person = name();
        receiver.create::<Person>(&person, json!({})).await?;
        for change in [
            json!({"username": "kubernetes-admin"}),
            json!({"usernames": [ALICE]}),
            json!({"slack": {"team": "T01", "user": "U02"}}),
        ] {
            let answer = receiver
                .patch::<Person>(&person, json!({"spec": change}))
                .await;
            refused("a changed spec", answer, &["may not change it"])?;
        }
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        receiver.patch::<Person>(&person, label).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_receiver_writes_who_somebody_is_within_bounds() -> Result<()> {
    let groups = |groups: &[&str]| json!({"sources": [{"name": "okta", "groups": ["okta:shop"]}, {"name": "slack", "groups": groups}]});
    let bed = Bed::new(true, "status").await?;
    let (receiver, person) = (bed.role("receiver"), name());
    receiver.create::<Person>(&person, json!({})).await?;
    for (what, status, words) in [
        (
            "a user of Kubernetes' own",
            json!({"username": "system:admin"}),
            "\"system:admin\"",
        ),
        (
            "a foreign e-mail domain",
            json!({"username": "eve@evil.example"}),
            "e-mail domains",
        ),
        (
            "a name without a domain",
            json!({"username": "kubernetes-admin"}),
            "e-mail domains",
        ),
        (
            "a group of Kubernetes' own",
            groups(&["system:masters"]),
            "slack:, okta:",
        ),
        (
            "a group without a prefix",
            groups(&["slack:a", "cluster-admins"]),
            "slack:, okta:",
        ),
    ] {
        let answer = receiver.status::<Person>(&person, status).await;
        refused(what, answer, &[words])?;
    }
    let mut fine = groups(&["slack:oncall"]);
    fine["username"] = json!(ALICE);
    fine["checkedAt"] = json!("2026-01-01T00:00:00Z");
    receiver.status::<Person>(&person, fine).await?;
    receiver
        .status::<Person>(
            &person,
            json!({"username": null, "nobody": "Deactivated", "sources": null}),
        )
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_the_platform_team_maps_the_receiver_may_repeat() -> Result<()> {
    let bed = Bed::new(true, "mapped").await?;
    let (receiver, person) = (bed.role("receiver"), name());
    let platform = bed.somebody("platform@corp.example", &[]);
    platform
        .create::<Person>(&person, json!({"username": "ops-alice"}))
        .await?;
    receiver
        .status::<Person>(&person, json!({"username": "ops-alice"}))
        .await?;
    let answer = receiver
        .status::<Person>(&person, json!({"username": "ops-bob"}))
        .await;
    refused("another name", answer, &["\"ops-bob\""])?;
    let own = name();
    platform
        .create::<Person>(&own, json!({"username": "system:admin"}))
        .await?;
    let answer = receiver
        .status::<Person>(&own, json!({"username": "system:admin"}))
        .await;
    let words = ["one of Kubernetes' own users"];
    refused("a user of Kubernetes' own, mapped", answer, &words)?;
    Ok(())
}

#[tokio::test]
async fn nobody_else_says_what_slack_says() -> Result<()> {
    for bed in Bed::both("others").await? {
        let person = name();
        bed.role("receiver")
            .create::<Person>(&person, json!({}))
            .await?;
        let status = json!({"username": ALICE});
        for (who, writer) in [
            ("somebody", bed.somebody(ALICE, &[])),
            ("the controller", bed.role("controller")),
            ("the relay", bed.role("relay")),
        ] {
            let answer = writer.status::<Person>(&person, status.clone()).await;
            refused(
                who,
                answer,
                &["may not write the status of persons", "receiver's alone"],
            )?;
        }
        for role in ["controller", "relay"] {
            let spec: Value = json!({"spec": {"username": ALICE}});
            let answer = bed.role(role).patch::<Person>(&person, spec).await;
            refused(role, answer, &["change nothing of a person"])?;
            let answer = bed.role(role).create::<Person>(&name(), json!({})).await;
            refused(role, answer, &["change nothing of a person"])?;
        }
        let platform = bed.somebody("platform@corp.example", &[]);
        let spec = json!({"spec": {"usernames": ["arn:aws:iam::1:role/alice"]}});
        platform
            .patch::<Person>(&person, spec)
            .await
            .context("the platform team")?;
        bed.administrator()
            .status::<Person>(&person, status)
            .await?;
    }
    Ok(())
}
