//! Who passes what holds a request.

use anyhow::Result;
use foredeck::api::DeployRequest;
use serde_json::{Value, json};

use super::{APPLICATION, BOTH, ENVIRONMENT, FLUX, spec};
use crate::support::{ALICE, BOB, Bed, account, refused, request, slack_actor};

fn passing(by: &Value) -> Value {
    json!({"override": {"reason": "checkout is down", "by": by}})
}

fn as_oneself(user: &str) -> Value {
    spec(&passing(&json!({"username": user})))
}

#[tokio::test]
async fn an_override_takes_the_verb_on_both() -> Result<()> {
    for bed in Bed::both("override").await? {
        bed.asked_by(ALICE, "alices").await?;
        let alice = bed.somebody(ALICE, &[]);
        let words = [
            "\"alice@corp.example\" may not pass what holds this request (spec.override)",
            "the verb override on the Environment \"production\" and on the Application \"checkout\"",
            "Leave it out, and the request waits; or ask somebody who has the verb",
        ];
        let born = request(&passing(&json!({"username": ALICE})));
        let born = |by: &str| {
            let mut born = born.clone();
            born["requester"] = json!({"username": by});
            born["override"]["by"] = json!({"username": by});
            born
        };
        for grant in [&[][..], &[ENVIRONMENT], &[APPLICATION]] {
            if !grant.is_empty() {
                bed.grant(ALICE, "override", grant).await?;
            }
            let answer = alice
                .patch::<DeployRequest>("alices", as_oneself(ALICE))
                .await;
            refused("later", answer, &words)?;
            let answer = alice.create::<DeployRequest>("born", born(ALICE)).await;
            refused("from the first", answer, &words)?;
        }
        bed.grant(ALICE, "override", &BOTH).await?;
        for passed in [
            alice
                .patch::<DeployRequest>("alices", as_oneself(ALICE))
                .await?,
            alice.create::<DeployRequest>("born", born(ALICE)).await?,
        ] {
            assert_eq!(passed.data["spec"]["override"]["by"]["username"], ALICE);
        }
        // Whoever only looks after the object isn't asked.
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        bed.somebody(BOB, &[])
            .patch::<DeployRequest>("alices", label)
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_overrides_in_the_name_of_another() -> Result<()> {
    for bed in Bed::both("forged").await? {
        bed.grant(ALICE, "override", &BOTH).await?;
        let alice = bed.somebody(ALICE, &[]);
        for (index, (by, words)) in [
            (
                json!({"username": BOB}),
                "nobody overrides in the name of another",
            ),
            (
                json!({"username": ALICE, "groups": ["okta:leads"]}),
                "okta:leads",
            ),
            (slack_actor(ALICE, &[]), "spec.override.by.slack"),
            (
                Value::Null,
                "write spec.override.by.username: \"alice@corp.example\"",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("bobs-{index}");
            bed.asked_by(BOB, &name).await?;
            let answer = alice
                .patch::<DeployRequest>(&name, spec(&passing(&by)))
                .await;
            if bed.mutating {
                let stamped = json!({"username": ALICE, "groups": ["writers"]});
                assert_eq!(answer?.data["spec"]["override"]["by"], stamped, "{words}");
            } else {
                refused(words, answer, &[words])?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_people_override() -> Result<()> {
    for bed in Bed::both("machines").await? {
        bed.asked_by(ALICE, "alices").await?;
        for (user, words) in [
            (FLUX, "only people pass what holds a request"),
            (&account("controller"), "never changes what was asked"),
            (&account("relay"), "changes nothing of a request"),
        ] {
            bed.grant(user, "override", &BOTH).await?;
            let answer = bed
                .somebody(user, &[])
                .patch::<DeployRequest>("alices", as_oneself(user))
                .await;
            refused(user, answer, &[words])?;
        }
        let mut born = request(&passing(&json!({"username": FLUX})));
        born["requester"] = json!({"username": FLUX});
        let answer = bed
            .somebody(FLUX, &[])
            .create::<DeployRequest>("from-git", born)
            .await;
        refused("from git", answer, &["leave it out, and the request waits"])?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stolen_receiver_overrides_for_people_in_slack_and_for_nobody_else() -> Result<()> {
    for bed in Bed::both("stolen").await? {
        bed.asked_by(ALICE, "alices").await?;
        let receiver = bed.role("receiver");
        for (by, words) in [
            (Value::Null, "spec.override.by"),
            (
                json!({"username": ALICE}),
                "spec.override.by.slack is missing",
            ),
            (
                slack_actor(ALICE, &["system:masters"]),
                "may not: system:masters",
            ),
            (slack_actor(FLUX, &[]), "nobody in Slack"),
            (slack_actor("eve@evil.example", &[]), "e-mail domains"),
        ] {
            let answer = receiver
                .patch::<DeployRequest>("alices", spec(&passing(&by)))
                .await;
            refused(words, answer, &[words])?;
        }
        // The controller asks whether they may.
        let by = slack_actor(BOB, &["okta:shop"]);
        let passed = receiver
            .patch::<DeployRequest>("alices", spec(&passing(&by)))
            .await?;
        assert_eq!(passed.data["spec"]["override"]["by"], by);
    }
    Ok(())
}
