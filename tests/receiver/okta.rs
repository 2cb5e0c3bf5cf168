//! Groups from Okta: a third party's, behind a proxy that pages, limits and fails.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests are no tests themselves"
)]

use std::time::Duration;

use anyhow::Result;
use foredeck::{
    identity::{
        Nobody,
        groups::{
            Asked, GroupSource, Groups, Unknown,
            okta::{OktaGroups, OktaSettings},
        },
    },
    slack::ids::UserId,
};
use foredeck_testkit::toolbox::{Node, OKTA_TOKEN, Okta, OktaFault};
use jiff::Timestamp;

use crate::support::{Bed, text};

const GROUP: &str = "okta:shop-deployers";
const ALICE: &str = "alice@harbor.example";
const BOB: &str = "bob@harbor.example";
const HOUR: u64 = 3600;

/// An organisation; nothing where Node is left out.
async fn organisation() -> Result<Option<Okta>> {
    foredeck::runtime::tls::install();
    let Some(tools) = Node::fetch().await? else {
        return Ok(None);
    };
    let people: [(&str, &[&str]); 3] = [
        (BOB, &["shop-deployers", "everyone", "line\nbreak"]),
        ("carol@harbor.example", &["a", "b", "c", "d", "e", "f", "g"]),
        ("sla/sh?#@harbor.example", &["odd"]),
    ];
    Okta::start(&tools, &people).await.map(Some)
}

fn settings(okta: &Okta, token: &str) -> OktaSettings {
    let url = okta.url().parse().unwrap();
    let settings = OktaSettings::new(&url, &token.into(), "okta:".parse().unwrap());
    settings.unwrap().without_proxies()
}

fn groups_of(okta: &Okta) -> OktaGroups {
    source(&settings(okta, OKTA_TOKEN))
}

fn source(settings: &OktaSettings) -> OktaGroups {
    OktaGroups::new(settings, Duration::from_mins(10), Timestamp::now).unwrap()
}

async fn ask(source: &OktaGroups, email: &str) -> Result<Groups, Unknown> {
    let asked = Asked {
        user: UserId::new("U1").unwrap(),
        email: Some(email.to_owned()),
    };
    source.ask(&asked).await
}

async fn reason(source: &OktaGroups, email: &str) -> &'static str {
    ask(source, email).await.unwrap_err().reason()
}

#[tokio::test]
async fn groups_are_those_of_the_account_with_that_login() -> Result<()> {
    let Some(okta) = organisation().await? else {
        return Ok(());
    };
    let source = groups_of(&okta);
    let bob = ask(&source, BOB).await.unwrap();
    assert_eq!(bob.names, ["okta:everyone", GROUP]);
    assert!(bob.note.unwrap().starts_with("1 left out"));
    // Whatever an address holds, it is one part of a path.
    let odd = ask(&source, "sla/sh?#@harbor.example").await.unwrap();
    assert_eq!(odd.names, ["okta:odd"]);
    let absent = ask(&source, "nobody@harbor.example").await.unwrap();
    assert_eq!(absent.names, Vec::<String>::new());
    assert!(absent.note.unwrap().contains("no account"));
    okta.remove(BOB, "shop-deployers").await?;
    assert_eq!(ask(&source, BOB).await.unwrap().names, ["okta:everyone"]);
    Ok(())
}

#[tokio::test]
async fn only_groups_of_oktas_own_count() -> Result<()> {
    foredeck::runtime::tls::install();
    let Some(tools) = Node::fetch().await? else {
        return Ok(());
    };
    let theirs: &[&str] = &["oncall", "BUILT_IN leads"];
    let okta = Okta::start(&tools, &[(ALICE, theirs), (BOB, &["shop-deployers"])]).await?;
    let source = groups_of(&okta);
    let alice = ask(&source, ALICE).await.unwrap();
    assert_eq!(alice.names, ["okta:oncall"]);
    let note = alice.note.unwrap();
    assert!(
        note.contains("1 left out, which aren't of Okta's own"),
        "{note}"
    );
    assert_eq!(ask(&source, BOB).await.unwrap().names, [GROUP]);
    Ok(())
}

