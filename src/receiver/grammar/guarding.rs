//! The words that keep others from starting, lift that again, and ask why: from words to a meaning. Touches nothing.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    CancelWhat, Intent, Lock, LockWhat, Problem, Until,
    line::{Line, environment, line, only_names, qualified, set},
    name::{application_name, environment_name, request_name, team_name},
    parse::{Reader, TARGET_ACCOUNT, TARGET_NAMESPACE, reason},
    table::is_connective,
    words::{REASON, Split, Word},
};

/// The longest time that can be said as such: what is to last longer needs none.
const LONGEST: Duration = Duration::from_hours(24 * 3660);
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Reader<'_> {
    /// What the words behind one of these verbs mean; `None` for any other verb.
    pub(super) fn guarding(
        &mut self,
        topic: &'static str,
        split: &Split,
    ) -> Option<Result<Intent, Problem>> {
        let payload = || split.payload.clone();
        let words = &split.words[1..];
        Some(match topic {
            "lock" => self.lock(words, payload()),
            "unlock" => self.unlock(words, payload()),
            "stop-all" => stop_all(words, split.payload.is_some()),
            "resume-all" => nothing_more(words, split.payload.is_some()),
            "why" => line(words, payload()).and_then(|line| self.why(&line)),
            _ => return None,
        })
    }

    fn lock(&mut self, words: &[Word], payload: Option<String>) -> Result<Intent, Problem> {
        let mut sorted = sort(words)?;
        let team = team(&mut sorted.rest)?;
        let line = line(&sorted.rest, payload)?;
        self.draft.reason.clone_from(&sorted.reason);
        let what = self.guarded("lock", line, team);
        match (what, sorted.reason) {
            (Ok(what), Some(reason)) => Ok(Intent::Lock(Lock {
                what,
                reason,
                until: sorted.until,
            })),
            // A reason without quotes reads like words too many.
            (Ok(_) | Err(Problem::UnknownWord(_)), None) => Err(Problem::MissingReason("lock")),
            (Err(problem), _) => Err(problem),
        }
    }

    fn unlock(&mut self, words: &[Word], payload: Option<String>) -> Result<Intent, Problem> {
        let mut words = words.to_vec();
        let team = team(&mut words)?;
        let line = line(&words, payload)?;
        self.guarded("unlock", line, team).map(Intent::Unlock)
    }

    /// What a line names: an application in an environment, or an environment alone. `team` is the one that stood before
    /// the environment's name.
    fn guarded(
        &mut self,
        verb: &'static str,
        mut line: Line,
        team: Option<String>,
    ) -> Result<LockWhat, Problem> {
        let (elsewhere, others): (Vec<_>, Vec<_>) = std::mem::take(&mut line.settings)
            .into_iter()
            .partition(|(key, _)| [TARGET_ACCOUNT, TARGET_NAMESPACE].contains(&key.as_str()));
        line.settings = others;
        only_names(&line, verb, false)?;
        self.settings(elsewhere)?;
        let alone = match (line.places.as_slice(), &line.environment) {
            ([], None) => return Err(Problem::MissingGuarded(verb)),
            ([], Some(name)) => Some((team.clone(), name.clone())),
            ([one], None) if !self.vocabulary.is_application(&one.name()) => {
                let named = qualified(one, environment_name)?;
                Some((named.team, named.name))
            }
            _ => None,
        };
        if let Some((team, name)) = alone {
            self.draft.environment = Some(name.clone());
            return match self.draft.target {
                None => Ok(LockWhat::Environment { team, name }),
                Some(_) => Err(Problem::NotTaken {
                    verb: format!("{verb} {name}"),
                    what: "other place: an environment as a whole has all of its places",
                }),
            };
        }
        let mut places = line.places.iter();
        let first = places.next();
        let mut application = match first {
            Some(first) => qualified(first, application_name)?,
            None => return Err(Problem::MissingGuarded(verb)),
        };
        self.draft.application = Some(application.clone());
        let mut named = line.environment.clone();
        self.draft.environment.clone_from(&named);
        if let Some(second) = places.next() {
            if named.is_some() {
                return Err(Problem::UnknownWord(second.text.clone()));
            }
            named = Some(environment(second)?);
        }
        self.draft.environment.clone_from(&named);
        if let Some(third) = places.next() {
            return Err(Problem::UnknownWord(third.text.clone()));
        }
        if let Some(team) = team {
            if application.team.as_ref().is_some_and(|own| *own != team) {
                return Err(Problem::Repeated("the team".to_owned()));
            }
            application.team = Some(team);
        }
        let Some(environment) = named else {
            return Err(Problem::MissingWhere {
                verb,
                application: application.to_string(),
            });
        };
        Ok(LockWhat::Target {
            application,
            environment,
            target: self.draft.target.clone(),
        })
    }

    fn why(&mut self, line: &Line) -> Result<Intent, Problem> {
        only_names(line, "why", false)?;
        Ok(Intent::Why(
            match (line.places.as_slice(), &line.environment) {
                ([], None) => return Err(Problem::MissingAsked),
                ([one], None) if !self.vocabulary.is_application(&one.name()) => {
                    CancelWhat::Named(qualified(one, request_name)?)
                }
                _ => {
                    let (application, environment) = self.names(line)?;
                    CancelWhat::Target {
                        application: application
                            .ok_or_else(|| Problem::MissingApplication("why".to_owned()))?,
                        environment,
                    }
                }
            },
        ))
    }
}

/// The words behind `lock`, sorted.
#[derive(Default)]
struct Sorted {
    reason: Option<String>,
    until: Option<Until>,
    /// Names and settings.
    rest: Vec<Word>,
}

