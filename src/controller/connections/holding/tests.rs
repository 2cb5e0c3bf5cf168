//! What a keeper makes of what it has in hand, at times that the tests choose. Touches nothing.

use foredeck_testkit::tls::Authority;

use super::*;
use crate::controller::connections::material::VaultMaterial;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(2_000_000_000 + second).unwrap()
}

fn certificate() -> Arc<ClientCertificate> {
    let issued = Authority::new("Vault").unwrap().client("foredeck").unwrap();
    let certificate =
        ClientCertificate::from_pem(issued.chain_pem.as_bytes(), &issued.key_pem.into());
    Arc::new(certificate.unwrap())
}

/// One that Vault gave at that second for a minute.
fn issued(certificate: &Arc<ClientCertificate>, second: i64) -> Issued {
    Issued {
        certificate: Arc::clone(certificate),
        skew: SignedDuration::ZERO,
        since: at(second),
        ends: at(second + 60),
    }
}

fn material(credentials: Credentials, by_vault: bool) -> Material {
    Material {
        trust: Trust::Machine,
        credentials,
        digest: "read".to_owned(),
        vault: by_vault.then(|| {
            Ok(VaultMaterial {
                trust: Trust::Machine,
                token: None,
                digest: String::new(),
            })
        }),
    }
}

fn by_vault() -> Holding {
    let mut holding = Holding::default();
    holding.can_ask(at(0));
    holding.read(material(Credentials::None, true));
    holding
}

fn refusal(waiting_for: WaitingFor, reason: Reason, message: &str) -> Refusal {
    Refusal::passing(waiting_for, reason, message)
}

fn sealed() -> Refusal {
    let (waiting_for, reason) = (WaitingFor::Spinnaker, Reason::VaultUnreachable);
    refusal(waiting_for, reason, "Vault is sealed.")
}

fn made_of(holding: &Holding, now: Timestamp) -> Option<MadeOf> {
    holding.shown(now).unwrap().map(|shown| shown.made_of)
}

#[test]
fn what_vault_gives_is_shown_until_its_end_whatever_keeps_the_next_one_from_coming() {
    let mut holding = by_vault();
    assert!(holding.shown(at(0)).unwrap().is_none());
    assert_eq!(holding.issue_at(), Some(at(0)));
    holding.was_issued(issued(&certificate(), 0), 0.5);
    assert_eq!(holding.issue_at(), Some(at(40)));
    holding.was_not_issued(sealed(), at(40));
    assert_eq!(holding.issue_at(), Some(at(42)));
    assert!(holding.shown(at(59)).unwrap().is_some());
    assert_eq!(holding.unissued(), Some(&sealed()));

    let refusal = holding.shown(at(60)).err().unwrap();
    assert_eq!(refusal.reason, Reason::CertificateExpired);
    assert_eq!(refusal.waiting_for, Some(WaitingFor::Spinnaker));
    assert!(
        refusal
            .message
            .starts_with("the client certificate ended at ")
    );
    assert!(
        refusal
            .message
            .ends_with(", and no new one comes. Vault is sealed.")
    );

    holding.was_issued(issued(&certificate(), 70), 0.5);
    assert!(holding.shown(at(70)).unwrap().is_some());
    assert_eq!(holding.unissued(), None);
}

#[test]
fn a_certificate_that_ends_while_vault_is_asked_is_not_shown_meanwhile() {
    let mut holding = by_vault();
    holding.was_issued(issued(&certificate(), 0), 1.0);
    let refusal = holding.shown(at(60)).err().unwrap();
    assert!(refusal.message.ends_with("the next one is on its way."));
    assert_eq!(holding.ends(), Some(at(60)));
}

#[test]
fn what_vault_gives_is_shown_even_if_it_has_the_serial_number_of_what_it_gave_before() {
    let issuing = Authority::new("Vault").unwrap().client("foredeck").unwrap();
    let (chain, key) = (issuing.chain_pem, issuing.key_pem.into());
    let again = || Arc::new(ClientCertificate::from_pem(chain.as_bytes(), &key).unwrap());
    let (mut holding, first) = (by_vault(), again());
    holding.was_issued(issued(&first, 0), 0.5);
    let before = made_of(&holding, at(1));
    assert!(before.is_some() && before == made_of(&holding, at(2)));
    holding.read(material(Credentials::None, true));
    assert!(before == made_of(&holding, at(3)));
    holding.was_issued(issued(&again(), 40), 0.5);
    assert!(before != made_of(&holding, at(41)));
}

#[test]
fn what_is_gone_takes_the_login_along_and_an_api_server_that_says_nothing_does_not() {
    let mut holding = Holding::default();
    holding.read(material(Credentials::None, false));
    let missing = Reason::CredentialsNotFound;
    holding.not_read(refusal(WaitingFor::Spinnaker, missing, "no answer"));
    assert!(holding.is_unread() && holding.shown(at(0)).unwrap().is_some());
    let gone = refusal(WaitingFor::Configuration, missing, "does not exist");
    holding.not_read(gone.clone());
    assert_eq!(holding.shown(at(0)).err(), Some(gone));
    holding.read(material(Credentials::None, false));
    assert!(!holding.is_unread() && holding.shown(at(0)).unwrap().is_some());
}

#[test]
fn without_a_login_to_vault_nobody_asks_it_and_a_new_one_is_tried_at_once() {
    let mut holding = by_vault();
    holding.was_issued(issued(&certificate(), 0), 0.5);
    // Nothing was wrong: its time is soon enough.
    holding.can_ask(at(1));
    assert_eq!(holding.issue_at(), Some(at(40)));
    let gone = refusal(
        WaitingFor::Configuration,
        Reason::CredentialsNotFound,
        "no token",
    );
    holding.can_not_ask(gone.clone());
    assert_eq!(
        (holding.issue_at(), holding.unissued()),
        (None, Some(&gone))
    );
    holding.is_doubted(at(2));
    assert_eq!(holding.issue_at(), None);
    assert!(holding.shown(at(2)).unwrap().is_some());
    holding.can_ask(at(3));
    assert_eq!(holding.issue_at(), Some(at(3)));
    // Doubted, while all is well.
    holding.was_issued(issued(&certificate(), 3), 0.5);
    holding.is_doubted(at(5));
    assert_eq!(holding.issue_at(), Some(at(5)));
}

#[test]
fn a_certificate_of_a_secret_is_shown_until_its_end() {
    let mut holding = Holding::default();
    let certificate = certificate();
    let end = certificate.not_after();
    holding.read(material(Credentials::Certificate(certificate), false));
    let before = end - SignedDuration::from_secs(1);
    assert!(holding.shown(before).unwrap().is_some());
    let refusal = holding.shown(end).err().unwrap();
    assert_eq!(refusal.reason, Reason::CertificateExpired);
    assert!(
        refusal
            .message
            .contains("the client certificate of its Secret ended at")
    );
    assert_eq!(holding.ends(), Some(end));
}
