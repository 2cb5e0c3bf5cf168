//! People and user groups, and how Slack shows them. Touches nothing.

use serde_json::{Value, json};

use super::World;

/// A person, or a bot's face.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "these are the flags of Slack's user object"
)]
pub struct User {
    /// `U…`; empty until it is added.
    pub id: String,
    /// The workspace, when it is not the app's own.
    pub team: Option<String>,
    /// The handle, without `@`.
    pub name: String,
    /// The full name.
    pub real_name: String,
    /// The address in the profile, if there is one.
    pub email: Option<String>,
    /// A bot.
    pub is_bot: bool,
    /// Deactivated.
    pub deleted: bool,
    /// A guest in several channels.
    pub is_restricted: bool,
    /// A guest in one channel.
    pub is_ultra_restricted: bool,
    /// Of another organisation, met in a shared channel.
    pub is_stranger: bool,
    /// An administrator of the workspace.
    pub is_admin: bool,
}

impl User {
    /// A member with that handle, `name@harbor.example` as address.
    pub fn named(name: &str) -> Self {
        Self {
            id: String::new(),
            team: None,
            name: name.to_owned(),
            real_name: name.to_owned(),
            email: Some(format!("{name}@harbor.example")),
            is_bot: false,
            deleted: false,
            is_restricted: false,
            is_ultra_restricted: false,
            is_stranger: false,
            is_admin: false,
        }
    }
}

/// A user group, such as `@sre`.
#[derive(Debug, Clone)]
pub struct UserGroup {
    /// `S…`
    pub id: String,
    /// What it is called.
    pub name: String,
    /// The handle, without `@`.
    pub handle: String,
    /// The ids of its members.
    pub users: Vec<String>,
    /// Switched off.
    pub disabled: bool,
}

impl World {
    /// A person by id or handle.
    pub fn user(&self, id_or_name: &str) -> Option<&User> {
        self.users.get(id_or_name).or_else(|| {
            let name = id_or_name.strip_prefix('@').unwrap_or(id_or_name);
            self.users.values().find(|user| user.name == name)
        })
    }

    /// A user group by id or handle.
    pub fn group(&self, id_or_handle: &str) -> Option<&UserGroup> {
        self.groups.get(id_or_handle).or_else(|| {
            let handle = id_or_handle.strip_prefix('@').unwrap_or(id_or_handle);
            self.groups.values().find(|group| group.handle == handle)
        })
    }

    pub(in crate::slack) fn add_user(&mut self, mut user: User) -> String {
        if user.id.is_empty() {
            user.id = self.next_id('U');
        }
        let id = user.id.clone();
        self.users.insert(id.clone(), user);
        id
    }

    pub(in crate::slack) fn team_of(&self, user: &User) -> String {
        user.team.clone().unwrap_or_else(|| self.team().id.clone())
    }

    pub(in crate::slack) fn user_json(&self, user: &User) -> Value {
        let team = self.team_of(user);
        // Only who may read addresses gets to see them.
        let email = user
            .email
            .as_ref()
            .filter(|_| self.app.has_scope("users:read.email"));
        let image = |size: u32| format!("https://avatars.example/{}-{size}.png", user.id);
        let mut profile = json!({
            "title": "", "phone": "", "skype": "",
            "real_name": user.real_name, "real_name_normalized": user.real_name,
            "display_name": user.name, "display_name_normalized": user.name,
            "first_name": user.real_name.split(' ').next(),
            "last_name": user.real_name.split(' ').nth(1).unwrap_or_default(),
            "fields": null, "status_text": "", "status_emoji": "", "status_expiration": 0,
            "avatar_hash": "g0000000000", "team": team,
            "image_24": image(24), "image_32": image(32), "image_48": image(48),
            "image_72": image(72), "image_192": image(192), "image_512": image(512),
        });
        if let (Some(email), Some(profile)) = (email, profile.as_object_mut()) {
            profile.insert("email".to_owned(), json!(email));
        }
        let mut shown = json!({
            "id": user.id, "team_id": team, "name": user.name, "deleted": user.deleted,
            "profile": profile, "is_bot": user.is_bot, "is_app_user": false,
            "updated": 1_700_000_000, "who_can_share_contact_card": "EVERYONE",
        });
        if let Some(fields) = shown.as_object_mut() {
            if user.is_bot {
                fields["profile"]["api_app_id"] = json!(self.app.id);
                fields["profile"]["bot_id"] = json!(self.app.bot_id);
            }
            // Slack leaves these out of a deactivated account.
            if !user.deleted {
                let more = json!({
                    "color": "9f69e7", "real_name": user.real_name, "tz": "Europe/Berlin",
                    "tz_label": "Central European Time", "tz_offset": 3600,
                    "is_admin": user.is_admin, "is_owner": false, "is_primary_owner": false,
                    "is_restricted": user.is_restricted,
                    "is_ultra_restricted": user.is_ultra_restricted,
                    "is_email_confirmed": true,
                });
                if let Value::Object(more) = more {
                    fields.extend(more);
                }
            }
            if user.is_stranger {
                fields.insert("is_stranger".to_owned(), json!(true));
            }
        }
        shown
    }

    pub(in crate::slack) fn group_json(&self, group: &UserGroup, with_users: bool) -> Value {
        let mut shown = json!({
            "id": group.id, "team_id": self.team().id, "is_usergroup": true, "is_subteam": true,
            "name": group.name, "description": "", "handle": group.handle, "is_external": false,
            "date_create": 1_700_000_000, "date_update": 1_700_000_000,
            "date_delete": if group.disabled { 1_700_000_000 } else { 0 },
            "auto_type": null, "auto_provision": false, "enterprise_subteam_id": "",
            "created_by": "USLACKBOT", "updated_by": "USLACKBOT", "deleted_by": null,
            "prefs": {"channels": [], "groups": []},
            "user_count": group.users.len(), "channel_count": 0,
        });
        if with_users {
            shown["users"] = json!(group.users);
        }
        shown
    }
}
