//! Which commit a name stands for.

use anyhow::{Context, Result};
use futures::future::join_all;

use crate::support::{Bed, reason};

#[tokio::test]
async fn branches_tags_and_commits_stand_for_a_commit() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let first = bed.github.head("main").await?;
    let second = bed
        .github
        .commit("main", "Fix <!channel>\n\nlong", "Zoë")
        .await?;
    bed.github.branch("feature/one", &first).await?;
    bed.github.tag("v1", &first).await?;
    bed.github.annotated_tag("v2", &second).await?;
    let host = bed.host().await?;
    for (version, sha) in [
        ("main", &second),
        ("feature/one", &first),
        ("v1", &first),
        ("v2", &second),
        ("refs/heads/main", &second),
        ("refs/tags/v1", &first),
        (&second[..7], &second),
        (&second[..39], &second),
        (second.as_str(), &second),
    ] {
        assert_eq!(host.commit(version).await?.sha, *sha, "{version}");
    }
    let commit = host.commit("main").await?;
    assert_eq!(commit.message, "Fix <!channel>\n\nlong");
    assert_eq!((commit.author.as_str(), commit.merge), ("Zoë", false));
    assert_eq!(commit.line().title, "Fix <!channel>");
    let merge = bed.github.merge("main", "feature/one").await?;
    let commit = host.commit("main").await?;
    assert_eq!((commit.sha, commit.merge), (merge, true));
    let described = host.described().await?;
    assert_eq!(
        (described.default_branch.as_str(), described.archived),
        ("main", false)
    );
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_told_from_a_repository_that_is_not_there() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    let head = bed.github.head("main").await?;
    let nowhere = "0".repeat(40);
    for version in [
        "nothing",
        "feature/none",
        nowhere.as_str(),
        &head[..6],
        "abc1234",
    ] {
        assert_eq!(
            reason(host.commit(version).await)?,
            "no-such-version",
            "{version}"
        );
    }
    let mut other = bed.repository(Some("github"));
    other.github = "acme/none".to_owned();
    let other = bed.hosts().of(&bed.namespace, &other).await?;
    assert_eq!(reason(other.commit("main").await)?, "no-such-repository");
    assert_eq!(reason(other.described().await)?, "no-such-repository");
    // For who has no login a private one isn't there either.
    bed.github.set_private(true).await?;
    let stranger = bed.host_with(None).await?;
    assert_eq!(reason(stranger.commit("main").await)?, "no-such-repository");
    Ok(())
}

#[tokio::test]
async fn names_that_git_does_not_have_are_not_asked_for_and_no_name_leaves_its_place() -> Result<()>
{
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    let long = "b".repeat(256);
    for version in [
        "",
        "..",
        "../..",
        "a/../../installation",
        "main~1",
        "main^",
        "main:README.md",
        "a b",
        "a\nb",
        "a?b",
        "@{-1}",
        "pull/7/head",
        "pull/7/merge",
        "refs/pull/7/head",
        "refs/notes/commits",
        &long,
    ] {
        assert_eq!(
            reason(host.commit(version).await)?,
            "no-such-version",
            "{version:?}"
        );
    }
    assert_eq!(bed.github.calls(), []);
    let long = "b".repeat(250);
    for version in [
        "a#b",
        "%2f",
        "%2e%2e%2fx",
        "a&per_page=9",
        "grün/ß",
        "a;b=c",
        "x+y",
        "<!channel>",
        &long,
    ] {
        assert_eq!(
            reason(host.commit(version).await)?,
            "no-such-version",
            "{version:?}"
        );
    }
    let begin = "/repos/acme/checkout/commits/";
    for call in bed.github.calls() {
        let rest = call.path.strip_prefix(begin).context(call.path.clone())?;
        let (part, query) = rest.split_once('?').context(call.path.clone())?;
        assert!(
            !part.contains('/') && query == "per_page=1",
            "{}",
            call.path
        );
    }
    // One that there is, is found in spite of its name.
    let head = bed.github.head("main").await?;
    for name in ["fix/a#b&c", "50%25-off", "grün+ß"] {
        bed.github.branch(name, &head).await?;
        assert_eq!(host.commit(name).await?.sha, head, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_branch_is_asked_for_each_time_and_costs_nothing_where_it_has_not_moved() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    let first = host.commit("main").await?;
    let spent = bed.github.spent();
    assert_eq!(host.commit("main").await?, first);
    assert_eq!((bed.github.not_modified(), bed.github.spent()), (1, spent));
    let moved = bed.github.commit("main", "More", "Robin").await?;
    assert_eq!(host.commit("main").await?.sha, moved);
    bed.github.force_push("main", &first.sha).await?;
    assert_eq!(host.commit("main").await?.sha, first.sha);
    bed.github.branch("gone", &moved).await?;
    assert_eq!(host.commit("gone").await?.sha, moved);
    bed.github.delete_branch("gone").await?;
    assert_eq!(reason(host.commit("gone").await)?, "no-such-version");
    let page = bed.metrics.encode()?;
    let line = "foredeck_git_calls_total{operation=\"commit\",outcome=\"unchanged\"} 1";
    assert!(page.contains(line), "{page}");
    Ok(())
}

#[tokio::test]
async fn who_asks_while_the_same_is_asked_waits_for_the_next_question_that_all_of_them_share()
-> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    let slow = foredeck_testkit::toolbox::GithubFault::Slow(std::time::Duration::from_millis(300));
    bed.github.set_fault(Some(slow));
    let answers = join_all((0..20).map(|_| host.commit("main"))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    // The first one's, and that of the 19 who came after it was sent: something may have been pushed meanwhile.
    assert_eq!(bed.asked("/commits/main"), 2);
    Ok(())
}

#[tokio::test]
async fn branches_are_known_at_once_when_they_were_asked_for_before() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let head = bed.github.head("main").await?;
    for number in 0..120 {
        bed.github.branch(&format!("topic-{number}"), &head).await?;
    }
    let host = bed.host().await?;
    assert_eq!(host.branches().await?.len(), 121);
    assert_eq!(bed.asked("/branches?per_page=100"), 2);
    bed.github
        .set_fault(Some(foredeck_testkit::toolbox::GithubFault::Cut));
    assert_eq!(host.branches().await?.len(), 121);
    Ok(())
}
