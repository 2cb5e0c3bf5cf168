//! Guesses as YAML, for people to read, correct and apply. Touches nothing.
//!
//! Whatever comes from Spinnaker stands in double quotes with everything odd escaped, or in a comment on one line: nothing in
//! it can end either.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{ActionGuess, ApplicationGuess, names, parameters::Fate, places::Places};
use crate::api::bounds;

/// What a connection's `allow` list holds at most.
const MOST_ALLOWED: usize = 500;

/// Where the objects go.
#[derive(Debug, Clone, Default)]
pub struct Destination {
    /// Their namespace; whichever they are applied in when left out.
    pub namespace: Option<String>,
    /// The connection that the Environments name.
    pub connection: String,
}

/// What was read of one application: what it comes to, or why it couldn't be.
pub type Outcome = Result<ApplicationGuess, (String, String)>;

/// What was made of it all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The page.
    pub yaml: String,
    /// Applications on it.
    pub applications: usize,
    /// Environments on it.
    pub environments: usize,
    /// Actions on it.
    pub actions: usize,
    /// Parameters that somebody has to say.
    pub todos: usize,
    /// What was left out, and why.
    pub left_out: Vec<String>,
    /// The applications that couldn't be read, and why.
    pub failed: Vec<(String, String)>,
}

/// The page.
pub fn page(destination: &Destination, outcomes: Vec<Outcome>) -> Imported {
    let mut imported = Imported::default();
    let (mut guesses, mut places) = (Vec::new(), Places::default());
    for outcome in outcomes {
        match outcome {
            Ok(guess) => {
                places.merge(guess.places.clone());
                guesses.push(guess);
            }
            Err((name, why)) => imported.failed.push((line(&name), line(&why))),
        }
    }
    guesses.sort_by(|a, b| a.spinnaker.cmp(&b.spinnaker));
    imported.failed.sort();
    let mut yaml = head(destination, &guesses, &places);
    for (name, why) in &imported.failed {
        comment(
            &mut yaml,
            "",
            &format!("Left out: the application {name:?} could not be read: {why}"),
        );
    }
    for guess in places.environments() {
        yaml.push_str("---\n");
        comment(&mut yaml, "", &format!("Found in {}.", guess.evidence));
        object(&mut yaml, "Environment", &guess.name, destination);
        let _ = writeln!(yaml, "  connection: {}", quoted(&destination.connection));
        yaml.push_str("  target:\n");
        let _ = writeln!(yaml, "    account: {}", quoted(&guess.account));
        let _ = writeln!(yaml, "    namespace: {}", quoted(&guess.namespace));
        imported.environments += 1;
    }
    let mut taken = BTreeSet::new();
    for guess in &guesses {
        let about: Vec<String> = guess
            .left_out
            .iter()
            .map(|what| format!("{}: {}", line(&guess.spinnaker), line(what)))
            .collect();
        if guess.actions.is_empty() {
            comment(
                &mut yaml,
                "",
                &format!(
                    "Left out: the application {:?} has no pipeline that can be an action.",
                    guess.spinnaker
                ),
            );
            for what in &guess.left_out {
                comment(&mut yaml, "", &format!("  {what}"));
            }
            imported.left_out.push(format!(
                "{}: no pipeline can be an action",
                line(&guess.spinnaker)
            ));
            imported.left_out.extend(about);
            continue;
        }
        imported.left_out.extend(about);
        yaml.push_str("---\n");
        for what in &guess.left_out {
            comment(&mut yaml, "", &format!("Left out: {what}."));
        }
        let name = names::label(&guess.spinnaker, &taken);
        object(&mut yaml, "Application", &name, destination);
        if name != guess.spinnaker {
            let _ = writeln!(yaml, "  spinnakerApplication: {}", quoted(&guess.spinnaker));
        }
        yaml.push_str("  actions:\n");
        for one in &guess.actions {
            action(&mut yaml, one);
        }
        taken.insert(name);
        imported.applications += 1;
        imported.actions += guess.actions.len();
        imported.todos += guess.todos();
    }
    imported.yaml = yaml;
    imported
}

