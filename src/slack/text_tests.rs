//! What hostile text can't do in a Slack message.

use proptest::prelude::*;

use super::*;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

#[test]
fn a_mention_in_foreign_text_mentions_nobody() {
    for hostile in [
        "<!channel>",
        "<!here|x>",
        "<@U123>",
        "<!subteam^S1>",
        "<#C1>",
        "&lt;!channel&gt;",
    ] {
        for markup in [
            Mrkdwn::code(hostile),
            Mrkdwn::name(hostile),
            Mrkdwn::code_block(hostile, 99),
        ] {
            assert!(!markup.as_str().contains(['<', '>']), "{markup}");
        }
    }
    assert_eq!(
        Mrkdwn::code("&lt;!here&gt;").as_str(),
        "`&amp;lt;!here&amp;gt;`"
    );
}

#[test]
fn a_code_span_can_not_be_left() {
    assert_eq!(
        Mrkdwn::code("x` *Deployed* :tada: `").as_str(),
        "`x' *Deployed* :tada: '`"
    );
    assert_eq!(
        Mrkdwn::code("title\n> quoted\r\n:white_check_mark: *Deployed*").as_str(),
        "`title &gt; quoted :white_check_mark: *Deployed*`"
    );
    assert_eq!(
        Mrkdwn::code_block("a\n```\n*b*\t<c>", 99).as_str(),
        "```\na\n'''\n*b* &lt;c&gt;\n```"
    );
    assert_eq!(Mrkdwn::code(" \u{200b}\n").as_str(), "`–`");
}

#[test]
fn what_hides_or_turns_is_left_out() {
    assert_eq!(
        Mrkdwn::code("pro\u{202e}gnp.\u{200b}exe\u{0}\u{feff}\u{e0041}\u{2066}").as_str(),
        "`prognp.exe`"
    );
    assert_eq!(clean("\u{1b}[31mred", 99), "[31mred");
    assert_eq!(clean("  a \n\t b\u{a0}c  ", 99), "a b c");
}

#[test]
fn cutting_never_tears_an_escape() {
    assert_eq!(Mrkdwn::code_within("<<<<<<", 3).as_str(), "`&lt;&lt;…`");
    assert_eq!(clean("abcdef", 4), "abc…");
    assert_eq!(clean("ab cd", 4), "ab…");
    assert_eq!(clean("abcd", 4), "abcd");
    assert_eq!(clean("abc", 0), "");
    assert_eq!(clean_lines("a\nb\nc\nd", 4), "a\nb…");
}

#[test]
fn a_name_is_bold_only_if_it_is_a_label() {
    assert_eq!(Mrkdwn::name("checkout-2").as_str(), "*checkout-2*");
    for odd in ["-a", "a-", "A", "a*b", "a.b", "", &"a".repeat(64)] {
        assert!(Mrkdwn::name(odd).as_str().starts_with('`'), "{odd}");
    }
}

#[test]
fn a_link_leads_where_its_label_says() {
    let gate = url("https://spinnaker.example/#/a?x=1&y=2");
    assert_eq!(
        Mrkdwn::link(&gate, "Spinnaker").as_str(),
        "<https://spinnaker.example/#/a?x=1&amp;y=2|Spinnaker>"
    );
    for label in [
        "https://bank.example",
        "bank.example",
        "see bank.example/login",
        "bank。example",
        "pay@bank",
        "",
    ] {
        assert!(
            Mrkdwn::link(&gate, label)
                .as_str()
                .ends_with("|spinnaker.example>"),
            "{label}"
        );
    }
    assert!(
        Mrkdwn::link(&gate, "v1.2.3 of #42")
            .as_str()
            .ends_with("|v1.2.3 of #42>")
    );
}

#[test]
fn an_address_can_not_end_its_link() {
    let link = Mrkdwn::link(&url("https://a.example/x|<!here>`?q=<|>#|>"), "a|b>*c*:d:");
    let text = link.as_str();
    assert_eq!(text.matches('<').count(), 1, "{text}");
    assert_eq!(text.matches('>').count(), 1, "{text}");
    assert_eq!(text.matches('|').count(), 1, "{text}");
    assert!(!text.contains(['`', '*']), "{text}");
    assert_eq!(
        Mrkdwn::link(&url("https://good.example:x@evil.example/"), "log").as_str(),
        "<https://evil.example/|log>"
    );
    assert_eq!(
        Mrkdwn::link(&url("javascript:alert(1)"), "log").as_str(),
        "`log`"
    );
    assert_eq!(
        Mrkdwn::link(&url("slack://open"), "open").as_str(),
        "`open`"
    );
}

