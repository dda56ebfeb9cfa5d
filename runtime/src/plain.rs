//! What others say, fit for one line of a terminal.

/// The text without control characters, which would make lines of their own or move the cursor. They are replaced.
pub fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

/// JSON without the control characters that it lets stand in strings: they are escaped as the others are.
pub fn plain_json(json: &str) -> String {
    let escaped = |char: char| char == '\u{7f}' || ('\u{80}'..='\u{9f}').contains(&char);
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        if escaped(char) {
            text.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            text.push(char);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{plain, plain_json};

    #[test]
    fn control_characters_are_replaced_and_nothing_else() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}é"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}é");
    }

    #[test]
    fn json_says_the_same_without_control_characters() {
        let said = "a\u{7f}b\u{80}\u{9b}\u{9f}\u{a0}é\u{1b}";
        let json = plain_json(&serde_json::to_string(said).unwrap());
        assert_eq!(json, "\"a\\u007fb\\u0080\\u009b\\u009f\u{a0}é\\u001b\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), said);
    }
}