/// Takes reason and time out of the words. The first word is a name, and so is what stands behind a connective. Where no
/// `reason` is set, the reason is what stands in quotes last.
fn sort(words: &[Word]) -> Result<Sorted, Problem> {
    let mut sorted = Sorted::default();
    let mut words = words.iter();
    // Whether a name has to be next.
    let mut is_name = true;
    while let Some(word) = words.next() {
        match word {
            Word::Setting(key, value) if key == REASON => {
                set(&mut sorted.reason, reason(value.clone())?, "the reason")?;
                continue;
            }
            Word::Bare(text) if !is_name && is_until(text) => {
                let Some(Word::Bare(time) | Word::Quoted(time)) = words.next() else {
                    return Err(Problem::HowLong(text.clone()));
                };
                last(&mut sorted.until, until(time)?)?;
                continue;
            }
            Word::Bare(text) if !is_name && duration(text).is_some() => {
                last(&mut sorted.until, until(text)?)?;
                continue;
            }
            _ => sorted.rest.push(word.clone()),
        }
        is_name = matches!(word, Word::Bare(text) if is_connective(text));
    }
    if sorted.reason.is_none()
        && let Some(at) = last_quoted(&sorted.rest)
        && let Word::Quoted(text) = sorted.rest.remove(at)
    {
        sorted.reason = Some(reason(text)?);
    }
    Ok(sorted)
}

/// Where the last word in quotes stands that needs not be a name.
fn last_quoted(words: &[Word]) -> Option<usize> {
    words
        .windows(2)
        .rposition(|pair| {
            let [before, word] = pair else { return false };
            let behind_connective = matches!(before, Word::Bare(text) if is_connective(text));
            matches!(word, Word::Quoted(_)) && !behind_connective
        })
        .map(|at| at + 1)
}

fn is_until(word: &str) -> bool {
    ["until", "for"]
        .iter()
        .any(|until| word.eq_ignore_ascii_case(until))
}

fn last(field: &mut Option<Until>, until: Until) -> Result<(), Problem> {
    match field.replace(until) {
        None => Ok(()),
        Some(_) => Err(Problem::Repeated("until when".to_owned())),
    }
}

fn until(text: &str) -> Result<Until, Problem> {
    let moment = || text.parse::<Timestamp>().ok().map(Until::At);
    duration(text)
        .map(Until::For)
        .or_else(moment)
        .ok_or_else(|| Problem::HowLong(text.to_owned()))
}

/// `2h`, `1h30m`, `3d`, `1w`; `None` where it is nothing of the kind, nothing at all, or too long.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0_u64;
    let mut number: Option<u64> = None;
    for char in text.chars() {
        if let Some(digit) = char.to_digit(10) {
            let tens = number.unwrap_or_default().checked_mul(10)?;
            number = Some(tens.checked_add(u64::from(digit))?);
            continue;
        }
        let unit = match char.to_ascii_lowercase() {
            's' => 1,
            'm' => MINUTE,
            'h' => HOUR,
            'd' => DAY,
            'w' => 7 * DAY,
            _ => return None,
        };
        seconds = seconds.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    let duration = Duration::from_secs(seconds);
    (number.is_none() && seconds > 0 && duration <= LONGEST).then_some(duration)
}

/// Takes the team off an environment that is named `team/environment` behind a connective.
fn team(words: &mut [Word]) -> Result<Option<String>, Problem> {
    let mut found = None;
    for index in 1..words.len() {
        let behind = matches!(&words[index - 1], Word::Bare(text) if is_connective(text));
        let (Word::Bare(text) | Word::Quoted(text)) = &words[index] else {
            continue;
        };
        if let Some((team, name)) = text.split_once('/').filter(|_| behind) {
            // In quotes it is a name, also where it reads like a connective.
            let name = Word::Quoted(name.to_owned());
            set(&mut found, team_name(team)?, "the team")?;
            words[index] = name;
        }
    }
    Ok(found)
}

/// A reason and nothing else: whoever names something thinks of stopping only that.
fn stop_all(words: &[Word], has_payload: bool) -> Result<Intent, Problem> {
    let mut why = None;
    for word in words {
        match word {
            Word::Quoted(text) => set(&mut why, reason(text.clone())?, "the reason")?,
            Word::Setting(key, text) if key == REASON => {
                set(&mut why, reason(text.clone())?, "the reason")?;
            }
            Word::Bare(_) | Word::Versioned(..) if why.is_none() => {
                return Err(Problem::MissingReason("stop-all"));
            }
            Word::Bare(text) | Word::Versioned(text, _) => {
                return Err(Problem::UnknownWord(text.clone()));
            }
            Word::Setting(..) => return Err(not_taken("stop-all")),
        }
    }
    if has_payload {
        return Err(not_taken("stop-all"));
    }
    why.map(|reason| Intent::StopAll { reason })
        .ok_or(Problem::MissingReason("stop-all"))
}

fn nothing_more(words: &[Word], has_payload: bool) -> Result<Intent, Problem> {
    match words.first() {
        Some(Word::Setting(..)) => Err(not_taken("resume-all")),
        Some(Word::Bare(text) | Word::Quoted(text) | Word::Versioned(text, _)) => {
            Err(Problem::UnknownWord(text.clone()))
        }
        None if has_payload => Err(not_taken("resume-all")),
        None => Ok(Intent::ResumeAll),
    }
}

fn not_taken(verb: &str) -> Problem {
    Problem::NotTaken {
        verb: verb.to_owned(),
        what: "parameters",
    }
}
