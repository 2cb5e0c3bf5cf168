//! Deployments that GitHub is told of. Touches GitHub.
//!
//! Each names the request in its payload, by which it is found again after a crash: GitHub makes as many as it is asked for.

use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Asking, Github, answer::Refusal, call::Kind};
use crate::{
    domain::commits,
    git::{Announcement, GitError, Told},
};

/// The longest page.
const PAGE: usize = 100;
/// Pages that are looked through: nobody does one thing with one commit more often.
const PAGES: usize = 20;
/// The longest description, in characters.
const DESCRIPTION: usize = 140;
/// The key in the payload.
const KEY: &str = "foredeck";

#[derive(Serialize, Deserialize)]
struct Deployment {
    id: i64,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
struct Made {
    id: Option<i64>,
    message: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Status {
    state: String,
}

impl Deployment {
    /// Whether that request is named. A payload that was sent as text comes back as text.
    fn is_of(&self, uid: &str) -> bool {
        let named = |payload: &Value| payload.get(KEY).and_then(Value::as_str) == Some(uid);
        match &self.payload {
            Value::String(text) => serde_json::from_str(text).is_ok_and(|payload| named(&payload)),
            payload => named(payload),
        }
    }
}

impl Github {
    pub(super) async fn found(&self, announcement: &Announcement) -> Result<Option<i64>, GitError> {
        // Not by the environment: its name follows from what may be edited between the two.
        let size = PAGE.to_string();
        for number in 1..=PAGES {
            let number = number.to_string();
            let query = [
                ("sha", announcement.commit.as_str()),
                ("task", announcement.action.as_str()),
                ("per_page", size.as_str()),
                ("page", number.as_str()),
            ];
            let page: Vec<Deployment> = self
                .about("find-deployment", Method::GET, &[], &query, None)
                .await?;
            if let Some(found) = page.iter().find(|one| one.is_of(&announcement.uid)) {
                return Ok(Some(found.id));
            }
            if page.len() < PAGE {
                return Ok(None);
            }
        }
        Err(self
            .caller
            .place
            .unavailable("it has more deployments of this commit than are looked through"))
    }

    pub(super) async fn made(&self, announcement: &Announcement) -> Result<i64, GitError> {
        let body = json!({
            "ref": announcement.commit,
            "task": announcement.action,
            "environment": announcement.environment,
            "description": commits::plain(&announcement.description, DESCRIPTION),
            // Neither is anything of ours to merge, nor do checks decide here: Spinnaker deploys already.
            "auto_merge": false,
            "required_contexts": [],
            "payload": {KEY: announcement.uid},
        });
        let made: Made = self
            .about("announce", Method::POST, &[], &[], Some(&body))
            .await?;
        made.id.ok_or_else(|| {
            // 202: something was merged instead, which wasn't asked for.
            let message = made.message.unwrap_or_default();
            self.caller.place.forbidden(format!(
                "no deployment was made: {}",
                commits::plain(&message, 200)
            ))
        })
    }

    pub(super) async fn last_told(&self, deployment: i64) -> Result<Option<String>, GitError> {
        let id = deployment.to_string();
        let parts = [id.as_str(), "statuses"];
        let told: Vec<Status> = self
            .about("told", Method::GET, &parts, &[("per_page", "1")], None)
            .await?;
        Ok(told.into_iter().next().map(|status| status.state))
    }

    pub(super) async fn telling(&self, deployment: i64, told: &Told) -> Result<(), GitError> {
        // What ran there before is inactive from a success on, which GitHub sees to itself.
        let mut body = json!({
            "state": told.state.word(),
            "description": commits::plain(&told.description, DESCRIPTION),
        });
        let address = told.log_url.as_deref().filter(|url| is_address(url));
        if let Some(url) = address {
            body["log_url"] = json!(url);
        }
        let id = deployment.to_string();
        let parts = [id.as_str(), "statuses"];
        self.about::<Status>("tell", Method::POST, &parts, &[], Some(&body))
            .await
            .map(drop)
    }

    /// Asks below the repository's deployments. What isn't there, or isn't shown, may be there later.
    async fn about<T: serde::de::DeserializeOwned>(
        &self,
        operation: &'static str,
        method: Method,
        parts: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<T, GitError> {
        let parts = [&["deployments"], parts].concat();
        let url = self.caller.repository(&parts, query);
        let url = url.map_err(|refusal| self.error(refusal))?;
        let asking = Asking {
            kind: Kind::Background,
            operation,
            method,
            url,
            body,
        };
        self.ask(asking).await.map_err(|refusal| match refusal {
            // While a login is replaced the one before is taken no more: that passes.
            Refusal::Login(message) => GitError::Credentials {
                message: format!(
                    "{} doesn't take our login for {}: {message}",
                    self.caller.place.host, self.caller.place.repository
                ),
            },
            other => self.error(other),
        })
    }
}

fn is_address(url: &str) -> bool {
    url.parse::<Url>()
        .is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_known_by_its_payload_in_each_of_its_shapes() {
        let one = |payload| Deployment { id: 1, payload };
        assert!(one(json!({KEY: "u1"})).is_of("u1"));
        assert!(one(json!("{\"foredeck\": \"u1\"}")).is_of("u1"));
        for other in [
            json!({KEY: "u2"}),
            json!(""),
            json!("u1"),
            Value::Null,
            json!(["u1"]),
        ] {
            assert!(!one(other.clone()).is_of("u1"), "{other}");
        }
    }
}
