//! Logins, tokens, answers of all kinds, and secrets.

use super::*;
use crate::runtime::http::Distrust;

#[tokio::test]
async fn a_login_is_kept_and_shown_in_a_header_with_the_namespace() {
    let vault = FalseVault::default()
        .answer(LOGIN, 200, auth("hvs.one", 3600))
        .answer(SECRET, 200, value("xoxb-hush"));
    let session = vault.session(by_file("kept", " the-jwt\n")).await;
    for _ in 0..2 {
        let secret = session.read(&secret()).await.unwrap();
        assert_eq!(secret.expose_secret(), "xoxb-hush");
    }
    let asked = vault.asked();
    assert_eq!(vault.paths(), [LOGIN, SECRET, SECRET]);
    assert_eq!(asked[0].token, None);
    assert_eq!(asked[0].body, json!({"role": "foredeck", "jwt": "the-jwt"}));
    for asked in &asked {
        assert_eq!(asked.namespace.as_deref(), Some("team/prod"));
    }
    assert_eq!(asked[2].token.as_deref(), Some("hvs.one"));
}

#[tokio::test]
async fn many_at_once_log_in_once() {
    let vault = FalseVault::default()
        .answer(LOGIN, 200, auth("hvs.one", 3600))
        .answer(SECRET, 200, value("xoxb-hush"));
    let session = vault.session(by_file("many", "jwt")).await;
    let secret = secret();
    let all = futures::future::join_all((0..8).map(|_| session.read(&secret))).await;
    assert!(all.iter().all(Result::is_ok));
    let logins = vault.paths().iter().filter(|path| *path == LOGIN).count();
    assert_eq!(logins, 1);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_one_login_and_a_forbidden_path_is_said() {
    let denied = refusal("permission denied, hvs.one");
    let vault = FalseVault::default()
        .answer(LOGIN, 200, auth("hvs.one", 3600))
        .answer(LOGIN, 200, auth("hvs.two", 3600))
        .answer(SECRET, 200, value("xoxb-hush"))
        .answer(SECRET, 403, &denied)
        .answer(SECRET, 200, value("xoxb-new"))
        .answer(SECRET, 403, &denied);
    let session = vault.session(by_file("revoked", "jwt")).await;
    session.read(&secret()).await.unwrap();
    let secret_now = session.read(&secret()).await.unwrap();
    assert_eq!(secret_now.expose_secret(), "xoxb-new");
    assert_eq!(vault.paths(), [LOGIN, SECRET, SECRET, LOGIN, SECRET]);
    let error = session.read(&secret()).await.unwrap_err();
    assert_eq!(
        error,
        VaultError::PermissionDenied {
            place: "kv/data/foredeck/slack".to_owned()
        }
    );
    assert_eq!(vault.paths().len(), 8, "one login more, and no further one");
    assert!(!error.sentence().contains("hvs"), "{}", error.sentence());
}

#[tokio::test]
async fn a_token_is_renewed_at_two_thirds_of_its_life_and_replaced_near_its_longest() {
    let vault = FalseVault::default()
        .answer(LOGIN, 200, auth("hvs.one", 300))
        .answer(LOGIN, 200, auth("hvs.two", 300))
        .answer(RENEW, 200, auth("hvs.one", 300))
        .answer(RENEW, 200, auth("hvs.one", 90))
        .answer(SECRET, 200, value("xoxb-hush"));
    let session = vault.session(by_file("renewed", "jwt")).await;
    tokio::time::pause();
    let look = async |seconds| {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        session.read(&secret()).await.unwrap();
        tokio::time::pause();
    };
    look(0).await;
    look(198).await;
    look(3).await;
    look(198).await;
    look(3).await;
    look(61).await;
    assert_eq!(
        vault.paths(),
        [
            LOGIN, SECRET, SECRET, RENEW, SECRET, SECRET, RENEW, SECRET, LOGIN, SECRET
        ]
    );
    assert_eq!(vault.asked()[9].token.as_deref(), Some("hvs.two"));
}

#[tokio::test]
async fn a_token_that_is_not_renewed_is_replaced() {
    let vault = FalseVault::default()
        .answer(LOGIN, 200, auth("hvs.one", 300))
        .answer(LOGIN, 200, auth("hvs.two", 300))
        .answer(RENEW, 403, refusal("permission denied"))
        .answer(SECRET, 200, value("xoxb-hush"));
    let session = vault.session(by_file("unrenewed", "jwt")).await;
    session.read(&secret()).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(250)).await;
    tokio::time::resume();
    session.read(&secret()).await.unwrap();
    assert_eq!(vault.paths(), [LOGIN, SECRET, RENEW, LOGIN, SECRET]);
}

