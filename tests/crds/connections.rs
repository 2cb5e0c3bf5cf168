//! What a `SpinnakerConnection` takes and refuses: where Gate and Vault are, how to log in, whom to trust, who may share it.

use anyhow::Result;
use serde_json::{Value, json};

use crate::rules::{Row, check};

const KIND: &str = "SpinnakerConnection";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

/// With a change somewhere below: an object goes into the object there, a null takes away, anything else replaces.
fn merged(mut into: Value, change: &Value) -> Value {
    for (name, value) in change.as_object().into_iter().flatten() {
        if value.is_null() {
            if let Some(object) = into.as_object_mut() {
                object.remove(name);
            }
        } else if value.is_object() && into[name].is_object() {
            into[name] = merged(into[name].take(), value);
        } else {
            into[name] = value.clone();
        }
    }
    into
}

/// `auth.mtls.vault` in order, with a change.
fn vault(change: &Value) -> Value {
    let least = json!({
        "address": "https://vault.example:8200",
        "login": {"kubernetes": {"role": "foredeck", "audience": "vault.example"}},
        "pki": {"role": "foredeck", "commonName": "foredeck"},
    });
    json!({"auth": {"mtls": {"vault": merged(least, change)}}})
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("n{at}")).collect()
}

#[tokio::test]
async fn a_connection_logs_in_one_way() -> Result<()> {
    let secret = json!({"secretName": "gate"});
    let auth = |auth: Value| json!({"auth": auth});
    let one = Some("auth takes exactly one of basic, token and mtls");
    let rows = vec![
        (json!({}), None),
        (auth(json!({"basic": secret})), None),
        (auth(json!({"token": secret})), None),
        (auth(json!({"mtls": secret})), None),
        (vault(&json!({})), None),
        (auth(json!({})), one),
        (auth(json!({"basic": secret, "token": secret})), one),
        (auth(json!({"basic": secret, "mtls": secret})), one),
        (auth(json!({"token": secret, "mtls": secret})), one),
        (
            auth(json!({"basic": secret, "token": secret, "mtls": secret})),
            one,
        ),
        (
            auth(json!({"basic": {"secretName": ""}})),
            Some("secretName"),
        ),
        (
            auth(json!({"mtls": {"secretName": ""}})),
            Some("secretName"),
        ),
        (
            auth(json!({"mtls": {"secretName": "s".repeat(254)}})),
            Some("secretName"),
        ),
        (
            auth(
                json!({"token": {"secretName": "gate", "header": "X-Spinnaker-Token", "key": "t"}}),
            ),
            None,
        ),
        (
            auth(json!({"token": {"secretName": "gate", "header": "X Y"}})),
            Some("header"),
        ),
        (
            auth(json!({"token": {"secretName": "gate", "header": "X:\r\nY"}})),
            Some("header"),
        ),
        (
            auth(json!({"token": {"secretName": "gate", "key": ""}})),
            Some("key"),
        ),
        (json!({"trigger": "Curl"}), Some("spec.trigger")),
    ];
    check(KIND, rows).await
}

#[tokio::test]
async fn gate_is_an_http_address_and_with_certificates_an_https_one() -> Result<()> {
    let mtls = json!({"mtls": {"secretName": "gate"}});
    let https = Some("auth.mtls takes a gateUrl that begins with https://");
    let rows = vec![
        (json!({"gateUrl": "http://gate.example:8084/gate"}), None),
        (
            json!({"gateUrl": "gate.example:8084"}),
            Some("spec.gateUrl"),
        ),
        (
            json!({"gateUrl": "http://gate.example/?a=b"}),
            Some("spec.gateUrl"),
        ),
        (
            json!({"gateUrl": "https://gate.example/#a"}),
            Some("spec.gateUrl"),
        ),
        (
            json!({"gateUrl": "ftp://gate.example"}),
            Some("spec.gateUrl"),
        ),
        (
            json!({"gateUrl": "https://gate.example", "auth": mtls}),
            None,
        ),
        (
            json!({"gateUrl": "http://gate.example", "auth": mtls}),
            https,
        ),
        (
            merged(
                vault(&json!({})),
                &json!({"gateUrl": "http://127.0.0.1:8084"}),
            ),
            https,
        ),
        (
            json!({"gateUrl": "http://gate.example", "auth": {"basic": {"secretName": "gate"}}}),
            None,
        ),
    ];
    check(KIND, rows).await
}

