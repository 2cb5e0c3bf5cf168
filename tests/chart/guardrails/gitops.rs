//! What applies a repository again and again, and a lock that somebody set meanwhile: by server-side apply, by client-side
//! apply, and by replacing.

use anyhow::{Context, Result};
use foredeck::api::Environment;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{ENVIRONMENT, FLUX, environment, lock, spec};
use crate::support::{ALICE, Bed, Writer, refused};

const NAME: &str = "production";

/// As `kubectl apply --server-side` and Flux do.
async fn applied(who: &Writer<'_>, more: &Value) -> kube::Result<kube::core::DynamicObject> {
    let whole = json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "Environment", "metadata": {"name": NAME},
        "spec": environment(more),
    });
    let force = PatchParams::apply("kustomize-controller").force();
    who.api::<Environment>()
        .patch(NAME, &force, &Patch::Apply(&whole))
        .await
}

#[tokio::test]
async fn what_is_applied_without_a_lock_leaves_one_alone() -> Result<()> {
    for bed in Bed::both("without").await? {
        bed.grant(ALICE, "lock", &[ENVIRONMENT]).await?;
        let (alice, flux) = (bed.somebody(ALICE, &[]), bed.somebody(FLUX, &[]));
        applied(&flux, &json!({})).await?;
        let locked = alice
            .patch::<Environment>(NAME, spec(&lock("mine", ALICE)))
            .await?;
        for change in [json!({}), json!({"sharedTarget": true})] {
            let again = applied(&flux, &change).await?;
            assert_eq!(again.data["spec"]["lock"], locked.data["spec"]["lock"]);
        }
        // Client-side apply patches what differs from what was applied before.
        let patched = flux
            .patch::<Environment>(NAME, spec(&json!({"sharedTarget": false})))
            .await?;
        assert_eq!(patched.data["spec"]["lock"], locked.data["spec"]["lock"]);
        // Replacing takes the lock away, and that isn't its to do.
        let mut whole = patched;
        whole.data["spec"] = environment(&json!({}));
        let answer = flux
            .api::<Environment>()
            .replace(NAME, &PostParams::default(), &whole)
            .await;
        let words = "only people change or lift another's lock";
        refused("replacing", answer, &[words])?;
        // Neither is putting its own in the place of somebody's.
        bed.grant(FLUX, "lock", &[ENVIRONMENT]).await?;
        let answer = applied(&flux, &lock("from git", FLUX)).await;
        refused("another lock", answer, &[words])?;
        let kept = alice.api::<Environment>().get(NAME).await?;
        assert_eq!(kept.data["spec"]["lock"], locked.data["spec"]["lock"]);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_applied_with_a_lock_keeps_it_and_takes_it_away() -> Result<()> {
    for bed in Bed::both("with").await? {
        let (alice, flux) = (bed.somebody(ALICE, &[]), bed.somebody(FLUX, &[]));
        // Where the API server stamps, nobody writes `by` into a repository.
        let mut from_git = lock("from git", FLUX);
        if bed.mutating
            && let Some(lock) = from_git["lock"].as_object_mut()
        {
            lock.remove("by");
        }
        let answer = applied(&flux, &from_git).await;
        refused(
            "without the verb",
            answer,
            &["may not lock the Environment"],
        )?;
        bed.grant(FLUX, "lock", &[ENVIRONMENT]).await?;
        let first = applied(&flux, &from_git).await?;
        assert_eq!(first.data["spec"]["lock"]["by"]["username"], FLUX);
        let again = applied(&flux, &from_git).await?;
        assert_eq!(again.data["spec"], first.data["spec"]);
        assert_eq!(
            again.metadata.generation, first.metadata.generation,
            "applying the same again changes nothing"
        );

        bed.grant(ALICE, "lock", &[ENVIRONMENT]).await?;
        let lifted = spec(&json!({"lock": null}));
        let answer = alice.patch::<Environment>(NAME, lifted.clone()).await;
        refused(
            "lifting it by hand",
            answer,
            &["it is \"system:serviceaccount:flux-system"],
        )?;
        bed.grant(ALICE, "override", &[ENVIRONMENT]).await?;
        alice.patch::<Environment>(NAME, lifted).await?;
        // What the repository says comes back: it is lifted there.
        let back = applied(&flux, &from_git).await?;
        assert_eq!(back.data["spec"]["lock"]["by"]["username"], FLUX);
        let gone = applied(&flux, &json!({}))
            .await
            .context("lifting it in git")?;
        assert_eq!(gone.data["spec"].get("lock"), None, "{}", gone.data["spec"]);
    }
    Ok(())
}
