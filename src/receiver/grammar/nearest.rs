//! The nearest form that would do: what was understood, with what is missing in angle brackets. Touches nothing.

use super::{
    Draft, Problem, Vocabulary,
    render::{connective, value},
    table::FORMS,
};

/// How many letters may differ for a name to be taken for another.
const MOST_DIFFERENCE: usize = 2;

/// Which kind of form a line is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Something is to be done.
    Act,
    /// One of our own words.
    Topic(&'static str),
}

/// The command and the form.
pub(super) fn form(
    shape: Shape,
    draft: &Draft,
    problem: &Problem,
    vocabulary: &Vocabulary,
) -> String {
    let form = match shape {
        Shape::Topic(topic) => {
            // Who named an environment alone means it as a whole.
            let whole = draft.environment.is_some() && draft.application.is_none();
            let whole = whole && matches!(topic, "lock" | "unlock");
            FORMS
                .iter()
                .filter(|form| form.topic == topic)
                .find(|form| !(whole && form.pattern.contains("<application>")))
                .map_or_else(String::new, |form| of_topic(form.pattern, draft))
        }
        Shape::Act => of_act(draft, problem, vocabulary),
    };
    format!("{} {form}", vocabulary.command())
        .trim_end()
        .to_owned()
}

/// The pattern, with the names that were understood.
fn of_topic(pattern: &str, draft: &Draft) -> String {
    let mut form = pattern.to_owned();
    if let Some(application) = &draft.application {
        let name = application.to_string();
        form = form
            .replace("[<application>]", &name)
            .replace("<application>", &name);
    }
    if let Some(environment) = &draft.environment {
        form = form
            .replace("[<environment>]", environment)
            .replace("<environment>", environment);
    }
    form
}

fn of_act(draft: &Draft, problem: &Problem, vocabulary: &Vocabulary) -> String {
    let mut draft = draft.clone();
    if let Problem::UnknownVerb(word) = problem {
        draft.action = closest(word, vocabulary.verbs()).map(str::to_owned);
    }
    if let Some(application) = &mut draft.application
        && let Some(known) = closest(&application.name, vocabulary.applications())
    {
        application.name = known.to_owned();
    }
    if let Some(environment) = &mut draft.environment
        && let Some(known) = closest(environment, vocabulary.environments())
    {
        known.clone_into(environment);
    }
    let action = draft.action.take();
    let environment = draft.environment.take();
    let to = connective(action.as_deref());
    let takes_a_version = to == "to" && draft.version.is_none();
    let mut words: Vec<String> = action.into_iter().collect();
    match &draft.application {
        Some(application) => words.push(application.to_string()),
        None => words.push("<application>".to_owned()),
    }
    words.extend(draft.version.as_deref().map(value));
    if takes_a_version {
        words.push("<version>".to_owned());
    }
    words.push(format!(
        "{to} {}",
        environment.as_deref().unwrap_or("<environment>")
    ));
    words.join(" ")
}

/// The name that differs least from `word`, if few letters do; itself if it is one. `None` if none is near.
pub(crate) fn closest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = MOST_DIFFERENCE.min(word.chars().count() / 3);
    names
        .map(|name| (difference(&word, name), name))
        .filter(|(difference, _)| *difference <= most)
        .min_by_key(|(difference, _)| *difference)
        .map(|(_, name)| name)
}

/// How many letters have to be added, removed, changed or swapped with their neighbour.
fn difference(one: &str, other: &str) -> usize {
    // Nothing that is typed has names this long; the table grows with the product of both.
    let one: Vec<char> = one.chars().take(64).collect();
    let other: Vec<char> = other.chars().take(64).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, left) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, right) in other.iter().enumerate() {
            let changed = last[column] + usize::from(left != right);
            let mut best = changed.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped =
                row > 0 && column > 0 && *left == other[column - 1] && one[row - 1] == *right;
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_near_and_another_word_is_not() {
        let names = ["checkout", "cart", "staging"];
        let near = |word| closest(word, names.into_iter());
        assert_eq!(near("chekcout"), Some("checkout"));
        assert_eq!(near("checkuot"), Some("checkout"));
        assert_eq!(near("carts"), Some("cart"));
        assert_eq!(near("STAGING"), Some("staging"));
        assert_eq!(near("sta"), None);
        assert_eq!(near("production"), None);
        assert_eq!(near(""), None);
    }
}
