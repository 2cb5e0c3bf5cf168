//! Deployments and their states, as GitHub keeps them; emulate has none. Touches nothing.

use axum::http::Method;
use serde_json::{Value, json};

use super::Book;

/// The longest description of a state, in characters.
const DESCRIPTION: usize = 140;

/// A deployment that was made known.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its id.
    pub id: u64,
    /// The commit.
    pub sha: String,
    /// What it was asked for with.
    pub reference: String,
    /// `deploy`, or another word of who made it.
    pub task: String,
    /// The environment.
    pub environment: String,
    /// A sentence.
    pub description: String,
    /// What who made it keeps with it.
    pub payload: Value,
    /// Whether people use what is there.
    pub production: bool,
    /// Whether the environment goes again.
    pub transient: bool,
    /// Oldest first.
    pub states: Vec<DeploymentState>,
}

/// A state of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentState {
    /// GitHub's word.
    pub state: String,
    /// A sentence.
    pub description: String,
    /// Where it can be seen.
    pub log_url: String,
    /// Where what was deployed can be seen.
    pub environment_url: String,
}

/// What is answered: a status and a body.
type Answer = (u16, Value);

fn invalid(message: &str) -> Answer {
    (422, json!({"message": message, "status": "422"}))
}

fn missing() -> Answer {
    (404, json!({"message": "Not Found", "status": "404"}))
}

/// Makes a deployment of a commit known; `None` where the reference stands for none.
pub(super) fn make(book: &mut Book, base: &str, asked: &Value, commit: Option<String>) -> Answer {
    let word = |name: &str, other: &str| asked[name].as_str().unwrap_or(other).to_owned();
    let Some(reference) = asked["ref"].as_str().filter(|text| !text.is_empty()) else {
        return invalid("Invalid request.\n\n\"ref\" wasn't supplied.");
    };
    let Some(sha) = commit else {
        return invalid(&format!("No ref found for: {reference}"));
    };
    // Left out, all checks must have passed and the default branch is merged in, which a stand-in without checks would say
    // yes to and GitHub often doesn't.
    if asked["required_contexts"] != json!([]) {
        let message = format!("Conflict: Commit status checks failed for {reference}.");
        return (409, json!({"message": message, "status": "409"}));
    }
    if asked["auto_merge"] != json!(false) {
        let message = format!("Conflict merging main into {reference}.");
        return (409, json!({"message": message, "status": "409"}));
    }
    let environment = word("environment", "production");
    let deployment = Deployment {
        id: 1000 + book.deployments.len() as u64,
        sha,
        reference: reference.to_owned(),
        task: word("task", "deploy"),
        description: word("description", ""),
        payload: asked.get("payload").cloned().unwrap_or_else(|| json!({})),
        production: asked["production_environment"]
            .as_bool()
            .unwrap_or(environment == "production"),
        transient: asked["transient_environment"].as_bool().unwrap_or_default(),
        environment,
        states: Vec::new(),
    };
    let answer = shown(base, &deployment);
    book.deployments.push(deployment);
    (201, answer)
}

/// What lies below `/deployments`, but making one.
pub(super) fn answer(
    book: &mut Book,
    base: &str,
    method: &Method,
    parts: &[&str],
    query: &[(String, String)],
    asked: &Value,
) -> Answer {
    let known = |id: &str| id.parse::<u64>().ok();
    match (method.as_str(), parts) {
        ("GET", []) => {
            let asked = |name: &str| {
                let found = query.iter().find(|(key, _)| key == name);
                found
                    .map(|(_, value)| value.as_str())
                    .filter(|value| *value != "none")
            };
            let wanted = |deployment: &&Deployment| {
                asked("sha").is_none_or(|sha| sha == deployment.sha)
                    && asked("ref").is_none_or(|reference| reference == deployment.reference)
                    && asked("task").is_none_or(|task| task == deployment.task)
                    && asked("environment").is_none_or(|name| name == deployment.environment)
            };
            let all = book.deployments.iter().rev().filter(wanted);
            (
                200,
                json!(paged(all.map(|deployment| shown(base, deployment)), query)),
            )
        }
        ("GET", [id]) => match book
            .deployments
            .iter()
            .find(|one| Some(one.id) == known(id))
        {
            Some(deployment) => (200, shown(base, deployment)),
            None => missing(),
        },
        ("GET", [id, "statuses"]) => {
            match book
                .deployments
                .iter()
                .find(|one| Some(one.id) == known(id))
            {
                Some(deployment) => {
                    let all = deployment.states.iter().enumerate().rev();
                    (
                        200,
                        json!(paged(
                            all.map(|(index, state)| told(base, deployment, index, state)),
                            query
                        )),
                    )
                }
                None => missing(),
            }
        }
        ("POST", [id, "statuses"]) => tell(book, base, known(id), asked),
        _ => missing(),
    }
}