fn head(destination: &Destination, guesses: &[ApplicationGuess], places: &Places) -> String {
    let mut yaml = String::new();
    let connection = &destination.connection;
    for text in [
        "Printed by `foredeck import`. These are guesses from what pipelines are called and where their stages deploy to:",
        "read them, correct them, and apply them with `kubectl apply --server-side -f`.",
    ] {
        comment(&mut yaml, "", text);
    }
    yaml.push_str("#\n");
    let what = format!("What the SpinnakerConnection {connection:?} has to allow for them:");
    comment(&mut yaml, "", &what);
    comment(&mut yaml, "  ", "allow:");
    let names: BTreeSet<&str> = guesses
        .iter()
        .filter(|guess| !guess.actions.is_empty())
        .map(|guess| guess.spinnaker.as_str())
        .collect();
    let accounts: BTreeSet<&str> = places
        .pairs()
        .map(|(account, _)| account.as_str())
        .collect();
    let namespaces: BTreeSet<&str> = places
        .pairs()
        .map(|(_, namespace)| namespace.as_str())
        .collect();
    for (field, all) in [
        ("applications", names),
        ("accounts", accounts),
        ("namespaces", namespaces),
    ] {
        let shown: Vec<String> = all
            .iter()
            .take(MOST_ALLOWED)
            .map(|one| quoted(one))
            .collect();
        let _ = writeln!(yaml, "#     {field}: [{}]", shown.join(", "));
        if all.len() > MOST_ALLOWED {
            let more = format!(
                "    and {} more, which a list of {MOST_ALLOWED} doesn't hold: use `*` for a part of their names",
                all.len() - MOST_ALLOWED
            );
            comment(&mut yaml, "", &more);
        }
    }
    if !places.homeless.is_empty() {
        let accounts: Vec<String> = places
            .homeless
            .iter()
            .take(20)
            .map(|one| quoted(one))
            .collect();
        let text = format!(
            "No namespace was found for stages in the accounts {}: their Environments are for you to write.",
            accounts.join(", ")
        );
        comment(&mut yaml, "", &text);
    }
    if places.pairs().next().is_none() {
        comment(
            &mut yaml,
            "",
            "No stage says where it deploys to: write the Environments by hand.",
        );
    }
    yaml
}

fn object(yaml: &mut String, kind: &str, name: &str, destination: &Destination) {
    let _ = write!(
        yaml,
        "apiVersion: foredeck.dev/v1alpha1\nkind: {kind}\nmetadata:\n  name: {}\n",
        quoted(name)
    );
    if let Some(namespace) = &destination.namespace {
        let _ = writeln!(yaml, "  namespace: {}", quoted(namespace));
    }
    yaml.push_str("spec:\n");
}

fn action(yaml: &mut String, action: &ActionGuess) {
    let _ = writeln!(yaml, "    {}:", action.verb);
    if let Some(called) = &action.called {
        comment(
            yaml,
            "      ",
            &format!("By its id, since its name can't stand here: {called:?}"),
        );
    }
    let _ = writeln!(yaml, "      pipeline: {}", quoted(&action.pipeline));
    let given = action
        .parameters
        .iter()
        .filter(|one| matches!(one.fate, Fate::Template(_)));
    // A pipeline may declare a name twice; a map has it once.
    let mut written: BTreeMap<&str, &str> = BTreeMap::new();
    for one in given {
        if let Fate::Template(template) = one.fate {
            written.entry(&one.name).or_insert(template);
        }
    }
    if !written.is_empty() {
        yaml.push_str("      parameters:\n");
        for (name, template) in &written {
            let remark = action.parameters.iter().find(|one| one.name == *name);
            if let Some(remark) = remark {
                comment(yaml, "        ", &remark.remark);
            }
            let _ = writeln!(yaml, "        {}: {}", quoted(name), quoted(template));
        }
    }
    for one in &action.parameters {
        let name = line(&one.name);
        match one.fate {
            Fate::Todo => comment(
                yaml,
                "        ",
                &format!(
                    "TODO {}: \"\"  # {}. Say it here, or each request says it in spec.parameters",
                    quoted(&name),
                    one.remark
                ),
            ),
            Fate::Impossible => comment(
                yaml,
                "        ",
                &format!("Left out: the parameter {name:?}, which an Application can't hold"),
            ),
            Fate::Template(_) | Fate::Default => {}
        }
    }
}

fn comment(yaml: &mut String, indent: &str, text: &str) {
    let _ = writeln!(yaml, "{indent}# {}", line(text));
}

/// On one line, whatever a reader of YAML takes for the end of one, and of bounded length.
fn line(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(bounds::MESSAGE)
        .map(|char| if is_shown(char) { char } else { ' ' })
        .collect();
    bounds::cut(&shown, 600)
}

