//! What people and policies say about a request: whether it may start, and whether a cancel counts. Touches the API server
//! (reads and access reviews).
//!
//! While a request waits, caches and remembered answers do. Right before it is sent everything is asked and read anew.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::join_all;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Named,
    guards::{self, Ahead, Overriding},
};
use crate::{
    api::{
        DeployApproval, DeployRequest, Person,
        actor::Actor,
        conditions::Reason,
        deploy_approval::ApprovalSubject,
        deploy_request::{Approvals, WaitingFor},
        environment::{ApprovalRules, Automation},
        person::name_of,
    },
    controller::{context::Context, error::ControllerError, objects},
    domain::{
        access::{self, APPROVE, CANCEL, Known, Stamped, Wish},
        approvals::{self, Judged, Matter, Verdict, Voice},
        decide::Plan,
        gates::{Access, Approval, Gates},
        people::People,
        refusal::Refusal,
        resolve,
    },
    runtime::telemetry,
};

/// Whether an earlier answer of the API server will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// Some seconds old.
    Remembered,
    /// None but a new one.
    Now,
}

/// What is judged: who said what about a request, and who is who.
#[derive(Debug, Clone, Default)]
pub(in crate::controller) struct Ground {
    pub(super) approvals: Vec<DeployApproval>,
    people: Arc<People>,
}

/// The gates, and whether each approval counts.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) gates: Gates,
    pub(super) verdicts: Vec<Verdict>,
}

impl Ground {
    /// As the caches have it; as the API server has it where they can't say, or were found to be behind.
    pub(super) async fn known(context: &Context, request: &DeployRequest) -> Result<Self, Refusal> {
        let uid = request.uid().unwrap_or_default();
        let behind = context.behind_ground.includes(&uid);
        if !behind && context.caches.persons.are_known() {
            return Ok(Self {
                approvals: cached(context, request),
                people: context.caches.persons.people(),
            });
        }
        Self::read(context, request).await
    }

    /// As the API server has it now.
    pub(in crate::controller) async fn read(
        context: &Context,
        request: &DeployRequest,
    ) -> Result<Self, Refusal> {
        let read = Self::read_now(context, request).await;
        if read.is_err() {
            // On the caches alone it would be claimed and marked again and again, to no end.
            context
                .behind_ground
                .found(&request.uid().unwrap_or_default());
        }
        read
    }

    async fn read_now(context: &Context, request: &DeployRequest) -> Result<Self, Refusal> {
        let uid = request.uid().unwrap_or_default();
        let namespace = request.namespace().unwrap_or_default();
        let fields = format!("spec.request.uid={uid}");
        let approvals = objects::list::<DeployApproval>(&context.client, &namespace, &fields);
        let approvals = approvals
            .await
            .map_err(|error| unreadable("the approvals of it", &error))?;
        let approvers = approvals
            .iter()
            .filter_map(|approval| approval.spec.approver.as_ref());
        let actors = actors(request).chain(approvers);
        let (people, persons_changed) = people_now(context, actors)
            .await
            .map_err(|error| unreadable("the Persons that have to do with it", &error))?;
        if persons_changed || versions(&approvals) != versions(&cached(context, request)) {
            context.behind_ground.found(&uid);
        } else {
            context.behind_ground.over(&uid);
        }
        Ok(Self { approvals, people })
    }
}

/// Who has to do with the request itself.
fn actors(request: &DeployRequest) -> impl Iterator<Item = &Actor> {
    let canceler = request
        .spec
        .cancel
        .as_ref()
        .and_then(|cancel| cancel.by.as_ref());
    let overrider = request
        .spec
        .override_
        .as_ref()
        .and_then(|overriding| overriding.by.as_ref());
    let requester = request.spec.requester.iter();
    requester.chain(canceler).chain(overrider)
}

pub(super) fn cached(context: &Context, request: &DeployRequest) -> Vec<DeployApproval> {
    let (uid, namespace) = (request.uid().unwrap_or_default(), request.namespace());
    let own = context
        .caches
        .approvals
        .filter(|approval| approval.spec.request.uid == uid && approval.namespace() == namespace);
    own.iter()
        .filter_map(|object| object.0.as_ref().ok().cloned())
        .collect()
}

