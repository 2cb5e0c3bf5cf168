//! A target is let go by people who may override, and by nobody else.

use anyhow::Result;
use foredeck::api::DeployTarget;
use serde_json::{Value, json};

use crate::support::{ALICE, BOB, Bed, account, refused};

/// What targets of checkout in production are called, in one place and in another.
const HELD: &str = "checkout.production.4d2a1e0c9b7f";
const NEW: &str = "checkout.production.0b5e7c31d9a2";
const BOTH: [(&str, &str); 2] = [("environments", "production"), ("applications", "checkout")];

fn target(release: &Value) -> Value {
    json!({
        "application": "checkout", "environment": "production",
        "place": {"account": "eks", "namespace": "shop"}, "release": release,
    })
}

fn release(reason: &str) -> Value {
    json!({"requestUid": "u", "reason": reason})
}

fn ordered(reason: &str) -> Value {
    json!({"spec": {"release": release(reason)}})
}

#[tokio::test]
async fn letting_go_takes_the_verb_override_on_both() -> Result<()> {
    for bed in Bed::both("release").await? {
        bed.role("controller")
            .create::<DeployTarget>(HELD, target(&Value::Null))
            .await?;
        let alice = bed.somebody(ALICE, &[]);
        let words = [
            "\"alice@corp.example\" may not let this target go",
            "verb override on the Environment \"production\" and on the Application \"checkout\"",
        ];
        let answer = alice.patch::<DeployTarget>(HELD, ordered("I say so")).await;
        refused("without the verb", answer, &words)?;
        let answer = alice
            .create::<DeployTarget>(NEW, target(&release("born so")))
            .await;
        refused("a target that is born released", answer, &words)?;
        for one in BOTH {
            bed.grant(ALICE, "override", &[one]).await?;
            let answer = alice.patch::<DeployTarget>(HELD, ordered("half")).await;
            refused(one.0, answer, &words)?;
        }
        bed.grant(ALICE, "override", &BOTH).await?;
        alice
            .patch::<DeployTarget>(HELD, ordered("it hangs"))
            .await?;

        let bob = bed.somebody(BOB, &[]);
        for change in [
            ordered("another reason"),
            json!({"spec": {"release": null}}),
        ] {
            let answer = bob.patch::<DeployTarget>(HELD, change).await;
            refused("another's order", answer, &["may not let this target go"])?;
        }
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        bob.patch::<DeployTarget>(HELD, label).await?;
    }
    Ok(())
}

#[tokio::test]
async fn only_people_let_a_target_go() -> Result<()> {
    let bed = Bed::new(true, "machines").await?;
    bed.role("controller")
        .create::<DeployTarget>(HELD, target(&Value::Null))
        .await?;
    let machines = "only people let a target go";
    for (user, words) in [
        (
            "system:serviceaccount:flux-system:kustomize-controller",
            machines,
        ),
        (
            &account("controller"),
            "leaves to people what is theirs in the spec",
        ),
        (&account("relay"), "relay changes nothing of a target"),
        (&account("receiver"), machines),
    ] {
        bed.grant(user, "override", &BOTH).await?;
        let answer = bed
            .somebody(user, &[])
            .patch::<DeployTarget>(HELD, ordered("forged"))
            .await;
        refused(user, answer, &[words])?;
    }
    Ok(())
}
