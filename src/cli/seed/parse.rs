//! Parses files of polls: a list of polls or a Django fixture, as YAML or JSON. A file with any error is refused.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_saphyr::Spanned;

use super::{
    fixture::{Fields, Fixture},
    poll::{ParseError, Poll, Text},
    values::{ChoiceEntry, Time},
};

/// The syntax of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// JSON.
    Json,
    /// YAML 1.2.
    Yaml,
}

/// The polls of a file, and the number of a fixture's objects of other models.
///
/// # Errors
/// The line and the reason, when the file has an error.
pub fn parse(text: &str, syntax: Syntax) -> Result<(Vec<Poll>, usize), ParseError> {
    // The byte order mark that some editors write.
    let text = text.trim_start_matches('\u{feff}');
    let entries = match syntax {
        Syntax::Json => json_entries(text)?,
        Syntax::Yaml => yaml_entries(text)?,
    };
    if entries.is_empty() {
        return Err(ParseError {
            line: 1,
            reason: "there are no questions in it".to_owned(),
        });
    }
    let mut polls = Vec::new();
    let mut fixture = Fixture::default();
    for (line, entry) in entries {
        let result = match entry {
            Entry {
                model: Some(model),
                pk,
                fields,
                question: None,
                published: None,
                choices: None,
            } => fixture.add(line, &model, pk, fields.unwrap_or_default()),
            Entry {
                model: None,
                pk: None,
                fields: None,
                question: Some(question),
                published,
                choices,
            } => {
                let choices = choices.unwrap_or_default();
                if choices.is_empty() {
                    Err("the question has no choices".to_owned())
                } else {
                    let choices = choices
                        .into_iter()
                        .map(|choice| (choice.choice, choice.votes.0))
                        .collect();
                    polls.push((
                        line,
                        Poll {
                            question,
                            published: published.map(|time| time.0),
                            choices,
                        },
                    ));
                    Ok(())
                }
            }
            _ => Err(
                "an entry needs either `question` and `choices`, or `model`, `pk` and `fields`"
                    .to_owned(),
            ),
        };
        result.map_err(|reason| ParseError { line, reason })?;
    }
    let skipped = fixture.skipped;
    polls.extend(fixture.into_polls()?);
    check_duplicates(&polls)?;
    Ok((polls.into_iter().map(|(_, poll)| poll).collect(), skipped))
}

/// Refuses duplicates: questions with the same text, and choices of one question with the same text.
fn check_duplicates(polls: &[(usize, Poll)]) -> Result<(), ParseError> {
    let mut questions = HashSet::new();
    for (line, poll) in polls {
        let duplicate = |kind: &str, text: &Text| {
            let reason = format!("the file has the {kind} {:?} twice", text.as_str());
            Err(ParseError {
                line: *line,
                reason,
            })
        };
        if !questions.insert(poll.question.as_str()) {
            return duplicate("question", &poll.question);
        }
        let mut choices = HashSet::new();
        if let Some((text, _)) = poll
            .choices
            .iter()
            .find(|(text, _)| !choices.insert(text.as_str()))
        {
            return duplicate("choice", text);
        }
    }
    Ok(())
}

/// An entry of a list or of a fixture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    question: Option<Text>,
    published: Option<Time>,
    choices: Option<Vec<ChoiceEntry>>,
    model: Option<String>,
    pk: Option<i64>,
    fields: Option<Fields>,
}

fn json_entries(text: &str) -> Result<Vec<(usize, Entry)>, ParseError> {
    let bad = |base: usize, error: &serde_json::Error| ParseError {
        line: base + error.line().max(1) - 1,
        reason: reason_of(&error.to_string()),
    };
    let raw: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| bad(1, &error))?;
    let mut entries = Vec::new();
    let (mut line, mut counted) = (1, 0);
    for raw in raw {
        // Each raw value is a slice of the text, so that its offset gives the line.
        let offset = raw.get().as_ptr() as usize - text.as_ptr() as usize;
        line += text[counted..offset].matches('\n').count();
        counted = offset;
        let entry = serde_json::from_str(raw.get()).map_err(|error| bad(line, &error))?;
        entries.push((line, entry));
    }
    Ok(entries)
}

