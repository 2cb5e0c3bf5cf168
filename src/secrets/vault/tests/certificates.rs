//! Certificates, and what asks for them.

use super::*;

const ISSUE: &str = "/v1/pki/issue/foredeck";

fn wanted(more: &Value) -> Result<CertificateRequest, VaultSettingsError> {
    let mut pki = json!({"role": "foredeck", "commonName": "foredeck"});
    let all = pki.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    CertificateRequest::new(&serde_json::from_value(pki).unwrap())
}

/// What a Vault with this authority says of a certificate that lasts so long.
fn given(authority: &Authority, lasts: Duration) -> Value {
    let validity = Validity::lasting(lasts);
    let issued = authority.client_with("foredeck", None, validity).unwrap();
    json!({"data": {"certificate": issued.chain_pem, "private_key": issued.key_pem, "ca_chain": null,
        "issuing_ca": null, "serial_number": null}})
}

/// What becomes of such an answer, when Vault says of its health what it says here.
async fn issued(status: u16, answer: Value, health: Value) -> Result<Issued, VaultError> {
    let vault = FalseVault::default()
        .answer(LOOKUP, 200, looked(0, false))
        .answer(ISSUE, status, answer)
        .answer(HEALTH, 200, health);
    tls::install();
    let settings = VaultSettings {
        address: super::address(&vault.start().await).unwrap(),
        namespace: None,
        trust: Trust::Machine,
        login: by_token(),
    };
    let session = VaultSession::new(settings, Timestamp::now).unwrap();
    session.issue(&wanted(&json!({})).unwrap()).await
}

#[tokio::test]
async fn a_certificates_end_is_told_by_vaults_clock_and_lived_by_ours() {
    let authority = Authority::new("False").unwrap();
    let now = Timestamp::now();
    let health = |ahead: i64| json!({"initialized": true, "sealed": false, "server_time_utc": now.as_second() + ahead});
    for (health, ahead) in [
        (health(60), 60),
        (health(-3600), -3600),
        (json!({}), 0),
        (json!("?"), 0),
        (health(i64::MAX / 2), 0),
    ] {
        let answer = given(&authority, Duration::from_hours(2));
        let issued = issued(200, answer, health).await.unwrap();
        let skew = issued.skew.as_secs();
        assert!((ahead - 5..=ahead + 1).contains(&skew), "{skew} of {ahead}");
        let ends = clock::end(issued.certificate.not_after(), issued.skew);
        assert_eq!(issued.ends, ends);
        assert_eq!(issued.life().until, issued.ends);
    }
    // The last year that there is, and the first one.
    for ahead in [
        253_402_207_200 - now.as_second(),
        -377_705_023_201 - now.as_second(),
    ] {
        let answer = given(&authority, Duration::from_mins(1));
        let issued = issued(200, answer, health(ahead)).await;
        assert_eq!(issued.is_err(), ahead > 0, "{issued:?}");
    }
}

