//! An Okta organisation: emulate's, behind a proxy that does what emulate leaves out: pages, limits and trouble. Touches
//! ports of 127.0.0.1.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Emulate, Node};
use crate::server::Server;

/// The one token that emulate takes.
pub const TOKEN: &str = "test_token_admin";

/// An organisation with people and groups. It ends with this value.
#[derive(Debug)]
pub struct Okta {
    shared: Arc<Shared>,
    server: Server,
}

#[derive(Debug)]
struct Shared {
    emulate: Emulate,
    client: reqwest::Client,
    state: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    page: Option<usize>,
    fault: Option<OktaFault>,
    calls: Vec<String>,
}

/// What goes wrong with every call, until something else does.
#[derive(Debug, Clone)]
pub enum OktaFault {
    /// This status, in Okta's shape.
    Status(u16),
    /// 429, until so many seconds from now.
    Limited(u64),
    /// What is asked for, and that it was the last call for so many seconds.
    Spent(u64),
    /// What is asked for, this much later.
    Slow(Duration),
    /// A redirect to this address.
    Redirect(String),
    /// What is asked for, with this address as that of the next page.
    NextPage(String),
    /// A page of a proxy that isn't Okta's, with this status.
    Page(u16),
}

impl Okta {
    /// Starts an organisation in which these people, by login, are in these groups: Okta's own, or built in, as in
    /// `BUILT_IN leads`. emulate knows no groups of applications, and no two of one name.
    ///
    /// # Errors
    /// When emulate doesn't start.
    pub async fn start(node: &Node, people: &[(&str, &[&str])]) -> Result<Self> {
        let mut users = Vec::new();
        let mut groups: Vec<Value> = Vec::new();
        let mut memberships = Vec::new();
        for (index, (login, theirs)) in people.iter().enumerate() {
            let user = format!("00u{index:017}");
            users.push(json!({"okta_id": user, "login": login, "email": login}));
            for name in *theirs {
                let (kind, name) = match name.strip_prefix("BUILT_IN ") {
                    Some(name) => ("BUILT_IN", name),
                    None => ("OKTA_GROUP", *name),
                };
                let known = groups
                    .iter()
                    .find(|group| group["name"] == *name && group["type"] == *kind);
                let id = known.map_or_else(
                    || format!("00g{:017}", groups.len()),
                    |group| group["okta_id"].as_str().unwrap_or_default().to_owned(),
                );
                if known.is_none() {
                    groups.push(json!({"okta_id": id, "name": name, "type": kind}));
                }
                memberships.push(json!({"group_okta_id": id, "user_okta_id": user}));
            }
        }
        let seed = json!({"users": users, "groups": groups, "group_memberships": memberships});
        let shared = Arc::new(Shared {
            emulate: Emulate::start(node, "okta", &seed).await?,
            client: reqwest::Client::builder().no_proxy().build()?,
            state: Mutex::default(),
        });
        let router = Router::new().fallback(forward).with_state(shared.clone());
        let server = Server::start(0, router).await?;
        Ok(Self { shared, server })
    }

    /// Where it is, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// From now on lists of groups come in pages of so many.
    pub fn set_page(&self, size: usize) {
        self.shared.lock().page = Some(size);
    }

    /// From now on this befalls every call; nothing does with `None`.
    pub fn set_fault(&self, fault: Option<OktaFault>) {
        self.shared.lock().fault = fault;
    }

    /// Paths and queries of all calls, oldest first.
    pub fn calls(&self) -> Vec<String> {
        self.shared.lock().calls.clone()
    }

    /// Takes somebody out of a group.
    ///
    /// # Errors
    /// When emulate doesn't do it.
    pub async fn remove(&self, login: &str, group: &str) -> Result<()> {
        let user = self.admin(Method::GET, &format!("users/{login}")).await?;
        let groups = self
            .admin(Method::GET, &format!("users/{login}/groups"))
            .await?;
        let mut groups = groups.as_array().into_iter().flatten();
        let found = groups.find(|found| found["profile"]["name"] == group);
        let found = found.with_context(|| format!("{login} is not in {group}"))?;
        let (group, user) = (text(&found["id"])?, text(&user["id"])?);
        let path = format!("groups/{group}/users/{user}");
        self.admin(Method::DELETE, &path).await.map(drop)
    }