#[tokio::test]
async fn all_pages_are_read_and_none_leads_elsewhere() -> Result<()> {
    let Some(okta) = organisation().await? else {
        return Ok(());
    };
    okta.set_page(3);
    let source = groups_of(&okta);
    let carol = ask(&source, "carol@harbor.example").await.unwrap();
    let letters = ["a", "b", "c", "d", "e", "f", "g"];
    assert_eq!(carol.names, letters.map(|letter| format!("okta:{letter}")));
    assert_eq!(okta.calls().len(), 4, "{:?}", okta.calls());
    let elsewhere = organisation().await?.unwrap();
    for address in [
        format!("{}/api/v1/users/00u/groups", elsewhere.url()),
        "//evil.example/groups".to_owned(),
        format!("{}/api/v1/users", okta.url()),
    ] {
        okta.set_fault(Some(OktaFault::NextPage(address)));
        assert_eq!(reason(&source, BOB).await, "astray");
    }
    // A list that always goes on.
    let user = okta.calls()[1].clone();
    let same = user.split('?').next().unwrap_or_default();
    let endless = format!("{}{same}?after=0", okta.url());
    okta.set_fault(Some(OktaFault::NextPage(endless)));
    assert_eq!(reason(&source, "carol@harbor.example").await, "endless");
    assert_eq!(elsewhere.calls(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_account_that_is_not_active_is_nobodys() -> Result<()> {
    let Some(okta) = organisation().await? else {
        return Ok(());
    };
    okta.suspend(BOB).await?;
    let refused = ask(&groups_of(&okta), BOB).await.unwrap_err();
    assert_eq!(refused, Unknown::Nobody(Nobody::SuspendedInOkta));
    Ok(())
}

#[tokio::test]
async fn trouble_is_told_by_a_fixed_word_and_never_with_the_token() -> Result<()> {
    let Some(okta) = organisation().await? else {
        return Ok(());
    };
    let elsewhere = organisation().await?.unwrap();
    let cases = [
        (OktaFault::Status(500), "server_error"),
        (OktaFault::Status(503), "server_error"),
        (OktaFault::Status(401), "token_refused"),
        (OktaFault::Status(403), "token_refused"),
        (OktaFault::Page(200), "unclear_answer"),
        // A proxy's page: it says nothing of anybody.
        (OktaFault::Page(404), "unclear_answer"),
        (OktaFault::Redirect(elsewhere.url()), "astray"),
        (OktaFault::Slow(Duration::from_mins(1)), "timed_out"),
    ];
    for (fault, word) in cases {
        okta.set_fault(Some(fault.clone()));
        let settings = settings(&okta, OKTA_TOKEN).deadline(Duration::from_secs(1));
        assert!(!format!("{settings:?}").contains(OKTA_TOKEN));
        let unknown = ask(&source(&settings), BOB).await.unwrap_err();
        assert_eq!(unknown.reason(), word, "{fault:?}");
        let told = format!("{unknown} {unknown:?}");
        assert!(!told.contains(OKTA_TOKEN) && !told.contains(BOB), "{told}");
    }
    assert_eq!(elsewhere.calls(), Vec::<String>::new());
    okta.set_fault(None);
    let wrong = source(&settings(&okta, "00wrong"));
    assert_eq!(reason(&wrong, BOB).await, "token_refused");
    Ok(())
}

#[tokio::test]
async fn while_okta_limits_us_nothing_is_asked() -> Result<()> {
    let Some(okta) = organisation().await? else {
        return Ok(());
    };
    okta.set_fault(Some(OktaFault::Limited(HOUR)));
    let limited = groups_of(&okta);
    assert_eq!(reason(&limited, BOB).await, "rate_limited");
    okta.set_fault(None);
    assert_eq!(reason(&limited, BOB).await, "rate_limited");
    assert_eq!(okta.calls().len(), 1);
    // A limit that ends soon is waited for.
    let soon = groups_of(&okta);
    okta.set_fault(Some(OktaFault::Limited(0)));
    assert_eq!(reason(&soon, BOB).await, "rate_limited");
    okta.set_fault(None);
    assert!(ask(&soon, BOB).await.is_ok());
    // The last call of a window is the last one.
    let spent = groups_of(&okta);
    okta.set_fault(Some(OktaFault::Spent(HOUR)));
    let before = okta.calls().len();
    assert_eq!(reason(&spent, BOB).await, "rate_limited");
    assert_eq!(okta.calls().len(), before + 1);
    Ok(())
}

/// bob may deploy by a group of Okta's alone.
async fn bed(prefix: &str, okta: &Okta) -> Result<Bed> {
    let mut bed = Bed::new(prefix).await?;
    bed.people.okta = Some(settings(okta, OKTA_TOKEN));
    bed.people.limit = Duration::from_secs(6);
    bed.allow_group(GROUP, &["deploy"]).await?;
    Ok(bed)
}

#[tokio::test]
async fn a_group_of_oktas_allows_until_somebody_left_it() -> Result<()> {
    let Some(okta) = organisation().await? else {
        return Ok(());
    };
    let bed = bed("okta", &okta).await?;
    let _receiver = bed.receiver().await?;
    bed.typed("bob", "deploys", "/deploy checkout main to quick")
        .await?;
    let requester = bed.request().await?.spec.requester.unwrap();
    assert_eq!(requester.groups, ["okta:everyone", GROUP]);
    bed.until_known("bob", "in the group", |status| {
        status.sources.iter().any(|source| source.groups.len() == 2)
    })
    .await?;
    okta.remove(BOB, "shop-deployers").await?;
    let left = bed
        .until_known("bob", "not in the group", |status| {
            status.sources.iter().any(|source| source.groups.len() == 1)
        })
        .await?;
    assert_eq!(left.sources[0].groups, ["okta:everyone"]);
    okta.suspend(BOB).await?;
    let known = bed
        .until_known("bob", "nobody", |status| status.nobody.is_some())
        .await?;
    assert_eq!(known.nobody.as_deref(), Some("SuspendedInOkta"));
    let refused = bed
        .typed("bob", "deploys", "/deploy checkout main to staging")
        .await?;
    let said = text(&refused);
    assert!(said.contains("Okta says that your account"), "{said}");
    Ok(())
}

#[tokio::test]
async fn while_okta_is_down_its_groups_allow_nothing_and_what_it_said_keeps_its_time() -> Result<()>
{
    let Some(okta) = organisation().await? else {
        return Ok(());
    };
    let bed = bed("oktadown", &okta).await?;
    let _receiver = bed.receiver().await?;
    okta.set_fault(Some(OktaFault::Status(500)));
    let refused = bed
        .typed("bob", "deploys", "/deploy checkout main to quick")
        .await?;
    let said = text(&refused);
    assert!(said.contains("Not allowed"), "{said}");
    assert!(said.contains("Okta answers with status 500"), "{said}");
    assert!(bed.requests().await?.is_empty());
    okta.set_fault(None);
    let before = bed
        .until_known("bob", "in the group", |status| {
            status.sources.iter().any(|source| source.groups.len() == 2)
        })
        .await?;
    okta.set_fault(Some(OktaFault::Status(401)));
    let now = bed
        .until_known("bob", "a problem", |status| {
            status.sources[0].problem.is_some()
        })
        .await?;
    assert_eq!(now.sources[0].groups, before.sources[0].groups);
    assert!(now.sources[0].at >= before.sources[0].at);
    let problem = now.sources[0].problem.clone().unwrap_or_default();
    assert!(!problem.contains(OKTA_TOKEN), "{problem}");
    assert_eq!((now.nobody, now.username), (None, Some(BOB.to_owned())));
    // Who may by their own name still may ask.
    let plan = bed
        .typed("alice", "deploys", "/deploy checkout main to staging")
        .await?;
    assert!(plan.text.starts_with("Plan:"), "{} {ALICE}", text(&plan));
    Ok(())
}
