//! From words to a meaning. Touches nothing.

use jiff::Timestamp;

use super::{
    ApplicationRef, Cancel, CancelWhat, Draft, Intent, ParseError, Problem, Vocabulary,
    line::{Line, Value, application, environment, line, one_too_many, only_names, qualified, set},
    name::{application_name, hides, request_name, version_name},
    nearest::{self, Shape},
    normal::normalised,
    payload, table,
    words::{AT, BEFORE, OVERRIDE, REASON, Split, Word, split},
};
use crate::api::{
    bounds,
    deploy_request::{DEFAULT_ACTION, TargetOverride},
};

/// The most that is read of a line and what is pasted behind it, in bytes of what Slack sends.
const MOST_INPUT: usize = 64 * 1024;
/// Settings that say where else than the environment's own place.
pub(super) const TARGET_ACCOUNT: &str = "target.account";
pub(super) const TARGET_NAMESPACE: &str = "target.namespace";

/// What a person typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed {
    /// The text as Slack sends it: behind the slash command, or behind the mention, which the caller strips.
    pub text: String,
    /// What stands in the message's preformatted block, where its rich text was sent along: it is exact, which the same
    /// in the text is not.
    pub preformatted: Option<String>,
}

/// Reads what was typed behind the slash command.
///
/// # Errors
/// When a word has no meaning, something is missing that no form can ask for, or something is too much. Nothing that was
/// typed is dropped.
pub fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Intent, ParseError> {
    parse_typed(
        &Typed {
            text: text.to_owned(),
            preformatted: None,
        },
        vocabulary,
    )
}

/// Reads what was typed, with the exact text of a preformatted block where there is one.
///
/// # Errors
/// As [`parse`].
pub fn parse_typed(typed: &Typed, vocabulary: &Vocabulary) -> Result<Intent, ParseError> {
    let mut reader = Reader {
        vocabulary,
        draft: Draft::default(),
        shape: Shape::Act,
    };
    reader.read(typed).map_err(|problem| {
        let nearest = nearest::form(reader.shape, &reader.draft, &problem, vocabulary);
        let input = normalised(&bounds::cut(&typed.text, 4 * bounds::MESSAGE));
        ParseError::new(&input, problem, nearest, reader.draft)
    })
}

pub(super) struct Reader<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    /// What was understood so far, also for the answer when something is not.
    pub(super) draft: Draft,
    /// Which kind of form it is to be.
    pub(super) shape: Shape,
}