#[tokio::test]
async fn certificates_come_from_a_secret_or_from_a_vault() -> Result<()> {
    let one = Some("mtls takes exactly one of secretName and vault");
    let both = merged(
        vault(&json!({})),
        &json!({"auth": {"mtls": {"secretName": "gate"}}}),
    );
    let rows = vec![(json!({"auth": {"mtls": {}}}), one), (both, one)];
    check(KIND, rows).await
}

#[tokio::test]
async fn a_vault_is_spoken_to_by_https_and_without_a_path() -> Result<()> {
    let at = |address: &str| vault(&json!({"address": address}));
    let good = [
        "https://vault.example",
        "https://vault.example/",
        "https://vault.example:8200",
        "https://10.0.0.7:8200",
        "https://[2001:db8::1]:8200",
        "http://127.0.0.1:8200",
        "http://127.0.0.1",
        "http://localhost:8200",
        "http://[::1]:8200/",
    ];
    let bad = [
        "http://vault.example:8200",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1:8200@evil.example",
        "http://localhost.evil.example:8200",
        "http://127.0.0.2:8200",
        "http://127.0.0.1:123456",
        "https://vault.example/prefix",
        "https://vault.example/prefix/",
        "https://vault.example\\prefix",
        "https://vault.\nexample",
        "https://user:password@vault.example",
        "https://vault.example?a=b",
        "https://vault.example#a",
        "https:///v1",
        "https://vault example",
        "vault.example:8200",
        "ftp://vault.example",
        " https://vault.example",
    ];
    let mut rows: Vec<Row> = good.map(|address| (at(address), None)).into();
    rows.extend(bad.map(|address| (at(address), Some("vault.address"))));
    rows.push((
        at(&format!("https://{}", "v".repeat(2_100))),
        Some("vault.address"),
    ));
    check(KIND, rows).await
}

/// Paths and names go into the addresses of calls, so none may lead to another endpoint than the one that is meant.
#[tokio::test]
async fn names_in_a_vault_lead_nowhere_else() -> Result<()> {
    let mount = |text: &str| vault(&json!({"pki": {"mount": text}}));
    let login = |text: &str| vault(&json!({"login": {"kubernetes": {"mount": text}}}));
    let namespace = |text: &str| vault(&json!({"namespace": text}));
    let role = |text: &str| vault(&json!({"pki": {"role": text}}));
    let login_role = |text: &str| vault(&json!({"login": {"kubernetes": {"role": text}}}));
    let mut rows: Vec<Row> = Vec::new();
    for text in ["pki", "pki_prod", "teams/shop/pki-1", "a.b", "-a"] {
        rows.extend([
            (mount(text), None),
            (login(text), None),
            (namespace(text), None),
        ]);
    }
    for text in ["foredeck", "shop_prod-1", "a.b"] {
        rows.extend([(role(text), None), (login_role(text), None)]);
    }
    let elsewhere = [
        "..",
        "../sys",
        "pki/../sys",
        "pki/..",
        ".",
        "./pki",
        "/pki",
        "pki/",
        "pki//x",
        "pki?x=y",
        "pki#x",
        "p%2e%2e",
        "pki x",
        "pki\\x",
        "pki\nx",
        "pkı",
        "",
    ];
    for text in elsewhere {
        rows.extend([
            (mount(text), Some("pki.mount")),
            (login(text), Some("login.kubernetes.mount")),
            (namespace(text), Some("vault.namespace")),
            (role(text), Some("pki.role")),
            (login_role(text), Some("login.kubernetes.role")),
        ]);
    }
    rows.extend([
        (role("a/b"), Some("pki.role")),
        (login_role("a/b"), Some("login.kubernetes.role")),
        (mount(&"m".repeat(254)), Some("pki.mount")),
        (role(&"r".repeat(254)), Some("pki.role")),
    ]);
    check(KIND, rows).await
}

