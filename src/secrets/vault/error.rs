//! Why Vault gives nothing, in words for people. Touches nothing.
//!
//! The words are all ours: what a Vault says may be made up, or hold a token that it was shown.

use crate::{
    api::conditions::Reason, runtime::http::Distrust, secrets::service_account::TokenError,
};

/// Why Vault gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// No connection, or no whole answer in time.
    #[error("Vault can't be reached: {cause}. {}", .cause.remedy())]
    Unreachable {
        /// Why.
        cause: Unreachable,
    },
    /// It sends us elsewhere: a token goes nowhere else.
    #[error(
        "what answers for Vault sends us to another address, and no token goes there. Whoever configures this can name \
         the address of the active Vault"
    )]
    Redirected,
    /// It is sealed.
    #[error("Vault is sealed. Whoever runs Vault can unseal it")]
    Sealed,
    /// It is empty.
    #[error("Vault is not initialised. Whoever runs Vault can initialise it")]
    NotInitialized,
    /// It waits behind another, and doesn't hand calls on.
    #[error("this Vault only stands by. Whoever runs Vault can tell the address of the active one")]
    Standby,
    /// It limits us.
    #[error("Vault limits how often it may be asked. Whoever runs Vault can raise the limit")]
    Busy,
    /// It has trouble of its own.
    #[error("Vault answers with status {0}. Whoever runs Vault finds the cause in its log")]
    Status(u16),
    /// It doesn't take the login.
    #[error("Vault refuses the login at {place}: {refusal}. {}", .refusal.remedy())]
    LoginRefused {
        /// The path of the login, which we made ourselves.
        place: String,
        /// Why.
        refusal: LoginRefusal,
    },
    /// The login is good, but may not do it.
    #[error(
        "Vault takes the login but forbids {place}. Whoever runs Vault can allow it by a policy of the login's role"
    )]
    PermissionDenied {
        /// The path in Vault, which we made ourselves.
        place: String,
    },
    /// No engine, role or secret of that name.
    #[error(
        "Vault knows nothing of {place}: {what}. Whoever configures this or runs Vault can correct it"
    )]
    NotFound {
        /// The path in Vault, which we made ourselves.
        place: String,
        /// What is missing, as far as that is known.
        what: &'static str,
    },
    /// The engine doesn't issue a certificate like that.
    #[error(
        "Vault's role at {place} doesn't issue a certificate with these names and this ttl. Whoever configures this or \
         runs Vault can make them agree"
    )]
    RequestRefused {
        /// The path in Vault, which we made ourselves.
        place: String,
    },
    /// The secret is there, the key in it is not, or its value is no text.
    #[error(
        "the secret at {place} in Vault has no key {key} with a text. Whoever keeps the secret can add it"
    )]
    KeyMissing {
        /// The path in Vault, which we made ourselves.
        place: String,
        /// The key.
        key: String,
    },
    /// Not what a Vault answers.
    #[error(
        "the answer of Vault can't be read. Whoever configures this can see whether it names a Vault"
    )]
    Unreadable,
    /// It gave a certificate that has ended already or that doesn't suit its key.
    #[error(
        "Vault gave a certificate that can't be used: {0}. Whoever runs Vault can look at the role"
    )]
    Useless(&'static str),
    /// The token for the login is not to be had.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Nothing listens there.
    #[error("the connection was refused")]
    Refused,
    /// The name is unknown.
    #[error("its name can't be resolved")]
    Name,
    /// Its certificate is nobody's whom the connection trusts, or another host's, or out of date.
    #[error("{}", .0.words())]
    Untrusted(Distrust),
    /// TLS doesn't come about for another reason.
    #[error("the TLS handshake failed")]
    Tls,
    /// It takes too long.
    #[error("no answer in time")]
    Silent,
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
}

impl Unreachable {
    fn remedy(self) -> &'static str {
        match self {
            Self::Untrusted(Distrust::Issuer) => {
                "Whoever configures this can name Vault's certificate authority"
            }
            Self::Untrusted(Distrust::Name) => {
                "Whoever configures this can name Vault as its certificate does, or whoever runs Vault can have it name the address"
            }
            Self::Untrusted(Distrust::NotYet) => {
                "Whoever runs Vault can look at the certificate, and at the clocks of both sides"
            }
            Self::Untrusted(Distrust::Expired | Distrust::Revoked | Distrust::Other) => {
                "Whoever runs Vault can give it a good one"
            }
            Self::Name => "Whoever configures this can correct the address",
            Self::Refused | Self::Tls | Self::Silent | Self::Broken => {
                "Whoever runs Vault, or the network before it, can see why"
            }
        }
    }
}

/// Why a login is refused, as far as Vault lets one tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// No auth method is mounted there.
    #[error("no auth method is mounted there")]
    Mount,
    /// The method has no such role.
    #[error("it has no role of that name")]
    Role,
    /// The role wants another audience.
    #[error("its role takes tokens for another audience")]
    Audience,
    /// The role isn't for this `ServiceAccount` or its namespace.
    #[error("its role is not for this ServiceAccount in this namespace")]
    ServiceAccount,
    /// The Vault token is unknown, revoked or has run out.
    #[error("the token is unknown to it, revoked or has run out")]
    Token,
    /// The token can't be sent: empty, or with characters that no header can carry.
    #[error("the token is empty, or no header can carry it")]
    NotSendable,
    /// It says no more than that.
    #[error("it says no more than that it doesn't accept the token")]
    Unsaid,
}

impl LoginRefusal {
    fn remedy(self) -> &'static str {
        match self {
            Self::Mount | Self::Role => {
                "Whoever configures this can correct mount and role, whoever runs Vault can make them"
            }
            Self::Audience => "Whoever configures this can name the audience that the role wants",
            Self::ServiceAccount => {
                "Whoever runs Vault can bind the role to this namespace's ServiceAccount, or the connection names another role"
            }
            Self::Token | Self::NotSendable => {
                "Whoever keeps the token can put a good one in its place"
            }
            Self::Unsaid => {
                "Whoever runs Vault finds the cause in its log; the role's ServiceAccount, namespace and audience are the \
                 usual causes"
            }
        }
    }
}

impl VaultError {
    /// As a connection's condition says it, whose certificate doesn't come. Of a role's secrets,
    /// [`Unread::reason`](crate::secrets::live::Unread::reason) is the word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable { .. }
            | Self::Redirected
            | Self::Sealed
            | Self::NotInitialized
            | Self::Standby
            | Self::Busy
            | Self::Status(_)
            | Self::Unreadable => Reason::VaultUnreachable,
            Self::LoginRefused { .. } | Self::Token(_) => Reason::LoginFailed,
            Self::PermissionDenied { .. }
            | Self::NotFound { .. }
            | Self::RequestRefused { .. }
            | Self::KeyMissing { .. }
            | Self::Useless(_) => Reason::CertificateIssueFailed,
        }
    }

    /// What is wrong and who can do what, as sentences with a full stop. Nothing in it comes from Vault.
    pub fn sentence(&self) -> String {
        let mut text = self.to_string();
        if let Some(first) = text.get(..1) {
            let first = first.to_uppercase();
            text.replace_range(..1, &first);
        }
        text.push('.');
        text
    }
}
