//! GitHub in trouble, and whom we don't speak to.

use std::time::Duration;

use anyhow::Result;
use foredeck::git::{Announcement, GitError};
use foredeck_testkit::toolbox::GithubFault;
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use crate::support::{Bed, reason};

#[tokio::test]
async fn trouble_is_told_by_its_kind_and_names_no_token() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let elsewhere = format!(
        "{}/elsewhere",
        bed.github.url().replace("127.0.0.1", "localhost")
    );
    for (fault, expected) in [
        (GithubFault::Status(500), "unavailable"),
        (GithubFault::Status(503), "unavailable"),
        (GithubFault::Page(404), "unavailable"),
        (GithubFault::Page(200), "unavailable"),
        (GithubFault::Page(401), "unavailable"),
        (
            GithubFault::Garbage("{\"sha\": 7}".to_owned()),
            "unavailable",
        ),
        (GithubFault::Garbage("[".repeat(100_000)), "unavailable"),
        (GithubFault::Cut, "unavailable"),
        (GithubFault::Redirect(elsewhere), "unavailable"),
        (GithubFault::Status(401), "forbidden"),
        (GithubFault::Status(403), "forbidden"),
    ] {
        let host = bed.host().await?;
        bed.github.set_fault(Some(fault.clone()));
        let error = host.commit("main").await.unwrap_err();
        assert_eq!(error.reason(), expected, "{fault:?}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains(bed.github.token()), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_slow_answer_is_not_waited_for() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let repository = bed.repository(Some("github"));
    let hosts = bed.impatient(Duration::from_millis(300));
    let host = hosts.of(&bed.namespace, &repository).await?;
    bed.github
        .set_fault(Some(GithubFault::Slow(Duration::from_mins(1))));
    assert_eq!(reason(host.commit("main").await)?, "unavailable");
    Ok(())
}

#[tokio::test]
async fn while_it_is_limited_nothing_is_sent_with_that_login() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    for (fault, most) in [
        (GithubFault::Limited(600), 600),
        (GithubFault::Secondary(90), 90),
        (GithubFault::Limited(99_999), 3600),
    ] {
        let hosts = bed.hosts();
        let repository = bed.repository(Some("github"));
        let host = hosts.of(&bed.namespace, &repository).await?;
        bed.github.set_fault(Some(fault));
        let Err(GitError::Limited { until, .. }) = host.commit("main").await else {
            anyhow::bail!("it wasn't limited");
        };
        let left = until.duration_since(Timestamp::now()).as_secs();
        assert!((most - 30..=most + 1).contains(&left), "{left}");
        bed.github.set_fault(None);
        let asked = bed.github.calls().len();
        assert_eq!(reason(host.commit("main").await)?, "limited");
        let mut other = repository.clone();
        other.github = "acme/other".to_owned();
        let other = hosts.of(&bed.namespace, &other).await?;
        assert_eq!(reason(other.described().await)?, "limited");
        assert_eq!(bed.github.calls().len(), asked);
        // Who has another login isn't.
        let stranger = bed.repository(None);
        hosts
            .of(&bed.namespace, &stranger)
            .await?
            .commit("main")
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_sent_during_a_limit_is_counted() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    bed.github.set_fault(Some(GithubFault::Limited(600)));
    for _ in 0..4 {
        assert_eq!(reason(host.commit("main").await)?, "limited");
    }
    assert_eq!(bed.github.calls().len(), 1);
    let page = bed.metrics.encode()?;
    for line in [
        "foredeck_git_calls_total{operation=\"commit\",outcome=\"limited\"} 4",
        "foredeck_git_call_seconds_count{operation=\"commit\"} 1",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_that_replaces_a_limited_one_is_used() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    bed.github.set_fault(Some(GithubFault::Limited(3600)));
    assert_eq!(reason(host.commit("main").await)?, "limited");
    bed.github.set_fault(None);
    bed.secret("github", json!({"token": bed.github.token()}))
        .await?;
    // What a Secret holds is believed for 30 s.
    foredeck_testkit::wait_for("the new token", Duration::from_secs(90), async || {
        Ok(host.commit("main").await?)
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn who_waits_for_a_turn_does_not_use_up_the_time_of_the_answer() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let head = bed.github.head("main").await?;
    let hosts = bed.impatient(Duration::from_secs(5));
    let host = hosts
        .of(&bed.namespace, &bed.repository(Some("github")))
        .await?;
    // Three rounds of eight.
    bed.github
        .set_fault(Some(GithubFault::Slow(Duration::from_secs(2))));
    let answers = join_all((10..34).map(|digits| host.commit(&head[..digits]))).await;
    for answer in answers {
        assert_eq!(answer?.sha, head);
    }
    Ok(())
}

#[tokio::test]
async fn what_nobody_waits_for_leaves_room_for_versions() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    bed.github
        .set_fault_for("/deployments", GithubFault::Slow(Duration::from_mins(1)));
    let announcement = Announcement {
        commit: bed.github.head("main").await?,
        environment: "prod".to_owned(),
        action: "deploy".to_owned(),
        description: String::new(),
        uid: "u1".to_owned(),
    };
    let looking = join_all((0..20).map(|_| host.deployment(&announcement)));
    tokio::select! {
        biased;
        _ = looking => anyhow::bail!("no version was answered meanwhile"),
        commit = host.commit("main") => assert_eq!(commit?.sha, announcement.commit),
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_far_too_long_is_not_read() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    let long = GithubFault::Garbage(" ".repeat(3 << 20));
    bed.github.set_fault(Some(long));
    let error = host.commit("main").await.unwrap_err().to_string();
    assert!(error.contains("longer than we read"), "{error}");
    // A comparison shows what changed in files.
    let (one, other) = ("0".repeat(40), "1".repeat(40));
    let error = host.between(&one, &other, 10).await.unwrap_err();
    let error = error.to_string();
    assert!(!error.contains("longer than we read"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_limit_ends() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    bed.github.set_fault(Some(GithubFault::Secondary(1)));
    assert_eq!(reason(host.commit("main").await)?, "limited");
    bed.github.set_fault(None);
    foredeck_testkit::wait_for(
        "the end of the limit",
        Duration::from_secs(20),
        async || Ok(host.commit("main").await?),
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_renamed_repository_is_followed_within_its_server() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let mut old = bed.repository(Some("github"));
    old.github = "acme/old".to_owned();
    let host = bed.hosts().of(&bed.namespace, &old).await?;
    let to = format!("{}/repos/acme/checkout/commits/main", bed.github.url());
    bed.github
        .set_fault_for("/repos/acme/old", GithubFault::Redirect(to));
    let head = bed.github.head("main").await?;
    assert_eq!(host.commit("main").await?.sha, head);
    let last = bed.github.calls();
    assert_eq!(last.last().map(|call| call.who), Some("token"));
    // Round and round is no way.
    let round = format!("{}/repos/acme/old", bed.github.url());
    bed.github
        .set_fault_for("/repos/acme/old", GithubFault::Redirect(round));
    bed.github.forget_calls();
    assert_eq!(reason(host.commit("main").await)?, "unavailable");
    assert_eq!(bed.github.calls().len(), 4);
    Ok(())
}

#[tokio::test]
async fn only_hosts_that_are_allowed_are_spoken_to() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let hosts = bed.hosts();
    for url in [
        "https://api.github.com",
        "http://10.0.0.1",
        "https://127.0.0.1.evil.example",
        "https://127.0.0.1@evil.example",
        "https://me@127.0.0.1",
        "https://127.0.0.1/?a=b",
        "ftp://127.0.0.1",
        "nothing",
    ] {
        let mut repository = bed.repository(None);
        repository.api_url = Some(url.to_owned());
        let refused = hosts.of(&bed.namespace, &repository).await;
        assert_eq!(reason(refused)?, "host-not-allowed", "{url}");
    }
    let mut enterprise = bed.repository(None);
    enterprise.api_url = Some(format!("{}/api/v3", bed.github.url()));
    let host = hosts.of(&bed.namespace, &enterprise).await?;
    host.commit("main").await?;
    assert_eq!(bed.asked("/api/v3/repos/acme/checkout/commits/main"), 1);
    // Nobody listens there.
    let mut nobody = bed.repository(None);
    nobody.api_url = Some("http://127.0.0.1:1".to_owned());
    let host = hosts.of(&bed.namespace, &nobody).await?;
    assert_eq!(reason(host.commit("main").await)?, "unavailable");
    Ok(())
}