#[tokio::test]
async fn a_login_to_a_vault_is_one_of_three() -> Result<()> {
    let one = Some("login takes exactly one of kubernetes, jwt and token");
    let account = json!({"role": "foredeck", "audience": "vault.example"});
    let token = json!({"secretName": "vault"});
    let login = |login: Value| {
        let mut change = vault(&json!({}));
        change["auth"]["mtls"]["vault"]["login"] = login;
        change
    };
    let rows = vec![
        (login(json!({"kubernetes": account})), None),
        (login(json!({"jwt": account})), None),
        (login(json!({"token": token})), None),
        (login(json!({})), one),
        (login(json!({"kubernetes": account, "jwt": account})), one),
        (login(json!({"kubernetes": account, "token": token})), one),
        (login(json!({"jwt": account, "token": token})), one),
        (
            login(json!({"kubernetes": {"role": "foredeck"}})),
            Some("login.kubernetes.audience"),
        ),
        (
            login(json!({"jwt": {"role": "foredeck", "audience": ""}})),
            Some("login.jwt.audience"),
        ),
        (
            login(json!({"jwt": {"audience": "vault.example"}})),
            Some("login.jwt.role"),
        ),
        (login(json!({"token": {}})), Some("login.token.secretName")),
        (
            login(json!({"token": {"secretName": "vault", "key": ""}})),
            Some("login.token.key"),
        ),
    ];
    check(KIND, rows).await
}

/// Vault takes lists with commas between their items.
#[tokio::test]
async fn each_name_of_a_certificate_is_one_name() -> Result<()> {
    let pki = |pki: Value| vault(&json!({"pki": pki}));
    let mut rows = vec![
        (pki(json!({"commonName": "foredeck@corp.example"})), None),
        (pki(json!({"commonName": null})), Some("pki.commonName")),
        (pki(json!({"commonName": ""})), Some("pki.commonName")),
        (pki(json!({"commonName": "a,b"})), Some("pki.commonName")),
        (pki(json!({"commonName": "a b"})), Some("pki.commonName")),
        (pki(json!({"role": null})), Some("pki.role")),
    ];
    for (name, named, good) in [
        ("altNames", "pki.altNames", "foredeck@corp.example"),
        ("ipSans", "pki.ipSans", "10.0.0.7"),
        ("uriSans", "pki.uriSans", "spiffe://corp.example/foredeck"),
    ] {
        rows.extend([
            (pki(json!({name: [good]})), None),
            (pki(json!({name: texts(20)})), None),
            (pki(json!({name: texts(21)})), Some(named)),
            (pki(json!({name: ["admin,foredeck"]})), Some(named)),
            (pki(json!({name: ["admin foredeck"]})), Some(named)),
            (pki(json!({name: [""]})), Some(named)),
            (pki(json!({name: ["n".repeat(254)]})), Some(named)),
        ]);
    }
    check(KIND, rows).await
}

#[tokio::test]
async fn the_life_of_a_certificate_is_a_duration() -> Result<()> {
    let ttl = |text: &str| vault(&json!({"pki": {"ttl": text}}));
    let mut rows: Vec<Row> = ["30s", "10m", "1h30m"].map(|text| (ttl(text), None)).into();
    let bad = ["", "30", "500ms", "-1h", "1d", "1.5h", "10 m", "123456789s"];
    rows.extend(bad.map(|text| (ttl(text), Some("pki.ttl"))));
    check(KIND, rows).await
}

