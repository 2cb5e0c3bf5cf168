//! What lies between two commits.

use anyhow::Result;
use foredeck::{api::version::Relation, domain::commits::changes};

use crate::support::{Bed, reason};

#[tokio::test]
async fn what_is_new_and_what_is_given_up_is_listed_newest_first() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let base = bed.github.head("main").await?;
    bed.github.branch("topic", &base).await?;
    let topic = bed
        .github
        .commit("topic", "Topic\u{202e} <b>\nmore", "<!here>")
        .await?;
    let new = bed.github.commits("main", 3).await?;
    let merge = bed.github.merge("main", "topic").await?;
    let host = bed.host().await?;

    let ahead = host.between(&base, &merge, 10).await?;
    assert_eq!(
        (ahead.relation, ahead.ahead, ahead.behind),
        (Relation::Ahead, 5, 0)
    );
    assert_eq!(ahead.commits[0].sha, merge);
    assert!(ahead.complete);
    let shown = changes(&base, &ahead);
    assert_eq!((shown.added, shown.commits.len()), (4, 4));
    let title = shown.commits.iter().find(|line| line.sha == topic);
    assert_eq!(title.map(|line| line.title.as_str()), Some("Topic <b>"));
    assert!(shown.url.is_some());

    let behind = host.between(&new[2], &new[0], 10).await?;
    assert_eq!(
        (behind.relation, behind.ahead, behind.behind),
        (Relation::Behind, 0, 2)
    );
    let given_up: Vec<_> = behind.commits.iter().map(|commit| &commit.sha).collect();
    assert_eq!(given_up, [&new[2], &new[1]]);
    assert_eq!(changes(&new[2], &behind).removed, 2);

    let diverged = host.between(&topic, &new[2], 10).await?;
    assert_eq!(
        (diverged.relation, diverged.ahead, diverged.behind),
        (Relation::Diverged, 3, 1)
    );

    let other = bed.github.orphan("other").await?;
    let unrelated = host.between(&base, &other, 10).await?;
    assert_eq!(
        (unrelated.relation, unrelated.commits.len()),
        (Relation::Unrelated, 0)
    );
    let same = host.between(&base, &base, 10).await?;
    assert_eq!(same.relation, Relation::Identical);

    // It never changes, so it is never asked again.
    let asked = bed.github.calls().len();
    assert_eq!(host.between(&base, &merge, 10).await?, ahead);
    assert_eq!(host.between(&new[2], &new[0], 10).await?, behind);
    assert_eq!(host.between(&base, &other, 10).await?, unrelated);
    assert_eq!(bed.github.calls().len(), asked);
    Ok(())
}

#[tokio::test]
async fn a_commit_that_is_gone_is_named() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    let head = bed.github.head("main").await?;
    let gone = "0123456789".repeat(4);
    for (base, head) in [(&gone, &head), (&head, &gone)] {
        let error = host.between(base, head, 10).await.unwrap_err();
        assert_eq!(error.reason(), "no-such-version");
        assert!(error.to_string().contains(&gone), "{error}");
    }
    let asked = bed.github.calls().len();
    assert_eq!(
        reason(host.between("main", &head, 10).await)?,
        "no-such-version"
    );
    assert_eq!(bed.github.calls().len(), asked);
    Ok(())
}

#[tokio::test]
async fn of_two_thousand_commits_the_newest_are_listed_with_few_calls() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let base = bed.github.head("main").await?;
    let made = bed.github.commits("main", 2_005).await?;
    let host = bed.host().await?;
    let newest: Vec<_> = made.iter().rev().take(10).collect();
    let head = &made[2_004];

    let ahead = host.between(&base, head, 10).await?;
    assert_eq!((ahead.ahead, ahead.complete), (2_005, false));
    assert_eq!(
        ahead
            .commits
            .iter()
            .map(|commit| &commit.sha)
            .collect::<Vec<_>>(),
        newest
    );
    assert!(bed.asked("/compare/") <= 3, "{:?}", bed.github.calls());
    let shown = changes(&base, &ahead);
    assert_eq!((shown.added, shown.commits.len()), (2_005, 10));

    bed.github.forget_calls();
    let behind = host.between(head, &base, 10).await?;
    assert_eq!((behind.relation, behind.behind), (Relation::Behind, 2_005));
    assert_eq!(
        behind
            .commits
            .iter()
            .map(|commit| &commit.sha)
            .collect::<Vec<_>>(),
        newest
    );
    assert!(bed.asked("/compare/") <= 4, "{:?}", bed.github.calls());
    Ok(())
}
