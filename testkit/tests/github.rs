//! A repository on GitHub as the testkit furnishes it: emulate's commits, and what our proxy adds.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

use std::time::{Duration, Instant};

use aws_lc_rs::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use foredeck_testkit::toolbox::{Github, GithubFault, Node};
use reqwest::{Client, Response, header};
use serde_json::{Value, json};

const REPOSITORY: &str = "/repos/acme/checkout";

/// A repository of its own; nothing if Node is left out.
async fn github() -> Option<Github> {
    let node = Node::fetch().await.unwrap()?;
    Some(Github::start(&node, "acme/checkout").await.unwrap())
}

fn client() -> Client {
    let client = Client::builder().no_proxy();
    client
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

async fn get(github: &Github, path: &str) -> Response {
    let call = client().get(format!("{}{REPOSITORY}{path}", github.url()));
    call.bearer_auth(github.token()).send().await.unwrap()
}

async fn read(github: &Github, path: &str) -> (u16, Value) {
    let answer = get(github, path).await;
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn post(github: &Github, path: &str, body: Value) -> (u16, Value) {
    let call = client().post(format!("{}{REPOSITORY}{path}", github.url()));
    let answer = call
        .bearer_auth(github.token())
        .json(&body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn names_stand_for_commits() {
    let Some(github) = github().await else { return };
    let first = github.head("main").await.unwrap();
    let second = github
        .commit("main", "Fix <!channel>\n\nlong", "Zoë")
        .await
        .unwrap();
    github.branch("feature/one", &first).await.unwrap();
    github.tag("v1", &first).await.unwrap();
    let tag = github.annotated_tag("v2", &second).await.unwrap();
    assert_ne!(tag, second);
    for (name, sha) in [
        ("main", &second),
        ("feature/one", &first),
        ("feature%2Fone", &first),
        ("v1", &first),
        ("v2", &second),
        (&second[..7], &second),
        (second.as_str(), &second),
    ] {
        let (status, found) = read(&github, &format!("/commits/{name}")).await;
        assert_eq!(
            (status, found["sha"].as_str()),
            (200, Some(sha.as_str())),
            "{name}"
        );
    }
    let (_, found) = read(&github, "/commits/main").await;
    assert_eq!(found["commit"]["message"], "Fix <!channel>\n\nlong");
    assert_eq!(found["commit"]["author"]["name"], "Zoë");
    let (status, refused) = read(&github, "/commits/gone").await;
    assert_eq!(status, 422);
    assert_eq!(refused["message"], "No commit found for SHA: gone");
    github.delete_branch("feature/one").await.unwrap();
    assert_eq!(read(&github, "/commits/feature/one").await.0, 422);
    github.force_push("main", &first).await.unwrap();
    assert_eq!(github.head("main").await.unwrap(), first);
    let (_, branches) = read(&github, "/branches?per_page=100").await;
    assert_eq!(branches[0]["name"], "main");
    github.archive().await.unwrap();
    assert_eq!(read(&github, "").await.1["archived"], true);
}

#[tokio::test]
async fn branches_come_in_pages() {
    let Some(github) = github().await else { return };
    let head = github.head("main").await.unwrap();
    for name in ["a", "b", "c"] {
        github.branch(name, &head).await.unwrap();
    }
    let answer = get(&github, "/branches?per_page=2").await;
    let link = answer.headers()[header::LINK].to_str().unwrap().to_owned();
    let next = link.split(['<', '>']).nth(1).unwrap();
    assert!(next.starts_with(&github.url()), "{link}");
    assert!(link.contains("rel=\"next\""), "{link}");
    let page: Value = answer.json().await.unwrap();
    assert_eq!(page.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn commits_are_compared() {
    let Some(github) = github().await else { return };
    let base = github.head("main").await.unwrap();
    github.branch("side", &base).await.unwrap();
    let ours = github.commit("main", "Ours", "Ann").await.unwrap();
    github.commit("side", "Theirs", "Bob").await.unwrap();
    let merged = github.merge("main", "side").await.unwrap();
    let compare = |base: String, head: String| {
        let github = &github;
        async move { read(github, &format!("/compare/{base}...{head}")).await }
    };
    let (_, ahead) = compare(base.clone(), merged.clone()).await;
    assert_eq!(
        (&ahead["status"], &ahead["ahead_by"]),
        (&json!("ahead"), &json!(3))
    );
    let last = ahead["commits"].as_array().unwrap().last().unwrap();
    assert_eq!(last["parents"].as_array().unwrap().len(), 2);
    let (_, behind) = compare(merged.clone(), base.clone()).await;
    assert_eq!(
        (&behind["status"], &behind["behind_by"]),
        (&json!("behind"), &json!(3))
    );
    let (_, same) = compare(ours.clone(), ours.clone()).await;
    assert_eq!(same["status"], "identical");
    let side = github.head("side").await.unwrap();
    assert_eq!(compare(side, ours.clone()).await.1["status"], "diverged");
    let other = github.orphan("other").await.unwrap();
    let (status, refused) = compare(other, ours.clone()).await;
    assert_eq!(status, 404);
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.starts_with("No common ancestor between"),
        "{message}"
    );
    let gone = "0123456789012345678901234567890123456789".to_owned();
    assert_eq!(compare(gone, ours).await.1["message"], "Not Found");
}

#[tokio::test]
async fn two_thousand_commits_are_compared_page_by_page() {
    let Some(github) = github().await else { return };
    let base = github.head("main").await.unwrap();
    let begun = Instant::now();
    let made = github.commits("main", 2000).await.unwrap();
    eprintln!("made {:?}", begun.elapsed());
    let head = made.last().unwrap();
    let begun = Instant::now();
    let (_, whole) = read(&github, &format!("/compare/{base}...{head}")).await;
    eprintln!("compared {:?}", begun.elapsed());
    assert_eq!(whole["total_commits"], 2000);
    assert_eq!(whole["commits"].as_array().unwrap().len(), 250);
    let (_, page) = read(
        &github,
        &format!("/compare/{base}...{head}?per_page=100&page=20"),
    )
    .await;
    let commits = page["commits"].as_array().unwrap();
    assert_eq!(commits.len(), 100);
    assert_eq!(commits[99]["sha"], head.as_str());
}

#[tokio::test]
async fn what_did_not_change_costs_nothing() {
    let Some(github) = github().await else { return };
    let answer = get(&github, "/commits/main").await;
    let tag = answer.headers()[header::ETAG].clone();
    let spent = github.spent();
    let again = async || {
        let call = client().get(format!("{}{REPOSITORY}/commits/main", github.url()));
        let call = call
            .bearer_auth(github.token())
            .header(header::IF_NONE_MATCH, &tag);
        call.send().await.unwrap()
    };
    assert_eq!(again().await.status().as_u16(), 304);
    assert_eq!((github.not_modified(), github.spent()), (1, spent));
    github.commit("main", "More", "Ann").await.unwrap();
    let moved = again().await;
    assert_eq!(moved.status().as_u16(), 200);
    assert_eq!(moved.headers()["x-ratelimit-limit"], "5000");
    assert_eq!(github.spent(), spent + 1);
    let calls = github.calls();
    assert_eq!((calls[1].who, calls[1].status), ("token", 304));
}

#[tokio::test]
async fn only_whom_github_knows_is_let_in() {
    let Some(github) = github().await else { return };
    let bare = async |token: Option<&str>, path: &str| {
        let mut call = client().get(format!("{}{path}", github.url()));
        if let Some(token) = token {
            call = call.bearer_auth(token);
        }
        call.send().await.unwrap().status().as_u16()
    };
    assert_eq!(bare(Some("wrong"), REPOSITORY).await, 401);
    assert_eq!(bare(None, REPOSITORY).await, 200);
    assert_eq!(
        bare(None, "/api/v3/repos/acme/checkout/commits/main").await,
        200
    );
    github.set_private(true).await.unwrap();
    assert_eq!(bare(None, REPOSITORY).await, 404);
    assert_eq!(bare(None, "/repos/acme/checkout/commits/main").await, 404);
    assert_eq!(bare(Some(github.token()), REPOSITORY).await, 200);
    assert_eq!(bare(Some(github.token()), "/repos/acme/other").await, 404);
    assert_eq!(bare(None, "/repos/acme/checkout/installation").await, 401);
}

/// A token of the app for the next minute.
fn signed(github: &Github) -> String {
    let lines = github.app().private_key.lines();
    let key: String = lines.filter(|line| !line.contains("-----")).collect();
    let pair = KeyPair::from_der(&STANDARD.decode(key).unwrap()).unwrap();
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"iss": github.app().id, "iat": now, "exp": now + 60});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = json!({"alg": "RS256", "typ": "JWT"});
    let text = format!("{}.{}", encode(&head), encode(&claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn an_app_gets_a_token_for_its_installation_until_that_ends() {
    let Some(github) = github().await else { return };
    github.set_private(true).await.unwrap();
    let call = |method: reqwest::Method, path: String, token: String| {
        let url = format!("{}{path}", github.url());
        async move {
            let answer = client()
                .request(method, url)
                .bearer_auth(token)
                .send()
                .await
                .unwrap();
            (
                answer.status().as_u16(),
                answer.json::<Value>().await.unwrap(),
            )
        }
    };
    let token = signed(&github);
    let asked = format!("{REPOSITORY}/installation");
    let (status, found) = call(reqwest::Method::GET, asked, token.clone()).await;
    assert_eq!(
        (status, &found["id"]),
        (200, &json!(github.app().installation))
    );
    assert_eq!(
        call(reqwest::Method::GET, REPOSITORY.to_owned(), token.clone())
            .await
            .0,
        403
    );
    let issue = || {
        let path = format!(
            "/app/installations/{}/access_tokens",
            github.app().installation
        );
        call(reqwest::Method::POST, path, token.clone())
    };
    let (status, issued) = issue().await;
    assert_eq!(status, 201, "{issued}");
    let theirs = issued["token"].as_str().unwrap().to_owned();
    let read = |token: String| {
        call(
            reqwest::Method::GET,
            format!("{REPOSITORY}/commits/main"),
            token,
        )
    };
    assert_eq!(read(theirs.clone()).await.0, 200);
    assert_eq!(github.calls().last().unwrap().who, "installation");
    github.expire_tokens();
    assert_eq!(read(theirs).await.0, 401);
    github.set_token_lifetime(Duration::ZERO);
    let ended = issue().await.1["token"].as_str().unwrap().to_owned();
    assert_eq!(read(ended).await.0, 401);
    let mut forged = token.clone();
    forged.replace_range(token.len() - 8.., "AAAAAAAA");
    assert_eq!(
        call(reqwest::Method::GET, "/app".to_owned(), forged)
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn trouble_is_as_github_makes_it() {
    let Some(github) = github().await else { return };
    github.set_fault(Some(GithubFault::Limited(90)));
    let limited = get(&github, "").await;
    assert_eq!(limited.status().as_u16(), 403);
    assert_eq!(limited.headers()["x-ratelimit-remaining"], "0");
    let reset = limited.headers()["x-ratelimit-reset"].to_str().unwrap();
    assert!(reset.parse::<u64>().unwrap() > 1_700_000_000);
    github.set_fault(Some(GithubFault::Secondary(30)));
    assert_eq!(get(&github, "").await.headers()["retry-after"], "30");
    github.set_fault(Some(GithubFault::Page(502)));
    let page = get(&github, "").await;
    assert_eq!(page.status().as_u16(), 502);
    assert!(page.text().await.unwrap().contains("<html>"));
    github.set_fault(Some(GithubFault::Redirect(
        "http://127.0.0.1:1/".to_owned(),
    )));
    assert_eq!(get(&github, "").await.status().as_u16(), 301);
    github.set_fault(Some(GithubFault::Slow(Duration::from_millis(300))));
    let begun = Instant::now();
    assert_eq!(get(&github, "").await.status().as_u16(), 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    github.set_fault(Some(GithubFault::Cut));
    let call = client().get(format!("{}{REPOSITORY}", github.url()));
    call.send().await.unwrap_err();
    assert_eq!(github.calls().last().unwrap().status, 0);
    github.set_fault(None);
    github.set_fault_for("/branches", GithubFault::Status(500));
    assert_eq!(get(&github, "/branches").await.status().as_u16(), 500);
    assert_eq!(get(&github, "/commits/main").await.status().as_u16(), 200);
}

#[tokio::test]
async fn deployments_are_kept_with_their_states() {
    let Some(github) = github().await else { return };
    let sha = github.head("main").await.unwrap();
    let asked = json!({
        "ref": sha, "environment": "staging", "task": "deploy", "auto_merge": false, "required_contexts": [],
        "payload": {"uid": "u-1"}, "description": "checkout to staging",
    });
    let (status, made) = post(&github, "/deployments", asked.clone()).await;
    assert_eq!(status, 201, "{made}");
    let id = &made["id"];
    let (_, found) = read(
        &github,
        &format!("/deployments?sha={sha}&environment=staging"),
    )
    .await;
    assert_eq!(
        (&found[0]["id"], &found[0]["payload"]["uid"]),
        (id, &json!("u-1"))
    );
    assert_eq!(
        read(&github, "/deployments?environment=other").await.1,
        json!([])
    );
    let tell = |state: &'static str| {
        let (github, path) = (&github, format!("/deployments/{id}/statuses"));
        async move {
            post(github, &path, json!({"state": state, "description": "so"}))
                .await
                .0
        }
    };
    assert_eq!(tell("queued").await, 201);
    assert_eq!(tell("success").await, 201);
    assert_eq!(tell("fine").await, 422);
    let (_, told) = read(&github, &format!("/deployments/{id}/statuses")).await;
    assert_eq!(
        (&told[0]["state"], &told[1]["state"]),
        (&json!("success"), &json!("queued"))
    );
    let kept = github.deployments();
    assert_eq!((kept.len(), kept[0].states.len()), (1, 2));
    let mut checked = asked.clone();
    checked["required_contexts"] = Value::Null;
    assert_eq!(post(&github, "/deployments", checked).await.0, 409);
    github.set_fault_for("POST /repos/acme/checkout/deployments", GithubFault::Lost);
    let lost = client().post(format!("{}{REPOSITORY}/deployments", github.url()));
    lost.bearer_auth(github.token())
        .json(&asked)
        .send()
        .await
        .unwrap_err();
    assert_eq!(github.deployments().len(), 2);
    github.set_fault(None);
    github.forbid_deployments(true);
    assert_eq!(post(&github, "/deployments", asked).await.0, 403);
}
