//! The ids of all that a person can press, choose or submit in our messages and modals, so that who draws a button and
//! who answers it mean the same one. Touches nothing.

use super::elements::{TooLong, Value};

/// Starts what a plan shows. Value: the sealed plan.
pub const PLAN_DEPLOY: &str = "plan-deploy";
/// Starts it although an equal request is there. Value: the sealed plan.
pub const PLAN_AGAIN: &str = "plan-again";
/// Opens the form with what a plan holds. Value: the sealed plan.
pub const PLAN_EDIT: &str = "plan-edit";
/// Has a plan pass what holds it, and is the modal that asks why. Value, and what the modal carries: the sealed plan.
pub const PLAN_OVERRIDE: &str = "plan-override";
/// Takes a plan away. Value: the sealed plan.
pub const PLAN_CANCEL: &str = "plan-cancel";
/// Chooses one of several teams. Value: the sealed plan of that team.
pub const TEAM_PICK: &str = "team-pick";
/// Opens the form. Value: a sealed draft, or nothing.
pub const FORM_OPEN: &str = "form-open";

/// The modal in which a plan is made or edited.
pub const FORM: &str = "form";
/// The modal that shows a plan to be confirmed.
pub const PLAN: &str = "plan";
/// In the form: the application.
pub const FORM_APPLICATION: &str = "form-application";
/// In the form: the action.
pub const FORM_ACTION: &str = "form-action";
/// In the form: the environment.
pub const FORM_ENVIRONMENT: &str = "form-environment";
/// In the form: the version, where the application's branches can be offered.
pub const FORM_VERSION: &str = "form-version";
/// In the form: anything that is written or chosen and changes nothing else.
pub const FORM_VALUE: &str = "form-value";

/// Ends a request. Value: [`Target`].
pub const REQUEST_CANCEL: &str = "request-cancel";
/// Lets a held request pass order, freezes and locks: asks why first. Value: [`Target`].
pub const REQUEST_OVERRIDE: &str = "request-override";
/// Says yes to a request's start. Value: [`Question`] with the digest of what is to run.
pub const APPROVE: &str = "request-approve";
/// Says no to it: asks why first. Value: the same.
pub const REJECT: &str = "request-reject";
/// Lets a manual judgment go on. Value: [`Question`] with the judgment's mark, and that of an input where it offers any.
pub const JUDGE: &str = "judge-go";
/// Asks which of many inputs, then lets it go on. Value: without an input.
pub const JUDGE_CHOOSE: &str = "judge-choose";
/// Stops it: asks why first. Value: without an input.
pub const JUDGE_STOP: &str = "judge-stop";
/// The modal that asks why somebody says no to a start.
pub const REJECTION: &str = "rejection";
/// The modal that asks why a judgment is to stop.
pub const STOPPING: &str = "stopping";
/// The modal that asks why a held request is to pass order, freezes and locks. Carries: the button's [`Target`].
pub const OVERRIDING: &str = "overriding";
/// The modal that asks which input a judgment is to go on with.
pub const CHOOSING: &str = "choosing";
/// In those modals: the field and its element.
pub const ANSWER: &str = "answer";

/// Opens the modal with all commits between what runs and what is asked. Value: [`Span`].
pub const COMMITS: &str = "commits";
/// The modal that lists them.
pub const COMMITS_LIST: &str = "commits-list";
/// In that modal: begins the id of a button that turns a page. Value: [`Span`] with its page.
pub const COMMITS_PAGE: &str = "commits-page";

/// A link; Slack reports its press too.
pub const LINK: &str = "link";

/// The request that a button of a live message is about. Nothing proves that it comes back as it was sent: whoever acts
/// on it asks anew what the person may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The request's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: another request of that name isn't meant.
    pub uid: String,
}

impl Target {
    /// As a button carries it.
    ///
    /// # Errors
    /// When names are longer than Kubernetes allows.
    pub fn value(&self) -> Result<Value, TooLong> {
        Value::new(format!("{}/{}/{}", self.namespace, self.name, self.uid))
    }

    /// What a button carried, if it can be one.
    pub fn read(value: &str) -> Option<Self> {
        let mut parts = value.split('/');
        let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
        let fine = parts.next().is_none() && [namespace, name, uid].into_iter().all(name_like);
        fine.then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        })
    }
}

/// A question to people about a request, as it stood when it was shown. As little proven as a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which request.
    pub target: Target,
    /// Which question: hexadecimal digits, at most 64.
    pub mark: String,
    /// Which of several answers: the same.
    pub answer: Option<String>,
}