#[tokio::test]
async fn trust_comes_from_one_place() -> Result<()> {
    let one = Some("tls takes exactly one of caBundle and caSecretRef");
    let gate = |tls: &Value| json!({"tls": tls});
    let vaults = |tls: &Value| vault(&json!({"tls": tls}));
    let mut rows = Vec::new();
    for (tls, refused) in [
        (json!({"caBundle": PEM}), None),
        (json!({"caSecretRef": {"name": "ca"}}), None),
        (
            json!({"caSecretRef": {"name": "ca", "key": "root.pem"}}),
            None,
        ),
        (json!({}), one),
        (json!({"caBundle": PEM, "caSecretRef": {"name": "ca"}}), one),
        (json!({"caBundle": ""}), Some("tls.caBundle")),
        (json!({"caBundle": "/etc/ssl/ca.pem"}), Some("tls.caBundle")),
        (
            json!({"caBundle": format!("{PEM}{}", "x".repeat(65_536))}),
            Some("tls.caBundle"),
        ),
        (json!({"caSecretRef": {}}), Some("tls.caSecretRef.name")),
        (
            json!({"caSecretRef": {"name": ""}}),
            Some("tls.caSecretRef.name"),
        ),
        (
            json!({"caSecretRef": {"name": "ca", "key": ""}}),
            Some("tls.caSecretRef.key"),
        ),
    ] {
        rows.extend([(gate(&tls), refused), (vaults(&tls), refused)]);
    }
    check(KIND, rows).await
}

#[tokio::test]
async fn the_rate_of_calls_has_bounds() -> Result<()> {
    let limit = |limit: Value| json!({"rateLimit": limit});
    let rows = vec![
        (limit(json!({"perSecond": 1})), None),
        (limit(json!({"perSecond": 1_000, "burst": 10_000})), None),
        (limit(json!({"perSecond": 0})), Some("rateLimit.perSecond")),
        (limit(json!({"perSecond": -1})), Some("rateLimit.perSecond")),
        (
            limit(json!({"perSecond": 1_001})),
            Some("rateLimit.perSecond"),
        ),
        (
            limit(json!({"perSecond": 0.5})),
            Some("rateLimit.perSecond"),
        ),
        (limit(json!({})), Some("rateLimit.perSecond")),
        (
            limit(json!({"perSecond": 5, "burst": 0})),
            Some("rateLimit.burst"),
        ),
        (
            limit(json!({"perSecond": 5, "burst": 10_001})),
            Some("rateLimit.burst"),
        ),
    ];
    check(KIND, rows).await
}

#[tokio::test]
async fn namespaces_are_selected_as_kubernetes_selects() -> Result<()> {
    let selector = |selector: Value| json!({"namespaceSelector": selector});
    let rule = |key: &str, operator: &str, values: Option<Vec<String>>| {
        let mut rule = json!({"key": key, "operator": operator});
        if let Some(values) = values {
            rule["values"] = values.into();
        }
        json!({"namespaceSelector": {"matchExpressions": [rule]}})
    };
    let some = || Some(texts(1));
    let values = Some("In and NotIn take values, Exists and DoesNotExist take none");
    let labels = |count: usize| -> Value {
        texts(count)
            .into_iter()
            .map(|name| (name, json!("v")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let expressions = |count: usize| vec![json!({"key": "team", "operator": "Exists"}); count];
    let rows = vec![
        (selector(json!({})), None),
        (selector(json!({"matchLabels": {"team": ""}})), None),
        (selector(json!({"matchLabels": labels(16)})), None),
        (
            selector(json!({"matchLabels": labels(17)})),
            Some("matchLabels"),
        ),
        (
            selector(json!({"matchLabels": {"team": "t".repeat(64)}})),
            Some("matchLabels"),
        ),
        (rule("team", "In", some()), None),
        (rule("team", "NotIn", some()), None),
        (rule("team", "Exists", None), None),
        (rule("team", "DoesNotExist", None), None),
        (rule("team", "In", None), values),
        (rule("team", "NotIn", Some(Vec::new())), values),
        (rule("team", "Exists", some()), values),
        (rule("team", "DoesNotExist", some()), values),
        (rule("team", "Like", some()), Some("operator")),
        (rule("", "Exists", None), Some("key")),
        (rule(&"k".repeat(318), "Exists", None), Some("key")),
        (rule("team", "In", Some(texts(50))), None),
        (rule("team", "In", Some(texts(51))), Some("values")),
        (
            rule("team", "In", Some(vec!["v".repeat(64)])),
            Some("values"),
        ),
        (selector(json!({"matchExpressions": expressions(16)})), None),
        (
            selector(json!({"matchExpressions": expressions(17)})),
            Some("matchExpressions"),
        ),
    ];
    check(KIND, rows).await
}