#[tokio::test]
async fn what_is_no_certificate_for_us_is_refused() {
    let authority = Authority::new("False").unwrap();
    let minute = Duration::from_mins(1);
    let with = |name: &str, value: Value| {
        let mut answer = given(&authority, minute);
        answer["data"][name] = value;
        answer
    };
    let other = given(&authority, minute)["data"]["private_key"].clone();
    for answer in [
        given(&authority, Duration::ZERO),
        with("private_key", other),
        with("private_key", json!("hush")),
        with("certificate", json!("")),
        with(
            "certificate",
            json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
        ),
        with(
            "ca_chain",
            json!(["-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----"]),
        ),
    ] {
        let error = issued(200, answer, json!({})).await.unwrap_err();
        assert!(matches!(error, VaultError::Useless(_)), "{error:?}");
        assert_eq!(error.reason(), Reason::CertificateIssueFailed);
    }
    for answer in [
        with("private_key", Value::Null),
        json!({"data": null}),
        json!({}),
    ] {
        let error = issued(200, answer, json!({})).await.unwrap_err();
        assert_eq!(error, VaultError::Unreadable);
    }
    let error = issued(400, refusal("unknown role: hush"), json!({})).await;
    let sentence = error.unwrap_err().sentence();
    assert!(
        sentence.contains("no role") && !sentence.contains("hush"),
        "{sentence}"
    );
    let error = issued(400, refusal("common name hush not allowed"), json!({})).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, VaultError::RequestRefused { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_certificate_is_asked_for_with_what_was_named_and_nothing_else() {
    let vault = FalseVault::default()
        .answer(LOOKUP, 200, looked(0, false))
        .answer(ISSUE, 400, refusal("no"));
    let session = vault.session(by_token()).await;
    let names = json!({"altNames": ["a.example", "b@c.example"], "ipSans": ["10.0.0.7", "::1"],
        "uriSans": ["spiffe://a/b"], "ttl": "1m30s"});
    session
        .issue(&wanted(&json!({})).unwrap())
        .await
        .unwrap_err();
    session.issue(&wanted(&names).unwrap()).await.unwrap_err();
    let asked = vault.asked();
    assert_eq!(
        asked[1].body,
        json!({"common_name": "foredeck", "remove_roots_from_chain": true})
    );
    assert_eq!(
        asked[2].body,
        json!({"common_name": "foredeck", "alt_names": "a.example,b@c.example", "ip_sans": "10.0.0.7,::1",
            "uri_sans": "spiffe://a/b", "ttl": "90s", "remove_roots_from_chain": true})
    );
}

#[test]
fn what_would_ask_for_more_than_was_named_is_not_asked_for() {
    for (more, expected) in [
        (json!({"mount": "pki/../sys"}), VaultSettingsError::Path),
        (json!({"role": "a/b"}), VaultSettingsError::Path),
        (json!({"role": ".."}), VaultSettingsError::Path),
        (json!({"commonName": "a,b"}), VaultSettingsError::Name),
        (json!({"altNames": ["a", "b,c"]}), VaultSettingsError::Name),
        (json!({"uriSans": ["a b"]}), VaultSettingsError::Name),
        (json!({"ipSans": [""]}), VaultSettingsError::Name),
        (json!({"ttl": "29s"}), VaultSettingsError::Ttl),
        (json!({"ttl": "-1h"}), VaultSettingsError::Ttl),
    ] {
        assert_eq!(wanted(&more), Err(expected), "{more}");
    }
    for (mount, path, key) in [
        ("", "b", "c"),
        ("a", "", "c"),
        ("a", "b", ""),
        ("a", "../b", "c"),
        ("a", "b", "c/d"),
    ] {
        let refused = SecretPath::new(mount, path, key);
        assert_eq!(
            refused,
            Err(VaultSettingsError::Path),
            "{mount:?} {path:?} {key:?}"
        );
    }
}

#[test]
fn settings_that_lead_elsewhere_make_no_session() {
    tls::install();
    let good = VaultSettings {
        address: super::address("https://vault.example").unwrap(),
        namespace: None,
        trust: Trust::Machine,
        login: by_file("settings", "jwt"),
    };
    assert!(VaultSession::new(good.clone(), now).is_ok());
    for namespace in ["", "a\nb", "../b", "a b", "ä"] {
        let settings = VaultSettings {
            namespace: Some(namespace.to_owned()),
            ..good.clone()
        };
        let error = VaultSession::new(settings, now).unwrap_err();
        assert_eq!(error, VaultSettingsError::Namespace, "{namespace:?}");
    }
    for (at, as_role) in [
        ("../sys", "foredeck"),
        ("kubernetes", "a/b"),
        ("", "foredeck"),
    ] {
        let mut settings = good.clone();
        if let Login::Jwt { mount, role, .. } = &mut settings.login {
            at.clone_into(mount);
            as_role.clone_into(role);
        }
        let error = VaultSession::new(settings, now).unwrap_err();
        assert_eq!(error, VaultSettingsError::Path, "{at} {as_role}");
    }
}
