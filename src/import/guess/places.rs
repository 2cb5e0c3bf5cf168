//! Where pipelines deploy to: the accounts and namespaces that their stages name. Touches nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::names;
use crate::{api::bounds, spinnaker::PipelineConfig};

/// An account and a namespace in it.
pub type Pair = (String, String);

/// Where things go, and by which stages that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// By place, where it was found: `pipeline "Deploy", stage "Prod"`, of which application; the first few.
    found: BTreeMap<Pair, Evidence>,
    /// Accounts for which no namespace was found.
    pub homeless: BTreeSet<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Evidence {
    first: Vec<String>,
    times: usize,
    /// What may name the environment: the stage's and the pipeline's name.
    hints: Vec<String>,
}

/// An Environment that there probably is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentGuess {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub account: String,
    /// Where it is there.
    pub namespace: String,
    /// Where that was found.
    pub evidence: String,
}

/// How many places of evidence are named.
const SHOWN: usize = 3;
/// How deep stages are looked into.
const MOST_STAGES: usize = 500;

/// Words by which environments are known, and their usual form. Longer ones first: `preprod` holds `prod`.
const WORDS: [(&str, &str); 16] = [
    ("preproduction", "preprod"),
    ("preprod", "preprod"),
    ("production", "production"),
    ("sandbox", "sandbox"),
    ("staging", "staging"),
    ("canary", "canary"),
    ("develop", "development"),
    ("stage", "staging"),
    ("prod", "production"),
    ("test", "test"),
    ("perf", "performance"),
    ("stg", "staging"),
    ("dev", "development"),
    ("uat", "uat"),
    ("qa", "qa"),
    ("int", "integration"),
];

impl Places {
    /// Adds what the stages of a pipeline name.
    pub fn add(&mut self, pipeline: &PipelineConfig) {
        let stages = pipeline.raw.get("stages").and_then(Value::as_array);
        for stage in stages.into_iter().flatten().take(MOST_STAGES) {
            let named = text(stage, "name").unwrap_or_default();
            // The `deploy` stage has one entry for each place.
            let clusters = stage.get("clusters").and_then(Value::as_array);
            let parts: Vec<&Value> = match clusters {
                Some(clusters) => clusters.iter().collect(),
                None => vec![stage],
            };
            for part in parts {
                self.part(pipeline, &named, part);
            }
        }
    }

    fn part(&mut self, pipeline: &PipelineConfig, stage: &str, part: &Value) {
        let Some(account) = text(part, "account").or_else(|| text(part, "credentials")) else {
            return;
        };
        let mut namespaces: BTreeSet<String> = ["namespaceOverride", "location", "namespace"]
            .iter()
            .filter_map(|key| text(part, key))
            .take(1)
            .collect();
        if namespaces.is_empty() {
            let manifests = part.get("manifests").and_then(Value::as_array);
            namespaces = manifests
                .into_iter()
                .flatten()
                .filter_map(|manifest| text(manifest.get("metadata")?, "namespace"))
                .collect();
        }
        if namespaces.is_empty() {
            self.homeless.insert(account);
            return;
        }
        for namespace in namespaces {
            let evidence = self.found.entry((account.clone(), namespace)).or_default();
            evidence.times += 1;
            if evidence.first.len() < SHOWN {
                evidence.first.push(format!(
                    "stage {:?} of pipeline {:?} of {:?}",
                    bounds::cut(stage, 60),
                    bounds::cut(&pipeline.name, 60),
                    bounds::cut(&pipeline.application, 60),
                ));
                evidence
                    .hints
                    .extend([stage.to_owned(), pipeline.name.clone()]);
            }
        }
    }

    /// What another application brings.
    pub fn merge(&mut self, other: Self) {
        for (pair, theirs) in other.found {
            let ours = self.found.entry(pair).or_default();
            ours.times += theirs.times;
            let room = SHOWN.saturating_sub(ours.first.len());
            ours.first.extend(theirs.first.into_iter().take(room));
            ours.hints.extend(theirs.hints.into_iter().take(2 * room));
        }
        self.homeless.extend(other.homeless);
    }

