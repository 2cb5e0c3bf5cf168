//! What a pipeline's parameters probably mean: by their names, as a template of ours; never by what somebody wrote into them.
//! Touches nothing.

use crate::{
    api::bounds,
    spinnaker::{Parameter, PipelineConfig},
};

/// What becomes of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterGuess {
    /// Its name.
    pub name: String,
    /// What is known of it, for whoever reads.
    pub remark: String,
    /// What it gets.
    pub fate: Fate,
}

/// What a parameter gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// This template: one of our own.
    Template(&'static str),
    /// Nothing: Spinnaker fills in its default, or it may be absent.
    Default,
    /// Somebody has to say.
    Todo,
    /// It can't be in an Application at all.
    Impossible,
}

const VERSION: &str = "{{ version }}";
const ACCOUNT: &str = "{{ target.account }}";
const NAMESPACE: &str = "{{ target.namespace }}";
const ENVIRONMENT: &str = "{{ environment.name }}";
const APPLICATION: &str = "{{ application.spinnaker }}";
const REASON: &str = "{{ reason }}";

/// Names, without what stands between their words, the likeliest first.
const VERSIONS: [&str; 22] = [
    "version",
    "imagetag",
    "tag",
    "dockertag",
    "containertag",
    "imageversion",
    "appversion",
    "applicationversion",
    "artifactversion",
    "releaseversion",
    "chartversion",
    "gitref",
    "ref",
    "branch",
    "gitbranch",
    "branchname",
    "commit",
    "commitsha",
    "gitcommit",
    "sha",
    "revision",
    "release",
];
const OTHERS: [(&[&str], &str); 5] = [
    (
        &[
            "account",
            "accountname",
            "targetaccount",
            "deployaccount",
            "k8saccount",
            "kubernetesaccount",
            "spinnakeraccount",
            "credentials",
            "cluster",
            "clustername",
            "targetcluster",
            "k8scluster",
        ],
        ACCOUNT,
    ),
    (
        &[
            "namespace",
            "ns",
            "targetnamespace",
            "deploynamespace",
            "k8snamespace",
            "kubernetesnamespace",
        ],
        NAMESPACE,
    ),
    (
        &[
            "environment",
            "env",
            "environmentname",
            "envname",
            "targetenvironment",
            "targetenv",
            "deployenv",
            "deployenvironment",
        ],
        ENVIRONMENT,
    ),
    (
        &[
            "application",
            "app",
            "applicationname",
            "appname",
            "service",
            "servicename",
        ],
        APPLICATION,
    ),
    (
        &["reason", "changereason", "deployreason", "comment"],
        REASON,
    ),
];

/// What becomes of each, in the pipeline's own order. At most as many as an Application takes are given something.
pub fn parameters(pipeline: &PipelineConfig) -> Vec<ParameterGuess> {
    let versions = pipeline
        .parameters
        .iter()
        .filter_map(|parameter| Some((likely(parameter)?, parameter.name.as_str())));
    // One of them is what a request's version is.
    let version = versions.min().map(|(_, name)| name.to_owned());
    let mut given = 0;
    pipeline
        .parameters
        .iter()
        .map(|parameter| {
            let mut fate = fate(parameter, version.as_deref());
            if matches!(fate, Fate::Template(_)) {
                given += 1;
                if given > bounds::PARAMETERS {
                    fate = Fate::Impossible;
                }
            }
            ParameterGuess {
                name: parameter.name.clone(),
                remark: remark(parameter),
                fate,
            }
        })
        .collect()
}

fn fate(parameter: &Parameter, version: Option<&str>) -> Fate {
    if parameter.name.chars().count() > bounds::NAME {
        return Fate::Impossible;
    }
    if version == Some(parameter.name.as_str()) {
        return Fate::Template(VERSION);
    }
    let plain = plain(&parameter.name);
    let other = OTHERS
        .iter()
        .find(|(names, _)| names.contains(&plain.as_str()));
    match other {
        // Whether what it would become is among the options, nobody here knows.
        Some((_, template)) if parameter.options.is_empty() => Fate::Template(template),
        _ if parameter.required && parameter.default.is_none() => Fate::Todo,
        _ => Fate::Default,
    }
}

