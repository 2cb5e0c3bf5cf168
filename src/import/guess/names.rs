//! Names that Kubernetes and the kinds take, made of whatever things are called in Spinnaker. Touches nothing.

use std::collections::BTreeSet;

/// The longest action.
const VERB: usize = 31;
/// The longest name of an object: a DNS label.
const LABEL: usize = 63;
/// What no action may be called: Kubernetes' verbs, and foredeck's own.
const RESERVED: [&str; 17] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "impersonate",
    "bind",
    "escalate",
    "use",
    "approve",
    "cancel",
    "lock",
    "override",
    "judge",
];

/// An action's name for a pipeline of this name, which none of `taken` has.
pub fn verb(name: &str, taken: &BTreeSet<String>) -> String {
    let kebab = kebab(name);
    let letters = kebab.trim_start_matches(|char: char| !char.is_ascii_lowercase());
    let base = if letters.len() < 2 {
        format!("run-{kebab}")
    } else if RESERVED.contains(&letters) {
        format!("run-{letters}")
    } else {
        letters.to_owned()
    };
    unique(base.trim_end_matches('-'), VERB, taken)
}

/// An object's name for this, which none of `taken` has.
pub fn label(name: &str, taken: &BTreeSet<String>) -> String {
    let kebab = kebab(name);
    let base = if kebab.is_empty() { "unnamed" } else { &kebab };
    unique(base, LABEL, taken)
}

/// Lower-case letters, digits, and a dash between what is neither, or between words that a capital begins.
pub fn kebab(text: &str) -> String {
    let mut kebab = String::new();
    let mut before = ' ';
    for char in text.chars() {
        if char.is_ascii_alphanumeric() {
            let begins = char.is_ascii_uppercase()
                && (before.is_ascii_lowercase() || before.is_ascii_digit());
            if begins && !kebab.ends_with('-') {
                kebab.push('-');
            }
            kebab.push(char.to_ascii_lowercase());
        } else if !kebab.is_empty() && !kebab.ends_with('-') {
            kebab.push('-');
        }
        before = char;
    }
    kebab.trim_end_matches('-').to_owned()
}

/// Cut to its bound, and numbered where it is taken.
fn unique(base: &str, most: usize, taken: &BTreeSet<String>) -> String {
    let cut = |text: &str, most: usize| {
        text.chars()
            .take(most)
            .collect::<String>()
            .trim_end_matches('-')
            .to_owned()
    };
    let first = cut(base, most);
    if !taken.contains(&first) {
        return first;
    }
    let mut number = 2_usize;
    loop {
        let end = format!("-{number}");
        let next = format!("{}{end}", cut(base, most - end.len()));
        if !taken.contains(&next) {
            return next;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn verbs_are_what_people_would_say() {
        for (name, expected) in [
            ("Deploy", "deploy"),
            ("Deploy to Production", "deploy-to-production"),
            ("deployToProd", "deploy-to-prod"),
            ("  [PROD] Roll-back!  ", "prod-roll-back"),
            ("1. Deploy", "deploy"),
            ("Approve", "run-approve"),
            ("Delete", "run-delete"),
            ("部署", "run"),
            ("7", "run-7"),
            ("x", "run-x"),
        ] {
            assert_eq!(verb(name, &BTreeSet::new()), expected, "{name}");
        }
        let taken = BTreeSet::from(["deploy".to_owned(), "deploy-2".to_owned()]);
        assert_eq!(verb("Deploy", &taken), "deploy-3");
    }

    proptest! {
        #[test]
        fn whatever_a_pipeline_is_called_its_verb_is_one(name in ".{0,80}", twice in ".{0,80}") {
            let is_verb = regex_lite::Regex::new("^[a-z][a-z0-9-]{1,30}$").unwrap();
            let is_label = regex_lite::Regex::new("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$").unwrap();
            let mut taken = BTreeSet::new();
            for name in [&name, &twice, &name] {
                let verb = verb(name, &taken);
                prop_assert!(is_verb.is_match(&verb), "{verb}");
                prop_assert!(!RESERVED.contains(&verb.as_str()));
                prop_assert!(taken.insert(verb));
                let label = label(name, &BTreeSet::new());
                prop_assert!(is_label.is_match(&label), "{label}");
            }
        }
    }
}
