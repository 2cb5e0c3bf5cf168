//! Secrets of a KV engine.

use foredeck::secrets::vault::{SecretPath, VaultError};
use secrecy::ExposeSecret;
use serde_json::json;

use super::bed::{Bed, assert_says, hush};

fn at(mount: &str, path: &str, key: &str) -> SecretPath {
    SecretPath::new(mount, path, key).unwrap()
}

#[tokio::test]
async fn the_newest_version_is_read_and_what_is_missing_is_said() {
    let Some(bed) = Bed::new().await else { return };
    for secret in ["xoxb-hush-one", "xoxb-hush-two"] {
        hush(secret);
    }
    let session = bed.session(bed.kubernetes());
    let path = "foredeck/slack";
    let put = async |token: &str| {
        let values = json!({"bot-token": token, "number": 7});
        bed.vault.put_secret("kv", path, values).await.unwrap();
    };
    let token = at("kv", path, "bot-token");
    let error = session.read(&token).await.unwrap_err();
    assert!(matches!(error, VaultError::NotFound { .. }), "{error:?}");
    assert_says(&error, &["kv/data/foredeck/slack", "no secret"]);
    for value in ["xoxb-hush-one", "xoxb-hush-two"] {
        put(value).await;
        let read = session.read(&token).await.unwrap();
        assert_eq!(read.expose_secret(), value);
    }
    for key in ["other", "number"] {
        let error = session.read(&at("kv", path, key)).await.unwrap_err();
        assert_says(
            &error,
            &["kv/data/foredeck/slack", &format!("no key {key}")],
        );
    }
    bed.vault.delete("kv/data/foredeck/slack").await.unwrap();
    let error = session.read(&token).await.unwrap_err();
    assert_says(&error, &["newest version of the secret is deleted"]);
    put("xoxb-hush-one").await;
    session.read(&token).await.unwrap();
    let error = session.read(&at("nowhere", "a", "b")).await.unwrap_err();
    assert_says(&error, &["nowhere/data/a"]);
}
