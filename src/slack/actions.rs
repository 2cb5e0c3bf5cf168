//! The ids of all that a person can press, choose or submit in our messages and modals, so that who draws a button and
//! who answers it mean the same one. Touches nothing.

use super::elements::{TooLong, Value};

/// Starts what a plan shows. Value: the sealed plan.
pub const PLAN_DEPLOY: &str = "plan-deploy";
/// Starts it although an equal request is there. Value: the sealed plan.
pub const PLAN_AGAIN: &str = "plan-again";
/// Opens the form with what a plan holds. Value: the sealed plan.
pub const PLAN_EDIT: &str = "plan-edit";
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
/// In the form: anything that is written or chosen and changes nothing else.
pub const FORM_VALUE: &str = "form-value";

/// Ends a request. Value: [`Target`].
pub const REQUEST_CANCEL: &str = "request-cancel";
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
        let name_like = |text: &str| {
            (1..=253).contains(&text.len())
                && text.bytes().all(|byte| {
                    byte.is_ascii_lowercase()
                        || byte.is_ascii_digit()
                        || matches!(byte, b'-' | b'.')
                })
        };
        let fine = parts.next().is_none() && [namespace, name, uid].into_iter().all(name_like);
        fine.then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
