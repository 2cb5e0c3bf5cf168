//! Groups from Okta.
