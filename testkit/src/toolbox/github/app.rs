//! The GitHub App: its key, and whether somebody who claims to be it is. Touches nothing.

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::Value;

/// The longest that a token of an app may live, in seconds.
const LONGEST: i64 = 600;
/// By how much clocks may differ, in seconds.
const SKEW: i64 = 60;
/// What comes before the key proper in PKCS #8 for RSA with 2048 bits: lengths, version, algorithm.
const WRAPPING: usize = 26;

/// A GitHub App that is installed on the repository.
#[derive(Clone)]
pub struct App {
    /// Its id.
    pub id: u64,
    /// Its installation's id.
    pub installation: u64,
    /// Its private key as GitHub hands it out: PEM, PKCS #1.
    pub private_key: String,
    /// The same in PKCS #8.
    pub private_key_pkcs8: String,
    public: Vec<u8>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "App({})", self.id)
    }
}

impl App {
    pub(super) fn generate(id: u64, installation: u64) -> Result<Self> {
        let failed = |_| anyhow!("cannot generate a key for a GitHub App");
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let private: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
        let inner = private.as_ref().get(WRAPPING..).context("a longer key")?;
        Ok(Self {
            id,
            installation,
            private_key: pem("RSA PRIVATE KEY", inner),
            private_key_pkcs8: pem("PRIVATE KEY", private.as_ref()),
            public: public.as_ref().to_vec(),
        })
    }

    /// Whether a JSON web token is this app's at that second since 1970.
    ///
    /// # Errors
    /// It isn't: in GitHub's words.
    pub(super) fn check(&self, token: &str, now: i64) -> Result<()> {
        let undecoded = || anyhow!("A JSON web token could not be decoded");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(undecoded)?;
        let (head, claims) = signed.split_once('.').ok_or_else(undecoded)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| undecoded());
        let read = |part: &str| -> Result<Value> {
            serde_json::from_slice(&decode(part)?).map_err(|_| undecoded())
        };
        ensure!(read(head)?["alg"] == "RS256", undecoded());
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public)
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| undecoded())?;
        let claims = read(claims)?;
        let whose = &claims["iss"];
        let named = whose == self.id || whose == self.id.to_string().as_str();
        ensure!(named, "'Issuer' claim ('iss') must be an Integer");
        let expires = claims["exp"].as_i64();
        let expires = expires.context("Missing 'exp' claim in assertion")?;
        ensure!(expires > now, "'Expiration time' claim ('exp') is too old");
        ensure!(
            expires <= now + LONGEST,
            "'Expiration time' claim ('exp') is too far in the future"
        );
        let issued = claims["iat"].as_i64();
        let issued = issued.context("Missing 'issued at' claim ('iat') in assertion")?;
        ensure!(
            issued <= now + SKEW,
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        );
        Ok(())
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, letter) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text + &format!("\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{rand::SystemRandom, signature::RSA_PKCS1_SHA256};
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn token(app: &App, head: &Value, claims: &Value) -> String {
        let lines = app
            .private_key
            .lines()
            .filter(|line| !line.contains("-----"));
        let der = STANDARD.decode(lines.collect::<String>()).unwrap();
        let pair = KeyPair::from_der(&der).unwrap();
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(head), encode(claims));
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn an_app_is_known_by_its_key_and_for_ten_minutes_at_most() {
        let app = App::generate(7, 8).unwrap();
        let head = json!({"alg": "RS256", "typ": "JWT"});
        let good = json!({"iss": "7", "iat": NOW - 30, "exp": NOW + 540});
        app.check(&token(&app, &head, &good), NOW).unwrap();
        let refused = |head: &Value, claims: Value| {
            app.check(&token(&app, head, &claims), NOW)
                .unwrap_err()
                .to_string()
        };
        let far = refused(&head, json!({"iss": 7, "iat": NOW, "exp": NOW + 601}));
        assert!(far.contains("too far in the future"), "{far}");
        let old = refused(&head, json!({"iss": 7, "iat": NOW - 600, "exp": NOW}));
        assert!(old.contains("too old"), "{old}");
        let early = refused(&head, json!({"iss": 7, "iat": NOW + 120, "exp": NOW + 200}));
        assert!(early.contains("iat"), "{early}");
        refused(&head, json!({"iss": 9, "iat": NOW, "exp": NOW + 60}));
        refused(&json!({"alg": "none"}), good.clone());
        let other = App::generate(7, 8).unwrap();
        app.check(&token(&other, &head, &good), NOW).unwrap_err();
    }
}
