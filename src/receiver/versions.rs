//! The form's field for a version: where the application names a repository a menu of its branches, that takes anything
//! else that is typed too. Touches the hosts of repositories, by what they are remembered to have said.
//!
//! What comes back is anybody's: a menu's value says no more than a typed word, and is judged like one.

use kube::ResourceExt;

use super::{
    Receiver,
    form::{self, Filled, application_id, short},
    sight::Sight,
};
use crate::{
    api::Application,
    receiver::grammar::version_name,
    slack::{
        actions,
        blocks::{Block, Input},
        elements::{Choice, ExternalSelect, PlainTextInput},
        inbound::{BlockSuggestion, Values},
    },
};

/// The field's block, or how its id begins.
pub(super) const VERSION: &str = "version";
/// Characters of a version.
const MOST: u16 = 253;
/// Begins the value of a choice that is its own name.
const NAMED: &str = "=";
/// Begins the value of a choice whose name is longer than a value: its digest follows.
const DIGEST: &str = "#";
/// Choices of one menu.
const MOST_CHOICES: usize = 100;
/// Environments that are tried where none is chosen yet.
const MOST_PLACES: usize = 5;

/// The field, as it stands.
pub(super) fn field(application: Option<&Application>, version: Option<&str>) -> Block {
    let label = "Version";
    let hint = "Branch, tag, commit or image tag";
    let initial = version.and_then(named);
    // What is chosen already and fits no choice stays where it can be read and changed.
    let fits = version.is_none() || initial.is_some();
    let application = application.filter(|one| one.spec.repository.is_some() && fits);
    if let Some(application) = application {
        let menu = ExternalSelect::new(actions::FORM_VERSION, hint).initial(initial);
        return Input::new(block(application), label, menu)
            .optional()
            .into();
    }
    let field = PlainTextInput::new(actions::FORM_VALUE)
        .placeholder(hint)
        .max_length(MOST);
    let field = field
        .clone()
        .initial(version.unwrap_or_default())
        .unwrap_or(field);
    Input::new(VERSION, label, field).optional().into()
}

/// The block of an application's branches: another's are another field, or Slack would keep the old choice.
fn block(application: &Application) -> String {
    let namespace = application.namespace().unwrap_or_default();
    format!(
        "{VERSION}-{}",
        application_id(&namespace, &application.name_any())
    )
}

/// The choice of a name that fits a value.
fn named(name: &str) -> Option<Choice> {
    Choice::new(name, format!("{NAMED}{name}")).ok()
}

/// The choice of any name.
fn choice(name: &str) -> Option<Choice> {
    named(name).or_else(|| Choice::new(name, format!("{DIGEST}{}", short(name))).ok())
}

/// What stands in the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// A version.
    Version(String),
    /// A branch, by its digest.
    Digest(String),
}

/// What stands in the field, of a form that comes back.
pub(super) fn written(values: &Values) -> Option<Written> {
    let (_, action, given) = values.iter().find(|(block, ..)| is_own(block))?;
    let text = given
        .first()
        .map(str::trim)
        .filter(|text| !text.is_empty())?;
    if action != actions::FORM_VERSION {
        return (action == actions::FORM_VALUE).then(|| Written::Version(text.to_owned()));
    }
    text.strip_prefix(NAMED)
        .map(|name| Written::Version(name.to_owned()))
        .or_else(|| {
            let digest = text.strip_prefix(DIGEST)?;
            Some(Written::Digest(digest.to_owned()))
        })
}

/// The field's block in a form that comes back.
pub(super) fn block_of(values: &Values) -> String {
    let mut blocks = values.iter().map(|(block, ..)| block);
    let own = blocks.find(|block| is_own(block));
    own.unwrap_or(VERSION).to_owned()
}

fn is_own(block: &str) -> bool {
    block == VERSION || block.starts_with(&format!("{VERSION}-"))
}

/// The choices for what is typed so far: that itself, and the branches that hold it, those first that begin so.
pub(super) fn suggestions(typed: &str, branches: &[String]) -> Vec<Choice> {
    let typed = typed.trim();
    let lower = typed.to_lowercase();
    let is_branch = branches.iter().any(|branch| branch == typed);
    let own = named(typed)
        .filter(|_| !is_branch && version_name(typed).is_ok())
        .map(|choice| choice.description("As you typed it: a tag, a commit, an image tag"));
    let mut found: Vec<(bool, bool, &String)> = branches
        .iter()
        .filter(|branch| version_name(branch).is_ok())
        .filter_map(|branch| {
            let here = branch.to_lowercase();
            let fits = here.contains(&lower);
            fits.then(|| (branch != typed, !here.starts_with(&lower), branch))
        })
        .collect();
    found.sort();
    let branches = found
        .into_iter()
        .filter_map(|(_, _, branch)| choice(branch));
    own.into_iter().chain(branches).take(MOST_CHOICES).collect()
}

