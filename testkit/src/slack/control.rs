//! The rest of the handle: who and what there is, where deliveries go, what goes wrong, what was recorded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::delivery::{self, About, Destination, Order};
use super::payloads;
use super::{
    App, Call, Channel, ChannelKind, Delivery, Ephemeral, Fault, Goodbye, Installation, Kind,
    Message, Person, RequestUrls, SocketState, StandInSlack, Team, Timing, User, UserGroup, View,
};

impl StandInSlack {
    // People and places.

    /// A person by id or handle. One who does not exist can do nothing.
    pub fn user(&self, id_or_name: &str) -> Person {
        let id = self.world(|world| world.user(id_or_name).map(|user| user.id.clone()));
        let id = id.unwrap_or_else(|| id_or_name.to_owned());
        Person::new(Arc::clone(&self.inner.shared), id)
    }

    /// Adds somebody, as a member of the given channels, and returns the id.
    pub fn add_user(&self, user: User, channels: &[&str]) -> String {
        let mut world = self.inner.shared.change();
        let id = world.add_user(user);
        for channel in channels {
            if let Some(channel) = world.channel_mut(channel) {
                channel.members.push(id.clone());
            }
        }
        id
    }

    /// Changes somebody, such as to deactivate an account. Returns whether there is one.
    pub fn change_user(&self, id_or_name: &str, change: impl FnOnce(&mut User)) -> bool {
        let mut world = self.inner.shared.change();
        let id = world.user(id_or_name).map(|user| user.id.clone());
        let user = id.and_then(|id| world.users.get_mut(&id));
        user.map(change).is_some()
    }

    /// A channel as it is now, by id or name.
    ///
    /// # Errors
    /// When there is none.
    pub fn channel(&self, id_or_name: &str) -> Result<Channel> {
        let found = self.world(|world| world.channel(id_or_name).cloned());
        found.with_context(|| format!("no channel {id_or_name}"))
    }

    /// Adds a channel with these members, by id or handle, and returns its id.
    pub fn add_channel(&self, name: &str, kind: ChannelKind, members: &[&str]) -> String {
        let mut world = self.inner.shared.change();
        let members: Vec<String> = members
            .iter()
            .map(|member| {
                world
                    .user(member)
                    .map_or((*member).to_owned(), |user| user.id.clone())
            })
            .collect();
        world.add_channel(name, kind, &members)
    }

    /// Changes a channel: archives it, shares it, lets people in or out. Returns whether there is one.
    pub fn change_channel(&self, id_or_name: &str, change: impl FnOnce(&mut Channel)) -> bool {
        let mut world = self.inner.shared.change();
        world.channel_mut(id_or_name).map(change).is_some()
    }

    /// Takes the app out of a channel.
    pub fn remove_app_from(&self, channel: &str) -> bool {
        let bot = self.bot_user_id();
        self.change_channel(channel, |channel| {
            channel.members.retain(|member| *member != bot);
        })
    }

    /// Adds a user group with these members, by id or handle, and returns its id.
    pub fn add_group(&self, handle: &str, members: &[&str]) -> String {
        let mut world = self.inner.shared.change();
        let id = world.next_id('S');
        let users = members
            .iter()
            .map(|member| {
                world
                    .user(member)
                    .map_or((*member).to_owned(), |user| user.id.clone())
            })
            .collect();
        let group = UserGroup {
            id: id.clone(),
            name: handle.to_owned(),
            handle: handle.to_owned(),
            users,
            disabled: false,
        };
        world.groups.insert(id.clone(), group);
        id
    }

    /// Tells the app that somebody's account changed, with the account as it is now.
    ///
    /// # Errors
    /// When there is nobody of that name.
    pub fn tell_of_user(&self, id_or_name: &str) -> Result<Delivery> {
        let event = self.world(|world| {
            let user = world.user(id_or_name).map(|user| world.user_json(user));
            user.map(|user| json!({"type": "user_change", "user": user, "cache_ts": 1_700_000_000}))
        });
        let event = event.with_context(|| format!("no {id_or_name}"))?;
        Ok(self.send_event(&event))
    }

