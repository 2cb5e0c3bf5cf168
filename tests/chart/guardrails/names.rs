//! What targets are called: who may lock one or let it go is judged by its spec, and what is deployed finds it by its name.

use anyhow::{Context, Result};
use foredeck::{
    api::{DeployTarget, deploy_request::Place},
    domain::ids,
};
use kube::{api::PostParams, core::DynamicObject};
use serde_json::{Value, json};

use crate::support::{ALICE, Bed, refused, resource};

/// What somebody may do everything with.
const TOY: [(&str, &str); 2] = [("environments", "dev"), ("applications", "toy")];

fn place() -> Place {
    Place {
        account: "eks".to_owned(),
        namespace: "shop".to_owned(),
    }
}

/// As the controller calls it.
fn name(application: &str, environment: &str) -> String {
    ids::target_name(application, environment, &place())
}

fn target(application: &str, environment: &str) -> Value {
    json!({"application": application, "environment": environment, "place": place()})
}

#[tokio::test]
async fn nobody_makes_a_target_under_the_name_of_anothers() -> Result<()> {
    for bed in Bed::both("forged-names").await? {
        for verb in ["lock", "override"] {
            bed.grant(ALICE, verb, &TOY).await?;
        }
        let words = "a target is called after what its spec says, \"toy.dev.\" and twelve digits";
        for who in [bed.somebody(ALICE, &[]), bed.administrator()] {
            for forged in [
                &*name("checkout", "production"),
                &name("toy", "production"),
                &name("checkout", "dev"),
                "one",
                "toy.dev",
                "toy.dev.4d2a1e0c9b7",
                "toy.dev.4d2a1e0c9b7f0",
                "toy.dev.4d2a1e0c9b7g",
                "toy.dev.x.4d2a1e0c9b7f",
                "my.toy.dev.4d2a1e0c9b7f",
                "toyxdev.4d2a1e0c9b7f",
            ] {
                let answer = who
                    .create::<DeployTarget>(forged, target("toy", "dev"))
                    .await;
                refused(forged, answer, &[words, forged])?;
            }
            let mut drawn = DynamicObject::new("", &resource::<DeployTarget>())
                .data(json!({"spec": target("toy", "dev")}));
            drawn.metadata.name = None;
            drawn.metadata.generate_name = Some("toy.dev.d".to_owned());
            let answer = who
                .api::<DeployTarget>()
                .create(&PostParams::default(), &drawn)
                .await;
            refused("a name that is drawn", answer, &[words])?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_name_that_the_controller_derives_is_let_through() -> Result<()> {
    let long = "a".repeat(63);
    for bed in Bed::both("names").await? {
        let controller = bed.role("controller");
        for (application, environment) in [
            ("toy", "dev"),
            ("shop.checkout", "production"),
            ("check-out", "eu-1.production"),
            (&*long, &*long),
        ] {
            controller
                .create::<DeployTarget>(
                    &name(application, environment),
                    target(application, environment),
                )
                .await
                .with_context(|| format!("{application} in {environment}"))?;
        }
    }
    Ok(())
}
