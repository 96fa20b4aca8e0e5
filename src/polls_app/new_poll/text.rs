//! The texts of a poll: what can be seen, and what looks the same.

use unicode_normalization::UnicodeNormalization;

use crate::auth::validators::length_error;

/// What is wrong with a text that may be empty.
pub fn error(text: &str, max_length: usize) -> Option<String> {
    if text.contains('\0') {
        return Some("Null characters are not allowed.".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Some("Control characters and line breaks are not allowed.".to_owned());
    }
    if !text.is_empty() && text.chars().all(is_invisible) {
        return Some("Enter a text that can be seen.".to_owned());
    }
    length_error(text, max_length)
}

/// A text for comparisons: equal for texts that look the same, but for case and the width of spaces.
pub fn comparable(text: &str) -> String {
    // The tags of a flag are all that tells it from others.
    let is_tag = |letter| matches!(letter, '\u{e0020}'..='\u{e007f}');
    let is_kept =
        |letter: &char| letter.is_whitespace() || is_tag(*letter) || !is_invisible(*letter);
    let visible: String = text.nfc().filter(is_kept).collect();
    let words: Vec<_> = visible.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// Whether a character takes no place: of the categories `Cf` and `Zs`, and those that `Default_Ignorable_Code_Point` names
/// (<https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point>).
fn is_invisible(letter: char) -> bool {
    letter.is_whitespace()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2800}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_the_same_are_equal() {
        for (one, other) in [
            ("é", "e\u{301}"),
            ("A", "a"),
            ("a\u{200b}b", "ab"),
            ("a \u{a0}b", " a b"),
        ] {
            assert_eq!(comparable(one), comparable(other), "{one:?}");
        }
        for (one, other) in [
            ("a", "b"),
            ("👍", "👎"),
            ("10²", "102"),
            ("now here", "nowhere"),
            (
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
                "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
            ),
        ] {
            assert_ne!(comparable(one), comparable(other), "{one:?}");
        }
    }

    #[test]
    fn texts_have_to_be_visible() {
        for (text, is_valid) in [
            ("", true),
            ("x", true),
            ("👨\u{200d}👩", true),
            ("\u{200b}", false),
            ("\u{3164}\u{a0}", false),
            ("\u{2800}", false),
            ("a\nb", false),
            ("a\u{7}", false),
            ("\0", false),
        ] {
            assert_eq!(error(text, 200).is_none(), is_valid, "{text:?}");
        }
    }
}
