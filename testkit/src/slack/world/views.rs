//! Views: each person's stack of modals, and home tabs. Touches the world only.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::messages::CodeResult;
use super::{Entered, World};

/// How many modals lie on each other.
const DEPTH: usize = 3;

/// What kind of view it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewKind {
    /// A dialog over everything.
    Modal,
    /// The app's own tab.
    Home,
}

/// A view as one person has it open.
#[derive(Debug, Clone)]
pub struct View {
    /// `V…`
    pub id: String,
    /// Modal or home tab.
    pub kind: ViewKind,
    /// Whose screen it is on.
    pub user: String,
    /// Changes with every change of the content.
    pub hash: String,
    /// The bottom of its stack.
    pub root: String,
    /// What lies under it.
    pub previous: Option<String>,
    /// What the app sent: title, blocks and so on.
    pub content: Map<String, Value>,
    /// What was entered, by block and action, as `state.values` has it.
    pub entered: Entered,
    /// What the app said is wrong, by block.
    pub errors: BTreeMap<String, String>,
    /// What Slack said when the app failed.
    pub notice: Option<String>,
}

impl View {
    /// The blocks.
    pub fn blocks(&self) -> &[Value] {
        let blocks = self.content.get("blocks").and_then(Value::as_array);
        blocks.map_or(&[], Vec::as_slice)
    }

    /// The title.
    pub fn title(&self) -> &str {
        self.content
            .get("title")
            .and_then(|title| title["text"].as_str())
            .unwrap_or_default()
    }

