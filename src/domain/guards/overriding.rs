//! Whether an override counts. Touches nothing.

use super::Overrider;
use crate::{
    api::{DeployRequest, conditions::Reason},
    domain::{
        access::{Known, Permission, Wish, is_system},
        refusal::Refusal,
    },
};

/// Whether `spec.override` counts; `None` where there is none. `known` is about who wrote it and the verb `override`; whom
/// the cluster itself made never may.
pub fn overriding(
    request: &DeployRequest,
    wish: Wish<'_>,
    known: &Known,
) -> Option<Result<Overrider, Refusal>> {
    let wanted = request.spec.override_.as_ref()?;
    let refused = |message: &str| {
        Some(Err(Refusal::permanent(
            Reason::OverrideRefused,
            format!("the override doesn't count: {message}"),
        )))
    };
    let Some(by) = &wanted.by else {
        return refused(
            "nobody says who wrote it (spec.override.by is empty); write it anew, and admission writes down who does.",
        );
    };
    if is_system(&by.username) {
        return refused(&format!(
            "`{}` is no person, and only a person can answer for passing order, freezes and locks; one who has the verb `{}` on the Environment and on the Application can write theirs in its place.",
            by.username, wish.verb
        ));
    }
    if wanted.reason.trim().is_empty() {
        return refused("it says no reason (spec.override.reason); write it anew with one.");
    }
    match known {
        Ok(standing) => match &standing.permission {
            Permission::Granted(rule) => Some(Ok(Overrider {
                username: standing.subject.username.clone(),
                rule: rule.clone(),
                reason: wanted.reason.clone(),
            })),
            Permission::Refused(missing) => {
                refused(&wish.refused(&standing.subject.username, missing))
            }
        },
        Err(refusal) if refusal.waiting_for.is_some() => Some(Err(Refusal {
            message: format!(
                "whether the override counts can't be said: {}",
                refusal.message
            ),
            ..refusal.clone()
        })),
        Err(refusal) => refused(&refusal.message),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::deploy_request::WaitingFor,
        domain::access::{Missing, OVERRIDE, Standing, Subject},
    };

    fn request(overriding: &Value) -> DeployRequest {
        serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "metadata": {"name": "one"},
            "spec": {"application": "checkout", "environment": "production", "override": overriding},
        }))
        .unwrap()
    }

    fn wish() -> Wish<'static> {
        Wish {
            verb: OVERRIDE,
            namespace: "shop",
            application: "checkout",
            environment: "production",
            holders: None,
        }
    }

    fn standing(permission: Permission) -> Standing {
        Standing {
            subject: Subject {
                username: "alice@corp.example".to_owned(),
                groups: Vec::new(),
            },
            permission,
        }
    }

    #[test]
    fn a_refusal_of_an_override_names_who_has_the_verb() {
        let alice = json!({"reason": "the site is down", "by": {"username": "alice@corp.example"}});
        let missing = [("applications", "checkout"), ("environments", "production")];
        let missing = missing.map(|(resource, name)| Missing {
            verb: OVERRIDE.to_owned(),
            resource,
            name: name.to_owned(),
        });
        let refused: Known = Ok(standing(Permission::Refused(missing.into())));
        let holders = ["okta:shop-leads".to_owned()];
        let lacks = "the override doesn't count: Not allowed: `alice@corp.example` has no verb `override` on Application `checkout` and no verb `override` on Environment `production` in `shop`.";
        let table: [(Option<&[String]>, &str); 2] = [
            (
                Some(&holders[..]),
                "Ask one who has it (`okta:shop-leads`), or who can change the RoleBindings there.",
            ),
            (
                None,
                "Ask who can change the RoleBindings there; `kubectl describe roles,rolebindings --namespace shop` shows who has it.",
            ),
        ];
        for (holders, ask) in table {
            let wish = Wish { holders, ..wish() };
            let Some(Err(refusal)) = overriding(&request(&alice), wish, &refused) else {
                panic!("it counts");
            };
            assert_eq!(refusal.message, format!("{lacks} {ask}"));
        }
    }

    #[test]
    fn an_override_counts_only_as_the_word_of_a_person_who_may() {
        let granted: Known = Ok(standing(Permission::Granted(
            "by binding `leads`".to_owned(),
        )));
        let refused: Known = Ok(standing(Permission::Refused(vec![Missing {
            verb: OVERRIDE.to_owned(),
            resource: "environments",
            name: "production".to_owned(),
        }])));
        let nobody: Known = Err(Refusal::permanent(Reason::Nobody, "`alice` is nobody."));
        let unknown: Known = Err(Refusal::passing(
            WaitingFor::Authorization,
            Reason::AccessUnknown,
            "no answer.",
        ));
        let alice = json!({"reason": "the site is down", "by": {"username": "alice@corp.example"}});
        let judge = |wanted: &Value, known: &Known| overriding(&request(wanted), wish(), known);

        assert_eq!(judge(&Value::Null, &granted), None);
        assert_eq!(
            judge(&alice, &granted),
            Some(Ok(Overrider {
                username: "alice@corp.example".to_owned(),
                rule: "by binding `leads`".to_owned(),
                reason: "the site is down".to_owned(),
            }))
        );
        let table: [(Value, &Known, &str); 6] = [
            (
                alice.clone(),
                &refused,
                "no verb `override` on Environment `production`",
            ),
            (alice.clone(), &nobody, "`alice` is nobody"),
            (
                json!({"reason": "the site is down"}),
                &granted,
                "nobody says who wrote it",
            ),
            (
                json!({"reason": "now", "by": {"username": "system:serviceaccount:argocd:argocd"}}),
                &granted,
                "is no person",
            ),
            (
                json!({"reason": "now", "by": {"username": "System:admin"}}),
                &granted,
                "is no person",
            ),
            (
                json!({"reason": " \n", "by": {"username": "alice@corp.example"}}),
                &granted,
                "says no reason",
            ),
        ];
        for (wanted, known, words) in table {
            let Some(Err(refusal)) = judge(&wanted, known) else {
                panic!("{wanted} counts with {known:?}");
            };
            assert_eq!(refusal.waiting_for, None, "{wanted}");
            assert_eq!(refusal.reason, Reason::OverrideRefused, "{wanted}");
            assert!(refusal.message.contains(words), "{}", refusal.message);
        }
        let Some(Err(refusal)) = judge(&alice, &unknown) else {
            panic!("nobody answered");
        };
        assert_eq!(refusal.waiting_for, Some(WaitingFor::Authorization));
        assert_eq!(refusal.reason, Reason::AccessUnknown);
    }
}