impl Question {
    /// As a button carries it.
    ///
    /// # Errors
    /// When names are longer than Kubernetes allows.
    pub fn value(&self) -> Result<Value, TooLong> {
        let target = self.target.value()?;
        let answer = self.answer.iter().map(|answer| format!("/{answer}"));
        let answer: String = answer.collect();
        Value::new(format!("{}/{}{answer}", target.as_str(), self.mark))
    }

    /// What a button or a modal carried, if it can be one.
    pub fn read(value: &str) -> Option<Self> {
        let mark_like = |text: &str| {
            (1..=64).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let (at, _) = value.match_indices('/').nth(2)?;
        let (target, rest) = (value.get(..at)?, value.get(at + 1..)?);
        let (mark, answer) = match rest.split_once('/') {
            Some((mark, answer)) => (mark, Some(answer)),
            None => (rest, None),
        };
        let fine = mark_like(mark) && answer.is_none_or(mark_like);
        let target = Target::read(target)?;
        fine.then(|| Self {
            target,
            mark: mark.to_owned(),
            answer: answer.map(str::to_owned),
        })
    }
}

/// The commits between two of an application's repository. As little proven as a [`Target`]: whoever shows them asks anew
/// whether the person may see the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The application's namespace.
    pub namespace: String,
    /// Its name.
    pub application: String,
    /// The commit that runs, or ran: a whole SHA-1 in lower case.
    pub base: String,
    /// The commit that is asked: the same.
    pub head: String,
    /// Which page of the list, from 0 on.
    pub page: u8,
}

impl Span {
    /// As a button carries it.
    ///
    /// # Errors
    /// When names are longer than Kubernetes allows.
    pub fn value(&self) -> Result<Value, TooLong> {
        Value::new(format!(
            "{}/{}/{}/{}/{}",
            self.namespace, self.application, self.base, self.head, self.page
        ))
    }

    /// What a button carried, if it can be one.
    pub fn read(value: &str) -> Option<Self> {
        let mut parts = value.split('/');
        let (namespace, application) = (parts.next()?, parts.next()?);
        let (base, head, page) = (parts.next()?, parts.next()?, parts.next()?);
        let is_commit = |text: &str| {
            text.len() == 40
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let fine = parts.next().is_none()
            && name_like(namespace)
            && name_like(application)
            && is_commit(base)
            && is_commit(head);
        let page = page.parse().ok()?;
        fine.then(|| Self {
            namespace: namespace.to_owned(),
            application: application.to_owned(),
            base: base.to_owned(),
            head: head.to_owned(),
            page,
        })
    }
}

/// Whether it can be the name of an object.
fn name_like(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_comes_back_as_it_was_sent_and_nothing_else_does() {
        let (base, head) = ("a".repeat(40), "0".repeat(40));
        let span = Span {
            namespace: "shop".to_owned(),
            application: "checkout".to_owned(),
            base: base.clone(),
            head: head.clone(),
            page: 3,
        };
        let value = span.value().unwrap();
        assert_eq!(Span::read(value.as_str()), Some(span));
        for bad in [
            String::new(),
            format!("shop/checkout/{base}/{head}"),
            format!("shop/checkout/{base}/{head}/0/0"),
            format!("shop/checkout/{base}/main/0"),
            format!("shop/checkout/{}/{head}/0", &base[1..]),
            format!("shop/checkout/{}/{head}/0", base.to_uppercase()),
            format!("shop//{base}/{head}/0"),
            format!("../checkout/{base}/{head}/x"),
            format!("shop/checkout/{base}/{head}/256"),
        ] {
            assert_eq!(Span::read(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_target_comes_back_as_it_was_sent_and_nothing_else_does() {
        let target = Target {
            namespace: "shop".to_owned(),
            name: "slack-7f3c".to_owned(),
            uid: "0b1c-4d".to_owned(),
        };
        let value = target.value().unwrap();
        assert_eq!(Target::read(value.as_str()), Some(target));
        for bad in ["", "a/b", "a/b/c/d", "a//c", "A/b/c", "../b/c d", "a/b/c\n"] {
            assert_eq!(Target::read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_question_comes_back_as_it_was_sent_and_nothing_else_does() {
        let target = Target::read("shop/slack-7f3c/0b1c-4d").unwrap();
        for answer in [None, Some("0f".to_owned())] {
            let question = Question {
                target: target.clone(),
                mark: "ab01".to_owned(),
                answer,
            };
            let value = question.value().unwrap();
            assert_eq!(Question::read(value.as_str()), Some(question));
        }
        for bad in [
            "",
            "a/b/c",
            "a/b/c/",
            "a/b/c/x",
            "a/b/c/0/",
            "a/b/c/0/1/2",
            "a//c/0",
            "a/b/c/0/AB",
        ] {
            assert_eq!(Question::read(bad), None, "{bad:?}");
        }
    }
}
