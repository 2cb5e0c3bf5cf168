//! Slack's words for errors, and what each means for us. Touches nothing.
//!
//! From the method reference (<https://docs.slack.dev/reference/methods>); a word that isn't here is refused and shown.

use super::error::Elsewhere;

/// For what isn't in the table.
pub(super) const OTHER: &str = "other";

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Too many calls; nothing was done.
    Limited,
    /// Slack's own trouble; it may have been done.
    Trouble,
    Stop,
    FallBack(Elsewhere),
    OurBug,
    Missing,
    Other,
}

const DIRECT: Class = Class::FallBack(Elsewhere::DirectMessage);
const NEW: Class = Class::FallBack(Elsewhere::NewMessage);

const WORDS: [(&str, Class); 102] = [
    ("ratelimited", Class::Limited),
    ("rate_limited", Class::Limited),
    ("message_limit_exceeded", Class::Limited),
    ("internal_error", Class::Trouble),
    ("fatal_error", Class::Trouble),
    ("service_unavailable", Class::Trouble),
    ("request_timeout", Class::Trouble),
    ("update_failed", Class::Trouble),
    ("fetch_members_failed", Class::Trouble),
    ("team_added_to_org", Class::Limited),
    ("external_channel_migrating", Class::Limited),
    ("accesslimited", Class::Limited),
    ("invalid_auth", Class::Stop),
    ("not_authed", Class::Stop),
    ("account_inactive", Class::Stop),
    ("user_removed_from_team", Class::Stop),
    ("team_disabled", Class::Stop),
    ("token_revoked", Class::Stop),
    ("token_expired", Class::Stop),
    ("missing_scope", Class::Stop),
    ("no_permission", Class::Stop),
    ("org_login_required", Class::Stop),
    ("ekm_access_denied", Class::Stop),
    ("not_allowed_token_type", Class::Stop),
    ("app_access_restricted", Class::Stop),
    ("access_denied", Class::Stop),
    ("enterprise_is_restricted", Class::Stop),
    ("forbidden_team", Class::Stop),
    ("team_access_not_granted", Class::Stop),
    ("two_factor_setup_required", Class::Stop),
    ("invalid_app_id", Class::Stop),
    ("link_disabled", Class::Stop),
    ("socket_mode_disabled", Class::Stop),
    ("insecure_request", Class::Stop),
    ("plan_upgrade_required", Class::Stop),
    ("channel_not_found", DIRECT),
    ("not_in_channel", DIRECT),
    ("is_archived", DIRECT),
    ("is_inactive", DIRECT),
    ("channel_is_limited_access", DIRECT),
    ("posting_to_channel_denied", DIRECT),
    ("restricted_action", DIRECT),
    ("restricted_action_non_threadable_channel", DIRECT),
    ("restricted_action_read_only_channel", DIRECT),
    ("restricted_action_thread_locked", DIRECT),
    ("restricted_action_thread_only_channel", DIRECT),
    ("messages_tab_disabled", DIRECT),
    ("user_not_in_channel", DIRECT),
    ("method_not_supported_for_channel_type", DIRECT),
    ("team_not_found", DIRECT),
    ("message_not_found", NEW),
    ("cant_update_message", NEW),
    ("cant_delete_message", NEW),
    ("cant_broadcast_message", NEW),
    ("cannot_reply_to_message", NEW),
    ("thread_not_found", NEW),
    ("edit_window_closed", NEW),
    ("block_mismatch", NEW),
    ("streaming_state_conflict", NEW),
    ("no_dual_broadcast_content_update", NEW),
    ("invalid_blocks", Class::OurBug),
    ("invalid_blocks_format", Class::OurBug),
    ("invalid_attachments", Class::OurBug),
    ("invalid_arguments", Class::OurBug),
    ("invalid_arg_name", Class::OurBug),
    ("invalid_array_arg", Class::OurBug),
    ("invalid_charset", Class::OurBug),
    ("invalid_form_data", Class::OurBug),
    ("invalid_post_type", Class::OurBug),
    ("invalid_json", Class::OurBug),
    ("json_not_object", Class::OurBug),
    ("missing_post_type", Class::OurBug),
    ("missing_argument", Class::OurBug),
    ("missing_args", Class::OurBug),
    ("missing_charset", Class::OurBug),
    ("unknown_method", Class::OurBug),
    ("invalid_payload", Class::OurBug),
    ("invalid_cursor", Class::OurBug),
    ("invalid_limit", Class::OurBug),
    ("msg_blocks_too_long", Class::OurBug),
    ("msg_too_long", Class::OurBug),
    ("no_text", Class::OurBug),
    ("view_too_large", Class::OurBug),
    ("duplicate_external_id", Class::OurBug),
    ("push_limit_reached", Class::OurBug),
    ("metadata_too_large", Class::OurBug),
    ("invalid_metadata_format", Class::OurBug),
    ("invalid_metadata_schema", Class::OurBug),
    ("as_user_not_supported", Class::OurBug),
    ("user_not_found", Class::Missing),
    ("users_not_found", Class::Missing),
    ("user_not_visible", Class::Missing),
    ("user_disabled", Class::Missing),
    ("not_found", Class::Missing),
    ("hash_conflict", Class::Missing),
    ("expired_trigger_id", Class::Missing),
    ("exchanged_trigger_id", Class::Missing),
    ("invalid_trigger_id", Class::Missing),
    ("trigger_expired", Class::Missing),
    ("trigger_exchanged", Class::Missing),
    ("expired_url", Class::Missing),
    ("used_url", Class::Missing),
];

/// Our own word for Slack's, and what it means.
pub(super) fn find(said: &str) -> (&'static str, Class) {
    let known = WORDS.iter().find(|(word, _)| *word == said);
    known.copied().unwrap_or((OTHER, Class::Other))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_word_means_one_thing() {
        let words: BTreeSet<&str> = WORDS.iter().map(|(word, _)| *word).collect();
        assert_eq!(words.len(), WORDS.len());
    }
}