#[test]
fn joined_markup_is_what_was_joined() {
    let user = UserId::new("U1").unwrap();
    let group = GroupId::new("S1").unwrap();
    let channel = ChannelId::new("C1").unwrap();
    let date = Mrkdwn::date("2026-11-22T03:04:05Z".parse().unwrap());
    let all = Mrkdwn::fixed(":rocket: ")
        + Mrkdwn::user(&user)
        + " "
        + Mrkdwn::group(&group)
        + " in "
        + Mrkdwn::concat([Mrkdwn::channel(&channel), Mrkdwn::fixed(": ")])
        + Mrkdwn::join([Mrkdwn::number(1_u64), Mrkdwn::number(2_usize)], ", ")
        + " "
        + date;
    assert_eq!(
        all.as_str(),
        ":rocket: <@U1> <!subteam^S1> in <#C1>: 1, 2 \
         <!date^1795316645^{date_short_pretty} {time}|2026-11-22 03:04 UTC>"
    );
    assert_eq!(
        serde_json::to_value(MrkdwnObject(Mrkdwn::fixed("*a*"))).unwrap(),
        serde_json::json!({"type": "mrkdwn", "text": "*a*", "verbatim": true})
    );
    assert_eq!(
        serde_json::to_value(Plain::new(" <!here>\n:tada: ")).unwrap(),
        serde_json::json!({"type": "plain_text", "text": "<!here> :tada:", "emoji": false})
    );
    assert_eq!(Plain::new("").as_str(), "–");
}

#[test]
fn markup_is_cut_and_split_between_atoms_only() {
    let text = Mrkdwn::fixed("a ") + Mrkdwn::code("bcd") + Mrkdwn::code("efg");
    assert_eq!(text.clone().cut(12), text);
    assert_eq!(text.clone().cut(11).as_str(), "a `bcd`…");
    assert_eq!(text.clone().cut(0).as_str(), "");
    let pieces: Vec<String> = text.pieces(8).iter().map(ToString::to_string).collect();
    assert_eq!(pieces, ["a `bcd`", "`efg`"]);
    let pieces: Vec<String> = text.pieces(3).iter().map(ToString::to_string).collect();
    assert_eq!(pieces, ["a …", "…"]);
}

/// Markup with the escapes taken out: what is left of `<`, `>` and `&` would be parsed.
fn unescaped(text: &str) -> String {
    text.replace("&amp;", "")
        .replace("&lt;", "")
        .replace("&gt;", "")
}

proptest! {
    #[test]
    fn nothing_gets_out_of_a_code_span(text in any::<String>(), most in 0_usize..300) {
        let code = Mrkdwn::code_within(&text, most);
        let inner = unescaped(code.as_str());
        prop_assert!(!inner.contains(['<', '>', '&', '\n', '\r']));
        prop_assert_eq!(inner.matches('`').count(), 2);
        prop_assert!(inner.starts_with('`') && inner.ends_with('`'));
        prop_assert!(clean(&text, most).chars().count() <= most);
    }

    #[test]
    fn nothing_gets_out_of_a_code_block(text in any::<String>(), most in 0_usize..300) {
        let block = Mrkdwn::code_block(&text, most);
        let inner = unescaped(block.as_str());
        prop_assert!(!inner.contains(['<', '>', '&', '\r']));
        prop_assert_eq!(inner.matches('`').count(), 6);
    }

    #[test]
    fn nothing_gets_out_of_a_link(path in any::<String>(), label in any::<String>()) {
        let mut url = url("https://gate.example/");
        url.set_path(&path);
        url.set_query(Some(&path));
        url.set_fragment(Some(&path));
        let link = Mrkdwn::link(&url, &label);
        let inner = unescaped(link.as_str());
        for sign in ['<', '>', '|'] {
            prop_assert!(inner.matches(sign).count() <= 1, "{}", inner);
        }
        prop_assert!(!inner.contains(['&', '`', '\n']) || inner.starts_with('`'));
    }

    #[test]
    fn a_cut_text_is_no_longer_than_asked(texts in prop::collection::vec(any::<String>(), 0..6), most in 1_usize..80) {
        let all = Mrkdwn::join(texts.iter().map(|text| Mrkdwn::code_within(text, 20)), ", ");
        prop_assert!(all.clone().cut(most).len() <= most);
        for piece in all.pieces(most) {
            prop_assert!(piece.len() <= most);
        }
    }

    #[test]
    fn cleaning_twice_is_cleaning_once(text in any::<String>(), most in 0_usize..60) {
        let once = clean(&text, most);
        prop_assert_eq!(clean(&once, most), once);
    }
}
