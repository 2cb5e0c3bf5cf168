//! One call of Vault. Touches Vault.
