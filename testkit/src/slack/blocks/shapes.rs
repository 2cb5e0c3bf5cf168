//! Which blocks and elements there are, and which fields each has. A table of facts, touches nothing.

/// A kind of block or element.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kind: &'static str,
    pub(super) required: &'static [&'static str],
    pub(super) optional: &'static [&'static str],
}

const fn shape(
    kind: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
) -> Shape {
    Shape {
        kind,
        required,
        optional,
    }
}

const BLOCKS: &[Shape] = &[
    shape("section", &[], &["text", "fields", "accessory", "expand"]),
    shape("divider", &[], &[]),
    shape(
        "image",
        &["alt_text"],
        &["image_url", "slack_file", "title"],
    ),
    shape("actions", &["elements"], &[]),
    shape("context", &["elements"], &[]),
    shape(
        "input",
        &["label", "element"],
        &["hint", "optional", "dispatch_action"],
    ),
    shape("header", &["text"], &[]),
    shape("rich_text", &["elements"], &[]),
    shape("markdown", &["text"], &[]),
    shape("table", &["rows"], &["column_settings"]),
    shape(
        "video",
        &["alt_text", "title", "thumbnail_url", "video_url"],
        &[
            "author_name",
            "title_url",
            "description",
            "provider_name",
            "provider_icon_url",
        ],
    ),
];

const ELEMENTS: &[Shape] = &[
    shape(
        "button",
        &["text"],
        &["url", "value", "style", "confirm", "accessibility_label"],
    ),
    shape("image", &["alt_text"], &["image_url", "slack_file"]),
    shape(
        "static_select",
        &[],
        &[
            "options",
            "option_groups",
            "initial_option",
            "confirm",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape(
        "multi_static_select",
        &[],
        &[
            "options",
            "option_groups",
            "initial_options",
            "confirm",
            "max_selected_items",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape(
        "external_select",
        &[],
        &[
            "initial_option",
            "min_query_length",
            "confirm",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape(
        "multi_external_select",
        &[],
        &[
            "initial_options",
            "min_query_length",
            "confirm",
            "max_selected_items",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape(
        "users_select",
        &[],
        &["initial_user", "confirm", "focus_on_load", "placeholder"],
    ),
    shape(
        "multi_users_select",
        &[],
        &[
            "initial_users",
            "confirm",
            "max_selected_items",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape(
        "conversations_select",
        &[],
        &[
            "initial_conversation",
            "default_to_current_conversation",
            "confirm",
            "response_url_enabled",
            "filter",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape(
        "channels_select",
        &[],
        &[
            "initial_channel",
            "confirm",
            "response_url_enabled",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape("overflow", &["options"], &["confirm"]),
    shape(
        "radio_buttons",
        &["options"],
        &["initial_option", "confirm", "focus_on_load"],
    ),
    shape(
        "checkboxes",
        &["options"],
        &["initial_options", "confirm", "focus_on_load"],
    ),
    shape(
        "datepicker",
        &[],
        &["initial_date", "confirm", "focus_on_load", "placeholder"],
    ),
    shape(
        "timepicker",
        &[],
        &[
            "initial_time",
            "confirm",
            "focus_on_load",
            "placeholder",
            "timezone",
        ],
    ),
    shape(
        "datetimepicker",
        &[],
        &["initial_date_time", "confirm", "focus_on_load"],
    ),
    shape(
        "plain_text_input",
        &[],
        &[
            "initial_value",
            "multiline",
            "min_length",
            "max_length",
            "dispatch_action_config",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape(
        "number_input",
        &["is_decimal_allowed"],
        &[
            "initial_value",
            "min_value",
            "max_value",
            "dispatch_action_config",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape(
        "email_text_input",
        &[],
        &[
            "initial_value",
            "dispatch_action_config",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape(
        "url_text_input",
        &[],
        &[
            "initial_value",
            "dispatch_action_config",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape(
        "rich_text_input",
        &[],
        &[
            "initial_value",
            "dispatch_action_config",
            "focus_on_load",
            "placeholder",
        ],
    ),
    shape("file_input", &[], &["filetypes", "max_files"]),
];

/// The block of that type.
pub(super) fn block(kind: &str) -> Option<&'static Shape> {
    BLOCKS.iter().find(|shape| shape.kind == kind)
}

/// The element of that type.
pub(super) fn element(kind: &str) -> Option<&'static Shape> {
    ELEMENTS.iter().find(|shape| shape.kind == kind)
}

/// Whether an element may stand in a block of that type.
pub(super) fn fits(element: &str, block: &str) -> bool {
    let writes = matches!(
        element,
        "plain_text_input"
            | "number_input"
            | "email_text_input"
            | "url_text_input"
            | "rich_text_input"
            | "file_input"
    );
    match block {
        "input" => !matches!(element, "button" | "overflow" | "image"),
        "actions" => !writes && element != "image" && !element.starts_with("multi_"),
        "section" => !writes,
        _ => element == "image",
    }
}
