//! Every right of the chart is used, and every call of a role is one that the chart allows: on the API server's own record.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::OnceCell;

use crate::{
    forbidden::{all_refused, single_refused},
    rights::{Act, Right, without},
    story::Mode,
    support::{HOME, Installation, OUTSIDE, TEAM},
};

type Acts = Vec<(Act, bool)>;

/// Told only when a shared connection's certificate can't be renewed: the suite `credentials` shows that it is.
const NOT_TOLD: &str = "foredeck-controller: create events.events.k8s.io in foredeck-system";

/// An installation in which everything has happened once, and what the roles asked for meanwhile.
async fn told() -> Result<&'static (Installation, Acts)> {
    static TOLD: OnceCell<Result<(Installation, Acts)>> = OnceCell::const_new();
    let told = TOLD.get_or_init(async || {
        let installation = Installation::new(&[], &[]).await?;
        installation.tell(Mode::Separate).await?;
        let acts = installation.acts()?;
        Ok((installation, acts))
    });
    match told.await {
        Ok(told) => Ok(told),
        Err(error) => bail!("{error:#}"),
    }
}

/// What was refused, what was used of no right, and what was used beside the rights: each by its name.
fn strays(installation: &Installation, acts: &Acts) -> BTreeMap<&'static str, Vec<String>> {
    let rights = installation.rights();
    let mut strays: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (act, allowed) in acts {
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
        if !used && !right.to_string().starts_with(NOT_TOLD) {
            strays.entry("unused").or_default().push(right.to_string());
        }
    }
    strays
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_is_used_and_every_call_is_covered() -> Result<()> {
    let (installation, acts) = told().await?;
    let strays = strays(installation, acts);
    ensure!(strays.is_empty(), "{strays:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_one_right_something_is_refused() -> Result<()> {
    let (installation, acts) = told().await?;
    for (act, _) in acts {
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
    let refused = installation
        .until_may(act, false)
        .await
        .with_context(|| format!("another right gives {act} beside {right}"));
    let whole = installation
        .documents
        .iter()
        .find(|one| crate::rights::identity(one) == right.source);
    installation.apply(whole.cloned().as_slice()).await?;
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_role_may_is_refused_to_its_token() -> Result<()> {
    all_refused(&told().await?.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_in_one_acts_as_each_role_and_may_nothing_else() -> Result<()> {
    let installation = Installation::new(&["--set", "mode=single"], &[]).await?;
    installation.tell(Mode::Single).await?;
    let acts = installation.acts()?;
    let strays = strays(&installation, &acts);
    ensure!(strays.is_empty(), "{strays:#?}");
    single_refused(&installation).await
}

#[tokio::test(flavor = "multi_thread")]
async fn told_where_to_work_no_role_sees_anything_else() -> Result<()> {
    let values = format!("namespaces={{{TEAM}}}");
    let installation = Installation::new(&["--set", &values], &["--namespace", TEAM]).await?;
    // The same team there: whoever saw it would have to ask in Slack which of both is meant.
    installation.team(OUTSIDE).await?;
    installation.tell(Mode::Separate).await?;
    let acts = installation.acts()?;
    let strays = strays(&installation, &acts);
    ensure!(strays.is_empty(), "{strays:#?}");
    for (act, _) in acts {
        let known = [TEAM, HOME, "kube-system", ""].contains(&act.namespace.as_str());
        ensure!(known, "{act}");
        if act.namespace == TEAM {
            let outside = Act {
                namespace: OUTSIDE.to_owned(),
                name: act.name.replace(TEAM, OUTSIDE),
                ..act
            };
            ensure!(!installation.may(&outside).await?, "{outside} is allowed");
        }
    }
    Ok(())
}