fn versions(approvals: &[DeployApproval]) -> BTreeSet<(Option<String>, Option<i64>)> {
    let all = approvals.iter();
    all.map(|approval| (approval.uid(), approval.metadata.generation))
        .collect()
}

/// Who is who, with the persons of these actors as they are now; and whether those in the cache are others.
///
/// Which Persons have to do with them is the cache's word, and their account's name's.
async fn people_now(
    context: &Context,
    actors: impl Iterator<Item = &Actor>,
) -> Result<(Arc<People>, bool), ControllerError> {
    let persons = &context.caches.persons;
    if !persons.are_known() {
        let all = objects::list::<Person>(&context.client, &persons.namespace, "").await?;
        let people = People::new(&persons.namespace, all.into_iter().map(Arc::new));
        return Ok((Arc::new(people), false));
    }
    let known = persons.people();
    let mut names = BTreeSet::new();
    for actor in actors {
        names.extend(
            known
                .of_username(&actor.username)
                .map(ResourceExt::name_any),
        );
        if let Some(account) = &actor.slack {
            names.insert(name_of(account));
            names.extend(known.of_slack(account).map(ResourceExt::name_any));
        }
    }
    let reading = names
        .iter()
        .map(|name| objects::read::<Person>(&context.client, &persons.namespace, name));
    let read: Vec<Option<Person>> = futures::future::try_join_all(reading).await?;
    let unchanged = names.iter().zip(&read).all(|(name, read)| {
        let cached = persons.cache.get(&persons.namespace, name);
        let version = |person: &Option<Person>| person.as_ref().map(ResourceExt::resource_version);
        version(&cached) == version(read)
    });
    if unchanged {
        return Ok((known, false));
    }
    let others = persons
        .all()
        .into_iter()
        .filter(|person| !names.contains(&person.name_any()));
    let all = others.chain(read.into_iter().flatten().map(Arc::new));
    Ok((Arc::new(People::new(&persons.namespace, all)), true))
}

/// Whose approvals or people the caches are known to have old versions of, until they come to what was read; and whose
/// can't be read, until they can.
#[derive(Debug, Default)]
pub(in crate::controller) struct BehindGround(Mutex<HashSet<String>>);

impl BehindGround {
    fn found(&self, uid: &str) {
        self.lock().insert(uid.to_owned());
    }