/// How likely it is the version, the smaller the likelier. What has a default is only asked for where nobody says, so that a
/// request without a version stays possible; what has options is one of few.
fn likely(parameter: &Parameter) -> Option<usize> {
    let plain = plain(&parameter.name);
    let rank = VERSIONS.iter().position(|name| *name == plain)?;
    let free = parameter.options.is_empty() && (parameter.required || parameter.default.is_none());
    free.then_some(rank)
}

fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|char| char.to_ascii_lowercase())
        .collect()
}

/// What the pipeline says of it, without what it is by default where that could be a secret.
fn remark(parameter: &Parameter) -> String {
    let mut parts = vec![
        if parameter.required {
            "required"
        } else {
            "optional"
        }
        .to_owned(),
    ];
    let lower = parameter.name.to_lowercase();
    let secret = ["secret", "password", "token", "credential", "key"]
        .iter()
        .any(|word| lower.contains(word));
    match &parameter.default {
        Some(_) if secret => parts.push("has a default".to_owned()),
        Some(default) => parts.push(format!("default {:?}", bounds::cut(default, 60))),
        None => {}
    }
    if !parameter.options.is_empty() {
        let shown: Vec<String> = parameter
            .options
            .iter()
            .take(8)
            .map(|option| format!("{:?}", bounds::cut(option, 40)))
            .collect();
        let more = parameter.options.len().saturating_sub(shown.len());
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        parts.push(format!("one of {}{more}", shown.join(", ")));
    }
    if let Some(description) = &parameter.description {
        parts.push(bounds::cut(description, 120));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::guess::testing::pipeline;

    fn fates(parameters: &serde_json::Value) -> Vec<(String, Fate)> {
        let pipeline = pipeline(&serde_json::json!({
            "id": "1", "name": "Deploy", "application": "shop", "parameterConfig": parameters,
        }));
        super::parameters(&pipeline)
            .into_iter()
            .map(|guess| (guess.name, guess.fate))
            .collect()
    }

    #[test]
    fn names_say_what_a_parameter_is() {
        let fates = fates(&serde_json::json!([
            {"name": "Image Tag", "required": true},
            {"name": "branch", "required": true},
            {"name": "k8s_namespace"},
            {"name": "ENV", "required": true},
            {"name": "cluster", "required": true, "default": "eks"},
            {"name": "appName"},
            {"name": "replicas", "default": "3"},
            {"name": "ticket", "required": true},
            {"name": "note"},
        ]));
        let expected = [
            ("Image Tag", Fate::Template(VERSION)),
            ("branch", Fate::Todo),
            ("k8s_namespace", Fate::Template(NAMESPACE)),
            ("ENV", Fate::Template(ENVIRONMENT)),
            ("cluster", Fate::Template(ACCOUNT)),
            ("appName", Fate::Template(APPLICATION)),
            ("replicas", Fate::Default),
            ("ticket", Fate::Todo),
            ("note", Fate::Default),
        ];
        let expected = expected.map(|(name, fate)| (name.to_owned(), fate));
        assert_eq!(fates, expected);
    }

    #[test]
    fn what_has_options_is_not_guessed_and_a_version_with_a_default_stays_optional() {
        let fates = fates(&serde_json::json!([
            {"name": "environment", "required": true, "hasOptions": true, "options": [{"value": "prod"}]},
            {"name": "tag", "default": "latest"},
        ]));
        assert_eq!(fates[0].1, Fate::Todo);
        assert_eq!(fates[1].1, Fate::Default);
    }

    #[test]
    fn no_template_is_ever_somebody_elses() {
        let fates = fates(&serde_json::json!([
            {"name": "{{ version }}", "required": true},
            {"name": "tag", "required": true, "description": "{{ reason }}\n- evil: true"},
        ]));
        assert_eq!(fates[0].1, Fate::Template(VERSION));
        assert_eq!(fates[1].1, Fate::Todo);
    }

    #[test]
    fn a_default_that_may_be_a_secret_is_not_shown() {
        let pipeline = pipeline(&serde_json::json!({
            "id": "1", "name": "Deploy", "application": "shop",
            "parameterConfig": [{"name": "apiToken", "default": "hush"}, {"name": "size", "default": "large"}],
        }));
        let guesses = super::parameters(&pipeline);
        assert!(!guesses[0].remark.contains("hush"), "{guesses:?}");
        assert!(guesses[1].remark.contains("large"), "{guesses:?}");
    }
}