fn tell(book: &mut Book, base: &str, id: Option<u64>, asked: &Value) -> Answer {
    let Some(at) = book.deployments.iter().position(|one| Some(one.id) == id) else {
        return missing();
    };
    let word = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let state = DeploymentState {
        state: word("state"),
        description: word("description"),
        log_url: word("log_url"),
        environment_url: word("environment_url"),
    };
    let words = [
        "error",
        "failure",
        "inactive",
        "in_progress",
        "queued",
        "pending",
        "success",
    ];
    if !words.contains(&state.state.as_str()) {
        return invalid("Validation Failed: state is not included in the list");
    }
    if state.description.chars().count() > DESCRIPTION {
        return invalid("Validation Failed: description is too long (maximum is 140 characters)");
    }
    let (word, environment) = (
        state.state.clone(),
        book.deployments[at].environment.clone(),
    );
    book.deployments[at].states.push(state);
    // "All prior non-transient, non-production environment deployments" of the environment that went well.
    if word == "success" && asked["auto_inactive"] != json!(false) {
        for earlier in &mut book.deployments[..at] {
            let last = earlier.states.last().map(|state| state.state.as_str());
            let replaced = earlier.environment == environment && last == Some("success");
            if replaced && !earlier.transient && !earlier.production {
                earlier.states.push(DeploymentState {
                    state: "inactive".to_owned(),
                    description: String::new(),
                    log_url: String::new(),
                    environment_url: String::new(),
                });
            }
        }
    }
    let deployment = &book.deployments[at];
    let index = deployment.states.len() - 1;
    (
        201,
        told(base, deployment, index, &deployment.states[index]),
    )
}

fn paged(all: impl Iterator<Item = Value>, query: &[(String, String)]) -> Vec<Value> {
    let number = |name: &str, other: usize| {
        let found = query.iter().find(|(key, _)| key == name);
        found
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(other)
    };
    let size = number("per_page", 30).clamp(1, 100);
    all.skip((number("page", 1).max(1) - 1) * size)
        .take(size)
        .collect()
}

fn shown(base: &str, deployment: &Deployment) -> Value {
    let url = format!("{base}/deployments/{}", deployment.id);
    json!({
        "id": deployment.id, "node_id": format!("DE_{}", deployment.id), "url": url, "sha": deployment.sha,
        "ref": deployment.reference, "task": deployment.task, "payload": deployment.payload,
        "original_environment": deployment.environment, "environment": deployment.environment,
        "description": deployment.description, "production_environment": deployment.production,
        "transient_environment": deployment.transient, "statuses_url": format!("{url}/statuses"), "repository_url": base,
        "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z",
    })
}

fn told(base: &str, deployment: &Deployment, index: usize, state: &DeploymentState) -> Value {
    let id = deployment.id * 100 + index as u64;
    let url = format!("{base}/deployments/{}", deployment.id);
    json!({
        "id": id, "url": format!("{url}/statuses/{id}"), "state": state.state, "description": state.description,
        "environment": deployment.environment, "target_url": state.log_url, "log_url": state.log_url,
        "environment_url": state.environment_url, "deployment_url": url, "repository_url": base,
        "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z",
    })
}