    /// The caches have what was read, or the request is gone.
    pub(in crate::controller) fn over(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn includes(&self, uid: &str) -> bool {
        self.lock().contains(uid)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something has to be known before it starts, and can't be read.
pub(super) fn unreadable(what: &str, error: &ControllerError) -> Refusal {
    tracing::warn!(error = %telemetry::chain(error), "can't read {what}");
    Refusal::passing(
        WaitingFor::Authorization,
        Reason::AccessUnknown,
        format!(
            "{what} can't be read ({error}); nothing starts until they can, and it is tried again."
        ),
    )
}

/// Whether the request's cancel counts; that it does where there is none.
pub(super) async fn cancel(
    context: &Context,
    request: &DeployRequest,
    named: &Named,
    ground: &Result<Ground, Refusal>,
    asking: Asking,
) -> Result<(), Refusal> {
    let Some(cancel) = &request.spec.cancel else {
        return Ok(());
    };
    let people = match ground {
        Ok(ground) => &ground.people,
        // Whoever asked for it may cancel it also while nobody can say who else they are.
        Err(_) if access::cancels_own(request, &People::default(), automation(named)) => {
            return Ok(());
        }
        Err(refusal) => return Err(refusal.clone()),
    };
    let asked = Asked {
        context,
        request,
        automation: automation(named),
        people,
        asking,
    };
    let own = access::cancels_own(request, people, asked.automation);
    let known = match &cancel.by {
        Some(by) if !own => asked.about(by, Timestamp::now(), CANCEL).await,
        _ => Err(access::unstamped()),
    };
    let holders = asked.holders(&known, CANCEL).await;
    access::cancel(request, own, asked.wish(CANCEL, holders.as_deref()), &known)
}

/// Everything but the cancel, which was found before, as far as it is remembered.
pub(super) async fn judged(
    context: &Context,
    request: &DeployRequest,
    named: &Named,
    plan: &Plan,
    ground: &Result<Ground, Refusal>,
    (ahead, overriding): (&Ahead, &Overriding),
) -> Found {
    let found = said(context, request, named, plan, ground, Asking::Remembered).await;
    let resolved = Some(&plan.resolved);
    let guards = ahead.judge(
        request,
        named,
        resolved,
        overriding.clone(),
        Timestamp::now(),
    );
    Found {
        gates: Gates {
            guards,
            ..found.gates
        },
        ..found
    }
}

/// What people and policies say.
async fn said(
    context: &Context,
    request: &DeployRequest,
    named: &Named,
    plan: &Plan,
    ground: &Result<Ground, Refusal>,
    asking: Asking,
) -> Found {
    let ground = match ground {
        Ok(ground) => ground,
        Err(refusal) => return closed(refusal),
    };
    let asked = Asked {
        context,
        request,
        automation: automation(named),
        people: &ground.people,
        asking,
    };
    let (vouched, access, judged) = tokio::join!(
        asked.vouched(created(request)),
        asked.requester(),
        asked.approvals(rules(named), plan, &ground.approvals)
    );
    Found {
        gates: Gates {
            vouched,
            access,
            approval: judged.approval,
            refused: judged.refused,
            ..Gates::open()
        },
        verdicts: judged.verdicts,
    }
}

/// Nobody can say anything now.
fn closed(refusal: &Refusal) -> Found {
    Found {
        gates: Gates {
            access: Access::Unknown(refusal.clone()),
            approval: Approval::Missing(Approvals::default(), refusal.clone()),
            ..Gates::open()
        },
        verdicts: Vec::new(),
    }
}

fn automation(named: &Named) -> &[Automation] {
    named
        .environment
        .as_ref()
        .map_or(&[], |environment| &environment.spec.protection.automation)
}

fn rules(named: &Named) -> Option<&ApprovalRules> {
    named
        .environment
        .as_ref()?
        .spec
        .protection
        .approvals
        .as_ref()
}

/// What all questions about one request have in common.
pub(super) struct Asked<'a> {
    context: &'a Context,
    request: &'a DeployRequest,
    automation: &'a [Automation],
    people: &'a People,
    asking: Asking,
}

impl<'a> Asked<'a> {
    /// For verbs that automation can't have.
    pub(super) fn of(
        context: &'a Context,
        request: &'a DeployRequest,
        ground: &'a Ground,
        asking: Asking,
    ) -> Self {
        Self {
            context,
            request,
            automation: &[],
            people: &ground.people,
            asking,
        }
    }
}

impl Asked<'_> {
    /// What somebody may who wants to do `verb`.
    pub(super) async fn about(&self, actor: &Actor, at: Timestamp, verb: &str) -> Known {
        let who = Stamped { actor, at };
        let (people, limits) = (self.people, self.context.limits);
        let now = Timestamp::now();
        let subject = access::subject(who, verb, self.automation, people, limits, now)?;
        let api = &self.context.access;
        let namespace = self.request.namespace().unwrap_or_default();
        let (application, environment) = (
            &self.request.spec.application,
            &self.request.spec.environment,
        );
        // On the heap: several of them wait at once in every pass.
        let answer = match self.asking {
            Asking::Remembered => {
                Box::pin(api.may(&subject, verb, &namespace, application, environment)).await
            }
            Asking::Now => {
                Box::pin(api.may_now(&subject, verb, &namespace, application, environment)).await
            }
        };
        access::known(subject, answer)
    }

    /// Whether it is believed who did what was created then.
    pub(super) async fn vouched(&self, at: Timestamp) -> Result<(), Refusal> {
        let (policies, client) = (&self.context.policies, &self.context.client);
        match self.asking {
            Asking::Remembered => policies.vouch(client, at).await,
            Asking::Now => policies.vouch_now(client, at).await,
        }
    }

    async fn requester(&self) -> Access {
        let Some(requester) = &self.request.spec.requester else {
            return Access::Denied(access::unstamped());
        };
        let verb = &self.request.spec.action;
        let known = self.about(requester, created(self.request), verb).await;
        let holders = self.holders(&known, verb).await;
        access::access(self.wish(verb, holders.as_deref()), &known)
    }

    async fn approvals(
        &self,
        rules: Option<&ApprovalRules>,
        plan: &Plan,
        all: &[DeployApproval],
    ) -> Judged {
        let before = self
            .request
            .status
            .as_ref()
            .and_then(|status| status.resolved.as_ref());
        let changes = before.map(|before| resolve::changes(before, &plan.resolved));
        let changes = changes.unwrap_or_default();
        let matter = Matter {
            request: self.request,
            rules,
            digest: &plan.resolved.digest,
            changes: &changes,
            people: self.people,
            holders: None,
            now: Timestamp::now(),
        };
        let starts = all
            .iter()
            .filter(|approval| approval.spec.subject == ApprovalSubject::Start);
        let voices = starts.map(async |approval| {
            let known = match &approval.spec.approver {
                Some(approver) if approvals::settled(&matter, approval).is_none() => {
                    let given = approval.creation_timestamp();
                    let given = given.map_or(matter.now, |time| time.0);
                    self.about(approver, given, APPROVE).await
                }
                // Nobody looks at it.
                _ => Err(access::unstamped()),
            };
            Voice { approval, known }
        });
        let voices = join_all(voices).await;
        let judged = approvals::judge(&matter, &voices);
        let asked = matches!(
            &judged.approval,
            Approval::Missing(_, refusal) if refusal.waiting_for == Some(WaitingFor::Approval)
        );
        if !asked {
            return judged;
        }
        // Only who is still asked has to be told whom.
        let mut holders = self.who_may(APPROVE).await;
        if rules.is_none_or(|rules| !rules.requester_may_approve) {
            let requester = self.request.spec.requester.as_ref();
            holders = holders.map(|holders| access::others(requester, holders));
        }
        let matter = Matter {
            holders: holders.as_deref(),
            ..matter
        };
        approvals::judge(&matter, &voices)
    }

    pub(super) fn wish<'a>(&'a self, verb: &'a str, holders: Option<&'a [String]>) -> Wish<'a> {
        Wish::of(self.request, verb, holders)
    }

    /// Whom to ask, where somebody lacks the verb.
    pub(super) async fn holders(&self, known: &Known, verb: &str) -> Option<Vec<String>> {
        match known {
            Ok(standing) if !standing.permission.is_granted() => self.who_may(verb).await,
            _ => None,
        }
    }

    /// Whom to ask.
    pub(super) async fn who_may(&self, verb: &str) -> Option<Vec<String>> {
        let namespace = self.request.namespace().unwrap_or_default();
        let spec = &self.request.spec;
        let holders = &self.context.holders;
        Box::pin(holders.of(verb, &namespace, &spec.application, &spec.environment)).await
    }
}

