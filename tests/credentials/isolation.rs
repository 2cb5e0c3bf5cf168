//! Two Spinnakers with two Vaults in one controller share nothing, and whoever may write a connection gets nothing by it that
//! is another's.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{DeployRequest, SpinnakerConnection, deploy_request::Phase};
use foredeck_testkit::{ControlPlane, FalseVault, toolbox::ServiceAccountRole, wait_for};
use kube::{ResourceExt, api::ListParams};
use regex_lite::Regex;
use serde_json::{Value, json};

use crate::{
    secrecy::{nothing_leaked, nothing_leaked_from},
    support::{
        ACCOUNT, CONNECTION, Controller, ENVIRONMENT, Method, PATIENCE, Place, ROLE, World, failed,
    },
    witness,
};

/// So many deployments are timed, one after the other.
const TIMED: usize = 4;
/// So many deployments wait for a Gate that hangs.
const STUCK: usize = 12;

async fn production_and_the_rest(life: &str) -> Result<Option<(World, World)>> {
    let made = tokio::try_join!(
        World::with("production", "60s", Method::Kubernetes),
        World::with("nonprod", life, Method::Jwt)
    )?;
    Ok(match made {
        (Some(production), Some(rest)) => Some((production, rest)),
        _ => None,
    })
}

/// The `ServiceAccount` of a namespace, as tokens name it.
fn subject(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:{ACCOUNT}")
}

#[tokio::test(flavor = "multi_thread")]
async fn production_never_touches_the_other_vault_or_gate_nor_the_other_way_round() -> Result<()> {
    let Some((production, rest)) = production_and_the_rest("60s").await? else {
        return Ok(());
    };
    let controller = Controller::start(&[&production, &rest]).await?;
    let names = ["first", "second", "third"];
    for world in [&production, &rest] {
        world.until_ready().await?;
        for name in names {
            world.ask(name, "deploy", ENVIRONMENT).await?;
        }
    }
    for (world, other) in [(&production, &rest), (&rest, &production)] {
        for name in names {
            world.until_phase(name, Phase::Succeeded).await?;
            ensure!(world.launches(name).await? == 1, "{name}");
        }
        ensure!(world.gate.launches().len() == names.len());
        ensure!(world.gate.refused_handshakes().is_empty());
        let issued = witness::issued(&world.vault)?;
        let serials: BTreeSet<&str> = issued.iter().map(|known| known.serial.as_str()).collect();
        for call in world.gate.calls() {
            ensure!(
                call.principal.as_ref() == Some(&world.principal)
                    && serials.contains(call.certificate.as_deref().unwrap_or_default()),
                "{call:?}"
            );
        }
        let logins = witness::logins(&world.vault)?;
        ensure!(!logins.is_empty(), "nobody logged in");
        for login in logins {
            let claims = &login.claims;
            ensure!(
                login.accepted
                    && claims.sub == subject(&world.namespace)
                    && claims.aud == [world.audience.as_str()],
                "{login:?}"
            );
        }
        // Nor does the other hear of it.
        let heard = format!("{:?}{:?}", other.gate.calls(), other.vault.audited()?);
        let requests = world
            .api::<DeployRequest>()
            .list(&ListParams::default())
            .await?;
        let mut words: Vec<String> = requests.iter().filter_map(ResourceExt::uid).collect();
        ensure!(words.len() == names.len());
        words.extend([world.namespace.clone(), world.principal.clone()]);
        for word in words {
            ensure!(!heard.contains(&word), "{word} was told to the other");
        }
    }
    nothing_leaked(&[&production, &rest], &[&controller]).await
}

/// How long some deployments take, one after the other.
async fn timed(world: &World, name: &str) -> Result<Duration> {
    let since = Instant::now();
    for number in 0..TIMED {
        world.deploy(&format!("{name}-{number}")).await?;
    }
    Ok(since.elapsed())
}

