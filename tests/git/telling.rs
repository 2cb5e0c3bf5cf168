//! Deployments that GitHub is told of.

use anyhow::Result;
use foredeck::git::{Announcement, State, Told};
use foredeck_testkit::toolbox::GithubFault;

use crate::support::{Bed, reason};

fn announcement(commit: &str, uid: &str) -> Announcement {
    Announcement {
        commit: commit.to_owned(),
        environment: "Production/eu & us".to_owned(),
        action: "deploy".to_owned(),
        description: "d".repeat(500),
        uid: uid.to_owned(),
    }
}

#[tokio::test]
async fn a_deployment_is_made_once_found_by_its_request_and_told_how_it_goes() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    let head = bed.github.head("main").await?;
    let one = announcement(&head, "uid-1");
    assert_eq!(host.deployment(&one).await?, None);
    let made = host.announce(&one).await?;
    for number in 2..150 {
        host.announce(&announcement(&head, &format!("uid-{number}")))
            .await?;
    }
    assert_eq!(host.deployment(&one).await?, Some(made));
    assert_eq!(host.deployment(&announcement(&head, "uid-x")).await?, None);

    let known = &bed.github.deployments()[0];
    assert_eq!(
        (known.sha.as_str(), known.task.as_str()),
        (head.as_str(), "deploy")
    );
    assert_eq!(known.environment, "Production/eu & us");
    assert_eq!(known.description.chars().count(), 140);

    assert_eq!(host.told(made).await?, None);
    for (state, address) in [
        (State::Queued, None),
        (State::InProgress, Some("javascript:x")),
        (State::Success, Some("https://deck.example/x")),
    ] {
        let told = Told {
            state,
            description: "It <goes>\n on".to_owned(),
            log_url: address.map(str::to_owned),
        };
        host.tell(made, &told).await?;
        assert_eq!(host.told(made).await?.as_deref(), Some(state.word()));
    }
    let states = &bed.github.deployments()[0].states;
    assert_eq!(states.len(), 3);
    assert_eq!(
        (states[1].log_url.as_str(), states[2].log_url.as_str()),
        ("", "https://deck.example/x")
    );
    assert_eq!(states[2].description, "It <goes> on");
    Ok(())
}

#[tokio::test]
async fn who_may_not_tell_is_told_so() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    let head = bed.github.head("main").await?;
    let told = Told {
        state: State::Queued,
        description: String::new(),
        log_url: None,
    };
    assert_eq!(
        reason(host.tell(77, &told).await)?,
        "no-such-repository",
        "what isn't there isn't told apart from what may not be seen"
    );
    let nowhere = "0".repeat(40);
    assert_eq!(
        reason(host.announce(&announcement(&nowhere, "u")).await)?,
        "forbidden"
    );
    bed.github.forbid_deployments(true);
    assert_eq!(
        reason(host.announce(&announcement(&head, "u")).await)?,
        "forbidden"
    );
    Ok(())
}

#[tokio::test]
async fn what_was_lost_on_the_way_is_found_again() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let host = bed.host().await?;
    let one = announcement(&bed.github.head("main").await?, "uid-1");
    bed.github.set_fault(Some(GithubFault::Lost));
    assert_eq!(reason(host.announce(&one).await)?, "unavailable");
    bed.github.set_fault(None);
    assert_eq!(bed.github.deployments().len(), 1);
    assert!(host.deployment(&one).await?.is_some());
    Ok(())
}
