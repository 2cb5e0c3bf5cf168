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
    let url = shown.url.unwrap_or_default();
    assert!(
        url.ends_with(&format!("/compare/{base}...{merge}")),
        "{url}"
    );

    let behind = host.between(&new[2], &new[0], 10).await?;
    assert_eq!(
        (behind.relation, behind.ahead, behind.behind),
        (Relation::Behind, 0, 2)
    );
    let given_up: Vec<_> = behind.commits.iter().map(|commit| &commit.sha).collect();
    assert_eq!(given_up, [&new[2], &new[1]]);
    let shown = changes(&new[2], &behind);
    assert_eq!(shown.removed, 2);
    // What is given up stands on the page of the other way round.
    let url = shown.url.unwrap_or_default();
    let other = format!("/compare/{}...{}", new[0], new[2]);
    assert!(url.ends_with(&other), "{url}");

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
async fn how_many_there_are_costs_one_small_call_and_never_another() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let base = bed.github.head("main").await?;
    bed.github.branch("topic", &base).await?;
    let topic = bed.github.commit("topic", "Topic", "Robin").await?;
    let made = bed.github.commits("main", 150).await?;
    let head = &made[149];
    let host = bed.host().await?;
    for (from, to, relation, ahead, behind) in [
        (&base, head, Relation::Ahead, 150, 0),
        (head, &base, Relation::Behind, 0, 150),
        (head, &topic, Relation::Diverged, 1, 150),
        (&base, &topic, Relation::Ahead, 1, 0),
    ] {
        bed.github.forget_calls();
        for _ in 0..2 {
            let known = host.between(from, to, 0).await?;
            let found = (known.relation, known.ahead, known.behind);
            assert_eq!(found, (relation, ahead, behind));
            assert!(known.commits.is_empty() && !known.complete);
        }
        let paths: Vec<_> = bed.github.calls();
        assert_eq!(paths.len(), 1, "{paths:?}");
        let path = &paths[0].path;
        assert!(path.ends_with("?per_page=1&page=2"), "{path}");
    }
    // What is listed tells how many there are, too.
    host.between(&topic, head, 10).await?;
    let asked = bed.github.calls().len();
    let known = host.between(&topic, head, 0).await?;
    assert_eq!((known.ahead, known.behind), (150, 1));
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
        let counted = host.between(base, head, 0).await;
        assert_eq!(reason(counted)?, "no-such-version");
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
