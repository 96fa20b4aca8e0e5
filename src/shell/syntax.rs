//! Splitting a text into statements, and translating what a session in Python writes differently from Rhai:
//!
//! | written | translated |
//! |---|---|
//! | `Question(question_text="A?", pub_date=now())` | `Question(#{question_text: "A?", pub_date: now()})` |
//! | `'text'` | `"text"` |
//! | `Question.all()[:5]` | `Question.all().slice(0,5)` |
//! | `True`, `False`, `None` | `true`, `false`, `()` |
//! | `# comment` | `// comment` |
//!
//! A statement ends with its line when all brackets are closed, or with a semicolon.

pub use super::statement::{EXIT, Statement};
use super::{
    error::ShellError,
    scanner::{NO_END_OF_TEXT, OPERATORS, Scanner},
};

/// The statements of a text.
///
/// # Errors
/// When a bracket, a text or a comment has no end, or a bracket is closed that is not open.
pub fn statements(source: &str) -> Result<Vec<Statement>, ShellError> {
    Scanner::new(source).scan()
}

/// Whether more lines have to follow: a bracket, a text or a comment has no end, or the text ends with an operator.
pub fn is_incomplete(source: &str) -> bool {
    match statements(source) {
        Err(error) => error.reason == NO_END_OF_TEXT,
        Ok(statements) => {
            let last = statements.last().map(|statement| statement.text.trim_end());
            last.is_some_and(|last| last.ends_with(|letter| OPERATORS.contains(letter)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        let statements = statements(source).unwrap();
        statements
            .into_iter()
            .map(|statement| statement.text.trim().to_owned())
            .collect()
    }

    #[test]
    fn python_is_translated() {
        let cases = [
            (
                "q = Question(question_text='A?', pub_date=now())",
                "q = Question(#{question_text:\"A?\", pub_date:now()})",
            ),
            (
                "Question.filter(id__in=[1, 2]).count()",
                "Question.filter(#{id__in:[1, 2]}).count()",
            ),
            ("f(1, a=2)", "f(1, #{a:2})"),
            ("f(a == 2)", "f(a == 2)"),
            ("f(g(a=1), b=h(c=2))", "f(g(#{a:1}), #{b:h(#{c:2})})"),
            ("if (a == 1) { x = 2 }", "if (a == 1) { x = 2 }"),
            ("Question.all()[:5]", "Question.all().slice(0,5)"),
            (
                "Question.all()[2:]",
                "Question.all().slice(2,9223372036854775807)",
            ),
            ("Question.all()[1:2]", "Question.all().slice(1,2)"),
            ("let m = #{a: 1}", "let m = #{a: 1}"),
            ("'it\\'s \"so\"'", "\"it's \\\"so\\\"\""),
            ("u.is_staff = True # staff", "u.is_staff = true"),
            ("x = None", "x = ()"),
            ("\"\"\"a \"b\"\nc\"\"\"", "\"a \\\"b\\\"\\nc\""),
            ("print(#\"a\\b = 'c'\"#)", "print(#\"a\\b = 'c'\"#)"),
            (
                "x[y[1:]:2].z",
                "x.slice(y.slice(1,9223372036854775807),2).z",
            ),
            ("print(`a = b`)", "print(`a = b`)"),
            (
                "transaction(|| { Question.create(question_text=\"=\"); })",
                "transaction(|| { Question.create(#{question_text:\"=\"}); })",
            ),
        ];
        for (source, expected) in cases {
            assert_eq!(texts(source), [expected], "{source}");
        }
    }

    #[test]
    fn statements_end_with_their_line_when_brackets_are_closed() {
        assert_eq!(
            texts("a = 1\nb = 2; c()\n\n// x\nd(\n1,\n2)\n"),
            ["a = 1", "b = 2", "c()", "d(\n1,\n2)"]
        );
        assert_eq!(
            texts("Question\n  .all()\n  .count()"),
            ["Question\n  .all()\n  .count()"]
        );
        assert_eq!(
            texts("if a {\n b;\n}\nelse {\n c;\n}\nd"),
            ["if a {\n b;\n}\nelse {\n c;\n}", "d"]
        );
        assert_eq!(
            texts("if a {\n}\n// comment\n\nelse {\n}\nelse_count = 1").len(),
            2
        );
        assert_eq!(texts("do {\n}\nwhile x").len(), 1);
        assert_eq!(texts("if a\n{\n}\nb").len(), 2);
        let assigned: Vec<_> = statements("a = 1; b == 2; let c = 3; d.e = 4")
            .unwrap()
            .into_iter()
            .map(|statement| statement.assigned)
            .collect();
        assert_eq!(assigned, [Some("a".to_owned()), None, None, None]);
    }

    #[test]
    fn incomplete_texts_are_recognized() {
        for text in ["f(", "if a {", "/* x", "a =", "`x\ny", "[1,", "'''x", "5 -"] {
            assert!(is_incomplete(text), "{text}");
        }
        for text in [
            "f()",
            "",
            "a = 1",
            "}",
            "'x' 'y'",
            "\"text",
            "x = 1 # saved.",
        ] {
            assert!(!is_incomplete(text), "{text}");
        }
    }
}
