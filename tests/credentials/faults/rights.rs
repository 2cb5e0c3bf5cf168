//! A Vault that works and gives us nothing: policies, roles and tokens that changed, and an authority of its that is another.
//! Each on a connection of its own, all at once.

use anyhow::{Context, Result, ensure};
use foredeck::api::{SpinnakerConnection, deploy_request::Phase};
use foredeck_testkit::{
    tls::Authority,
    toolbox::{PKI_ISSUING, ServiceAccountRole},
};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::World;
use crate::support::{ACCOUNT, Controller};

/// Certificates that last this long, so that all of this takes half a minute.
const TTL: &str = "18s";

/// What is wrong, by the name of the connection that has it, and what is said of it.
const CASES: [(&str, &str); 6] = [
    ("policy", "forbids pki-int/issue/policy"),
    ("pki-role", "the engine has no role of that name"),
    ("login-role", "it has no role of that name"),
    (
        "bound",
        "its role is not for this ServiceAccount in this namespace",
    ),
    (
        "revoked",
        "the token is unknown to it, revoked or has run out",
    ),
    ("authority", "its certificate is not trusted"),
];

impl World {
    /// What a case has in Vault: a role of PKI, a policy for it, and a role of the login.
    async fn give(&self, case: &str) -> Result<()> {
        let names = [self.principal.as_str()];
        self.vault.pki_role(case, TTL, &names, json!({})).await?;
        let rules =
            format!("path \"{PKI_ISSUING}/issue/{case}\" {{ capabilities = [\"update\"] }}");
        self.vault.policy(case, &rules).await?;
        self.let_in(case, ACCOUNT).await
    }

    /// The login's role: its tokens have run out when the next certificate is due.
    async fn let_in(&self, case: &str, account: &str) -> Result<()> {
        let account = ServiceAccountRole {
            namespace: &self.namespace,
            name: account,
            audience: &self.audience,
            policies: &[case],
            ttl: "5s",
        };
        self.vault
            .kubernetes_role("kubernetes", case, account)
            .await
    }

    async fn put_token(&self) -> Result<String> {
        let token = self.vault.token(&["revoked"], "1h").await?;
        self.put_secret("token", json!({"token": token})).await?;
        Ok(token)
    }

    async fn put_authority(&self, pem: &str) -> Result<()> {
        let data = json!({"ca.crt": pem});
        self.put_secret("authority", data).await
    }

    fn connection_of(&self, case: &str) -> Value {
        let mut auth = self.vault_auth(crate::support::Method::Kubernetes);
        let vault = &mut auth["vault"];
        vault["pki"]["role"] = json!(case);
        vault["login"]["kubernetes"]["role"] = json!(case);
        match case {
            "revoked" => vault["login"] = json!({"token": {"secretName": "token"}}),
            "authority" => vault["tls"] = json!({"caSecretRef": {"name": "authority"}}),
            _ => {}
        }
        self.connection_by(&auth)
    }

    async fn spoil(&self, case: &str, token: &str) -> Result<()> {
        match case {
            "policy" => {
                let rules = "path \"elsewhere\" { capabilities = [\"read\"] }";
                self.vault.policy(case, rules).await
            }
            "pki-role" => {
                let path = format!("{PKI_ISSUING}/roles/{case}");
                self.vault.delete(&path).await
            }
            "login-role" => {
                let path = format!("auth/kubernetes/role/{case}");
                self.vault.delete(&path).await
            }
            "bound" => self.let_in(case, "somebody-else").await,
            "revoked" => {
                let revoked = json!({"token": token});
                self.vault
                    .write("auth/token/revoke", revoked)
                    .await
                    .map(drop)
            }
            _ => {
                self.put_authority(&Authority::new("Another")?.ca_pem())
                    .await
            }
        }
    }

    async fn mend(&self, case: &str) -> Result<()> {
        match case {
            "revoked" => self.put_token().await.map(drop),
            "authority" => self.put_authority(self.vault.ca_pem()).await,
            _ => self.give(case).await,
        }
    }

    /// The whole story of one case.
    async fn lives_through_case(&self, case: &str, says: &str, token: &str) -> Result<()> {
        let held = format!("{case}-held");
        self.spoil(case, token).await?;
        self.until_not_renewed(case, says).await?;
        self.until_said(case, "CertificateExpired", says).await?;
        self.ask(case, "deploy", case).await?;
        self.until_expired(case, case, says).await?;
        self.until_phase(&held, Phase::Running).await?;
        let warnings = self.warnings(case).await?;
        ensure!(warnings.len() == 1, "{case}: {warnings:?}");
        self.mend(case).await?;
        self.until_said(case, "ConfigurationValid", &self.principal)
            .await?;
        self.until_gone_on(case).await?;
        self.until_followed(&held).await?;
        self.finish(&held).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vault_takes_away_is_named_and_everything_goes_on_when_it_is_given_back() -> Result<()>
{
    let Some(world) = World::bare("rights", TTL).await? else {
        return Ok(());
    };
    let world = &world;
    world.put_authority(world.vault.ca_pem()).await?;
    for (case, _) in CASES {
        world.give(case).await?;
    }
    let token = world.put_token().await?;
    let controller = Controller::start(&[world]).await?;
    for (case, _) in CASES {
        let spec = world.connection_of(case);
        world.create::<SpinnakerConnection>(case, spec).await?;
        world.environment(case, case).await?;
    }
    try_join_all(CASES.map(async |(case, _)| world.hold(&format!("{case}-held"), case).await))
        .await?;
    let stories = CASES.map(|(case, says)| {
        let token = token.as_str();
        async move {
            let story = world.lives_through_case(case, says, token).await;
            story.with_context(|| case.to_owned())
        }
    });
    try_join_all(stories).await?;

    let refused = world.gate.refused_handshakes();
    ensure!(refused.is_empty(), "{refused:?}");
    // The names of outcomes are few and fixed.
    let metrics = controller.metrics().await?;
    let outcomes = metrics
        .lines()
        .filter(|line| line.starts_with("foredeck_certificate_renewals_total{"));
    ensure!(outcomes.count() <= 4, "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_token_that_vault_revoked_is_replaced_by_a_login_and_nobody_notices() -> Result<()>
{
    let Some(world) = World::with("login", "12s", crate::support::Method::Kubernetes).await? else {
        return Ok(());
    };
    let controller = Controller::start(&[&world]).await?;
    let before = world.until_ready().await?.certificate;
    let logins = "sys/leases/revoke-prefix/auth/kubernetes/login";
    world.vault.write(logins, json!({"sync": true})).await?;
    foredeck_testkit::wait_for(
        "another certificate",
        crate::support::PATIENCE,
        async || {
            let status = world.status(crate::support::CONNECTION).await?;
            ensure!(status.certificate.is_some(), "it has ended");
            ensure!(status.certificate != before, "{before:?}");
            Ok(())
        },
    )
    .await?;
    ensure!(!controller.log().contains("Vault gave no certificate"));
    Ok(())
}