fn yaml_entries(text: &str) -> Result<Vec<(usize, Entry)>, ParseError> {
    // Yes and No, booleans in YAML 1.1, are texts of choices here.
    let options = serde_saphyr::options! { strict_booleans: true };
    let entries: Result<Vec<Spanned<Entry>>, _> =
        serde_saphyr::from_str_with_options(text, options);
    let entries = entries.map_err(|error| {
        let error = error.without_snippet();
        let line = error
            .location()
            .map_or(1, |location| location.line() as usize);
        ParseError {
            line,
            reason: reason_of(&error.to_string()),
        }
    })?;
    Ok(entries
        .into_iter()
        .map(|entry| (entry.defined.line() as usize, entry.value))
        .collect())
}

/// A parser's message without the position, which [`ParseError`] has; messages about the parser's internals are replaced.
fn reason_of(error: &str) -> String {
    let reason = error
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .replace('\n', " ");
    let known = [
        (
            "expected sequence start",
            "the file has to be a list of questions",
        ),
        (
            "invalid type: map, expected a sequence",
            "the file has to be a list of questions",
        ),
        (
            "expected mapping start",
            "an entry has to have `question` and `choices`",
        ),
        ("from_str_multiple", "the file has to be one document"),
        ("DuplicateKeyPolicy", "the entry has a key twice"),
        (
            "invalid type: boolean",
            "a true or false that is meant as a text has to be in quotes",
        ),
    ];
    let found = known
        .into_iter()
        .find(|(library, _)| reason.contains(library));
    found.map_or(reason, |(_, own)| own.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::EXAMPLES, *};

    fn error_of(text: &str, syntax: Syntax) -> String {
        parse(text, syntax).unwrap_err().to_string()
    }

    #[test]
    fn the_examples_are_the_original_ones() {
        let (polls, _) = parse(EXAMPLES, Syntax::Yaml).unwrap();
        let questions: Vec<_> = polls.iter().map(|poll| poll.question.as_str()).collect();
        let expected = [
            "What's new?",
            "Is Python3 better than Python2?",
            "Is Django better than Flask?",
        ];
        assert_eq!(questions, expected);
        let choices: Vec<_> = polls[0]
            .choices
            .iter()
            .map(|(text, _)| text.as_str())
            .collect();
        assert_eq!(choices, ["Not much", "The sky", "Taxes"]);
    }

    #[test]
    fn both_syntaxes_give_the_same_polls() {
        let json = r#"[{"question": "Who? 🎉", "published": "2026-11-20T07:30:00Z",
                        "choices": ["I", {"choice": "You", "votes": 3}]}]"#;
        let yaml = "- question: Who? 🎉\n  published: 2026-11-20 07:30\n  choices:\n    - I\n    - choice: You\n      votes: 3\n";
        let polls = parse(json, Syntax::Json).unwrap();
        assert_eq!(polls, parse(yaml, Syntax::Yaml).unwrap());
        assert_eq!(polls.0[0].choices[1], (Text::parse("You").unwrap(), 3));
        let escaped = r#"[{"question": "Who? \ud83c\udf89", "choices": ["I"]}]"#;
        assert_eq!(
            parse(escaped, Syntax::Json).unwrap().0[0].question,
            polls.0[0].question
        );
    }

    #[test]
    fn errors_have_the_line_and_the_reason() {
        let long = "x".repeat(201);
        let cases = [
            (
                "- question: A\n  choices: [x]\n- question: B\n",
                "line 3: the question has no choices",
            ),
            (
                &format!("- question: A\n  choices:\n    - x\n    - {long}\n"),
                "line 4: the text has 201 characters, 200 is the most",
            ),
            (
                "- question: '  '\n  choices: [x]\n",
                "line 1: the text is blank",
            ),
            (
                "- question: A\n  published: soon\n  choices: [x]\n",
                "line 2: \"soon\" is no time: write it as 2026-11-20 07:30",
            ),
            (
                "- question: A\n  choices:\n    - choice: x\n      votes: -1\n",
                "line 4: -1 is no number of votes",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(error_of(text, Syntax::Yaml), expected);
        }
        let misspelt = error_of("- question: A\n  chioces: [x]\n", Syntax::Yaml);
        assert!(
            misspelt.starts_with("line 2: ") && misspelt.contains("chioces"),
            "{misspelt}"
        );
        for (text, expected) in [
            (
                "question: A\n",
                "line 1: the file has to be a list of questions",
            ),
            (
                "- [a, b]\n",
                "line 1: an entry has to have `question` and `choices`",
            ),
            (
                "- question: A\n  choices: [x]\n---\n- question: B\n",
                "line 4: the file has to be one document",
            ),
            (
                "- question: A\n  question: B\n",
                "line 2: the entry has a key twice",
            ),
            (
                "- question: A\n  choices: [true]\n",
                "line 2: a true or false that is meant as a text has to be in quotes",
            ),
        ] {
            assert_eq!(error_of(text, Syntax::Yaml), expected);
        }
        let broken = error_of("- question: [\n", Syntax::Yaml);
        assert!(broken.starts_with("line "), "{broken}");

        let json = "[\n{\"question\": \"A\", \"choices\": [\"x\"]},\n{\"question\": \"B\",\n \"choices\": [\"\\u0000\"]}\n]";
        assert_eq!(
            error_of(json, Syntax::Json),
            "line 4: the text contains a NUL character"
        );
        assert!(error_of("[{]", Syntax::Json).starts_with("line 1: "));
    }

    #[test]
    fn choices_are_texts_whatever_their_type_in_yaml() {
        let (polls, _) = parse(
            "- question: Well?\n  choices: [Yes, No, 42, -1]\n",
            Syntax::Yaml,
        )
        .unwrap();
        let choices: Vec<_> = polls[0]
            .choices
            .iter()
            .map(|(text, _)| text.as_str())
            .collect();
        assert_eq!(choices, ["Yes", "No", "42", "-1"]);
    }

    #[test]
    fn duplicates_are_refused() {
        let twice = "- question: Same?\n  choices: [a]\n- question: Same?\n  choices: [b]\n";
        assert_eq!(
            error_of(twice, Syntax::Yaml),
            "line 3: the file has the question \"Same?\" twice"
        );
        let twice = "- question: Once?\n  choices: [a, b, a]\n";
        assert_eq!(
            error_of(twice, Syntax::Yaml),
            "line 1: the file has the choice \"a\" twice"
        );
    }

    #[test]
    fn choices_of_a_fixture_are_assigned_by_key() {
        let fixture = r#"[
            {"model": "auth.user", "pk": 1, "fields": {"username": "admin", "groups": []}},
            {"model": "polls_app.choice", "pk": 2, "fields": {"question": 7, "choice_text": "b", "votes": 2}},
            {"model": "polls_app.question", "pk": 7, "fields": {"question_text": "Q", "pub_date": "2020-01-02T03:04:05.123Z"}},
            {"model": "polls_app.choice", "pk": 1, "fields": {"question": 7, "choice_text": "a"}}
        ]"#;
        let (polls, skipped) = parse(fixture, Syntax::Json).unwrap();
        assert_eq!((polls.len(), skipped), (1, 1));
        assert_eq!(
            polls[0].choices,
            [
                (Text::parse("a").unwrap(), 0),
                (Text::parse("b").unwrap(), 2)
            ]
        );

        let lost = fixture.replace(
            "\"question\": 7, \"choice_text\": \"b\"",
            "\"question\": 8, \"choice_text\": \"b\"",
        );
        assert_eq!(
            error_of(&lost, Syntax::Json),
            "line 3: the choice belongs to question 8, which the file does not have"
        );
        let double = fixture.replace("\"pk\": 2", "\"pk\": 1");
        assert_eq!(
            error_of(&double, Syntax::Json),
            "line 5: there is another polls_app.choice with this `pk`"
        );
    }
}
