//! Lists of names in which `*` stands for any characters. Touches nothing.

/// Whether any of `patterns` matches the whole of `name`. An empty list matches nothing.
pub fn any_matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::any_matches;

    #[test]
    fn a_star_stands_for_any_characters_and_the_whole_name_must_match() {
        let allowed = |patterns: &[&str], name| {
            any_matches(
                &patterns
                    .iter()
                    .map(|pattern| (*pattern).to_owned())
                    .collect::<Vec<_>>(),
                name,
            )
        };
        assert!(allowed(&["checkout", "shop-*"], "shop-cart"));
        assert!(allowed(&["*"], ""));
        assert!(allowed(&["a*b*c"], "a-b-b-c"));
        assert!(!allowed(&["a*b*c"], "a-b-c-d"));
        assert!(!allowed(&["ab*ba"], "aba"));
        assert!(!allowed(&["checkout"], "checkout-2"));
        assert!(!allowed(&[], "checkout"));
    }
}
