//! Repositories: whether each Application's can be read with the login that it names. Touches nothing.

use crate::{
    doctor::page::{Finding, count, sentence, word},
    git::{Described, GitError},
};

const CHECK: &str = "repositories";

/// What was found of one Application's repository.
#[derive(Debug)]
pub struct Looked {
    /// The Application's `namespace/name`.
    pub application: String,
    /// `owner/name`.
    pub repository: String,
    /// Whether the Application names a Secret for it.
    pub login: bool,
    /// Whether that Secret may not be read by whoever asks here, which says nothing of the roles.
    pub hidden: bool,
    /// What its host says.
    pub said: Result<Described, GitError>,
}

/// A line for each; `left` more were not asked.
pub fn repositories(all: &[Looked], left: usize) -> Vec<Finding> {
    let mut lines: Vec<Finding> = all.iter().map(repository).collect();
    if left > 0 {
        let found = format!(
            "{} more, not asked here",
            count(left, "repository", "repositories")
        );
        let todo = "Name a namespace with --namespace to have its own asked";
        lines.push(Finding::skip(CHECK, &found, Some(todo)));
    }
    if lines.is_empty() {
        lines.push(Finding::ok(
            CHECK,
            "No Application names one, so that versions have no commits",
        ));
    }
    lines
}

fn repository(one: &Looked) -> Finding {
    let (place, name) = (word(&one.application), word(&one.repository));
    if one.hidden {
        return Finding::skip(
            CHECK,
            &format!(
                "{place}: {name} isn't asked here, since the Secret that holds its login may not be read by whoever asks"
            ),
            Some(
                "See the lines of rights for whether the roles may read it, and the Application's Ready for what they find",
            ),
        );
    }
    let described = match &one.said {
        Ok(described) => described,
        Err(error) => {
            let found = format!("{place}: {}", sentence(&error.to_string()));
            return match error {
                GitError::Limited { .. } | GitError::HostNotAllowed { .. } => {
                    Finding::warn(CHECK, &found, todo(error))
                }
                _ => Finding::fail(CHECK, &found, todo(error)),
            };
        }
    };
    let branch = word(&described.default_branch);
    if described.archived {
        return Finding::warn(
            CHECK,
            &format!("{place}: {name} is archived, so that nothing new comes to its {branch}"),
            "Correct spec.repository of the Application, if it has moved",
        );
    }
    if !one.login {
        return Finding::warn(
            CHECK,
            &format!(
                "{place}: {name} can be read, without a login, its default branch is {branch}"
            ),
            "Name a Secret in spec.repository.secretName: without one GitHub answers 60 calls an hour, and takes no deployments",
        );
    }
    Finding::ok(
        CHECK,
        &format!("{place}: {name} can be read, its default branch is {branch}"),
    )
}

fn todo(error: &GitError) -> &'static str {
    match error {
        GitError::NoSuchRepository { .. } | GitError::NoSuchVersion { .. } => {
            "Correct spec.repository.github of the Application, or give its Secret a token that may read that repository"
        }
        GitError::Limited { .. } => {
            "Wait; if it happens often, give the repository a GitHub App, which has a limit of its own"
        }
        GitError::Forbidden { .. } => {
            "Put a token into the Secret that may read contents and metadata, or give the GitHub App these permissions"
        }
        GitError::Unavailable { .. } => {
            "See the way there: spec.repository.apiUrl, the proxy, network policies, and whom the machine trusts"
        }
        GitError::HostNotAllowed { .. } => {
            "List the host in git.allowHosts of the chart, with git.enabled, or correct spec.repository; until then its requests have no commit, and wait where approvals are required"
        }
        GitError::Credentials { .. } => {
            "Make the Secret with its keys; where it may not be read, foredeck doctor --print-rbac prints the Role that allows it"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::page::State;

    fn looked(login: bool, said: Result<Described, GitError>) -> Looked {
        Looked {
            application: "shop/checkout".to_owned(),
            repository: "acme/checkout".to_owned(),
            login,
            hidden: false,
            said,
        }
    }

    fn described(archived: bool) -> Described {
        Described {
            default_branch: "main\u{1b}[31m".to_owned(),
            archived,
        }
    }

    #[test]
    fn each_repository_has_a_line_with_what_to_do() {
        let host = || "api.github.com".to_owned();
        let repository = || "acme/checkout".to_owned();
        for (login, said, state, words) in [
            (
                true,
                Ok(described(false)),
                State::Ok,
                "acme/checkout can be read",
            ),
            (true, Ok(described(true)), State::Warn, "is archived"),
            (false, Ok(described(false)), State::Warn, "without a login"),
            (
                true,
                Err(GitError::NoSuchRepository {
                    repository: repository(),
                }),
                State::Fail,
                "no repository acme/checkout",
            ),
            (
                true,
                Err(GitError::Limited {
                    host: host(),
                    until: jiff::Timestamp::UNIX_EPOCH,
                }),
                State::Warn,
                "answers no more until",
            ),
            (
                true,
                Err(GitError::Forbidden {
                    host: host(),
                    repository: repository(),
                    message: "Bad credentials".to_owned(),
                }),
                State::Fail,
                "refuses our login",
            ),
            (
                true,
                Err(GitError::Unavailable {
                    host: host(),
                    message: "no answer in 5 s".to_owned(),
                }),
                State::Fail,
                "doesn't answer as it should",
            ),
            (
                true,
                Err(GitError::HostNotAllowed {
                    host: "evil.example".to_owned(),
                }),
                State::Warn,
                "git.enabled",
            ),
            (
                true,
                Err(GitError::Credentials {
                    message: "Secret \"git\" does not exist".to_owned(),
                }),
                State::Fail,
                "does not exist",
            ),
        ] {
            let lines = repositories(&[looked(login, said)], 0);
            assert_eq!(lines.len(), 1);
            assert_eq!(lines[0].state, state, "{lines:?}");
            assert!(lines[0].found.contains(words), "{words}: {lines:?}");
            assert!(lines[0].found.starts_with("shop/checkout: "), "{lines:?}");
            assert!(!lines[0].found.contains('\u{1b}'), "{lines:?}");
            assert_eq!(lines[0].todo.is_some(), state != State::Ok, "{lines:?}");
        }
    }

    #[test]
    fn a_secret_that_is_hidden_from_the_asker_is_no_failure_of_the_installation() {
        let message = "Secret \"git\" can't be read by foredeck".to_owned();
        let hidden = Looked {
            hidden: true,
            ..looked(true, Err(GitError::Credentials { message }))
        };
        let lines = repositories(&[hidden], 0);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].state, State::Skip, "{lines:?}");
        assert!(lines[0].found.contains("by whoever asks"), "{lines:?}");
        assert!(lines[0].todo.is_some(), "{lines:?}");
    }

    #[test]
    fn what_was_not_asked_is_counted() {
        let lines = repositories(&[looked(true, Ok(described(false)))], 3);
        assert!(
            lines[1].found.starts_with("3 repositories more"),
            "{lines:?}"
        );
        assert_eq!(repositories(&[], 0)[0].state, State::Ok);
    }
}