impl Receiver {
    /// What stands in a form that comes back, its version found where a menu said only its digest.
    pub(super) async fn filled(
        &self,
        sight: &Sight,
        values: &Values,
        team: Option<&str>,
    ) -> Filled {
        let mut filled = form::filled(sight, values, team);
        let Some(Written::Digest(digest)) = written(values) else {
            return filled;
        };
        let branches = self.branches(sight, &filled).await;
        filled.draft.version = branches.into_iter().find(|branch| short(branch) == digest);
        filled.version_lost = filled.draft.version.is_none();
        filled
    }

    /// The choices of the field.
    pub(super) async fn versions_suggested(
        &self,
        sight: &Sight,
        asked: &BlockSuggestion,
        team: Option<&str>,
    ) -> Vec<Choice> {
        let Some(view) = &asked.view else {
            return Vec::new();
        };
        let filled = form::filled(sight, &view.state, team);
        suggestions(&asked.value, &self.branches(sight, &filled).await)
    }

    /// The branches of a form's application, for whoever may do there what the form says; where it doesn't say where yet,
    /// anywhere.
    async fn branches(&self, sight: &Sight, filled: &Filled) -> Vec<String> {
        let Some((team, name)) = &filled.application else {
            return Vec::new();
        };
        let Some(application) = sight.get::<Application>(team, name) else {
            return Vec::new();
        };
        let action = form::chosen_action(filled, &application);
        let places = match &filled.draft.environment {
            Some(environment) => vec![environment.clone()],
            None => sight.environments(team),
        };
        for environment in places.iter().take(MOST_PLACES) {
            let subject = sight.person.subject();
            let may = self
                .access
                .may(&subject, &action, team, name, environment)
                .await;
            if may.is_ok_and(|may| may.is_granted()) {
                return self.git.branches(&application).await.to_vec();
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn names(choices: &[Choice]) -> Vec<&str> {
        choices.iter().map(Choice::value).collect()
    }

    fn values(block: &str, action: &str, value: &Value) -> Values {
        serde_json::from_value(json!({"values": {block: {action: value}}})).unwrap()
    }

    fn chosen(value: &str) -> Values {
        let option = json!({"type": "external_select", "selected_option": {
            "text": {"type": "plain_text", "text": "any"}, "value": value,
        }});
        values("version-abc", actions::FORM_VERSION, &option)
    }

    #[test]
    fn what_is_typed_is_offered_beside_the_branches_that_hold_it() {
        let branches = ["feature/main-menu", "main", "release"].map(str::to_owned);
        let all = suggestions("", &branches);
        assert_eq!(names(&all), ["=feature/main-menu", "=main", "=release"]);
        let some = suggestions(" Main", &branches);
        assert_eq!(names(&some), ["=Main", "=main", "=feature/main-menu"]);
        assert_eq!(names(&suggestions("main", &branches))[0], "=main");
        let tag = suggestions("v1.2.3", &branches);
        assert_eq!(names(&tag), ["=v1.2.3"]);
        assert!(suggestions("a\u{202e}b", &branches).is_empty());
    }

    #[test]
    fn a_branch_of_any_length_can_be_chosen_and_a_typed_word_that_fits() {
        let long = "f".repeat(200);
        let offered = suggestions("", std::slice::from_ref(&long));
        let digest = format!("#{}", short(&long));
        assert_eq!(names(&offered), [digest.as_str()]);
        assert_eq!(
            written(&chosen(&digest)),
            Some(Written::Digest(short(&long)))
        );
        assert!(suggestions(&long, &[]).is_empty());
    }

    #[test]
    fn what_comes_back_is_read_from_either_field() {
        let version = |text: &str| Some(Written::Version(text.to_owned()));
        assert_eq!(written(&chosen("=main")), version("main"));
        assert_eq!(written(&chosen("main")), None, "nobody offered that");
        let typed = json!({"type": "plain_text_input", "value": " main "});
        let typed = values(VERSION, actions::FORM_VALUE, &typed);
        assert_eq!(written(&typed), version("main"));
        assert_eq!(block_of(&chosen("=main")), "version-abc");
    }
}