    /// A field of the content that is text.
    pub fn field(&self, name: &str) -> &str {
        self.content
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(in crate::slack) fn flag(&self, name: &str) -> bool {
        self.content
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// As the Web API and payloads show it.
    pub(in crate::slack) fn json(&self, world: &World) -> Value {
        let given = |name: &str| self.content.get(name).cloned().unwrap_or_default();
        json!({
            "id": self.id, "team_id": world.team().id,
            "type": match self.kind { ViewKind::Modal => "modal", ViewKind::Home => "home" },
            "blocks": self.blocks(), "private_metadata": self.field("private_metadata"),
            "callback_id": self.field("callback_id"), "external_id": self.field("external_id"),
            "state": {"values": self.entered}, "hash": self.hash, "title": given("title"),
            "close": given("close"), "submit": given("submit"),
            "submit_disabled": self.flag("submit_disabled"),
            "clear_on_close": self.flag("clear_on_close"),
            "notify_on_close": self.flag("notify_on_close"),
            "root_view_id": self.root, "previous_view_id": self.previous,
            "app_id": world.app.id, "app_installed_team_id": world.team().id,
            "bot_id": world.app.bot_id,
        })
    }
}

impl World {
    /// A person's modals, the one on top last.
    pub fn modals(&self, user: &str) -> Vec<View> {
        self.views_where(user, ViewKind::Modal)
    }

    /// The modal a person sees.
    pub fn modal(&self, user: &str) -> Option<View> {
        self.modals(user).pop()
    }

    /// What a person's home tab of the app shows.
    pub fn home(&self, user: &str) -> Option<View> {
        self.views_where(user, ViewKind::Home).pop()
    }

    fn views_where(&self, user: &str, kind: ViewKind) -> Vec<View> {
        let id = self.user(user).map_or(user, |user| &user.id);
        let mut views = self.views.clone();
        views.retain(|view| view.user == id && view.kind == kind);
        views
    }

    /// A view by its id.
    pub fn view(&self, id: &str) -> Option<&View> {
        self.views.iter().find(|view| view.id == id)
    }

    pub(in crate::slack) fn view_mut(&mut self, id: &str) -> Option<&mut View> {
        self.views.iter_mut().find(|view| view.id == id)
    }

    fn next_hash(&mut self) -> String {
        let now = self.now().as_secs();
        let id = self.next_id('h');
        format!("{now}.{}", id.get(2..).unwrap_or_default())
    }

    fn check_external_id(&self, content: &Map<String, Value>, of: Option<&str>) -> CodeResult<()> {
        let external = content
            .get("external_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let taken = !external.is_empty()
            && self
                .views
                .iter()
                .any(|view| view.field("external_id") == external && Some(view.id.as_str()) != of);
        if taken {
            Err("duplicate_external_id")
        } else {
            Ok(())
        }
    }

    fn add_view(
        &mut self,
        user: &str,
        kind: ViewKind,
        content: Map<String, Value>,
        previous: Option<&View>,
    ) -> View {
        let id = self.next_id('V');
        let hash = self.next_hash();
        let mut view = View {
            root: previous.map_or_else(|| id.clone(), |view| view.root.clone()),
            previous: previous.map(|view| view.id.clone()),
            id,
            kind,
            user: user.to_owned(),
            hash,
            entered: Map::new(),
            content,
            errors: BTreeMap::new(),
            notice: None,
        };
        view.entered = initial_values(view.blocks(), &Map::new());
        self.views.push(view.clone());
        view
    }

    /// Opens a modal over everything the person had open.
    pub(in crate::slack) fn open_modal(
        &mut self,
        user: &str,
        content: Map<String, Value>,
    ) -> CodeResult<View> {
        self.check_external_id(&content, None)?;
        self.views
            .retain(|view| view.user != user || view.kind != ViewKind::Modal);
        Ok(self.add_view(user, ViewKind::Modal, content, None))
    }

    /// Lays a modal on another.
    pub(in crate::slack) fn push_modal(
        &mut self,
        user: &str,
        content: Map<String, Value>,
    ) -> CodeResult<View> {
        self.check_external_id(&content, None)?;
        let modals = self.modals(user);
        let top = modals.last().ok_or("not_found")?;
        if modals.len() >= DEPTH {
            return Err("push_limit_reached");
        }
        Ok(self.add_view(user, ViewKind::Modal, content, Some(top)))
    }

    /// Gives a view new content; what was entered in inputs that stay is kept.
    pub(in crate::slack) fn update_view(
        &mut self,
        id: &str,
        content: Map<String, Value>,
    ) -> CodeResult<View> {
        self.check_external_id(&content, Some(id))?;
        let hash = self.next_hash();
        let view = self.view_mut(id).ok_or("not_found")?;
        view.content = content;
        view.hash = hash;
        view.errors.clear();
        view.notice = None;
        view.entered = initial_values(view.blocks(), &view.entered);
        Ok(view.clone())
    }

    /// Sets the home tab of a person.
    pub(in crate::slack) fn publish_home(
        &mut self,
        user: &str,
        content: Map<String, Value>,
    ) -> CodeResult<View> {
        match self.home(user) {
            Some(home) => self.update_view(&home.id, content),
            None => {
                self.check_external_id(&content, None)?;
                Ok(self.add_view(user, ViewKind::Home, content, None))
            }
        }
    }

    /// Closes a modal and what lies on it.
    pub(in crate::slack) fn close_modal(&mut self, id: &str) {
        let Some(view) = self.view(id).cloned() else {
            return;
        };
        let mut gone = vec![view.id];
        for above in self.modals(&view.user) {
            if above
                .previous
                .is_some_and(|previous| gone.contains(&previous))
            {
                gone.push(above.id);
            }
        }
        self.views.retain(|view| !gone.contains(&view.id));
    }

    /// Closes all of a person's modals.
    pub(in crate::slack) fn close_all_modals(&mut self, user: &str) {
        self.views
            .retain(|view| view.user != user || view.kind != ViewKind::Modal);
    }
}

/// The elements of blocks that hold a value: block id, action id, element.
pub(in crate::slack) fn elements(blocks: &[Value]) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for block in blocks {
        let block_id = block["block_id"].as_str().unwrap_or_default();
        let inner = match block["type"].as_str().unwrap_or_default() {
            "input" => vec![block["element"].clone()],
            "section" => vec![block["accessory"].clone()],
            "actions" => block["elements"].as_array().cloned().unwrap_or_default(),
            _ => Vec::new(),
        };
        for element in inner {
            if let Some(action_id) = element["action_id"].as_str() {
                found.push((block_id.to_owned(), action_id.to_owned(), element.clone()));
            }
        }
    }
    found
}

/// The field of `state.values` in which an element's value stands, and the one with which it starts.
pub(in crate::slack) fn value_fields(kind: &str) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        "plain_text_input" | "number_input" | "email_text_input" | "url_text_input" => {
            ("value", "initial_value")
        }
        "rich_text_input" => ("rich_text_value", "initial_value"),
        "static_select" | "external_select" | "radio_buttons" => {
            ("selected_option", "initial_option")
        }
        "multi_static_select" | "multi_external_select" | "checkboxes" => {
            ("selected_options", "initial_options")
        }
        "users_select" => ("selected_user", "initial_user"),
        "multi_users_select" => ("selected_users", "initial_users"),
        "conversations_select" => ("selected_conversation", "initial_conversation"),
        "channels_select" => ("selected_channel", "initial_channel"),
        "datepicker" => ("selected_date", "initial_date"),
        "timepicker" => ("selected_time", "initial_time"),
        "datetimepicker" => ("selected_date_time", "initial_date_time"),
        "file_input" => ("files", ""),
        _ => return None,
    })
}

/// What `state.values` holds at first, with what was entered before in the same places.
pub(in crate::slack) fn initial_values(blocks: &[Value], before: &Entered) -> Entered {
    let mut values = Map::new();
    for (block_id, action_id, element) in elements(blocks) {
        let kind = element["type"].as_str().unwrap_or_default();
        let Some((field, initial)) = value_fields(kind) else {
            continue;
        };
        let kept = before
            .get(&block_id)
            .and_then(|block| block.get(&action_id))
            .filter(|value| value["type"] == kind);
        let value = kept.cloned().unwrap_or_else(|| {
            let nothing = if field == "selected_options" || field == "files" {
                json!([])
            } else {
                Value::Null
            };
            let start = element.get(initial).cloned().unwrap_or(nothing);
            json!({"type": kind, field: start})
        });
        let block = values.entry(block_id).or_insert_with(|| json!({}));
        block[&action_id] = value;
    }
    values
}
