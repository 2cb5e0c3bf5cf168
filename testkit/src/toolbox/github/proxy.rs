//! What stands before emulate: who is let in, trouble, the rate limit, `ETag`s, deployments. Touches emulate.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{GithubCall, GithubFault, Shared, TOKEN, deployments, path};
use crate::server::Connection;

/// How many calls one login has within an hour; without a login it is 60.
const LIMIT: u64 = 5000;
/// Where an Enterprise Server has its API.
const ENTERPRISE: &str = "/api/v3";

/// An answer before its headers.
struct Answer {
    status: u16,
    body: Vec<u8>,
    link: Option<String>,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        Self {
            status,
            body,
            link: None,
        }
    }

    /// An error in GitHub's shape.
    fn error(status: u16, message: &str) -> Self {
        let about = "https://docs.github.com/rest";
        let body =
            json!({"message": message, "documentation_url": about, "status": status.to_string()});
        Self::json(status, &body)
    }
}

pub(super) async fn forward(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = uri.path_and_query().map_or("/", |asked| asked.as_str());
    let (who, let_in) = who(&shared, &headers);
    let note = |status: u16| {
        let mut state = shared.lock();
        state.calls.push(GithubCall {
            method: method.to_string(),
            path: asked.to_owned(),
            status,
            who,
        });
    };
    let line = format!("{method} {asked}");
    let fault = {
        let state = shared.lock();
        let fault = state
            .faults
            .iter()
            .rev()
            .find(|(part, _)| line.contains(part));
        fault.map(|(_, fault)| fault.clone())
    };
    match &fault {
        Some(GithubFault::Slow(time)) => tokio::time::sleep(*time).await,
        Some(GithubFault::Cut) => {
            note(0);
            connection.reset();
            return StatusCode::OK.into_response();
        }
        Some(fault) => {
            if let Some(answer) = trouble(fault) {
                note(answer.status().as_u16());
                return answer;
            }
        }
        None => {}
    }
    let answer = match let_in {
        Err(message) => Answer::error(401, &message),
        Ok(token) => {
            let below = asked.strip_prefix(ENTERPRISE).unwrap_or(asked);
            let base = base(&headers, asked);
            let call = Call {
                shared: &shared,
                method: &method,
                token,
                who,
                base,
            };
            call.answer(below, body).await
        }
    };
    if matches!(fault, Some(GithubFault::Lost)) {
        note(0);
        connection.reset();
        return StatusCode::OK.into_response();
    }
    let etag = etag(&answer.body);
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tag| tag.to_str().ok());
    let unchanged = method == Method::GET && answer.status == 200 && known == Some(&etag);
    let status = if unchanged { 304 } else { answer.status };
    note(status);
    let limit = if who == "nobody" { 60 } else { LIMIT };
    let spent = {
        let mut state = shared.lock();
        state.spent += u64::from(!unchanged);
        state.spent
    };
    let mut shown = HeaderMap::new();
    limits(&mut shown, limit, limit.saturating_sub(spent), now() + 3600);
    let mut put = |name: header::HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            shown.insert(name, value);
        }
    };
    if answer.status == 200 && method == Method::GET {
        put(header::ETAG, &etag);
        put(header::VARY, "Accept, Authorization");
    }
    if let Some(link) = &answer.link {
        put(header::LINK, link);
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    if unchanged || answer.body.is_empty() {
        return (status, shown).into_response();
    }
    put(header::CONTENT_TYPE, "application/json; charset=utf-8");
    (status, shown, answer.body).into_response()
}

/// One call by somebody who is let in.
struct Call<'a> {
    shared: &'a Shared,
    method: &'a Method,
    /// What emulate is shown.
    token: Option<String>,
    who: &'static str,
    /// Where the API is, as the client sees it.
    base: String,
}

