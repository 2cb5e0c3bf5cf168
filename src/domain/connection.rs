//! Which connection a name means in a namespace: its own, or one that foredeck's own namespace shares with it. Touches
//! nothing.

use std::borrow::Borrow;

use super::{
    refusal::Refusal,
    selector::{Labels, selects},
};
use crate::api::{SpinnakerConnection, conditions::Reason, deploy_request::WaitingFor};

/// What a name means in a namespace, as far as that can be said without the namespace's labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant<C> {
    /// This one.
    This(C),
    /// This one of foredeck's own namespace, where its selector matches the labels of the namespace that asks.
    IfSelected(C),
    /// None.
    Nothing,
}

/// What a name means in `namespace`, which has `own` of that name, while foredeck's own namespace `home` has `shared`.
///
/// A namespace's own connection counts before any other, whatever selector it carries: selectors count in foredeck's own
/// namespace only, where who runs foredeck writes them. There, too, its own namespace needs no label.
pub fn meant<C: Borrow<SpinnakerConnection>>(
    namespace: &str,
    own: Option<C>,
    home: &str,
    shared: Option<C>,
) -> Meant<C> {
    match (own, shared) {
        (Some(own), _) => Meant::This(own),
        (None, Some(shared))
            if namespace != home && shared.borrow().spec.namespace_selector.is_some() =>
        {
            Meant::IfSelected(shared)
        }
        (None, _) => Meant::Nothing,
    }
}

impl<C: Borrow<SpinnakerConnection>> Meant<C> {
    /// What it means in a namespace with these labels.
    pub fn by(self, labels: &Labels) -> Option<C> {
        match self {
            Self::This(own) => Some(own),
            Self::IfSelected(shared) => {
                let selector = shared.borrow().spec.namespace_selector.as_ref();
                let selected = selector.is_some_and(|selector| selects(selector, labels));
                selected.then_some(shared)
            }
            Self::Nothing => None,
        }
    }
}

/// There is none. In the same words whether foredeck's own namespace has none, shares it with nobody, or with others:
/// who asks may not be allowed to know.
pub fn missing(name: &str) -> Refusal {
    Refusal::passing(
        WaitingFor::Configuration,
        Reason::ConnectionNotFound,
        format!(
            "there is no SpinnakerConnection {name:?} in this namespace, and none of that name is shared with it; it goes on as soon as there is one."
        ),
    )
}

/// The connections of foredeck's own namespace `home` can't be read, and without them it can't be said what `unknown`, a
/// clause, is about.
pub fn home_unknown(unknown: &str, home: &str) -> Refusal {
    Refusal::passing(
        WaitingFor::Configuration,
        Reason::ConnectionNotFound,
        format!(
            "{unknown}: the controller can't read the SpinnakerConnections of namespace {home:?} yet. Whoever runs foredeck can allow it to; it is tried again."
        ),
    )
}

/// What was sent may have been sent through a connection of foredeck's own namespace, and those aren't known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomeUnknown;

/// The one that something was sent through: the one of that uid, whatever its name means now. Where none has that uid any
/// more, one that was made anew for the same Gate; else the namespace's own, through which nothing is sent again.
///
/// # Errors
/// When it isn't the namespace's own, and what foredeck's own namespace has of that name (`shared`) isn't known. Not even
/// one for the same Gate is taken then: it may log in as somebody who doesn't see what was sent.
pub fn sent_through<C: Borrow<SpinnakerConnection>>(
    own: Option<C>,
    shared: Option<Option<C>>,
    uid: &str,
    gate_url: &str,
) -> Result<Option<C>, HomeUnknown> {
    let same = |known: &Option<C>, test: &dyn Fn(&SpinnakerConnection) -> bool| {
        known.as_ref().is_some_and(|known| test(known.borrow()))
    };
    let by_uid = |known: &SpinnakerConnection| known.metadata.uid.as_deref() == Some(uid);
    let by_gate = |known: &SpinnakerConnection| known.spec.gate_url == gate_url;
    if same(&own, &by_uid) {
        return Ok(own);
    }
    let shared = shared.ok_or(HomeUnknown)?;
    if same(&shared, &by_uid) {
        return Ok(shared);
    }
    if same(&own, &by_gate) {
        return Ok(own);
    }
    if same(&shared, &by_gate) {
        return Ok(shared);
    }
    Ok(own)
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
