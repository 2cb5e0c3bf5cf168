//! The forms of what can be said: the one table behind help, the nearest form of an error, and the tests. Touches nothing.

use super::Vocabulary;
use crate::api::deploy_request::DEFAULT_ACTION;

/// Words of ours that stand where a verb does.
pub(super) const BUILT_IN: [&str; 5] = ["status", "what", "history", "cancel", "help"];
/// Words before an environment.
const CONNECTIVES: [&str; 3] = ["to", "in", "on"];

/// What somebody has to be allowed for a form to be of use to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: whoever may see an application may use it.
    Nothing,
    /// This action, of any application.
    Action(&'static str),
    /// Any action at all.
    AnyAction,
}

/// One way to say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// What it is about: a word that `help` takes.
    pub topic: &'static str,
    /// Its parts, with what has to be filled in in angle brackets and what may be left out in square ones.
    pub pattern: &'static str,
    /// What somebody could type.
    pub example: &'static str,
    /// What happens then.
    pub sentence: &'static str,
    /// For whom it is of use.
    pub needs: Needs,
}

/// All forms, in the order in which help shows them. Each example is read as what its sentence says, with an application
/// `checkout`, environments `staging` and `production`, and the actions `deploy`, `rollback` and `restart`.
pub const FORMS: &[Form] = &[
    Form {
        topic: "deploy",
        pattern: "<application> <version> to <environment>",
        example: "checkout main to staging",
        sentence: "Shows what would change, and deploys once you confirm.",
        needs: Needs::Action(DEFAULT_ACTION),
    },
    Form {
        topic: "deploy",
        pattern: "<application>@<version> <environment>",
        example: "checkout@v1.2 staging",
        sentence: "The same: the connective may be left out.",
        needs: Needs::Action(DEFAULT_ACTION),
    },
    Form {
        topic: "deploy",
        pattern: "<team>/<application> <version> to <environment>",
        example: "shop/checkout main to staging",
        sentence: "Names the team, where several have an application of that name.",
        needs: Needs::Action(DEFAULT_ACTION),
    },
    Form {
        topic: "form",
        pattern: "",
        example: "",
        sentence: "Opens a form with everything that can be chosen.",
        needs: Needs::AnyAction,
    },
    Form {
        topic: "rollback",
        pattern: "rollback <application> in <environment>",
        example: "rollback checkout in production",
        sentence: "Goes back to the version that ran before; name one to go back to that.",
        needs: Needs::Action("rollback"),
    },
    Form {
        topic: "restart",
        pattern: "restart <application> in <environment>",
        example: "restart checkout in staging",
        sentence: "Any action that an application defines is a verb like this.",
        needs: Needs::Action("restart"),
    },
    Form {
        topic: "parameters",
        pattern: "<application> <version> to <environment> <name>=<value> reason:\"<why>\"",
        example: "checkout@v1.2 staging replicas=3 reason:\"hotfix for INC-42\"",
        sentence: "Sets the pipeline's parameters and says why. Quotes hold spaces; without them a reason takes the rest of the line.",
        needs: Needs::AnyAction,
    },
    Form {
        topic: "parameters",
        pattern: "<application> <version> to <environment> {\"<name>\": <value>}",
        example: "checkout main to staging {\"replicas\": 3, \"tier\": \"1.10\"}",
        sentence: "Takes parameters pasted as JSON or YAML, on lines of their own or as a code block too.",
        needs: Needs::AnyAction,
    },
    Form {
        topic: "parameters",
        pattern: "<application> <version> to <environment> target.namespace=<namespace> target.account=<account>",
        example: "checkout main to staging target.namespace=pr-42",
        sentence: "Deploys to another namespace or account, where the environment allows it.",
        needs: Needs::AnyAction,
    },
    Form {
        topic: "status",
        pattern: "status [<application>] [<environment>]",
        example: "status checkout in staging",
        sentence: "Shows what is under way and what waits, and for whom.",
        needs: Needs::Nothing,
    },
    Form {
        topic: "what",
        pattern: "what [<environment>]",
        example: "what production",
        sentence: "Shows what runs in an environment, since when.",
        needs: Needs::Nothing,
    },
    Form {
        topic: "history",
        pattern: "history <application> [<environment>]",
        example: "history checkout staging",
        sentence: "Shows what ran there before, and how it ended.",
        needs: Needs::Nothing,
    },
    Form {
        topic: "cancel",
        pattern: "cancel <application> in <environment> reason:\"<why>\"",
        example: "cancel checkout in staging reason:\"wrong branch\"",
        sentence: "Ends what is under way or waits there.",
        needs: Needs::AnyAction,
    },
    Form {
        topic: "cancel",
        pattern: "cancel <request>",
        example: "cancel slack-7f3c2a9b",
        sentence: "Ends one request by its name.",
        needs: Needs::AnyAction,
    },
    Form {
        topic: "help",
        pattern: "help [<topic>]",
        example: "help parameters",
        sentence: "Shows these forms, or those of one topic.",
        needs: Needs::Nothing,
    },
];

/// One line of help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelpLine {
    /// What somebody could type, the command included.
    pub example: String,
    /// What happens then.
    pub sentence: String,
}

/// What can be said by somebody who may use the verbs of `vocabulary`: all of it, or what concerns one topic. A verb
/// without a row of its own gets one like `restart`'s.
pub fn help(vocabulary: &Vocabulary, allowed: &[&str], topic: Option<&str>) -> Vec<HelpLine> {
    let command = vocabulary.command();
    let may = |needs| match needs {
        Needs::Nothing => true,
        Needs::Action(action) => allowed.contains(&action),
        Needs::AnyAction => !allowed.is_empty(),
    };
    let line = |example: &str, sentence: &str| HelpLine {
        example: format!("{command} {example}").trim_end().to_owned(),
        sentence: sentence.to_owned(),
    };
    let chosen = |of: &str| topic.is_none_or(|topic| topic == of);
    let fixed = FORMS
        .iter()
        .filter(|form| may(form.needs) && chosen(form.topic))
        .map(|form| line(form.example, form.sentence));
    let further = vocabulary
        .verbs()
        .filter(|verb| allowed.contains(verb) && chosen(verb))
        .filter(|verb| !FORMS.iter().any(|form| form.topic == *verb))
        .map(|verb| {
            line(
                &format!("{verb} checkout in staging"),
                "An action that an application here defines.",
            )
        });
    fixed.chain(further).collect()
}

/// The words that `help` takes, apart from the verbs.
pub fn topics() -> Vec<&'static str> {
    let mut topics: Vec<&str> = FORMS.iter().map(|form| form.topic).collect();
    topics.dedup();
    topics
}

/// The hint beside the slash command while somebody types.
pub fn usage_hint() -> &'static str {
    FORMS.first().map_or("", |form| form.pattern)
}

pub(super) fn is_topic(word: &str) -> bool {
    FORMS.iter().any(|form| form.topic == word)
}

pub(super) fn is_help(word: &str) -> bool {
    matches!(word, "help" | "?" | "-h" | "--help" | "-help")
}

/// The word itself, if it is one of ours apart from help.
pub(super) fn built_in(word: &str) -> Option<&'static str> {
    BUILT_IN
        .into_iter()
        .find(|built_in| *built_in == word && *built_in != "help")
}

pub(super) fn is_connective(word: &str) -> bool {
    CONNECTIVES
        .iter()
        .any(|connective| word.eq_ignore_ascii_case(connective))
}