pub(super) fn created(request: &DeployRequest) -> Timestamp {
    request
        .creation_timestamp()
        .map_or_else(Timestamp::now, |time| time.0)
}

/// What was found right before a start.
pub(in crate::controller) struct Now {
    /// Whether everything is open.
    pub(in crate::controller) open: bool,
    /// What was read, for who has to decide again.
    pub(in crate::controller) ground: Result<Ground, Refusal>,
    /// What was read of freezes, locks and what comes before.
    pub(in crate::controller) ahead: Ahead,
}

/// Whether everything is open now, by what is read and asked now.
///
/// Where others said yes, or somebody else passes what is closed, than those who are `told` of, it isn't: nobody is to be
/// named by whose word it did not start.
pub(in crate::controller) async fn open_now(
    context: &Context,
    request: &DeployRequest,
    named: &Named,
    plan: &Plan,
    told: &Gates,
) -> Now {
    let asking = Asking::Now;
    let said = async {
        let ground = Ground::read(context, request).await;
        let (cancel, found, overriding) = tokio::join!(
            Box::pin(cancel(context, request, named, &ground, asking)),
            Box::pin(said(context, request, named, plan, &ground, asking)),
            Box::pin(guards::overriding(context, request, &ground, asking))
        );
        (ground, cancel, found, overriding)
    };
    let target = &plan.resolved.deploy_target;
    let ((ground, cancel, found, overriding), ahead) = tokio::join!(
        Box::pin(said),
        Box::pin(Ahead::read(context, request, named, target))
    );
    let (resolved, now) = (Some(&plan.resolved), Timestamp::now());
    let gates = Gates {
        cancel: Some(cancel),
        guards: ahead.judge(request, named, resolved, overriding, now),
        ..found.gates
    };
    let open = gates.are_open(request, now) && gates.go_by_the_word_of(told);
    Now {
        open,
        ground,
        ahead,
    }
}