    /// Suspends somebody's account.
    ///
    /// # Errors
    /// When emulate doesn't do it.
    pub async fn suspend(&self, login: &str) -> Result<()> {
        let path = format!("users/{login}/lifecycle/suspend");
        self.admin(Method::POST, &path).await.map(drop)
    }

    /// What an administrator does, without the proxy.
    async fn admin(&self, method: Method, path: &str) -> Result<Value> {
        let url = format!("{}/api/v1/{path}", self.shared.emulate.url());
        let request = self.shared.client.request(method, url);
        let answer = request
            .header("authorization", format!("SSWS {TOKEN}"))
            .send()
            .await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {body}");
        Ok(serde_json::from_str(&body).unwrap_or_default())
    }
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("an id")?.to_owned())
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn forward(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = uri.path_and_query().map_or("/", |asked| asked.as_str());
    let (page, fault) = {
        let mut state = shared.lock();
        state.calls.push(asked.to_owned());
        (state.page, state.fault.clone())
    };
    match &fault {
        Some(OktaFault::Status(status)) => return refused(*status, None),
        Some(OktaFault::Limited(seconds)) => return refused(429, Some(*seconds)),
        Some(OktaFault::Page(status)) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
            return (status, "<html>not Okta</html>").into_response();
        }
        Some(OktaFault::Redirect(to)) => {
            return (StatusCode::FOUND, [(header::LOCATION, to.clone())]).into_response();
        }
        Some(OktaFault::Slow(time)) => tokio::time::sleep(*time).await,
        _ => {}
    }
    // emulate takes any token for somebody's.
    let token = headers.get(header::AUTHORIZATION);
    if token.and_then(|token| token.to_str().ok()) != Some(&format!("SSWS {TOKEN}")) {
        return refused(401, None);
    }
    let url = format!("{}{}", shared.emulate.url(), uri.path());
    let mut request = shared.client.request(method, url).body(body);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, token);
    }
    let Ok(answer) = request.send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default().to_owned();
    let mut headers = HeaderMap::new();
    let (shown, next) = match (&body, page) {
        (Value::Array(all), Some(size)) => paged(all, size, &uri),
        _ => (body.clone(), None),
    };
    let host = format!("http://{host}");
    let next = match &fault {
        Some(OktaFault::NextPage(address)) => Some(address.clone()),
        _ => next.map(|query| format!("{host}{}?{query}", uri.path())),
    };
    if let Some(next) = next
        && let Ok(link) = HeaderValue::from_str(&format!("<{next}>; rel=\"next\""))
    {
        let own = HeaderValue::from_str(&format!("<{host}{asked}>; rel=\"self\""));
        if let Ok(own) = own {
            headers.append(header::LINK, own);
        }
        headers.append(header::LINK, link);
    }
    if let Some(OktaFault::Spent(seconds)) = fault {
        headers.insert("x-rate-limit-remaining", HeaderValue::from_static("0"));
        headers.insert("x-rate-limit-reset", HeaderValue::from(now() + seconds));
    }
    (status, headers, axum::Json(shown)).into_response()
}

/// A part of a list, and the query of the next.
fn paged(all: &[Value], size: usize, uri: &Uri) -> (Value, Option<String>) {
    let mut parts = uri.query().unwrap_or_default().split('&');
    let after = parts.find_map(|part| part.strip_prefix("after=")?.parse().ok());
    let from: usize = after.unwrap_or_default();
    let shown: Vec<&Value> = all.iter().skip(from).take(size).collect();
    let next = from + size;
    let more = next < all.len();
    (
        json!(shown),
        more.then(|| format!("after={next}&limit={size}")),
    )
}

/// An error in Okta's shape.
fn refused(status: u16, reset_in: Option<u64>) -> Response {
    let code = match status {
        401 => "E0000011",
        403 => "E0000006",
        404 => "E0000007",
        429 => "E0000047",
        _ => "E0000009",
    };
    let body = json!({
        "errorCode": code, "errorSummary": "so it is told", "errorLink": code, "errorId": "oae", "errorCauses": [],
    });
    let mut headers = HeaderMap::new();
    if let Some(seconds) = reset_in {
        headers.insert("x-rate-limit-limit", HeaderValue::from_static("600"));
        headers.insert("x-rate-limit-remaining", HeaderValue::from_static("0"));
        headers.insert("x-rate-limit-reset", HeaderValue::from(now() + seconds));
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, headers, axum::Json(body)).into_response()
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