impl Reader<'_> {
    fn read(&mut self, typed: &Typed) -> Result<Intent, Problem> {
        if typed.text.len() > MOST_INPUT {
            return Err(Problem::TooLong {
                what: "what is typed".to_owned(),
                most: MOST_INPUT,
            });
        }
        let text = normalised(&typed.text);
        if let Some(hidden) = text.chars().find(|char| hides(*char)) {
            return Err(Problem::Hidden(u32::from(hidden)));
        }
        let mut split = split(&text)?;
        if let Some(exact) = &typed.preformatted {
            if split.payload.is_some() && !split.fenced {
                return Err(Problem::Repeated("what is pasted behind".to_owned()));
            }
            split.payload = Some(exact.clone());
        }
        self.strip_command(&mut split);
        let first = match split.words.first() {
            Some(Word::Bare(word)) => word.to_ascii_lowercase(),
            _ => String::new(),
        };
        if table::is_help(&first) {
            self.shape = Shape::Topic("help");
            return self.help(&line(&split.words[1..], split.payload)?);
        }
        if let Some(topic) = table::built_in(&first) {
            self.shape = Shape::Topic(topic);
            if let Some(intent) = self.guarding(topic, &split) {
                return intent;
            }
            let line = line(&split.words[1..], split.payload)?;
            return match topic {
                "status" => self.status(&line),
                "what" => self.what(&line),
                "history" => self.history(&line),
                _ => self.cancel(&line),
            };
        }
        let words = if self.vocabulary.is_verb(&first) {
            self.draft.action = Some(first);
            &split.words[1..]
        } else {
            &split.words[..]
        };
        let line = line(words, split.payload)?;
        self.act(line)
    }

    /// `/deploy checkout …` behind a mention, or pasted as a whole.
    fn strip_command(&self, split: &mut Split) {
        if let Some(Word::Bare(word)) = split.words.first()
            && word.eq_ignore_ascii_case(self.vocabulary.command())
        {
            split.words.remove(0);
        }
    }

    // === Acts ===

    fn act(&mut self, line: Line) -> Result<Intent, Problem> {
        let verb = self.draft.action.clone();
        let mut places = line.places.into_iter();
        self.draft.environment = line.environment;
        if let Some(first) = places.next() {
            if verb.is_none() {
                self.verb_or_application(&first, places.as_slice().first())?;
            }
            let (application, version) = application(&first)?;
            self.draft.application = Some(application);
            self.draft.version = version;
        }
        if let Some(second) = places.next() {
            let last = places.as_slice().is_empty();
            if self.draft.environment.is_none() && self.is_environment(&second, last) {
                self.draft.environment = Some(environment(&second)?);
            } else if self.draft.version.is_some() {
                return Err(one_too_many(&second, "the version"));
            } else {
                self.draft.version = Some(version_name(&second.text)?);
            }
        }
        if let Some(third) = places.next() {
            if self.draft.environment.is_some() {
                return Err(one_too_many(&third, "the environment"));
            }
            self.draft.environment = Some(environment(&third)?);
        }
        if let Some(fourth) = places.next() {
            return Err(Problem::UnknownWord(fourth.text));
        }
        self.settings(line.settings)?;
        if let Some(payload) = line.payload {
            for (key, value) in payload::read(&payload)? {
                self.parameter(key, value)?;
            }
        }
        let empty = self.draft
            == Draft {
                action: verb,
                ..Draft::default()
            };
        let draft = self.draft.clone();
        let opens_a_form = empty || draft.environment.is_some() || !draft.parameters.is_empty();
        if let Some(act) = draft.clone().into_act() {
            return Ok(Intent::Act(act));
        }
        if opens_a_form {
            return Ok(Intent::Form(draft));
        }
        let verb = draft.action.unwrap_or_else(|| DEFAULT_ACTION.to_owned());
        Err(Problem::MissingApplication(verb))
    }

    /// The first of several words is no verb. Before it is taken for an application, it is seen whether a verb was meant.
    fn verb_or_application(
        &mut self,
        first: &Value,
        second: Option<&Value>,
    ) -> Result<(), Problem> {
        let known = |value: &Value| self.vocabulary.is_application(&value.name());
        match second {
            Some(second) if !first.quoted && !known(first) && known(second) => {
                let (application, version) = application(second)?;
                self.draft.application = Some(application);
                self.draft.version = version;
                Err(Problem::UnknownVerb(first.text.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the word behind the application is the environment and not the version: behind a version it can't be
    /// another; else it is if it is the last one and names an environment that the person may see.
    fn is_environment(&self, second: &Value, last: bool) -> bool {
        let known = self
            .vocabulary
            .is_environment(&second.text.to_ascii_lowercase());
        last && (self.draft.version.is_some() || (known && !second.quoted))
    }

    pub(super) fn settings(&mut self, settings: Vec<(String, String)>) -> Result<(), Problem> {
        for (key, value) in settings {
            match key.as_str() {
                REASON => {
                    let reason = reason(value)?;
                    set(&mut self.draft.reason, reason, "the reason")?;
                }
                OVERRIDE => {
                    let why = short(value, "override", bounds::VALUE)?;
                    set(&mut self.draft.terms.overriding, why, "the override")?;
                }
                AT => {
                    let time = time(AT, &value)?;
                    set(
                        &mut self.draft.terms.not_before,
                        time,
                        "the time behind \"at:\"",
                    )?;
                }
                BEFORE => {
                    let time = time(BEFORE, &value)?;
                    let what = "the time behind \"before:\"";
                    set(&mut self.draft.terms.start_before, time, what)?;
                }
                TARGET_ACCOUNT => {
                    let account = short(value, TARGET_ACCOUNT, bounds::NAME)?;
                    set(&mut self.target().account, account, TARGET_ACCOUNT)?;
                }
                TARGET_NAMESPACE => {
                    let namespace = short(value, TARGET_NAMESPACE, bounds::LABEL)?;
                    set(&mut self.target().namespace, namespace, TARGET_NAMESPACE)?;
                }
                _ => self.parameter(key, value)?,
            }
        }
        let terms = &self.draft.terms;
        match terms.not_before.zip(terms.start_before) {
            Some((at, before)) if before <= at => Err(Problem::NoTime),
            _ => Ok(()),
        }
    }

    fn target(&mut self) -> &mut TargetOverride {
        self.draft.target.get_or_insert(TargetOverride {
            account: None,
            namespace: None,
        })
    }

    fn parameter(&mut self, key: String, value: String) -> Result<(), Problem> {
        if value.chars().count() > bounds::VALUE {
            return Err(Problem::TooLong {
                what: format!("parameter \"{key}\""),
                most: bounds::VALUE,
            });
        }
        if self.draft.parameters.len() == bounds::PARAMETERS {
            return Err(Problem::TooManyParameters);
        }
        if self.draft.parameters.contains_key(&key) {
            return Err(Problem::Repeated(format!("parameter \"{key}\"")));
        }
        self.draft.parameters.insert(key, value);
        Ok(())
    }

    // === Questions ===

    fn status(&mut self, line: &Line) -> Result<Intent, Problem> {
        only_names(line, "status", false)?;
        let (application, environment) = self.names(line)?;
        Ok(Intent::Status {
            application,
            environment,
        })
    }

    fn what(&mut self, line: &Line) -> Result<Intent, Problem> {
        only_names(line, "what", false)?;
        let mut places = line.places.iter();
        let mut named = line.environment.clone();
        if named.is_none()
            && let Some(place) = places.next()
        {
            named = Some(environment(place)?);
        }
        self.draft.environment.clone_from(&named);
        match places.next() {
            Some(extra) => Err(Problem::UnknownWord(extra.text.clone())),
            None => Ok(Intent::What { environment: named }),
        }
    }

    fn history(&mut self, line: &Line) -> Result<Intent, Problem> {
        only_names(line, "history", false)?;
        let (application, environment) = self.names(line)?;
        match application {
            Some(application) => Ok(Intent::History {
                application,
                environment,
            }),
            None => Err(Problem::MissingApplication("history".to_owned())),
        }
    }

    fn cancel(&mut self, line: &Line) -> Result<Intent, Problem> {
        only_names(line, "cancel", true)?;
        let mut why = None;
        for (_, value) in &line.settings {
            set(&mut why, reason(value.clone())?, "the reason")?;
        }
        self.draft.reason.clone_from(&why);
        let what = match (line.places.as_slice(), &line.environment) {
            ([], None) => return Err(Problem::MissingCancelled),
            ([one], None) if !self.vocabulary.is_application(&one.name()) => {
                CancelWhat::Named(qualified(one, request_name)?)
            }
            _ => {
                let (application, environment) = self.names(line)?;
                CancelWhat::Target {
                    application: application
                        .ok_or_else(|| Problem::MissingApplication("cancel".to_owned()))?,
                    environment,
                }
            }
        };
        Ok(Intent::Cancel(Cancel { what, reason: why }))
    }

    /// `[application] [environment]`. A single word is the application, unless it names only an environment.
    pub(super) fn names(
        &mut self,
        line: &Line,
    ) -> Result<(Option<ApplicationRef>, Option<String>), Problem> {
        let mut places = line.places.iter();
        let mut named = line.environment.clone();
        let mut found = None;
        if let Some(first) = places.next() {
            let name = first.name();
            let only_an_environment = named.is_none()
                && !first.quoted
                && line.places.len() == 1
                && self.vocabulary.is_environment(&name)
                && !self.vocabulary.is_application(&name);
            if only_an_environment
                && !matches!(self.shape, Shape::Topic("history" | "cancel" | "why"))
            {
                named = Some(environment(first)?);
            } else {
                found = Some(qualified(first, application_name)?);
            }
        }
        self.draft.application.clone_from(&found);
        if let Some(second) = places.next() {
            if named.is_some() {
                return Err(one_too_many(second, "the environment"));
            }
            named = Some(environment(second)?);
        }
        self.draft.environment.clone_from(&named);
        match places.next() {
            Some(extra) => Err(Problem::UnknownWord(extra.text.clone())),
            None => Ok((found, named)),
        }
    }

    fn help(&self, line: &Line) -> Result<Intent, Problem> {
        only_names(line, "help", false)?;
        let mut places = line.places.iter();
        let topic = places.next().map(|topic| topic.text.to_ascii_lowercase());
        if let Some(extra) = places.next() {
            return Err(Problem::UnknownWord(extra.text.clone()));
        }
        if let Some(environment) = &line.environment {
            return Err(Problem::UnknownWord(environment.clone()));
        }
        match topic {
            Some(topic) if !table::is_topic(&topic) && !self.vocabulary.is_verb(&topic) => {
                Err(Problem::UnknownTopic(topic))
            }
            topic => Ok(Intent::Help { topic }),
        }
    }
}

pub(super) fn reason(text: String) -> Result<String, Problem> {
    short(text, REASON, bounds::VALUE)
}

fn short(text: String, what: &str, most: usize) -> Result<String, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::NotTaken {
            verb: what.to_owned(),
            what: "empty value",
        });
    }
    if text.chars().count() > most {
        return Err(Problem::TooLong {
            what: what.to_owned(),
            most,
        });
    }
    Ok(text)
}

/// A time to the second, with its zone: what is typed at one place is read at others.
fn time(what: &'static str, text: &str) -> Result<Timestamp, Problem> {
    let read = text.trim().parse::<Timestamp>().ok();
    let read = read.and_then(|time| Timestamp::from_second(time.as_second()).ok());
    read.ok_or_else(|| Problem::Moment {
        what,
        given: text.to_owned(),
    })
}
