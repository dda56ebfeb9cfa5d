//! What others say, fit for one line of a terminal.

/// The text without control characters, which would make lines of their own or move the cursor. They are replaced.
pub fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn control_characters_are_replaced_and_nothing_else() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}é"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}é");
    }
}
