//! The forms of what can be said: the one table behind help, the nearest form of an error, and the tests. Touches nothing.

use super::Vocabulary;
use crate::api::deploy_request::DEFAULT_ACTION;

/// Words of ours that stand where a verb does.
pub(super) const BUILT_IN: [&str; 10] = [
    "status",
    "what",
    "history",
    "why",
    "cancel",
    "lock",
    "unlock",
    "stop-all",
    "resume-all",
    "help",
];
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
    /// The verb `lock`, of any environment.
    Lock,
    /// The verb `override`, of the stop button.
    StopAll,
}

/// What somebody may do somewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Actions of applications.
    pub actions: Vec<String>,
    /// Locking an environment.
    pub locks: bool,
    /// Stopping everything.
    pub stops: bool,
}

impl Allowed {
    fn does(&self, action: &str) -> bool {
        self.actions.iter().any(|one| one == action)
    }
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
        topic: "time",
        pattern: "<application> <version> to <environment> at:<time> before:<time>",
        example: "checkout@v1.2 production at:2027-01-31T22:00:00+01:00 before:2027-01-31T23:00:00Z",
        sentence: "Starts at that time, once everything lets it; and not at all after the second one. Either may be left out. The form asks for both by your own clock.",
        needs: Needs::AnyAction,
    },
    Form {
        topic: "override",
        pattern: "<application> <version> to <environment> override:\"<why>\"",
        example: "checkout@v1.2 production override:\"INC-42, the shop is down\"",
        sentence: "Passes the order of environments, freezes and locks, for those who have the verb override; approvals stay. It is told in the environment's channel, with the reason.",
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
        topic: "why",
        pattern: "why <request>",
        example: "why slack-7f3c2a9b",
        sentence: "Shows every gate between one request and its start, and which of them hold it.",
        needs: Needs::Nothing,
    },
    Form {
        topic: "why",
        pattern: "why <application> in <environment>",
        example: "why checkout in production",
        sentence: "The same for what waits there; where nothing does, what a request would meet now.",
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
        topic: "lock",
        pattern: "lock <application> in <environment> \"<why>\" [<how long>]",
        example: "lock checkout in production \"database migration\" 2h",
        sentence: "Keeps everything of that application from starting there; what runs goes on.",
        needs: Needs::Lock,
    },
    Form {
        topic: "lock",
        pattern: "lock <environment> \"<why>\" [until <time>]",
        example: "lock production \"audit\" until 2026-11-24T06:00Z",
        sentence: "Locks an environment as a whole. Without a time it stays until somebody unlocks it.",
        needs: Needs::Lock,
    },
    Form {
        topic: "unlock",
        pattern: "unlock <application> in <environment>",
        example: "unlock checkout in production",
        sentence: "Lifts your lock, or the hold that a rollback of yours left; others' with the verb override.",
        needs: Needs::AnyAction,
    },
    Form {
        topic: "unlock",
        pattern: "unlock <environment>",
        example: "unlock production",
        sentence: "Lifts the lock of an environment as a whole.",
        needs: Needs::Lock,
    },
    Form {
        topic: "stop-all",
        pattern: "stop-all \"<why>\"",
        example: "stop-all \"payments are down\"",
        sentence: "Keeps everything everywhere from starting, at once; what runs goes on.",
        needs: Needs::StopAll,
    },
    Form {
        topic: "resume-all",
        pattern: "resume-all",
        example: "resume-all",
        sentence: "Lifts that: what waits starts in the order in which it was asked for.",
        needs: Needs::StopAll,
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

/// What can be said by somebody who may do this, with the verbs of `vocabulary`: all of it, or what concerns one topic. A verb
/// without a row of its own gets one like `restart`'s.
pub fn help(vocabulary: &Vocabulary, allowed: &Allowed, topic: Option<&str>) -> Vec<HelpLine> {
    let command = vocabulary.command();
    let may = |needs| match needs {
        Needs::Nothing => true,
        Needs::Action(action) => allowed.does(action),
        Needs::AnyAction => !allowed.actions.is_empty(),
        Needs::Lock => allowed.locks,
        Needs::StopAll => allowed.stops,
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
        .filter(|verb| allowed.does(verb) && chosen(verb))
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