    /// Tells the app that a user group changed, with the group as it is now.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn tell_of_group(&self, id_or_handle: &str) -> Result<Delivery> {
        let event = self.world(|world| {
            let group = world.group(id_or_handle);
            let group = group.map(|group| world.group_json(group, true));
            group.map(|group| json!({"type": "subteam_updated", "subteam": group}))
        });
        let event = event.with_context(|| format!("no {id_or_handle}"))?;
        Ok(self.send_event(&event))
    }

    /// Changes a user group. Returns whether there is one.
    pub fn change_group(&self, id_or_handle: &str, change: impl FnOnce(&mut UserGroup)) -> bool {
        let mut world = self.inner.shared.change();
        let id = world.group(id_or_handle).map(|group| group.id.clone());
        let group = id.and_then(|id| world.groups.get_mut(&id));
        group.map(change).is_some()
    }

    /// Adds another workspace, for people met in shared channels.
    pub fn add_team(&self, team: Team) {
        self.inner.shared.change().teams.push(team);
    }

    /// What was said in a channel, oldest first.
    pub fn messages(&self, channel: &str) -> Vec<Message> {
        self.world(|world| world.messages(channel))
    }

    /// What was said between a person and the app, oldest first.
    pub fn direct_messages(&self, user: &str) -> Vec<Message> {
        self.world(|world| world.direct_messages(user))
    }

    /// What only this person sees, oldest first.
    pub fn ephemerals(&self, user: &str) -> Vec<Ephemeral> {
        self.world(|world| world.ephemerals(user))
    }

    /// The modal a person sees.
    pub fn view_of(&self, user: &str) -> Option<View> {
        self.world(|world| world.modal(user))
    }

    // The app.

    /// Gives the app another bot token, which is returned; the old one is nobody's from then on (`invalid_auth`).
    pub fn rotate_bot_token(&self) -> String {
        let mut world = self.inner.shared.change();
        next(&mut world.app.bot_token)
    }

    /// Gives the app another app-level token, which is returned; the old one is nobody's. Open sockets stay open.
    pub fn rotate_app_token(&self) -> String {
        let mut world = self.inner.shared.change();
        next(&mut world.app.app_token)
    }

    /// Gives the app another signing secret, which is returned; all that is delivered is signed by it from then on.
    pub fn rotate_signing_secret(&self) -> String {
        let mut world = self.inner.shared.change();
        next(&mut world.app.signing_secret)
    }

    /// Changes the app: its scopes, its commands, the events it hears.
    pub fn change_app(&self, change: impl FnOnce(&mut App)) {
        change(&mut self.inner.shared.change().app);
    }

    /// Revokes the bot token, removes the app, or makes both undone.
    pub fn set_installation(&self, installation: Installation) {
        self.change_app(|app| app.installation = installation);
    }

    /// Sends deliveries through the app's sockets, as at the start.
    pub fn deliver_by_socket(&self) {
        *self.inner.shared.destination() = Destination::Sockets;
    }

    /// Sends deliveries to the app's own addresses, signed.
    pub fn deliver_by_http(&self, urls: RequestUrls) {
        *self.inner.shared.destination() = Destination::Http(urls);
    }

    /// Changes how long things take.
    pub fn set_timing(&self, timing: Timing) {
        self.inner.shared.change().timing = timing;
    }

    /// Lets time pass at once, for what expires and for rate limits.
    pub fn pass_time(&self, time: Duration) {
        self.inner.shared.change().pass_time(time);
    }

    // Deliveries.

    /// Everything the app was told, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.inner.shared.deliveries().clone()
    }

    /// Tells the app the same once more.
    pub fn redeliver(&self, delivery: &Delivery) -> Delivery {
        delivery::redeliver(&self.inner.shared, delivery)
    }

    /// Tells the app of an event; `event` is the inner one, such as `{"type": "user_change", …}`.
    pub fn send_event(&self, event: &Value) -> Delivery {
        let shared = &self.inner.shared;
        let payload = payloads::event(&mut shared.change(), event);
        delivery::start(shared, Kind::Event, payload, About::Event)
    }

    /// Tells the app anything at all, as somebody does who forges it. An answer has no effect.
    pub fn send_raw(&self, kind: Kind, payload: Value) -> Delivery {
        delivery::start(&self.inner.shared, kind, payload, About::Event)
    }

    /// Asks whether the events address is the app's, as Slack does when it is entered.
    pub fn verify_url(&self, challenge: &str) -> Delivery {
        let shared = &self.inner.shared;
        let payload = payloads::url_verification(&shared.world(), challenge);
        delivery::start(shared, Kind::UrlVerification, payload, About::Event)
    }

    // Sockets.

    /// The open sockets, oldest first.
    pub fn sockets(&self) -> Vec<SocketState> {
        self.inner.shared.sockets().states()
    }

    /// Waits until so many sockets are open that are to stay and answer.
    pub async fn connected(&self, count: usize, deadline: Duration) -> Result<Vec<SocketState>> {
        self.until(&format!("{count} sockets"), deadline, |_| {
            let mut states = self.sockets();
            states.retain(|state| !state.leaving && !state.half_open);
            (states.len() >= count).then_some(states)
        })
        .await
    }

    /// Tells a socket to go; it is closed after [`Timing::farewell`]. Returns whether it is open.
    pub fn say_goodbye(&self, socket: u64, reason: Goodbye) -> bool {
        self.inner
            .shared
            .sockets()
            .order(socket, Order::Leave(reason))
    }

    /// Resets a socket's connection. Returns whether it is open.
    pub fn drop_socket(&self, socket: u64) -> bool {
        self.inner.shared.sockets().order(socket, Order::Reset)
    }

    /// Lets a socket fall silent: it stays open, and nothing comes through it. Returns whether it is open.
    pub fn silence_socket(&self, socket: u64) -> bool {
        self.inner.shared.sockets().order(socket, Order::HalfOpen)
    }

    // Faults.

    /// Puts a fault in the way of calls to come; of several that match, the first put in befalls.
    pub fn inject(&self, fault: Fault) {
        self.inner.shared.faults().add(fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.inner.shared.faults().clear();
    }

    /// How many faults are still to befall a call.
    pub fn pending_faults(&self) -> usize {
        self.inner.shared.faults().pending()
    }

    /// Switches Slack's own rate limits on or off.
    pub fn enforce_rate_limits(&self, enforced: bool) {
        self.inner.shared.limits().enforced = enforced;
    }

    /// How many calls came faster than the limits allow, by method.
    pub fn rate_limit_violations(&self) -> BTreeMap<String, usize> {
        self.inner.shared.limits().exceeded()
    }

    // Records.

    /// Every call, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.shared.log().calls()
    }

    /// The calls of one method, oldest first.
    pub fn calls_of(&self, method: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.method == method);
        calls
    }

    /// Forgets the deliveries so far; keeps the memory of a long bench bounded.
    pub fn forget_deliveries(&self) {
        self.inner.shared.deliveries().clear();
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.inner.shared.log().clear();
    }

    /// What was done that the real one lets pass, and is a mistake nevertheless.
    pub fn violations(&self) -> Vec<String> {
        self.world(|world| world.violations().to_vec())
    }
}

/// Another secret of the same kind.
fn next(secret: &mut String) -> String {
    let (first, number) = match secret.rsplit_once("-after") {
        Some((first, number)) => (first, number.parse::<u32>().unwrap_or(0)),
        None => (secret.as_str(), 0),
    };
    *secret = format!("{first}-after{}", number + 1);
    secret.clone()
}
