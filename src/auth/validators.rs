//! Validation of usernames, email addresses and passwords, with Django's texts.

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    net::IpAddr,
    sync::LazyLock,
};

use flate2::read::GzDecoder;

use crate::entities::user;

/// The maximum length of a username in characters.
pub const MAX_USERNAME: usize = 150;
const MAX_EMAIL: usize = 254;
const MIN_PASSWORD: usize = 8;
/// The maximum length of a password in bytes; a longer one is rejected without being hashed.
const MAX_PASSWORD: usize = 4096;
/// Django's message for a text that contains one.
pub const NULL_CHARACTERS: &str = "Null characters are not allowed.";
/// The ratio of common letters from which a password is too similar to an attribute of its user.
const MAX_SIMILARITY: f64 = 0.7;

/// 19,640 common passwords, by Royce Williams; Django's file.
static COMMON_PASSWORDS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let mut text = String::new();
    let list: &[u8] = include_bytes!("common-passwords.txt.gz");
    GzDecoder::new(list)
        .read_to_string(&mut text)
        .expect("the embedded list is valid");
    text.lines().map(|line| line.trim().to_owned()).collect()
});

/// The errors of a username; none if it is valid.
pub fn username_errors(username: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if username.is_empty() {
        return vec!["This field cannot be blank.".to_owned()];
    }
    if !username
        .chars()
        .all(|c| c.is_alphanumeric() || "_@.+-".contains(c))
    {
        let text = "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.";
        errors.push(text.to_owned());
    }
    errors.extend(length_error(username, MAX_USERNAME));
    errors
}

/// The errors of an email address; none if it is valid or empty.
pub fn email_errors(email: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if email.is_empty() {
        return errors;
    }
    if !is_email(email) {
        errors.push("Enter a valid email address.".to_owned());
    }
    errors.extend(length_error(email, MAX_EMAIL));
    errors
}

/// The errors of a new password and its repetition.
pub fn new_password_errors(new: &str, again: &str, user: &UserAttributes<'_>) -> Vec<String> {
    if let Some(error) = unusable_at_login(new) {
        return vec![error];
    }
    if new != again {
        return vec!["The two password fields didn’t match.".to_owned()];
    }
    password_errors(new, user)
}

/// The help texts of the password validators.
pub fn help_texts() -> Vec<&'static str> {
    vec![
        "Your password can’t be too similar to your other personal information.",
        "Your password must contain at least 8 characters.",
        "Your password can’t be a commonly used password.",
        "Your password can’t be entirely numeric.",
    ]
}

/// The error of a text with more than `limit` characters; `None` if it is valid.
pub fn length_error(text: &str, limit: usize) -> Option<String> {
    let length = text.chars().count();
    (length > limit)
        .then(|| format!("Ensure this value has at most {limit} characters (it has {length})."))
}

/// Django's `EmailValidator`.
fn is_email(email: &str) -> bool {
    let Some((name, domain)) = email.rsplit_once('@') else {
        return false;
    };
    email.chars().count() <= 320 && is_email_name(name) && is_email_domain(domain)
}

fn is_email_name(name: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-!#$%&'*+/=?^_`{}|~".contains(c))
    };
    if name.split('.').all(is_atom) {
        return true;
    }
    let Some(quoted) = name
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return false;
    };
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        let is_escaped = character == '\\';
        let character = if is_escaped {
            characters.next()
        } else {
            Some(character)
        };
        let is_valid = match character {
            Some('\0' | '\n' | '\r') | None => false,
            Some('"' | '\\' | ' ' | '\t') => is_escaped,
            Some(other) => other.is_ascii(),
        };
        if !is_valid {
            return false;
        }
    }
    true
}

fn is_email_domain(domain: &str) -> bool {
    if domain == "localhost" {
        return true;
    }
    if let Some(literal) = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return literal.parse::<IpAddr>().is_ok();
    }
    let is_letter = |c: char| c.is_ascii_alphabetic() || ('\u{a1}'..='\u{ffff}').contains(&c);
    let is_label = |label: &str| {
        let is_length = (1..=63).contains(&label.chars().count());
        let is_text = label
            .chars()
            .all(|c| is_letter(c) || c.is_ascii_digit() || c == '-');
        is_length && is_text && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_top = |label: &str| match label.strip_prefix("xn--") {
        Some(code) => !code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric()),
        None => label.chars().count() >= 2 && label.chars().all(|c| is_letter(c) || c == '-'),
    };
    let Some((rest, top)) = domain.rsplit_once('.') else {
        return false;
    };
    rest.split('.').all(is_label) && is_label(top) && is_top(top)
}

/// The error of a password that the login refuses without hashing it; `None` if it can be one.
pub fn unusable_at_login(password: &str) -> Option<String> {
    if password.len() > MAX_PASSWORD {
        Some(format!(
            "This password is too long. It must contain at most {MAX_PASSWORD} bytes."
        ))
    } else if password.contains('\0') {
        Some(NULL_CHARACTERS.to_owned())
    } else {
        None
    }
}

