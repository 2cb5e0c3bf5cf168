//! What this process began to create a moment ago. Touches nothing.
//!
//! A watch tells of a new request late, and while a create has no answer nobody tells of it. Whoever types the same
//! again meanwhile is to be asked once more all the same. Only what another replica begins is known by the watch alone.

use std::{sync::Arc, time::Duration};

use futures::future;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use moka::{future::Cache, ops::compute::Op};

use super::plan::repeat;
use crate::{api::DeployRequest, runtime::cache::Guarded};

/// How long a create is remembered: longer than one is waited for, and than a watch is usually interrupted.
const REMEMBERED: Duration = Duration::from_mins(2);
/// Creates remembered at most.
const MOST: u64 = 10_000;

/// The namespace, and the digest of what is asked for whatever the commit.
type Wish = (String, String);

/// The youngest create of each wish.
#[derive(Clone)]
pub(super) struct Begun(Cache<Wish, Arc<Guarded<DeployRequest>>>);

impl Begun {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        let cache = Cache::builder().max_capacity(MOST).time_to_live(REMEMBERED);
        Self(cache.build())
    }

    /// What was begun that asks for the same.
    pub(super) async fn equal(
        &self,
        request: &DeployRequest,
    ) -> Option<Arc<Guarded<DeployRequest>>> {
        let held = self.0.get(&wish(request)).await;
        held.filter(|held| is_same(request, held))
    }

    /// Remembers that `request` is about to be created, now.
    ///
    /// # Errors
    /// An equal one, if somebody began one since that isn't among `seen`: of two at one time, one has to ask.
    pub(super) async fn begin(
        &self,
        request: &DeployRequest,
        seen: &[Arc<Guarded<DeployRequest>>],
        now: Timestamp,
    ) -> Result<(), Arc<Guarded<DeployRequest>>> {
        let mut own = request.clone();
        own.metadata.creation_timestamp = Some(Time(now));
        let own = Arc::new(kube::core::DeserializeGuard(Ok(own)));
        let mut unseen = None;
        let entry = self.0.entry(wish(request));
        let _done = entry
            .and_compute_with(|held| {
                let held = held.map(moka::Entry::into_value);
                unseen = held.filter(|held| {
                    held.name_any() != request.name_any()
                        && is_same(request, held)
                        && !seen.iter().any(|seen| seen.name_any() == held.name_any())
                });
                let put = Op::Put(own);
                future::ready(if unseen.is_some() { Op::Nop } else { put })
            })
            .await;
        unseen.map_or(Ok(()), Err)
    }

    /// The request was certainly not created.
    pub(super) async fn forget(&self, request: &DeployRequest) {
        let entry = self.0.entry(wish(request));
        let _done = entry
            .and_compute_with(|held| {
                let own = held.is_some_and(|held| held.value().name_any() == request.name_any());
                future::ready(if own { Op::Remove } else { Op::Nop })
            })
            .await;
    }
}

fn wish(request: &DeployRequest) -> Wish {
    let namespace = request.namespace().unwrap_or_default();
    (namespace, repeat::wish(&request.spec))
}

fn is_same(request: &DeployRequest, held: &Guarded<DeployRequest>) -> bool {
    held.0
        .as_ref()
        .is_ok_and(|held| repeat::is_same(&request.spec, held))
}