impl Call<'_> {
    async fn answer(&self, asked: &str, body: Bytes) -> Answer {
        let (route, query) = asked.split_once('?').unwrap_or((asked, ""));
        // emulate asks for no app's token at some of these.
        let apps = route.ends_with("/installation") || route.starts_with("/app");
        match (apps, self.who == "app") {
            (true, false) => return Answer::error(401, "A JSON web token could not be decoded"),
            (false, true) => return Answer::error(403, "Resource not accessible by integration"),
            _ => {}
        }
        let own = format!("/repos/{}", self.shared.repository);
        let rest = route.strip_prefix(&own);
        let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            let mut answer = self.emulated(self.method, asked, body).await;
            if route.ends_with("/access_tokens") && answer.status == 201 {
                self.issued(&mut answer);
            }
            return answer;
        };
        if let Some(rest) = rest.strip_prefix("/deployments") {
            return self.deployments(&own, rest, query, &body).await;
        }
        let answer = self.emulated(self.method, asked, body).await;
        // Who may not see a repository isn't told that there is one.
        if answer.status == 401 {
            return Answer::error(404, "Not Found");
        }
        if answer.status != 404 || apps || !self.found(&own).await {
            return answer;
        }
        if let Some(name) = rest.strip_prefix("/commits/") {
            return Answer::error(422, &format!("No commit found for SHA: {}", decoded(name)));
        }
        if let Some((base, head)) = rest
            .strip_prefix("/compare/")
            .and_then(|both| both.split_once("..."))
            && self.found(&format!("{own}/commits/{base}")).await
            && self.found(&format!("{own}/commits/{head}")).await
        {
            let message = format!(
                "No common ancestor between {} and {}.",
                decoded(base),
                decoded(head)
            );
            return Answer::error(404, &message);
        }
        answer
    }

    async fn found(&self, asked: &str) -> bool {
        self.emulated(&Method::GET, asked, Bytes::new())
            .await
            .status
            == 200
    }

    async fn emulated(&self, method: &Method, asked: &str, body: Bytes) -> Answer {
        let shared = self.shared;
        let url = format!("{}{asked}", shared.emulate.url());
        let mut request = shared.client.request(method.clone(), url).body(body);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let Ok(answer) = request.send().await else {
            return Answer::error(502, "emulate doesn't answer");
        };
        let status = answer.status().as_u16();
        let here = |text: &str| text.replace(shared.emulate.url(), &self.base);
        let link = answer.headers().get(header::LINK);
        let link = link.and_then(|link| link.to_str().ok()).map(here);
        let body = answer.text().await.unwrap_or_default();
        Answer {
            status,
            body: here(&body).into_bytes(),
            link,
        }
    }

    async fn deployments(&self, own: &str, rest: &str, query: &str, body: &Bytes) -> Answer {
        if !self.found(own).await {
            return Answer::error(404, "Not Found");
        }
        let forbidden = self.shared.lock().no_deployments;
        if forbidden || (self.who == "nobody" && *self.method != Method::GET) {
            let kind = if self.who == "installation" {
                "integration"
            } else {
                "personal access token"
            };
            return Answer::error(403, &format!("Resource not accessible by {kind}"));
        }
        let base = format!("{}{own}", self.base);
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let (status, shown) = if *self.method == Method::POST && parts.is_empty() {
            let commit = match asked["ref"].as_str() {
                Some(name) if !name.is_empty() => self.commit(own, name).await,
                _ => None,
            };
            deployments::make(&mut self.shared.lock(), &base, &asked, commit)
        } else {
            let query: Vec<_> = form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect();
            let mut state = self.shared.lock();
            deployments::answer(&mut state, &base, self.method, &parts, &query, &asked)
        };
        Answer::json(status, &shown)
    }

    async fn commit(&self, own: &str, name: &str) -> Option<String> {
        let asked = format!("{own}/commits/{}", path(name));
        let answer = self.emulated(&Method::GET, &asked, Bytes::new()).await;
        let found: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(found["sha"].as_str()?.to_owned())
    }

    /// Keeps the token of an installation that emulate has just issued.
    fn issued(&self, answer: &mut Answer) {
        let mut state = self.shared.lock();
        let lifetime = state.lifetime.map_or(3600, |lifetime| lifetime.as_secs());
        let ends = now() + lifetime;
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = body["token"].as_str().unwrap_or_default().to_owned();
        state.tokens.insert(token, ends);
        let ends = jiff::Timestamp::from_second(i64::try_from(ends).unwrap_or_default());
        body["expires_at"] = json!(ends.unwrap_or_default().to_string());
        answer.body = body.to_string().into_bytes();
    }
}