/// In double quotes, as JSON and YAML both read it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(char);
            }
            _ if is_shown(char) => quoted.push(char),
            _ if u32::from(char) > 0xffff => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(char));
            }
            _ => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Whether it stands for itself: neither a control character, nor one that ends a line, doesn't show or turns the writing.
fn is_shown(char: char) -> bool {
    char == ' ' || char.is_ascii_graphic() || (!char.is_ascii() && char.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::import::guess::{application, testing::pipeline};

    fn destination() -> Destination {
        Destination {
            namespace: Some("shop".to_owned()),
            connection: "spinnaker".to_owned(),
        }
    }

    fn read(yaml: &str) -> Vec<Value> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        documents
            .into_iter()
            .filter(|document| !document.is_null())
            .collect()
    }

    #[test]
    fn a_page() {
        let shop = application(
            "shop",
            vec![
                pipeline(&json!({
                    "id": "1", "name": "Deploy to Production", "application": "shop",
                    "parameterConfig": [
                        {"name": "tag", "required": true, "description": "What to deploy"},
                        {"name": "namespace", "required": true},
                        {"name": "ticket", "required": true, "hasOptions": true, "options": [{"value": "A-1"}, {"value": "A-2"}]},
                        {"name": "replicas", "default": "3"},
                    ],
                    "stages": [{"type": "deployManifest", "name": "Roll out", "account": "eks-prod", "namespaceOverride": "shop"}],
                })),
                pipeline(
                    &json!({"id": "2", "name": "Old", "application": "shop", "disabled": true}),
                ),
                pipeline(&json!({"id": "3", "name": "50% off/on", "application": "shop"})),
            ],
        );
        let empty = application("Empty_App", Vec::new());
        let failed = Err((
            "broken".to_owned(),
            "Gate did not answer within 20 s".to_owned(),
        ));
        let imported = page(&destination(), vec![failed, Ok(shop), Ok(empty)]);
        insta::assert_snapshot!(imported.yaml);
        assert_eq!(
            (
                imported.applications,
                imported.environments,
                imported.actions,
                imported.todos
            ),
            (1, 1, 2, 1)
        );
        assert_eq!(imported.failed.len(), 1);
        assert_eq!(read(&imported.yaml).len(), 2);
    }

    proptest! {
        #[test]
        fn no_name_breaks_the_page_or_becomes_a_template(
            application_name in ".{1,30}", name in ".{1,40}", parameter in ".{1,40}", words in ".{0,60}", account in ".{1,20}",
        ) {
            let raw = json!({
                "id": "4f0a", "name": name, "application": application_name,
                "parameterConfig": [
                    {"name": parameter, "required": true, "description": words},
                    {"name": "tag", "required": true, "default": words},
                ],
                "stages": [{"name": words, "account": account, "location": account}],
            });
            let guess = application(&application_name, vec![pipeline(&raw)]);
            let imported = page(&destination(), vec![Ok(guess), Err((application_name.clone(), words.clone()))]);
            for document in read(&imported.yaml) {
                let spec = &document["spec"];
                prop_assert!(matches!(document["kind"].as_str(), Some("Application" | "Environment")), "{document}");
                prop_assert_eq!(document["metadata"]["namespace"].as_str(), Some("shop"));
                for action in spec["actions"].as_object().into_iter().flat_map(|all| all.values()) {
                    let pipeline = action["pipeline"].as_str().unwrap();
                    prop_assert!(pipeline == name || pipeline == "4f0a", "{pipeline:?}");
                    prop_assert!(!pipeline.contains("{{") && !pipeline.contains("${"), "{pipeline:?}");
                    for (key, value) in action["parameters"].as_object().into_iter().flatten() {
                        prop_assert!(*key == parameter || key == "tag", "{key:?}");
                        prop_assert!(value.as_str().unwrap().starts_with("{{ "), "{value}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_tries_to_end_a_line_doesnt() {
        for end in [
            "\n",
            "\r",
            "\u{85}",
            "\u{2028}",
            "\u{2029}",
            "\"\n- x: ",
            "\u{0}",
            "# ",
            "\\",
        ] {
            let text = format!("a{end}kind: Secret");
            assert_eq!(line(&text).lines().count(), 1);
            let read: Value = serde_saphyr::from_str(&format!("x: {}\n", quoted(&text))).unwrap();
            assert_eq!(read["x"].as_str(), Some(text.as_str()));
        }
    }
}