async fn until_in_trouble(world: &World) -> Result<()> {
    wait_for("the connection to be in trouble", PATIENCE, async || {
        let status = world.status(CONNECTION).await?;
        let ready = status.conditions.iter().find(|one| one.type_ == "Ready");
        ensure!(ready.is_some_and(|ready| ready.status == "False"));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_and_gate_that_hang_or_are_down_slow_nobody_else() -> Result<()> {
    let Some((production, rest)) = production_and_the_rest("12s").await? else {
        return Ok(());
    };
    for number in 0..STUCK {
        rest.environment(&format!("stuck-{number}"), CONNECTION)
            .await?;
    }
    let controller = Controller::start(&[&production, &rest]).await?;
    production.until_ready().await?;
    rest.until_ready().await?;
    let usual = timed(&production, "usual").await?;
    // The machine may be busier later; a call that hangs for its five seconds in each deployment is found all the same.
    let most = usual * 3 + Duration::from_secs(8);

    rest.gate.set_hanging(true);
    rest.vault.pause()?;
    for number in 0..STUCK {
        let name = format!("stuck-{number}");
        rest.ask(&name, "deploy", &name).await?;
    }
    let hanging = timed(&production, "hanging").await?;
    ensure!(hanging < most, "{hanging:?} in the place of {usual:?}");
    until_in_trouble(&rest).await?;
    let ended = timed(&production, "ended").await?;
    ensure!(ended < most, "{ended:?} in the place of {usual:?}");

    rest.gate.stop().await;
    rest.vault.stop();
    let down = timed(&production, "down").await?;
    ensure!(down < most, "{down:?} in the place of {usual:?}");
    production.until_ready().await?;
    until_in_trouble(&rest).await?;

    rest.gate.set_hanging(false);
    rest.gate.restart().await?;
    rest.vault.restart().await?;
    for number in 0..STUCK {
        let name = format!("stuck-{number}");
        rest.until_phase(&name, Phase::Succeeded).await?;
        ensure!(rest.launches(&name).await? == 1, "{name}");
    }
    rest.until_ready().await?;
    ensure!(production.gate.refused_handshakes().is_empty());
    let calls = production.gate.calls();
    let failed = failed(&calls);
    ensure!(failed.is_empty(), "{failed:?}");
    nothing_leaked(&[&production, &rest], &[&controller]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_names_anothers_vault_and_role_gets_nothing() -> Result<()> {
    let Some(production) = World::new("bound").await? else {
        return Ok(());
    };
    let thief = Place::new("thief").await?;
    let methods = [("by-review", Method::Kubernetes), ("by-key", Method::Jwt)];
    for (name, method) in methods {
        thief.connect(name, &production.connection(method)).await?;
        thief.ask(name, "deploy", name).await?;
    }
    let controller = Controller::start_for(&[&production, &thief], "foredeck=debug", &[]).await?;
    production.until_ready().await?;
    for (name, _) in methods {
        let status = thief.until_said(name, "LoginFailed", "").await?;
        ensure!(
            status.certificate.is_none() && status.user.is_none(),
            "{status:?}"
        );
        thief.until_waiting(name, "LoginFailed").await?;
    }
    production.deploy("first").await?;
    let logins = witness::logins(&production.vault)?;
    let (theirs, ours): (Vec<_>, Vec<_>) = logins
        .iter()
        .partition(|login| login.claims.sub == subject(&thief.namespace));
    ensure!(theirs.len() >= 2 && theirs.iter().all(|login| !login.accepted));
    ensure!(!ours.is_empty() && ours.iter().all(|login| login.accepted));
    ensure!(production.gate.launches().len() == 1);
    let places = [&*production, &thief];
    nothing_leaked_from(&[&production], &places, &[&controller]).await
}

/// What the API server answers to whoever shows this token.
async fn at_the_api_server(plane: &ControlPlane, token: &str) -> Result<u16> {
    let trusted = reqwest::Certificate::from_pem(plane.ca_pem().as_bytes())?;
    let client = reqwest::Client::builder()
        .tls_certs_only([trusted])
        .no_proxy()
        .build()?;
    let asked = client.get(format!("{}/api", plane.url()));
    Ok(asked.bearer_auth(token).send().await?.status().as_u16())
}

/// Whom the API server's own tokens are for.
async fn own_audience(place: &Place) -> Result<String> {
    let namespace = &place.namespace;
    let own = place.plane.service_account_token(namespace, "probe", &[]);
    let claims = witness::claims(&own.await?)?;
    claims.aud.into_iter().next().context("no audience")
}

fn false_auth(vault: &FalseVault, method: &str, audience: &str) -> Value {
    json!({"vault": {
        "address": vault.url(),
        "tls": {"caBundle": vault.ca_pem()},
        "login": {method: {"role": ROLE, "audience": audience}},
        "pki": {"mount": "pki-int", "role": ROLE, "commonName": "foredeck"},
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_false_vault_is_shown_is_good_nowhere_else() -> Result<()> {
    let Some(production) = World::new("true").await? else {
        return Ok(());
    };
    let tenant = Place::new("tenant").await?;
    let vault = FalseVault::start().await?;
    let own = own_audience(&tenant).await?;
    // One that is production's Vault by its audience, one that is another, and one that would be the API server.
    for (name, method, audience) in [
        ("as-production", "kubernetes", production.audience.as_str()),
        ("as-another", "jwt", "vault.tenant.example"),
        ("as-the-api-server", "kubernetes", own.as_str()),
    ] {
        let mtls = false_auth(&vault, method, audience);
        let spec = production.connection_by(&mtls);
        tenant.connect(name, &spec).await?;
    }
    let controller = Controller::start_for(&[&production, &tenant], "foredeck=debug", &[]).await?;
    production.until_ready().await?;
    // Its certificates are good for nothing at this Gate.
    for name in ["as-production", "as-another"] {
        let says = "does not trust whoever issued";
        tenant.until_said(name, "LoginFailed", says).await?;
    }
    let says = "the audience is one of the API server's own";
    let told = tenant.until_said("as-the-api-server", "LoginFailed", "audience");
    let told = format!("{:?}", told.await?.conditions);
    ensure!(told.to_lowercase().contains(&says.to_lowercase()), "{told}");

    // Every token of the API server's that is anywhere in what it was sent.
    let shown: String = format!("{:?}", vault.calls());
    let pattern = Regex::new(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")?;
    let tokens: BTreeSet<&str> = pattern.find_iter(&shown).map(|one| one.as_str()).collect();
    let mut audiences = BTreeSet::new();
    for token in tokens {
        let claims = witness::claims(token)?;
        ensure!(claims.sub == subject(&tenant.namespace), "{claims:?}");
        ensure!(claims.exp - claims.iat == 600, "{claims:?}");
        audiences.extend(claims.aud);
        ensure!(at_the_api_server(tenant.plane, token).await? == 401);
        for mount in ["kubernetes", "jwt"] {
            let refused = production.vault.login(mount, ROLE, token).await;
            ensure!(refused.is_err(), "production's Vault takes it at {mount}");
        }
    }
    let expected = [production.audience.as_str(), "vault.tenant.example"];
    ensure!(
        audiences == expected.map(str::to_owned).into(),
        "{audiences:?}"
    );
    for secret in [tenant.plane.admin_token(), production.vault.root_token()] {
        ensure!(!shown.contains(secret), "it was shown another's token");
    }

    // The same questions with tokens that are good there.
    let plane = tenant.plane;
    let token = plane.service_account_token(&tenant.namespace, ACCOUNT, &[]);
    ensure!(at_the_api_server(plane, &token.await?).await? == 200);
    let audience = [production.audience.as_str()];
    let token = plane.service_account_token(&production.namespace, ACCOUNT, &audience);
    let token = token.await?;
    for mount in ["kubernetes", "jwt"] {
        production.vault.login(mount, ROLE, &token).await?;
    }
    ensure!(production.gate.launches().is_empty());
    let places = [&*production, &tenant];
    nothing_leaked_from(&[&production], &places, &[&controller]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_nobody_allowed_are_not_dialled() -> Result<()> {
    let Some(world) = World::bare("hosts", "60s").await? else {
        return Ok(());
    };
    let vault = FalseVault::start().await?;
    let elsewhere = |url: &str| json!(url.replace("127.0.0.1", "localhost"));
    let mut gate = world.connection(Method::Kubernetes);
    gate["gateUrl"] = elsewhere(&world.gate.url());
    let mut both = false_auth(&vault, "kubernetes", "vault.tenant.example");
    both["vault"]["address"] = elsewhere(&vault.url());
    let mut its_vault = world.vault_auth(Method::Kubernetes);
    its_vault["vault"]["address"] = elsewhere(world.vault.url());
    for (name, spec) in [
        ("gate", gate),
        ("false-vault", world.connection_by(&both)),
        ("vault", world.connection_by(&its_vault)),
    ] {
        world.connect(name, &spec).await?;
        world.ask(name, "deploy", name).await?;
    }
    let names = ["gate", "false-vault", "vault"];
    let controller = Controller::start(&[&world]).await?;
    for name in names {
        let status = world
            .until_said(name, "HostNotAllowed", "localhost")
            .await?;
        ensure!(status.certificate.is_none(), "{status:?}");
        let told = world.until_waiting(name, "HostNotAllowed").await?;
        let flag = if name == "gate" {
            "--allow-gate-host"
        } else {
            "--allow-vault-host"
        };
        ensure!(told.contains(flag), "{told}");
    }
    ensure!(world.gate.connections() == 0, "Gate was dialled");
    ensure!(vault.connections() == 0, "the false Vault was dialled");
    ensure!(witness::logins(&world.vault)?.is_empty());
    drop(controller);

    // The same are dialled once they are allowed.
    let allowed = [
        "--allow-gate-host",
        "127.0.0.1,localhost",
        "--allow-vault-host",
        "127.0.0.1,localhost",
    ];
    let controller = Controller::start_with(&[&world], &allowed).await?;
    for name in ["gate", "vault"] {
        world.until_phase(name, Phase::Succeeded).await?;
    }
    world.until_said("false-vault", "LoginFailed", "").await?;
    ensure!(vault.connections() > 0);
    nothing_leaked(&[&world], &[&controller]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_connection_logs_in_as_foredecks_own_namespace_for_whom_it_selects() -> Result<()>
{
    let (selected, unselected) = ("selected", Place::new("unselected").await?);
    let Some(world) = World::bare(selected, "60s").await? else {
        return Ok(());
    };
    let plane = world.plane;
    let home = Place {
        plane,
        namespace: "foredeck-system".to_owned(),
    };
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": ACCOUNT, "namespace": home.namespace},
    });
    let labelled = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": world.namespace, "labels": {"spinnaker": selected}},
    });
    plane
        .apply(&format!("{account}\n---\n{labelled}\n"))
        .await?;
    let at_home = ServiceAccountRole {
        namespace: &home.namespace,
        name: ACCOUNT,
        audience: &world.audience,
        policies: &[ROLE],
        ttl: "10m",
    };
    let vault = &world.vault;
    vault.kubernetes_role("kubernetes", "home", at_home).await?;
    let mut mtls = world.vault_auth(Method::Kubernetes);
    mtls["vault"]["login"]["kubernetes"]["role"] = json!("home");
    let mut spec = world.connection_by(&mtls);
    spec["namespaceSelector"] = json!({"matchLabels": {"spinnaker": selected}});
    home.create::<SpinnakerConnection>("shared", spec).await?;
    for place in [&*world, &unselected] {
        place.environment("shared", "shared").await?;
        place.ask("first", "deploy", "shared").await?;
    }

    let places = [&*world, &unselected, &home];
    let controller = Controller::start_for(&places, "foredeck=debug", &[]).await?;
    world.until_phase("first", Phase::Succeeded).await?;
    unselected
        .until_waiting("first", "ConnectionNotFound")
        .await?;
    ensure!(world.launches("first").await? == 1 && world.gate.launches().len() == 1);
    let known = format!("{:?}", world.principal);
    home.until_said("shared", "ConfigurationValid", &known)
        .await?;
    let logins = witness::logins(vault)?;
    let ours = subject(&home.namespace);
    ensure!(
        !logins.is_empty()
            && logins
                .iter()
                .all(|login| login.accepted && login.claims.sub == ours),
        "{logins:?}"
    );
    nothing_leaked_from(&[&world], &places, &[&controller]).await
}
