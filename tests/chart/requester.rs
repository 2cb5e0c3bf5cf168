//! Who asks is who asks: nobody asks in the name of another, by whatever way.

use anyhow::{Context, Result};
use foredeck::api::DeployRequest;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{ALICE, BOB, Bed, account, refused, request, slack_actor};

fn asked_by(requester: &Value) -> Value {
    request(&json!({"requester": requester}))
}

#[tokio::test]
async fn nobody_asks_in_the_name_of_another() -> Result<()> {
    let forged =
        json!({"username": BOB, "groups": ["okta:leads"], "slack": {"team": "T01", "user": "U02"}});
    for bed in Bed::both("forged").await? {
        let alice = bed.somebody(ALICE, &["okta:shop"]);
        let answer = alice
            .create::<DeployRequest>("forged", asked_by(&forged))
            .await;
        if bed.mutating {
            let requester = &answer?.data["spec"]["requester"];
            assert_eq!(requester["username"], ALICE);
            assert_eq!(requester["groups"], json!(["writers", "okta:shop"]));
            assert_eq!(requester.get("slack"), None);
        } else {
            let words = [
                "\"bob@corp.example\", and you are \"alice@corp.example\"",
                "Write your own user name",
            ];
            refused("another's name", answer, &words)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_apply_is_no_way_around() -> Result<()> {
    for bed in Bed::both("applied").await? {
        let api = bed.somebody(ALICE, &[]).api::<DeployRequest>();
        let object = json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "metadata": {"name": "applied"},
            "spec": asked_by(&json!({"username": BOB})),
        });
        let apply = PatchParams::apply("kubectl");
        let answer = api.patch("applied", &apply, &Patch::Apply(&object)).await;
        if bed.mutating {
            assert_eq!(answer?.data["spec"]["requester"]["username"], ALICE);
        } else {
            refused("another's name", answer, &["you are"])?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn ones_own_name_and_some_of_ones_groups_are_accepted() -> Result<()> {
    for bed in Bed::both("own").await? {
        let alice = bed.somebody(ALICE, &["okta:shop", "okta:leads"]);
        let own = json!({"username": ALICE, "groups": ["okta:leads"]});
        let made = alice.create::<DeployRequest>("own", asked_by(&own)).await?;
        assert_eq!(made.data["spec"]["requester"]["username"], ALICE);
        if !bed.mutating {
            assert_eq!(made.data["spec"]["requester"], own);
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_is_not_named_is_stamped_or_told_the_fix() -> Result<()> {
    for bed in Bed::both("unnamed").await? {
        let alice = bed.somebody(ALICE, &["okta:shop"]);
        for (name, spec) in [
            ("absent", request(&json!({}))),
            ("null", asked_by(&Value::Null)),
        ] {
            let answer = alice.create::<DeployRequest>(name, spec).await;
            if bed.mutating {
                assert_eq!(answer?.data["spec"]["requester"]["username"], ALICE);
            } else {
                let fix = "write spec.requester.username: \"alice@corp.example\"";
                refused("an unnamed requester", answer, &[fix])?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn without_stamps_foreign_groups_and_slack_are_refused() -> Result<()> {
    let bed = Bed::new(false, "claims").await?;
    let alice = bed.somebody(ALICE, &["okta:shop"]);
    let foreign =
        json!({"username": ALICE, "groups": ["okta:shop", "okta:leads", "system:masters"]});
    let answer = alice
        .create::<DeployRequest>("groups", asked_by(&foreign))
        .await;
    let words = ["is not in: okta:leads, system:masters. Leave them out"];
    refused("foreign groups", answer, &words)?;
    let answer = alice
        .create::<DeployRequest>("slack", asked_by(&slack_actor(ALICE, &[])))
        .await;
    refused(
        "a claim to be in Slack",
        answer,
        &["spec.requester.slack", "leave it out"],
    )?;
    Ok(())
}

#[tokio::test]
async fn a_request_without_a_spec_is_refused_by_the_schema() -> Result<()> {
    for bed in Bed::both("bare").await? {
        let alice = bed.somebody(ALICE, &[]);
        let answer = alice.create::<DeployRequest>("bare", Value::Null).await;
        let error = answer.err().context("it was let through")?.to_string();
        assert!(error.contains("spec"), "{error}");
        assert!(!error.contains("expression"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_stolen_receiver_speaks_for_people_in_slack_and_for_nobody_else() -> Result<()> {
    let masters = "system:masters";
    let rows = [
        ("nobody at all", Value::Null, "spec.requester"),
        (
            "somebody who is not in Slack",
            json!({"username": ALICE}),
            "spec.requester.slack is missing",
        ),
        (
            "a group of Kubernetes' own",
            slack_actor(ALICE, &["okta:shop", masters]),
            "may not: system:masters",
        ),
        (
            "a user of Kubernetes' own",
            slack_actor("system:admin", &[]),
            "\"system:admin\"",
        ),
        (
            "a ServiceAccount",
            slack_actor(&account("controller"), &[]),
            "Kubernetes' own users",
        ),
        (
            "a group without a prefix",
            slack_actor(ALICE, &["cluster-admins"]),
            "may not: cluster-admins. Each has to begin with one of slack:, okta:",
        ),
        (
            "a group with another prefix",
            slack_actor(ALICE, &["oidc:okta:shop"]),
            "may not: oidc:okta:shop",
        ),
        (
            "a foreign e-mail domain",
            slack_actor("eve@evil.example", &[]),
            "\"eve@evil.example\", which is in none",
        ),
        (
            "a domain that ends like ours",
            slack_actor("eve@notcorp.example", &[]),
            "none of the e-mail domains",
        ),
        (
            "a domain that begins like ours",
            slack_actor("eve@corp.example.evil", &[]),
            "none of the e-mail domains",
        ),
        (
            "a user of another issuer",
            slack_actor("oidc-admin:alice@corp.example", &[]),
            "none of the e-mail domains",
        ),
        (
            "a path before the address",
            slack_actor("https://issuer.example#alice@corp.example", &[]),
            "none of the e-mail domains",
        ),
        (
            "an address in an address",
            slack_actor("eve@evil.example@corp.example", &[]),
            "none of the e-mail domains",
        ),
        (
            "nobody at our domain",
            slack_actor("@corp.example", &[]),
            "none of the e-mail domains",
        ),
        (
            "a user name without a domain",
            slack_actor("kubernetes-admin", &[]),
            "identity.usernames",
        ),
    ];
    for bed in Bed::both("stolen").await? {
        let receiver = bed.role("receiver");
        for (index, (what, requester, named)) in rows.iter().enumerate() {
            let answer = receiver
                .create::<DeployRequest>(&format!("row-{index}"), asked_by(requester))
                .await;
            refused(what, answer, &[named])?;
        }
        for (index, name) in [ALICE, "alice@CORP.example", "alice@corp.test", "kube-alice"]
            .iter()
            .enumerate()
        {
            let actor = slack_actor(name, &["okta:shop", "slack:oncall"]);
            let made = receiver
                .create::<DeployRequest>(&format!("fine-{index}"), asked_by(&actor))
                .await
                .with_context(|| (*name).to_owned())?;
            assert_eq!(
                made.data["spec"]["requester"], actor,
                "as the receiver wrote it"
            );
        }
        let other = json!({"spec": {"requester": slack_actor(BOB, &[])}});
        let answer = receiver.patch::<DeployRequest>("fine-0", other).await;
        let error = answer.err().context("another requester was let through")?;
        assert!(
            error.to_string().contains("requester is immutable"),
            "{error}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_controller_and_the_relay_ask_for_nothing() -> Result<()> {
    for bed in Bed::both("roles").await? {
        for role in ["controller", "relay"] {
            for (name, requester) in [
                ("another", slack_actor(ALICE, &[])),
                ("itself", json!({"username": account(role)})),
            ] {
                let answer = bed
                    .role(role)
                    .create::<DeployRequest>(name, asked_by(&requester))
                    .await;
                refused(&format!("{role} as {name}"), answer, &[])?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_service_account_asks_as_what_it_is() -> Result<()> {
    let flux = "system:serviceaccount:flux-system:kustomize-controller";
    for bed in Bed::both("flux").await? {
        let made = bed.asked_by(flux, "by-git").await?;
        assert_eq!(made.data["spec"]["requester"]["username"], flux);
        assert_eq!(made.name_any(), "by-git");
    }
    Ok(())
}

#[tokio::test]
async fn what_tells_a_copy_is_the_controllers_alone() -> Result<()> {
    let seen = |uid: &str| json!({"metadata": {"annotations": {"foredeck.dev/seen": uid}}});
    for bed in Bed::both("seen").await? {
        bed.asked_by(ALICE, "met").await?;
        for (who, writer) in [
            ("its requester", bed.somebody(ALICE, &[])),
            ("the receiver", bed.role("receiver")),
        ] {
            let answer = writer.patch::<DeployRequest>("met", seen("forged")).await;
            let word = if who == "the receiver" {
                "nothing of a request but spec.cancel and spec.override"
            } else {
                "foredeck.dev/seen"
            };
            refused(who, answer, &[word])?;
        }
        bed.role("controller")
            .patch::<DeployRequest>("met", seen("one"))
            .await?;
        let gone = json!({"metadata": {"annotations": null}});
        let answer = bed
            .somebody(ALICE, &[])
            .patch::<DeployRequest>("met", gone)
            .await;
        refused("taking it away", answer, &["foredeck.dev/seen"])?;
        let other = json!({"metadata": {"annotations": {"team": "shop"}, "labels": {"a": "b"}}});
        bed.somebody(ALICE, &[])
            .patch::<DeployRequest>("met", other)
            .await?;
        bed.administrator()
            .patch::<DeployRequest>("met", seen("two"))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_receiver_changes_nothing_of_a_request_but_its_cancel() -> Result<()> {
    let bed = Bed::new(true, "metadata").await?;
    bed.asked_by(ALICE, "alices").await?;
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u"}]);
    for metadata in [
        json!({"labels": {"a": "b"}}),
        json!({"annotations": {"a": "b"}}),
        json!({"finalizers": ["evil.example/hangs"]}),
        json!({"ownerReferences": owner}),
    ] {
        let change = json!({"metadata": metadata});
        let answer = bed
            .role("receiver")
            .patch::<DeployRequest>("alices", change)
            .await;
        let words = ["changes nothing of a request but spec.cancel and spec.override"];
        refused(&metadata.to_string(), answer, &words)?;
    }
    Ok(())
}

#[tokio::test]
async fn whoever_is_in_five_hundred_groups_can_ask() -> Result<()> {
    // With the one that makes a writer, and the one that everybody is in.
    let groups: Vec<String> = (0..499).map(|index| format!("okta:{index:0>95}")).collect();
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    for bed in Bed::both("many").await? {
        let all = [&["writers"], &names[..]].concat();
        let own = json!({"username": ALICE, "groups": all});
        let made = bed
            .somebody(ALICE, &names)
            .create::<DeployRequest>("many", asked_by(&own))
            .await?;
        assert_eq!(made.data["spec"]["requester"], own);
    }
    Ok(())
}

#[tokio::test]
async fn a_group_with_a_name_that_does_not_fit_is_left_out() -> Result<()> {
    let bed = Bed::new(true, "long").await?;
    let (long, fits) = ("g".repeat(254), "h".repeat(253));
    let made = bed
        .somebody(ALICE, &[&long, &fits])
        .create::<DeployRequest>("long", request(&json!({})))
        .await?;
    let stamped = &made.data["spec"]["requester"]["groups"];
    assert_eq!(stamped, &json!(["writers", fits]));
    Ok(())
}
