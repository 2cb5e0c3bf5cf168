//! What comes over a socket, and what goes back. Touches nothing.

use serde_json::{Value, json};

use crate::slack::{
    inbound::{Inbound, Reply, Retry, Taken},
    text::clean,
};

/// Slack's are UUIDs.
const MOST_ID: usize = 255;

/// A text frame of Slack's.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    /// The socket counts from now on.
    Hello {
        /// How many sockets the app has, ours included.
        connections: Option<u32>,
    },
    /// The socket will end.
    Disconnect(Goodbye),
    /// A delivery.
    Envelope(Box<Envelope>),
    /// Something that asks for no answer.
    Other,
}

/// Why a socket will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// As all do after some hours. Reasons that we don't know are taken for this one.
    Refresh,
    /// The app has more than ten.
    TooMany,
    /// Socket Mode was switched off.
    Disabled,
}

/// A delivery, and how to answer it.
#[derive(Debug, PartialEq)]
pub(super) struct Envelope {
    id: String,
    accepts_payload: bool,
    pub(super) inbound: Inbound,
    pub(super) retry: Option<Retry>,
}

impl Frame {
    pub(super) fn read(text: &str) -> Self {
        let Ok(mut frame) = serde_json::from_str::<Value>(text) else {
            return Self::Other;
        };
        let word = |name: &str| frame.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| frame.get(name).and_then(Value::as_u64);
        match word("type") {
            "hello" => {
                let connections = number("num_connections");
                return Self::Hello {
                    connections: connections.and_then(|count| count.try_into().ok()),
                };
            }
            "disconnect" => {
                return Self::Disconnect(match word("reason") {
                    "too_many_websockets" => Goodbye::TooMany,
                    "link_disabled" => Goodbye::Disabled,
                    _ => Goodbye::Refresh,
                });
            }
            _ => {}
        }
        let id = word("envelope_id");
        if id.is_empty() || id.len() > MOST_ID {
            return Self::Other;
        }
        let (id, kind) = (id.to_owned(), word("type").to_owned());
        // The first delivery counts as attempt 0.
        let attempt = number("retry_attempt").unwrap_or_default();
        let retry = u8::try_from(attempt).ok().filter(|number| *number > 0);
        let retry = retry.map(|number| Retry {
            number,
            reason: clean(word("retry_reason"), 40),
        });
        let accepts_payload = frame.get("accepts_response_payload") == Some(&Value::Bool(true));
        let payload = frame
            .get_mut("payload")
            .map(Value::take)
            .unwrap_or_default();
        let inbound = match kind.as_str() {
            "events_api" => Inbound::event(payload),
            "interactive" => Inbound::interaction(payload),
            "slash_commands" => Inbound::command(payload),
            other => Inbound::unknown(other),
        };
        Self::Envelope(Box::new(Envelope {
            id,
            accepts_payload,
            inbound,
            retry,
        }))
    }
}

/// How to answer a delivery once its content has gone to the handler.
#[derive(Debug)]
pub(super) struct Receipt {
    id: String,
    accepts_payload: bool,
}

impl Envelope {
    pub(super) fn split(self) -> (Inbound, Option<Retry>, Receipt) {
        let receipt = Receipt {
            id: self.id,
            accepts_payload: self.accepts_payload,
        };
        (self.inbound, self.retry, receipt)
    }
}

impl Receipt {
    /// The frame that answers. None lets Slack deliver an event again, and tell people that a click failed.
    pub(super) fn frame(self, taken: &Taken) -> Option<String> {
        let payload = match taken {
            Taken::Reply(Reply::Refused) | Taken::NotAllowed => return None,
            Taken::Reply(reply) => reply.body().filter(|_| self.accepts_payload),
            Taken::Unknown => None,
        };
        let mut frame = json!({"envelope_id": self.id});
        if let Some(payload) = payload {
            frame["payload"] = payload;
        }
        Some(frame.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slack::{blocks::Message, text::Mrkdwn};

    #[test]
    fn frames_are_read_leniently() {
        for (text, expected) in [
            (r#"{"type":"hello"}"#, Frame::Hello { connections: None }),
            (
                r#"{"type":"hello","num_connections":3,"debug_info":{}}"#,
                Frame::Hello {
                    connections: Some(3),
                },
            ),
            (
                r#"{"type":"disconnect","reason":"warning"}"#,
                Frame::Disconnect(Goodbye::Refresh),
            ),
            (
                r#"{"type":"disconnect"}"#,
                Frame::Disconnect(Goodbye::Refresh),
            ),
            (
                r#"{"type":"disconnect","reason":"too_many_websockets"}"#,
                Frame::Disconnect(Goodbye::TooMany),
            ),
            (
                r#"{"type":"disconnect","reason":"link_disabled"}"#,
                Frame::Disconnect(Goodbye::Disabled),
            ),
            ("", Frame::Other),
            ("[]", Frame::Other),
            (r#"{"type":"events_api","payload":{}}"#, Frame::Other),
            (r#"{"type":"events_api","envelope_id":7}"#, Frame::Other),
        ] {
            assert_eq!(Frame::read(text), expected, "{text}");
        }
    }

    fn envelope(text: &str) -> Envelope {
        match Frame::read(text) {
            Frame::Envelope(envelope) => *envelope,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn deliveries_carry_their_retries() {
        let event = r#"{"envelope_id":"e","type":"events_api","retry_attempt":1,"retry_reason":"timeout","payload":{
            "type":"event_callback","event_id":"Ev1","event":{"type":"x"}}}"#;
        let read = envelope(event);
        assert_eq!(read.inbound.word(), "event");
        assert_eq!(
            read.retry,
            Some(Retry {
                number: 1,
                reason: "timeout".to_owned()
            })
        );
        assert_eq!(
            envelope(&event.replace("\"retry_attempt\":1", "\"retry_attempt\":0")).retry,
            None
        );
        let unknown = envelope(r#"{"envelope_id":"e","type":"new_thing"}"#);
        assert_eq!(unknown.inbound.word(), "unknown");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read(text in any::<String>(), number in any::<i64>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            for frame in [
                text,
                format!(r#"{{"type":{quoted},"envelope_id":{quoted},"payload":{quoted}}}"#),
                format!(r#"{{"type":"events_api","envelope_id":"e","retry_attempt":{number},"payload":{number}}}"#),
                format!(r#"{{"type":"hello","num_connections":{number}}}"#),
            ] {
                let _ = Frame::read(&frame);
            }
        }
    }

    #[test]
    fn a_payload_goes_back_only_where_it_is_accepted() {
        let receipt = |accepts| {
            let text = format!(
                r#"{{"envelope_id":"e","type":"slash_commands","accepts_response_payload":{accepts}}}"#
            );
            envelope(&text).split().2
        };
        let reply = Taken::Reply(Reply::ephemeral(Message::plain(Mrkdwn::fixed("hello"))));
        assert_eq!(
            receipt(true).frame(&reply).unwrap(),
            r#"{"envelope_id":"e","payload":{"response_type":"ephemeral","text":"hello"}}"#
        );
        let bare = r#"{"envelope_id":"e"}"#;
        assert_eq!(receipt(false).frame(&reply).unwrap(), bare);
        assert_eq!(
            receipt(true).frame(&Taken::Reply(Reply::Empty)).unwrap(),
            bare
        );
        assert_eq!(receipt(true).frame(&Taken::Unknown).unwrap(), bare);
        assert_eq!(receipt(true).frame(&Taken::Reply(Reply::Refused)), None);
        assert_eq!(receipt(true).frame(&Taken::NotAllowed), None);
    }
}
