//! Which commit a version was when somebody looked at the plan is what the receiver says, and nobody else: whoever could write
//! it would have `main` shown, and something else deployed.

use anyhow::{Context, Result};
use foredeck::api::DeployRequest;
use serde_json::{Value, json};

use crate::support::{ALICE, Bed, account, refused, request, slack_actor};

const COMMIT: &str = "3f2a1bc0000000000000000000000000000000aa";
const ANOTHER: &str = "ffffffffffffffffffffffffffffffffffffffff";
const WORDS: &str = "name it in spec.version";

fn of_commit(commit: &Value, requester: &Value) -> Value {
    request(&json!({"version": "main", "commit": commit, "requester": requester}))
}

#[tokio::test]
async fn nobody_but_the_receiver_says_which_commit_was_planned() -> Result<()> {
    let flux = "system:serviceaccount:flux-system:kustomize-controller";
    for bed in Bed::both("commits").await? {
        for (what, user) in [
            ("a user", ALICE.to_owned()),
            ("a GitOps account", flux.to_owned()),
            ("the relay", account("relay")),
            ("the controller", account("controller")),
        ] {
            let spec = of_commit(&json!(COMMIT), &json!({"username": user}));
            let writer = bed.somebody(&user, &[]);
            let answer = writer.create::<DeployRequest>("forged", spec).await;
            // Those two ask for nothing at all.
            let said = if what.starts_with("the ") { "" } else { WORDS };
            refused(what, answer, &[said])?;
        }
        // Without one they may.
        bed.asked_by(ALICE, "by-name").await?;
        bed.asked_by(flux, "by-git").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_commit_that_was_planned_stays_and_none_is_added() -> Result<()> {
    for bed in Bed::both("planned").await? {
        let receiver = bed.role("receiver");
        let actor = slack_actor(ALICE, &["okta:shop"]);
        for (name, commit) in [("with", json!(COMMIT)), ("without", Value::Null)] {
            let spec = of_commit(&commit, &actor);
            let made = receiver.create::<DeployRequest>(name, spec).await;
            let made = made.with_context(|| format!("the receiver asks {name} a commit"))?;
            assert_eq!(
                made.data["spec"].get("commit"),
                (!commit.is_null()).then_some(&commit)
            );
        }
        for (what, name, commit) in [
            ("another commit", "with", json!(ANOTHER)),
            ("no commit any more", "with", Value::Null),
            ("a commit later", "without", json!(ANOTHER)),
        ] {
            for (who, writer) in [
                ("the receiver", bed.role("receiver")),
                ("its requester", bed.somebody(ALICE, &[])),
                ("an administrator", bed.administrator()),
            ] {
                let change = json!({"spec": {"commit": commit}});
                let answer = writer.patch::<DeployRequest>(name, change).await;
                let error = answer.err();
                let error = error.with_context(|| format!("{who} wrote {what}"))?;
                let error = error.to_string();
                assert!(
                    error.contains("commit is immutable"),
                    "{who}, {what}: {error}"
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_whole_commit_is_none() -> Result<()> {
    let bed = Bed::new(true, "shapes").await?;
    let actor = slack_actor(ALICE, &[]);
    for wrong in ["main", "3f2a1bc", &COMMIT.to_uppercase(), "${commit}"] {
        let spec = of_commit(&json!(wrong), &actor);
        let answer = bed
            .role("receiver")
            .create::<DeployRequest>("wrong", spec)
            .await;
        let error = answer.err().with_context(|| format!("{wrong} was taken"))?;
        assert!(
            error.to_string().contains("spec.commit"),
            "{wrong}: {error}"
        );
    }
    Ok(())
}