/// The errors of a password for a user; none if it is valid. Django's four validators, in its order.
pub fn password_errors(password: &str, user: &UserAttributes<'_>) -> Vec<String> {
    if let Some(error) = unusable_at_login(password) {
        return vec![error];
    }
    let mut errors = Vec::new();
    if let Some(attribute) = user.similar_to(password) {
        errors.push(format!("The password is too similar to the {attribute}."));
    }
    if password.chars().count() < MIN_PASSWORD {
        errors.push(format!(
            "This password is too short. It must contain at least {MIN_PASSWORD} characters."
        ));
    }
    if COMMON_PASSWORDS.contains(password.to_lowercase().trim()) {
        errors.push("This password is too common.".to_owned());
    }
    if !password.is_empty() && password.chars().all(char::is_numeric) {
        errors.push("This password is entirely numeric.".to_owned());
    }
    errors
}

/// The attributes of a user that a password must not be similar to.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserAttributes<'a> {
    /// The username.
    pub username: &'a str,
    /// The first name.
    pub first_name: &'a str,
    /// The last name.
    pub last_name: &'a str,
    /// The email address.
    pub email: &'a str,
}

impl<'a> From<&'a user::Model> for UserAttributes<'a> {
    fn from(user: &'a user::Model) -> Self {
        let user::Model {
            username,
            first_name,
            last_name,
            email,
            ..
        } = user;
        Self {
            username,
            first_name,
            last_name,
            email,
        }
    }
}

impl UserAttributes<'_> {
    /// The first attribute that a password is too similar to.
    fn similar_to(&self, password: &str) -> Option<&'static str> {
        let password = password.to_lowercase();
        let attributes = [
            ("username", self.username),
            ("first name", self.first_name),
            ("last name", self.last_name),
            ("email address", self.email),
        ];
        let is_similar = |value: &str| {
            let value = value.to_lowercase();
            let words = value.split(|c: char| !c.is_alphanumeric() && c != '_');
            words
                .chain([value.as_str()])
                .any(|part| is_too_similar(&password, part))
        };
        let found = attributes
            .into_iter()
            .find(|(_, value)| !value.is_empty() && is_similar(value));
        found.map(|(name, _)| name)
    }
}

fn is_too_similar(password: &str, part: &str) -> bool {
    let (length, part_length) = (password.chars().count(), part.chars().count());
    // Django's `exceeds_maximum_length_ratio`.
    let is_far_shorter =
        length >= 10 * part_length && (part_length as f64) < MAX_SIMILARITY / 2.0 * length as f64;
    !is_far_shorter && quick_ratio(password, part) >= MAX_SIMILARITY
}

/// The ratio of characters that two texts have in common, in any order: the `quick_ratio` of Python's
/// `difflib.SequenceMatcher`.
fn quick_ratio(a: &str, b: &str) -> f64 {
    let mut remaining: HashMap<char, usize> = HashMap::new();
    b.chars()
        .for_each(|letter| *remaining.entry(letter).or_default() += 1);
    let is_matched = |letter: &char| match remaining.get_mut(letter) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    let length = a.chars().count() + b.chars().count();
    let matches = a.chars().filter(is_matched).count();
    if length == 0 {
        1.0
    } else {
        2.0 * matches as f64 / length as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses_are_validated_as_by_django() {
        let valid = [
            "a@b.co",
            "first.last+tag@sub.example.com",
            "x@localhost",
            "x@[127.0.0.1]",
            "x@[::1]",
            "\"quoted@name\"@example.com",
            "x@bücher.example",
            "x@xn--bcher-kva.xn--p1ai",
        ];
        for email in valid {
            assert!(is_email(email), "{email}");
        }
        let invalid = [
            "",
            "nope",
            "@b.co",
            "a@",
            "a@b",
            "a@-b.co",
            "a@b-.co",
            "a..b@c.de",
            "a b@c.de",
            "a@b.c1",
            "a@b..co",
            "ü@x.yz",
            "a@[300.1.1.1]",
            "a@b.co\n",
        ];
        for email in invalid {
            assert!(!is_email(email), "{email:?}");
        }
    }

    #[test]
    fn common_passwords_are_rejected() {
        assert_eq!(COMMON_PASSWORDS.len(), 19_640);
        let user = UserAttributes::default();
        assert_eq!(
            password_errors(" PassWord ", &user),
            ["This password is too common."]
        );
        assert_eq!(password_errors("k3Lm-91xz", &user), Vec::<String>::new());
    }

    #[test]
    fn similarity_counts_letters_in_any_order() {
        let john = UserAttributes {
            username: "john_smith",
            email: "johnny@example.com",
            ..UserAttributes::default()
        };
        assert_eq!(
            password_errors("john_smith1", &john),
            ["The password is too similar to the username."]
        );
        assert_eq!(
            password_errors("johnny@example", &john),
            ["The password is too similar to the email address."]
        );
        assert_eq!(
            password_errors("htims_nhoj", &john),
            ["The password is too similar to the username."]
        );
        assert!((quick_ratio("abcd", "bcde") - 0.75).abs() < 1e-9);
    }
}