    /// Every account and namespace.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.found.keys()
    }

    /// An Environment for each place, by name. A word that only one place claims is its name; those that share one are told
    /// apart by their namespace, and then by their account.
    pub fn environments(&self) -> Vec<EnvironmentGuess> {
        let words: BTreeMap<&Pair, String> = self
            .found
            .iter()
            .map(|(pair, evidence)| (pair, environment(pair, &evidence.hints)))
            .collect();
        let claims = |wanted: &dyn Fn(&Pair, &str) -> bool| {
            words
                .iter()
                .filter(|(pair, word)| wanted(pair, word))
                .count()
        };
        let mut taken = BTreeSet::new();
        let mut environments = Vec::new();
        for (pair, evidence) in &self.found {
            let (account, namespace) = pair;
            let word = words.get(pair).map_or("", String::as_str);
            let alone = claims(&|_, other| other == word) == 1;
            let by_namespace =
                claims(&|(_, place), other| other == word && place == namespace) == 1;
            let wanted = if !word.is_empty() && alone {
                word.to_owned()
            } else if !word.is_empty() && by_namespace {
                format!("{word}-{namespace}")
            } else {
                format!("{account}-{namespace}")
            };
            let name = names::label(&wanted, &taken);
            taken.insert(name.clone());
            let more = evidence.times.saturating_sub(evidence.first.len());
            let mut words = evidence.first.join("; ");
            if more > 0 {
                words.push_str(&format!("; and {more} more"));
            }
            environments.push(EnvironmentGuess {
                name,
                account: account.clone(),
                namespace: namespace.clone(),
                evidence: words,
            });
        }
        environments.sort_by(|a, b| a.name.cmp(&b.name));
        environments
    }
}

/// The word for a place: what its account says, else its namespace, else the stages that go there.
fn environment((account, namespace): &Pair, hints: &[String]) -> String {
    [account, namespace]
        .into_iter()
        .chain(hints)
        .find_map(|text| known(text))
        .unwrap_or_default()
        .to_owned()
}

fn known(text: &str) -> Option<&'static str> {
    let kebab = names::kebab(text);
    let parts: Vec<&str> = kebab.split('-').collect();
    let in_part = |word: &str| {
        parts.iter().any(|part| {
            let rest = part.strip_prefix(word);
            rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    WORDS
        .iter()
        .find(|(word, _)| in_part(word))
        .map(|(_, usual)| *usual)
}

/// A text that names one thing: nothing that Spinnaker, or a template of ours, would evaluate.
fn text(value: &Value, key: &str) -> Option<String> {
    let text = value.get(key)?.as_str()?.trim();
    let plain = !text.is_empty()
        && text.chars().count() <= bounds::NAME
        && !["${", "{{", "{%", "{#"]
            .iter()
            .any(|sign| text.contains(sign))
        && !text.chars().any(char::is_control);
    plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::import::guess::testing::pipeline;

    fn places(stages: &Value) -> Places {
        let mut places = Places::default();
        places.add(&pipeline(&json!({
            "id": "1", "name": "Deploy", "application": "shop", "stages": stages,
        })));
        places
    }

    fn names(places: &Places) -> Vec<String> {
        places
            .environments()
            .into_iter()
            .map(|one| format!("{}={}/{}", one.name, one.account, one.namespace))
            .collect()
    }

    #[test]
    fn places_come_from_wherever_stages_name_them() {
        let found = places(&json!([
            {"type": "deployManifest", "name": "Prod", "account": "eks-prod", "namespaceOverride": "shop"},
            {"type": "deployManifest", "account": "eks-stg", "manifests": [{"metadata": {"namespace": "shop-a"}}]},
            {"type": "undoRolloutManifest", "account": "eks-qa", "location": "shop"},
            {"type": "deploy", "clusters": [{"account": "gke-dev1", "namespace": "shop"}]},
            {"type": "deployManifest", "account": "eks-none"},
            {"type": "deployManifest", "account": "${ parameters.account }", "namespaceOverride": "x"},
            {"type": "deployManifest", "account": "{{ version }}", "namespaceOverride": "x"},
            {"type": "wait"}, 7, null,
        ]));
        assert_eq!(
            names(&found),
            [
                "development=gke-dev1/shop",
                "production=eks-prod/shop",
                "qa=eks-qa/shop",
                "staging=eks-stg/shop-a"
            ]
        );
        assert_eq!(found.homeless, BTreeSet::from(["eks-none".to_owned()]));
        let evidence = &found.environments()[1].evidence;
        assert!(
            evidence.contains("stage \"Prod\" of pipeline \"Deploy\""),
            "{evidence}"
        );
    }

    #[test]
    fn places_that_share_a_word_are_told_apart() {
        let found = places(&json!([
            {"account": "eks-prod", "namespace": "a"},
            {"account": "eks-prod", "namespace": "b"},
            {"account": "gke-prod", "namespace": "b"},
            {"account": "other", "namespace": "c"},
        ]));
        assert_eq!(
            names(&found),
            [
                "eks-prod-b=eks-prod/b",
                "gke-prod-b=gke-prod/b",
                "other-c=other/c",
                "production-a=eks-prod/a"
            ]
        );
    }

    #[test]
    fn a_word_within_a_word_is_none() {
        assert_eq!(known("product-catalogue"), None);
        assert_eq!(known("eks-preprod"), Some("preprod"));
        assert_eq!(known("internal"), None);
        assert_eq!(known("eksProd2"), Some("production"));
    }
}
