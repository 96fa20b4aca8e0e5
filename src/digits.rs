//! Integers as Python's `int` reads them: with the decimal digits of any script.

use std::sync::LazyLock;

use regex::Regex;

/// A character of Unicode's category Nd.
static DIGIT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\d$").expect("the pattern is valid"));

/// The value of a decimal digit of any script.
fn digit(letter: char) -> Option<u32> {
    if letter.is_ascii() {
        return letter.to_digit(10);
    }
    let is_digit = |letter: char| DIGIT.is_match(letter.encode_utf8(&mut [0; 4]));
    if !is_digit(letter) {
        return None;
    }
    // Unicode assigns them in consecutive runs of ten; some runs follow each other.
    let before = (0..u32::from(letter)).rev().map_while(char::from_u32);
    let count = before.take_while(|letter| is_digit(*letter)).count();
    u32::try_from(count % 10).ok()
}

/// A text with ASCII digits in place of the decimal digits of other scripts.
pub fn to_ascii(text: &str) -> String {
    let ascii = |letter| {
        digit(letter)
            .and_then(|value| char::from_digit(value, 10))
            .unwrap_or(letter)
    };
    text.chars().map(ascii).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_all_scripts_have_their_values() {
        assert_eq!(
            to_ascii("١٢٣ ۴۵ १२ ৭৮ 𝟘𝟗 ９０ ௧௨ x½²"),
            "123 45 12 78 09 90 12 x½²"
        );
        // Each run of ten consecutive digits counts from 0 to 9.
        let all: Vec<char> = ('\0'..=char::MAX)
            .filter(|letter| digit(*letter).is_some())
            .collect();
        assert!(
            all.len() > 600 && all.len().is_multiple_of(10),
            "{}",
            all.len()
        );
        for ten in all.chunks(10) {
            let values: Vec<u32> = ten.iter().filter_map(|letter| digit(*letter)).collect();
            assert_eq!(values, (0..10).collect::<Vec<_>>(), "{ten:?}");
        }
    }
}
