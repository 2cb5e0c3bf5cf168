//! Reads of the API server, each with a deadline, whatever comes back. Touches the API server: gets, lists and access
//! reviews, which leave nothing behind.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{
    Request,
    header::{CONTENT_TYPE, DATE},
};
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    judge::server::ServerFacts,
    seen::{Partial, Seen, Unseen},
};
use crate::runtime::telemetry::chain;

/// Objects a page.
const PAGE: usize = 500;
/// Pages read at most: what is beyond isn't looked at.
const MOST_PAGES: usize = 20;

/// Reads, and changes nothing.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    deadline: Duration,
    /// Of which lists something is missing. Clones share it.
    partial: Arc<Mutex<BTreeMap<String, Partial>>>,
}

/// A resource: where it is served, and what RBAC calls it.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// `/api/v1`, `/apis/apps/v1`.
    pub path: &'static str,
    /// `pods`.
    pub plural: &'static str,
}

impl Reader {
    /// Reads through this client, at most so long each time.
    pub fn new(client: Client, deadline: Duration) -> Self {
        Self {
            client,
            deadline,
            partial: Arc::default(),
        }
    }

    /// The lists that weren't read as a whole, by what they are of.
    pub fn partial(&self) -> BTreeMap<String, Partial> {
        let partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.clone()
    }

    /// For what kube does by itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its version and its clock.
    pub async fn server(&self, clock: fn() -> Timestamp) -> Seen<ServerFacts> {
        let before = clock();
        let request = request("GET", "/version", Vec::new())?;
        let response = self
            .within(async {
                self.client
                    .send(request.map(Body::from))
                    .await
                    .map_err(|error| unseen(&error, "get /version"))
            })
            .await?;
        let after = clock();
        let date = response
            .headers()
            .get(DATE)
            .and_then(|date| date.to_str().ok())
            .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
            .map(|date| date.timestamp());
        let status = response.status();
        let body = self
            .within(async {
                response
                    .into_body()
                    .collect_bytes()
                    .await
                    .map_err(|error| Unseen::Broken(error.to_string()))
            })
            .await?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let Some(version) = value.get("gitVersion").and_then(Value::as_str) else {
            return Err(Unseen::Broken(format!(
                "what answers says {status} to GET /version, and no version"
            )));
        };
        Ok(ServerFacts {
            version: version.to_owned(),
            date,
            asked: (before, after),
        })
    }

    /// One object.
    pub async fn get<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Seen<T> {
        let right = format!("get {} {name}{}", resource.plural, place(namespace));
        let path = format!("{}/{name}", address(resource, namespace));
        let value = self
            .exchange(request("GET", &path, Vec::new())?, &right)
            .await?;
        serde_json::from_value(value).map_err(|_| {
            Unseen::Broken(format!(
                "the {} {name} is of a shape that isn't known here",
                resource.plural
            ))
        })
    }

    /// All objects, of a namespace or of all; those of a shape that isn't known here are left out, which
    /// [`Reader::partial`] tells, as that there are more than are read.
    pub async fn list<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        labels: Option<&str>,
    ) -> Seen<Vec<T>> {
        let right = format!("list {}{}", resource.plural, place(namespace));
        let mut items = Vec::new();
        let mut more: Option<String> = None;
        let mut partial = Partial::default();
        for _ in 0..MOST_PAGES {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("limit", &PAGE.to_string())
                .extend_pairs(labels.map(|labels| ("labelSelector", labels)))
                .extend_pairs(more.as_ref().map(|more| ("continue", more)))
                .finish();
            let path = format!("{}?{query}", address(resource, namespace));
            let mut value = self
                .exchange(request("GET", &path, Vec::new())?, &right)
                .await?;
            if let Some(Value::Array(page)) = value.get_mut("items").map(Value::take) {
                let (all, before) = (page.len(), items.len());
                items.extend(
                    page.into_iter()
                        .filter_map(|item| serde_json::from_value(item).ok()),
                );
                partial.left_out += all - (items.len() - before);
            }
            more = value
                .pointer("/metadata/continue")
                .and_then(Value::as_str)
                .filter(|more| !more.is_empty())
                .map(str::to_owned);
            if more.is_none() {
                break;
            }
        }
        partial.truncated = more.is_some();
        if partial != Partial::default() {
            let what = format!("{}{}", resource.plural, place(namespace));
            let mut all = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(what, partial);
        }
        Ok(items)
    }

    /// All objects of several namespaces; of all, where none is named.
    pub async fn list_in<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespaces: &[String],
    ) -> Seen<Vec<T>> {
        if namespaces.is_empty() {
            return self.list(resource, None, None).await;
        }
        let (mut all, mut absent) = (Vec::new(), 0);
        for namespace in namespaces {
            match self.list(resource, Some(namespace), None).await {
                Ok(items) => all.extend(items),
                Err(Unseen::Absent) => absent += 1,
                Err(unseen) => return Err(unseen),
            }
        }
        // The kind isn't there.
        if absent == namespaces.len() {
            return Err(Unseen::Absent);
        }
        Ok(all)
    }

    /// An access review: what is sent is judged, and not kept.
    pub async fn review<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        body: &Value,
    ) -> Seen<T> {
        let right = format!("create {}{}", resource.plural, place(namespace));
        let request = request(
            "POST",
            &address(resource, namespace),
            body.to_string().into_bytes(),
        )?;
        let value = self.exchange(request, &right).await?;
        serde_json::from_value(value)
            .map_err(|_| Unseen::Broken("the review's answer can't be read".to_owned()))
    }

    async fn exchange(&self, request: Request<Vec<u8>>, right: &str) -> Seen<Value> {
        self.within(async {
            self.client
                .request::<Value>(request)
                .await
                .map_err(|error| unseen(&error, right))
        })
        .await
    }

    async fn within<T>(&self, asking: impl Future<Output = Seen<T>>) -> Seen<T> {
        tokio::time::timeout(self.deadline, asking)
            .await
            .unwrap_or(Err(Unseen::Silent(self.deadline)))
    }
}

fn address(resource: Resource, namespace: Option<&str>) -> String {
    let Resource { path, plural } = resource;
    match namespace {
        Some(namespace) => format!("{path}/namespaces/{namespace}/{plural}"),
        None => format!("{path}/{plural}"),
    }
}

fn place(namespace: Option<&str>) -> String {
    namespace.map_or_else(String::new, |namespace| {
        format!(" in the namespace {namespace}")
    })
}

fn request(method: &str, path: &str, body: Vec<u8>) -> Seen<Request<Vec<u8>>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|_| Unseen::Broken(format!("{path} is no path")))
}

/// What an error of kube's says.
fn unseen(error: &kube::Error, right: &str) -> Unseen {
    match error {
        kube::Error::Api(status) if status.code == 403 => Unseen::Forbidden {
            right: right.to_owned(),
        },
        kube::Error::Api(status) if status.code == 404 => Unseen::Absent,
        kube::Error::Api(status) if status.code == 401 => Unseen::Broken(
            "the API server doesn't know who asks: the kubeconfig's login is wrong or has expired"
                .to_owned(),
        ),
        other => Unseen::Broken(chain(other)),
    }
}