/// Who calls, and with what emulate is asked; an error in GitHub's words where they aren't let in.
fn who(shared: &Shared, headers: &HeaderMap) -> (&'static str, Result<Option<String>, String>) {
    let Some(login) = headers.get(header::AUTHORIZATION) else {
        return ("nobody", Ok(None));
    };
    let login = login.to_str().unwrap_or_default();
    let token = login
        .strip_prefix("Bearer ")
        .or_else(|| login.strip_prefix("token "));
    let token = token.unwrap_or_default();
    if token == TOKEN {
        return ("token", Ok(Some(shared.owner())));
    }
    if token.starts_with("eyJ") {
        let now = i64::try_from(now()).unwrap_or_default();
        let checked = shared.app.check(token, now);
        let onward = checked.map(|()| Some(login.to_owned()));
        return ("app", onward.map_err(|error| error.to_string()));
    }
    match shared.lock().tokens.get(token) {
        Some(ends) if *ends > now() => ("installation", Ok(Some(login.to_owned()))),
        _ => ("stranger", Err("Bad credentials".to_owned())),
    }
}

/// The answer that a fault gives instead of anything else.
fn trouble(fault: &GithubFault) -> Option<Response> {
    let mut headers = HeaderMap::new();
    let (status, message) = match fault {
        GithubFault::Status(status) => (*status, "so it is told"),
        GithubFault::Limited(seconds) => {
            limits(&mut headers, LIMIT, 0, now() + seconds);
            (403, "API rate limit exceeded for user ID 1.")
        }
        GithubFault::Secondary(seconds) => {
            limits(&mut headers, LIMIT, LIMIT - 1, now() + 3600);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            (
                403,
                "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
            )
        }
        GithubFault::Page(status) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
            return Some((status, axum::response::Html("<html>not GitHub</html>")).into_response());
        }
        GithubFault::Garbage(body) => {
            let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
            return Some((kind, body.clone()).into_response());
        }
        GithubFault::Redirect(to) => {
            let to = [(header::LOCATION, to.clone())];
            return Some((StatusCode::MOVED_PERMANENTLY, to).into_response());
        }
        GithubFault::Slow(_) | GithubFault::Cut | GithubFault::Lost => return None,
    };
    let answer = Answer::error(status, message);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    Some((status, headers, answer.body).into_response())
}

fn limits(headers: &mut HeaderMap, limit: u64, remaining: u64, reset: u64) {
    headers.insert("x-ratelimit-limit", HeaderValue::from(limit));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(remaining));
    headers.insert("x-ratelimit-used", HeaderValue::from(limit - remaining));
    headers.insert("x-ratelimit-reset", HeaderValue::from(reset));
    headers.insert("x-ratelimit-resource", HeaderValue::from_static("core"));
}

/// The API's address as the client has it.
fn base(headers: &HeaderMap, asked: &str) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let below = if asked.starts_with(ENTERPRISE) {
        ENTERPRISE
    } else {
        ""
    };
    format!("http://{}{below}", host.unwrap_or_default())
}

fn etag(body: &[u8]) -> String {
    use std::fmt::Write;
    let hash = digest(&SHA256, body);
    hash.as_ref()
        .iter()
        .fold("W/\"".to_owned(), |mut tag, byte| {
            let _ = write!(tag, "{byte:02x}");
            tag
        })
        + "\""
}

/// A part of a path as it was meant.
fn decoded(text: &str) -> String {
    let plus = text.replace('+', "%2B");
    let mut decoded = form_urlencoded::parse(plus.as_bytes());
    decoded
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