#[tokio::test]
async fn another_token_in_the_secret_is_used_at_once() {
    let vault = FalseVault::default()
        .answer(LOOKUP, 200, looked(0, false))
        .answer(SECRET, 200, value("xoxb-hush"));
    let (login, source) = changing();
    let session = vault.session(login).await;
    session.read(&secret()).await.unwrap();
    source.set("hvs.other".into());
    session.read(&secret()).await.unwrap();
    assert_eq!(vault.paths(), [LOOKUP, SECRET, LOOKUP, SECRET]);
    assert_eq!(vault.asked()[3].token.as_deref(), Some("hvs.other"));
}

#[tokio::test]
async fn an_unknown_token_is_told_from_a_forbidden_path() {
    let vault = FalseVault::default()
        .answer(LOOKUP, 403, refusal("bad token hvs.hush"))
        .answer(SECRET, 403, refusal("permission denied"));
    let session = vault.session(by_token()).await;
    let error = session.read(&secret()).await.unwrap_err();
    assert_eq!(
        error,
        VaultError::LoginRefused {
            place: "auth/token/lookup-self".to_owned(),
            refusal: LoginRefusal::Token
        }
    );
    assert_eq!(error.reason(), Reason::LoginFailed);
    let vault = FalseVault::default()
        .answer(LOOKUP, 200, looked(60, true))
        .answer(SECRET, 403, refusal("permission denied"));
    let session = vault.session(by_token()).await;
    let error = session.read(&secret()).await.unwrap_err();
    assert!(
        matches!(error, VaultError::PermissionDenied { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn tokens_that_no_header_can_carry_are_refused_whoever_gives_them() {
    for token in ["", "hvs\nx: y", "hvs\u{1}", "hüsh", "hvs\u{0}"] {
        let vault = FalseVault::default().answer(LOGIN, 200, auth(token, 3600));
        let session = vault.session(by_file("unsendable", "jwt")).await;
        let error = session.read(&secret()).await.unwrap_err();
        assert_eq!(error, VaultError::Unreadable, "{token:?}");
        let vault = FalseVault::default();
        let session = vault
            .session(Login::Token(LiveSecret::fixed(token.into())))
            .await;
        let error = session.read(&secret()).await.unwrap_err();
        assert!(
            matches!(
                error,
                VaultError::LoginRefused {
                    refusal: LoginRefusal::NotSendable,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(vault.paths(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_token_goes_nowhere_else() {
    for status in [301, 302, 307, 308] {
        let vault = FalseVault::default().answer(LOOKUP, status, "");
        let session = vault.session(by_token()).await;
        let error = session.read(&secret()).await.unwrap_err();
        assert_eq!(error, VaultError::Redirected);
        assert_eq!(error.reason(), Reason::VaultUnreachable);
    }
}

#[tokio::test]
async fn a_vault_that_is_sealed_empty_or_stands_by_says_so() {
    let health = |initialized: bool, sealed: bool, standby: bool| json!({"initialized": initialized, "sealed": sealed, "standby": standby});
    for (status, health_status, health, expected) in [
        (503, 503, health(true, true, true), VaultError::Sealed),
        (
            503,
            501,
            health(false, true, true),
            VaultError::NotInitialized,
        ),
        (307, 429, health(true, false, true), VaultError::Standby),
        (
            503,
            200,
            health(true, false, false),
            VaultError::Status(503),
        ),
        (500, 503, json!("?"), VaultError::Status(500)),
        (429, 200, json!({}), VaultError::Busy),
        (473, 473, json!({}), VaultError::Standby),
    ] {
        let vault = FalseVault::default().answer(LOOKUP, status, "{}").answer(
            HEALTH,
            health_status,
            health,
        );
        let session = vault.session(by_token()).await;
        let error = session.read(&secret()).await.unwrap_err();
        assert_eq!(error, expected);
        assert_eq!(error.reason(), Reason::VaultUnreachable);
        if let Some(health) = vault.asked().iter().find(|asked| asked.path == HEALTH) {
            assert_eq!((&health.token, &health.namespace), (&None, &None));
        }
    }
}

#[tokio::test]
async fn refused_logins_are_told_apart_by_words_that_nobody_is_shown() {
    for (status, words, expected) in [
        (
            404,
            "no handler for route \"auth/kubernetes/login\"",
            LoginRefusal::Mount,
        ),
        (400, "invalid role name \"hush\"", LoginRefusal::Role),
        (400, "role \"hush\" could not be found", LoginRefusal::Role),
        (
            400,
            "error validating token: invalid audience (aud) claim",
            LoginRefusal::Audience,
        ),
        (
            403,
            "namespace not authorized: hush",
            LoginRefusal::ServiceAccount,
        ),
        (403, "permission denied, hush", LoginRefusal::Unsaid),
    ] {
        let vault = FalseVault::default().answer(LOGIN, status, refusal(words));
        let session = vault.session(by_file("told", "jwt-hush")).await;
        let error = session.read(&secret()).await.unwrap_err();
        assert_eq!(
            error,
            VaultError::LoginRefused {
                place: "auth/kubernetes/login".to_owned(),
                refusal: expected
            },
            "{words}"
        );
        assert!(!error.sentence().contains("hush"), "{}", error.sentence());
    }
}

#[tokio::test]
async fn a_login_without_a_token_to_show_is_said() {
    let vault = FalseVault::default();
    let session = vault.session(by_file("empty", " \n")).await;
    let error = session.read(&secret()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LoginFailed);
    assert!(error.sentence().contains("file"), "{}", error.sentence());
    assert_eq!(vault.paths(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_missing_of_a_secret_is_said() {
    let deleted = json!({"data": {"data": null, "metadata": {"deletion_time": "2026"}}});
    let elsewhere = json!({"data": {"data": {"other": "x"}}});
    let number = json!({"data": {"data": {"bot-token": 7}}});
    for (status, body, expected) in [
        (404, json!({"errors": []}), "no secret"),
        (
            404,
            refusal("no handler for route \"kv/data\""),
            "no KV engine",
        ),
        (404, deleted, "deleted"),
        (200, elsewhere, "no key bot-token"),
        (200, number, "no key bot-token"),
        (200, json!({"data": null}), "no secret"),
    ] {
        let vault = FalseVault::default()
            .answer(LOOKUP, 200, looked(0, false))
            .answer(SECRET, status, body);
        let session = vault.session(by_token()).await;
        let sentence = session.read(&secret()).await.unwrap_err().sentence();
        assert!(sentence.contains(expected), "{sentence}");
        assert!(sentence.contains("kv/data/foredeck/slack"), "{sentence}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_said_so_and_one_without_an_end_is_not_read_to_it() {
    for body in ["", "{}", "null", "[]", "<html>", "\u{0}", "{\"data\":7}"] {
        let vault = FalseVault::default().answer(LOOKUP, 200, body);
        let session = vault.session(by_token()).await;
        let error = session.read(&secret()).await.unwrap_err();
        assert_eq!(error, VaultError::Unreadable, "{body}");
    }
    let endless = Router::new().fallback(async || {
        let chunk = || Ok::<_, std::io::Error>(vec![b' '; 65_536]);
        Body::from_stream(stream::repeat_with(chunk))
    });
    let session = session(&serve(endless).await, by_token());
    let error = session.read(&secret()).await.unwrap_err();
    assert_eq!(error, VaultError::Unreadable);
}

#[tokio::test]
async fn nobody_there_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let session = session(&format!("http://{address}"), by_token());
    let error = session.read(&secret()).await.unwrap_err();
    assert_eq!(
        error,
        VaultError::Unreachable {
            cause: Unreachable::Refused
        }
    );
    assert!(
        !error.sentence().contains("127.0.0.1"),
        "{}",
        error.sentence()
    );
}

#[tokio::test]
async fn what_is_wrong_with_vaults_certificate_is_said() {
    tls::install();
    let vault = foredeck_testkit::vault::FalseVault::start().await.unwrap();
    let hour = Validity::lasting(Duration::from_hours(1));
    let here = ["127.0.0.1"];
    let stranger = Authority::new("Stranger").unwrap();
    for (authority, names, validity, distrust) in [
        (&stranger, here, hour, Distrust::Issuer),
        (
            vault.authority(),
            here,
            Validity::expired(),
            Distrust::Expired,
        ),
        (
            vault.authority(),
            here,
            Validity::not_yet(),
            Distrust::NotYet,
        ),
        (
            vault.authority(),
            ["elsewhere.example"],
            hour,
            Distrust::Name,
        ),
    ] {
        let shown = authority.server_with(&names, validity).unwrap();
        vault.set_certificate(&shown).unwrap();
        let settings = VaultSettings {
            address: super::address(&vault.url()).unwrap(),
            namespace: None,
            trust: Trust::from_pem(vault.ca_pem().as_bytes()).unwrap(),
            login: by_token(),
        };
        let session = VaultSession::new(settings, now).unwrap();
        let error = session.read(&secret()).await.unwrap_err();
        let cause = Unreachable::Untrusted(distrust);
        assert_eq!(error, VaultError::Unreachable { cause });
    }
}
