//! Every right of the chart is used, and every call of a role is one that the chart allows: on the API server's own record.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use foredeck_testkit::wait_for;
use tokio::sync::OnceCell;

use crate::{
    rights::{Act, Right, without},
    story::Mode,
    support::Installation,
};

/// An installation in which everything has happened once.
async fn told() -> Result<&'static Installation> {
    static TOLD: OnceCell<Result<Installation>> = OnceCell::const_new();
    let told = TOLD.get_or_init(async || {
        let installation = Installation::new(&[], &[]).await?;
        installation.tell(Mode::Separate).await?;
        Ok(installation)
    });
    match told.await {
        Ok(installation) => Ok(installation),
        Err(error) => bail!("{error:#}"),
    }
}

/// What was refused, what was used of no right, and what was used beside the rights: each by its name.
fn strays(installation: &Installation) -> Result<BTreeMap<&'static str, Vec<String>>> {
    let (acts, rights) = (installation.acts()?, installation.rights());
    let mut strays: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (act, allowed) in &acts {
        if !allowed {
            strays.entry("forbidden").or_default().push(act.to_string());
        } else if !rights.iter().any(|right| right.allows(act)) {
            strays.entry("beside").or_default().push(act.to_string());
        }
    }
    for right in &rights {
        let used = acts
            .iter()
            .any(|(act, allowed)| *allowed && right.allows(act));
        if !used {
            strays.entry("unused").or_default().push(right.to_string());
        }
    }
    Ok(strays)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_is_used_and_every_call_is_covered() -> Result<()> {
    let strays = strays(told().await?)?;
    ensure!(strays.is_empty(), "{strays:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_one_right_something_is_refused() -> Result<()> {
    let installation = told().await?;
    let acts = installation.acts()?;
    for (act, _) in &acts {
        ensure!(
            installation.may(act).await?,
            "{act} is refused with all rights"
        );
    }
    for right in installation.rights() {
        let (act, _) = acts
            .iter()
            .find(|(act, _)| right.allows(act))
            .with_context(|| format!("{right} was never used"))?;
        refused_without(installation, &right, act).await?;
    }
    Ok(())
}

/// Takes a right away, waits until the API server refuses what was done by it, and gives it back.
async fn refused_without(installation: &Installation, right: &Right, act: &Act) -> Result<()> {
    let mutated = without(&installation.documents, right)?;
    installation.apply(&[mutated]).await?;
    let what = format!("{act} to be refused without {right}");
    let refused = wait_for(&what, Duration::from_secs(5), async || {
        ensure!(
            !installation.may(act).await?,
            "it is allowed, so another right gives it too"
        );
        Ok(())
    })
    .await;
    let whole = installation
        .documents
        .iter()
        .find(|one| crate::rights::identity(one) == right.source);
    installation.apply(whole.cloned().as_slice()).await?;
    refused
}
