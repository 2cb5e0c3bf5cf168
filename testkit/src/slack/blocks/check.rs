//! The checks of Block Kit: types, fields, lengths and counts, each complaint with its JSON pointer. Touches nothing.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::shapes::{self, Shape};

/// What is wrong, in Slack's words, each with the place.
#[derive(Debug, Default)]
pub(super) struct Check {
    pub(super) problems: Vec<String>,
    block_ids: HashSet<String>,
}

impl Check {
    fn fault(&mut self, pointer: &str, words: impl AsRef<str>) {
        self.problems
            .push(format!("{} [json-pointer:{pointer}]", words.as_ref()));
    }

    /// Text of a limited length in a field of an object, if the field is there.
    fn string(&mut self, object: &Value, field: &str, limit: usize, pointer: &str) {
        let pointer = format!("{pointer}/{field}");
        match object.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => self.length(text, limit, &pointer),
            Some(_) => self.fault(&pointer, "must provide a string"),
        }
    }

    fn length(&mut self, text: &str, limit: usize, pointer: &str) {
        if text.is_empty() {
            self.fault(pointer, "must be more than 0 characters");
        } else if text.chars().count() > limit {
            self.fault(
                pointer,
                format!("must be less than {} characters", limit + 1),
            );
        }
    }

    /// A text object in a field, if the field is there.
    pub(super) fn text(
        &mut self,
        object: &Value,
        field: &str,
        limit: usize,
        plain: bool,
        pointer: &str,
    ) {
        if let Some(text) = object.get(field).filter(|text| !text.is_null()) {
            self.text_object(text, limit, plain, &format!("{pointer}/{field}"));
        }
    }

    fn text_object(&mut self, text: &Value, limit: usize, plain: bool, pointer: &str) {
        let Some(fields) = text.as_object() else {
            return self.fault(pointer, "must provide an object");
        };
        let kind = text["type"].as_str().unwrap_or_default();
        let known: &[&str] = match kind {
            "plain_text" => &["type", "text", "emoji"],
            "mrkdwn" if !plain => &["type", "text", "verbatim"],
            _ => return self.fault(&format!("{pointer}/type"), "must be a valid enum value"),
        };
        self.additional(fields, known, pointer);
        match text.get("text") {
            Some(Value::String(words)) => self.length(words, limit, &format!("{pointer}/text")),
            _ => self.fault(pointer, "missing required field: text"),
        }
    }

    fn additional(&mut self, fields: &Map<String, Value>, known: &[&str], pointer: &str) {
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            self.fault(pointer, format!("invalid additional property: {name}"));
        }
    }

    fn shape(&mut self, value: &Value, shape: &Shape, id: &'static str, pointer: &str) {
        let Some(fields) = value.as_object() else {
            return;
        };
        for name in shape.required {
            if fields.get(*name).is_none_or(Value::is_null) {
                self.fault(pointer, format!("missing required field: {name}"));
            }
        }
        let known: Vec<&str> = ["type", id]
            .iter()
            .chain(shape.required)
            .chain(shape.optional)
            .copied()
            .collect();
        self.additional(fields, &known, pointer);
        self.string(value, id, 255, pointer);
    }

    /// A list with a limited number of entries; what is no list has none.
    fn list<'a>(
        &mut self,
        value: &'a Value,
        (least, most): (usize, usize),
        pointer: &str,
    ) -> &'a [Value] {
        let Some(entries) = value.as_array() else {
            if !value.is_null() {
                self.fault(pointer, "must provide an array");
            }
            return &[];
        };
        if entries.len() < least {
            self.fault(pointer, format!("no fewer than {least} items allowed"));
        }
        if entries.len() > most {
            self.fault(pointer, format!("no more than {most} items allowed"));
        }
        entries
    }

    /// The blocks of a message or view.
    pub(super) fn blocks(&mut self, blocks: &Value, most: usize, pointer: &str) {
        let entries = self.list(blocks, (0, most), pointer);
        for (index, block) in entries.iter().enumerate() {
            self.block(block, &format!("{pointer}/{index}"));
        }
    }

    fn block(&mut self, block: &Value, pointer: &str) {
        if !block.is_object() {
            return self.fault(pointer, "must provide an object");
        }
        let Some(kind) = block["type"].as_str() else {
            return self.fault(pointer, "missing required field: type");
        };
        let Some(shape) = shapes::block(kind) else {
            return self.fault(
                &format!("{pointer}/type"),
                format!("unsupported type: {kind}"),
            );
        };
        self.shape(block, shape, "block_id", pointer);
        if let Some(id) = block["block_id"].as_str()
            && !self.block_ids.insert(id.to_owned())
        {
            self.fault(&format!("{pointer}/block_id"), "`block_id` must be unique");
        }
        match kind {
            "section" => self.section(block, pointer),
            "header" => self.text(block, "text", 150, true, pointer),
            "image" => self.image(block, pointer),
            "markdown" => self.string(block, "text", 12_000, pointer),
            "actions" => {
                let place = format!("{pointer}/elements");
                let elements = self.list(&block["elements"], (1, 25), &place);
                self.elements(elements, kind, &place);
            }
            "context" => {
                let place = format!("{pointer}/elements");
                let elements = self.list(&block["elements"], (1, 10), &place);
                for (index, element) in elements.iter().enumerate() {
                    let place = format!("{place}/{index}");
                    if element["type"] == "image" {
                        self.element(element, kind, &place);
                    } else {
                        self.text_object(element, 3000, false, &place);
                    }
                }
            }
            "input" => {
                self.text(block, "label", 2000, true, pointer);
                self.text(block, "hint", 2000, true, pointer);
                self.element(&block["element"], kind, &format!("{pointer}/element"));
            }
            "rich_text" => {
                let place = format!("{pointer}/elements");
                let elements = self.list(&block["elements"], (1, 1000), &place);
                for (index, element) in elements.iter().enumerate() {
                    self.rich_text(element, &format!("{place}/{index}"));
                }
            }
            "table" => {
                let place = format!("{pointer}/rows");
                let rows = self.list(&block["rows"], (1, 100), &place);
                for (index, row) in rows.iter().enumerate() {
                    self.list(row, (1, 20), &format!("{place}/{index}"));
                }
            }
            _ => {}
        }
    }

    fn section(&mut self, block: &Value, pointer: &str) {
        if block["text"].is_null() && block["fields"].is_null() {
            self.fault(pointer, "missing required field: text");
        }
        self.text(block, "text", 3000, false, pointer);
        if !block["fields"].is_null() {
            let place = format!("{pointer}/fields");
            let fields = self.list(&block["fields"], (1, 10), &place);
            for (index, field) in fields.iter().enumerate() {
                self.text_object(field, 2000, false, &format!("{place}/{index}"));
            }
        }
        if !block["accessory"].is_null() {
            self.element(
                &block["accessory"],
                "section",
                &format!("{pointer}/accessory"),
            );
        }
    }

    fn image(&mut self, image: &Value, pointer: &str) {
        self.string(image, "alt_text", 2000, pointer);
        self.string(image, "image_url", 3000, pointer);
        self.text(image, "title", 2000, true, pointer);
        if image["image_url"].is_null() && image["slack_file"].is_null() {
            self.fault(pointer, "missing required field: image_url");
        }
    }

    fn elements(&mut self, elements: &[Value], block: &str, pointer: &str) {
        let mut action_ids = HashSet::new();
        for (index, element) in elements.iter().enumerate() {
            let place = format!("{pointer}/{index}");
            self.element(element, block, &place);
            if let Some(id) = element["action_id"].as_str()
                && !action_ids.insert(id)
            {
                self.fault(&format!("{place}/action_id"), "`action_id` must be unique");
            }
        }
    }

    fn element(&mut self, element: &Value, block: &str, pointer: &str) {
        let kind = element["type"].as_str().unwrap_or_default();
        let shape = shapes::element(kind).filter(|_| shapes::fits(kind, block));
        let Some(shape) = shape else {
            return self.fault(
                &format!("{pointer}/type"),
                format!("unsupported type: {kind}"),
            );
        };
        self.shape(
            element,
            shape,
            if kind == "image" { "type" } else { "action_id" },
            pointer,
        );
        self.text(element, "placeholder", 150, true, pointer);
        if let Some(confirm) = element.get("confirm") {
            self.confirm(confirm, &format!("{pointer}/confirm"));
        }
        match kind {
            "button" => {
                self.text(element, "text", 75, true, pointer);
                self.string(element, "url", 3000, pointer);
                self.string(element, "accessibility_label", 75, pointer);
                self.style(element, pointer);
                // A value may be empty.
                if element["value"]
                    .as_str()
                    .is_some_and(|value| !value.is_empty())
                {
                    self.string(element, "value", 2000, pointer);
                }
            }
            "image" => self.image(element, pointer),
            "static_select" | "multi_static_select" => self.select(element, pointer),
            "overflow" => self.options(&element["options"], (1, 5), &format!("{pointer}/options")),
            "radio_buttons" | "checkboxes" => {
                self.options(&element["options"], (1, 10), &format!("{pointer}/options"));
                self.initial(element, pointer);
            }
            "external_select" => {
                if let Some(option) = element.get("initial_option") {
                    self.option(option, &format!("{pointer}/initial_option"));
                }
            }
            "plain_text_input"
                if element["max_length"]
                    .as_u64()
                    .is_some_and(|length| !(1..=3000).contains(&length)) =>
            {
                self.fault(
                    &format!("{pointer}/max_length"),
                    "must be between 1 and 3000",
                );
            }
            _ => {}
        }
    }

    fn style(&mut self, element: &Value, pointer: &str) {
        let style = element.get("style").and_then(Value::as_str);
        if style.is_some_and(|style| !matches!(style, "primary" | "danger")) {
            self.fault(&format!("{pointer}/style"), "must be a valid enum value");
        }
    }

    fn confirm(&mut self, confirm: &Value, pointer: &str) {
        let Some(fields) = confirm.as_object() else {
            return self.fault(pointer, "must provide an object");
        };
        self.additional(
            fields,
            &["title", "text", "confirm", "deny", "style"],
            pointer,
        );
        for (field, limit, plain) in [
            ("title", 100, true),
            ("text", 300, false),
            ("confirm", 30, true),
            ("deny", 30, true),
        ] {
            self.text(confirm, field, limit, plain, pointer);
        }
        if confirm["text"].is_null() {
            self.fault(pointer, "missing required field: text");
        }
        self.style(confirm, pointer);
    }

    fn select(&mut self, element: &Value, pointer: &str) {
        let (options, groups) = (&element["options"], &element["option_groups"]);
        match (options.is_null(), groups.is_null()) {
            (true, true) => self.fault(pointer, "missing required field: options"),
            (false, false) => self.fault(pointer, "only one of options and option_groups allowed"),
            (false, true) => self.options(options, (1, 100), &format!("{pointer}/options")),
            (true, false) => self.groups(groups, &format!("{pointer}/option_groups")),
        }
        self.initial(element, pointer);
    }

    fn groups(&mut self, groups: &Value, pointer: &str) {
        let groups = self.list(groups, (1, 100), pointer);
        for (index, group) in groups.iter().enumerate() {
            let place = format!("{pointer}/{index}");
            self.text(group, "label", 75, true, &place);
            self.options(&group["options"], (1, 100), &format!("{place}/options"));
        }
    }

    fn options(&mut self, options: &Value, counts: (usize, usize), pointer: &str) {
        let options = self.list(options, counts, pointer);
        for (index, option) in options.iter().enumerate() {
            self.option(option, &format!("{pointer}/{index}"));
        }
    }

    fn option(&mut self, option: &Value, pointer: &str) {
        let Some(fields) = option.as_object() else {
            return self.fault(pointer, "must provide an object");
        };
        self.additional(fields, &["text", "value", "description", "url"], pointer);
        self.text(option, "text", 75, false, pointer);
        self.text(option, "description", 75, false, pointer);
        self.string(option, "value", 150, pointer);
        for name in ["text", "value"] {
            if !fields.contains_key(name) {
                self.fault(pointer, format!("missing required field: {name}"));
            }
        }
    }

    /// What is chosen at first must be one of the options.
    fn initial(&mut self, element: &Value, pointer: &str) {
        let options = super::options_of(element);
        let known = |chosen: &Value| {
            options
                .iter()
                .any(|option| option["value"] == chosen["value"])
        };
        if let Some(chosen) = element
            .get("initial_option")
            .filter(|chosen| !known(chosen))
        {
            self.fault(
                &format!("{pointer}/initial_option"),
                format!("must be one of the options: {}", chosen["value"]),
            );
        }
        let several = element["initial_options"].as_array();
        if several.is_some_and(|several| !several.iter().all(known)) {
            self.fault(
                &format!("{pointer}/initial_options"),
                "must be among the options",
            );
        }
    }

    fn rich_text(&mut self, element: &Value, pointer: &str) {
        let kind = element["type"].as_str().unwrap_or_default();
        let known = [
            "rich_text_section",
            "rich_text_list",
            "rich_text_preformatted",
            "rich_text_quote",
        ];
        if !known.contains(&kind) {
            return self.fault(
                &format!("{pointer}/type"),
                format!("unsupported type: {kind}"),
            );
        }
        let place = format!("{pointer}/elements");
        let inner = self.list(&element["elements"], (0, 1000), &place);
        for (index, part) in inner.iter().enumerate() {
            let place = format!("{place}/{index}");
            if kind == "rich_text_list" {
                self.rich_text(part, &place);
            } else if part["type"].as_str().is_none() {
                self.fault(&place, "missing required field: type");
            } else if part["type"] == "text" && part["text"].as_str().is_none_or(str::is_empty) {
                self.fault(&format!("{place}/text"), "must be more than 0 characters");
            }
        }
    }
}
