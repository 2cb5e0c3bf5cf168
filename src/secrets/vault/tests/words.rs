//! What people read.

use super::*;
use crate::runtime::http::Distrust;

#[test]
fn everything_that_can_go_wrong_is_said_in_sentences() {
    let place = || "pki/issue/foredeck".to_owned();
    let mut all = vec![
        VaultError::Redirected,
        VaultError::Sealed,
        VaultError::NotInitialized,
        VaultError::Standby,
        VaultError::Busy,
        VaultError::Status(502),
        VaultError::PermissionDenied { place: place() },
        VaultError::NotFound {
            place: place(),
            what: "the engine has no role of that name",
        },
        VaultError::RequestRefused { place: place() },
        VaultError::KeyMissing {
            place: "kv/data/slack".to_owned(),
            key: "bot-token".to_owned(),
        },
        VaultError::Unreadable,
        VaultError::Useless("it has ended already"),
    ];
    let causes = [
        Unreachable::Refused,
        Unreachable::Name,
        Unreachable::Untrusted(Distrust::Issuer),
        Unreachable::Untrusted(Distrust::Expired),
        Unreachable::Untrusted(Distrust::NotYet),
        Unreachable::Untrusted(Distrust::Name),
        Unreachable::Untrusted(Distrust::Revoked),
        Unreachable::Untrusted(Distrust::Other),
        Unreachable::Tls,
        Unreachable::Silent,
        Unreachable::Broken,
    ];
    all.extend(causes.map(|cause| VaultError::Unreachable { cause }));
    let refusals = [
        LoginRefusal::Mount,
        LoginRefusal::Role,
        LoginRefusal::Audience,
        LoginRefusal::ServiceAccount,
        LoginRefusal::Token,
        LoginRefusal::NotSendable,
        LoginRefusal::Unsaid,
    ];
    all.extend(refusals.map(|refusal| VaultError::LoginRefused {
        place: "auth/kubernetes/login".to_owned(),
        refusal,
    }));
    let (namespace, name) = (|| "shop".to_owned(), || FOREDECK_VAULT.to_owned());
    all.extend(
        [
            TokenError::Forbidden {
                namespace: namespace(),
                name: name(),
            },
            TokenError::Missing {
                namespace: namespace(),
                name: name(),
            },
            TokenError::OwnAudience,
            TokenError::OtherAudience,
            TokenError::NotGiven {
                namespace: namespace(),
                name: name(),
            },
            TokenError::File,
        ]
        .map(VaultError::Token),
    );
    let lines = all
        .iter()
        .map(|error| format!("{:?}: {}\n", error.reason(), error.sentence()));
    insta::assert_snapshot!("sentences", lines.collect::<String>());
}
