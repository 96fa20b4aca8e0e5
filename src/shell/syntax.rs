//! Splitting a text into statements, and translating what a session in Python writes differently from Rhai:
//!
//! | written | translated |
//! |---|---|
//! | `Question(question_text="A?", pub_date=now())` | `Question(#{question_text: "A?", pub_date: now()})` |
//! | `'text'` | `"text"` |
//! | `Question.all()[:5]` | `Question.all()[0..5]` |
//! | `True`, `False`, `None` | `true`, `false`, `()` |
//! | `# comment` | `// comment` |
//!
//! A statement ends with its line when all brackets are closed, or with a semicolon.

use rhai::Position;

use super::error::ShellError;

/// The end of a slice without one.
const NO_END: &str = "9223372036854775807";

/// A statement in Rhai.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    /// The text.
    pub text: String,
    /// The variable that it assigns to, if that is all it does; a new one needs `let`.
    pub assigned: Option<String>,
    /// For each character of the text, its line and column in the source.
    places: Vec<(usize, usize)>,
}

impl Statement {
    /// The place in the source of a position in the text, before which `shift` characters have been inserted.
    pub fn place(&self, position: Position, shift: usize) -> ShellError {
        let index = position.line().map(|line| {
            let before = self.text.split_inclusive('\n').take(line - 1);
            let shift = if line == 1 { shift } else { 0 };
            let column = position.position().unwrap_or(1);
            before.map(|line| line.chars().count()).sum::<usize>()
                + column.saturating_sub(1 + shift)
        });
        let place = index.map(|index| self.places.get(index).or(self.places.last()));
        let (line, column) = match place {
            Some(Some(place)) => *place,
            Some(None) | None => self.places.first().copied().unwrap_or((0, 0)),
        };
        ShellError {
            line,
            column,
            reason: String::new(),
        }
    }
}

/// An open bracket.
#[derive(Debug)]
struct Bracket {
    open: char,
    /// Whether it encloses the arguments of a call, or the index of a value.
    follows_value: bool,
    has_keywords: bool,
    /// Whether an index has a colon.
    is_slice: bool,
    /// Whether something stands after the last comma, colon or opening bracket.
    has_content: bool,
}

struct Scanner {
    letters: Vec<char>,
    index: usize,
    line: usize,
    column: usize,
    brackets: Vec<Bracket>,
    statement: Statement,
    statements: Vec<Statement>,
}

/// The statements of a text.
///
/// # Errors
/// When a bracket, a text or a comment has no end, or a bracket is closed that is not open.
pub fn statements(source: &str) -> Result<Vec<Statement>, ShellError> {
    let mut scanner = Scanner {
        letters: source.chars().collect(),
        index: 0,
        line: 1,
        column: 1,
        brackets: Vec::new(),
        statement: Statement::default(),
        statements: Vec::new(),
    };
    scanner.scan()?;
    Ok(scanner.statements)
}

/// Whether more lines have to follow: a bracket, a text or a comment has no end, or the text ends with an operator.
pub fn is_incomplete(source: &str) -> bool {
    let is_open = matches!(statements(source), Err(error) if error.reason == NO_END_OF_TEXT);
    let last = source.trim_end().chars().last();
    is_open || last.is_some_and(|letter| "=+*/,.&|<".contains(letter))
}

const NO_END_OF_TEXT: &str = "the end of a bracket, a text or a comment is missing";

impl Scanner {
    fn scan(&mut self) -> Result<(), ShellError> {
        while let Some(letter) = self.peek(0) {
            match letter {
                '/' if self.peek(1) == Some('/') => self.comment(0),
                '#' if self.peek(1).is_none_or(|next| !"{\"".contains(next)) => self.comment(1),
                '/' if self.peek(1) == Some('*') => self.block_comment()?,
                '"' | '\'' => self.quoted(letter)?,
                '`' => self.backticks()?,
                '(' | '[' | '{' => self.open(letter),
                ')' | ']' | '}' => self.close(letter)?,
                '\n' if self.brackets.is_empty() => {
                    self.skip();
                    if !self.goes_on() {
                        self.end();
                    } else {
                        self.statement_push('\n', (self.line, self.column));
                    }
                }
                ';' if self.brackets.is_empty() => {
                    self.skip();
                    self.end();
                }
                ':' if self.in_index() => self.colon(),
                ',' => {
                    self.copy();
                    if let Some(bracket) = self.brackets.last_mut() {
                        bracket.has_content = false;
                    }
                }
                _ if letter.is_alphabetic() || letter == '_' => self.word(),
                _ => {
                    if !letter.is_whitespace() {
                        self.content();
                    }
                    self.copy();
                }
            }
        }
        if self.brackets.is_empty() {
            self.end();
            return Ok(());
        }
        Err(self.error(NO_END_OF_TEXT))
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.letters.get(self.index + ahead).copied()
    }

    fn error(&self, reason: &str) -> ShellError {
        ShellError {
            line: self.line,
            column: self.column,
            reason: reason.to_owned(),
        }
    }

    /// Leaves a character of the source out.
    fn skip(&mut self) -> Option<char> {
        let letter = self.peek(0)?;
        self.index += 1;
        if letter == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(letter)
    }

    /// Adds a character to the statement.
    fn statement_push(&mut self, letter: char, place: (usize, usize)) {
        self.statement.text.push(letter);
        self.statement.places.push(place);
    }

    fn insert(&mut self, text: &str) {
        let place = (self.line, self.column);
        text.chars()
            .for_each(|letter| self.statement_push(letter, place));
    }

    /// Copies a character of the source.
    fn copy(&mut self) -> Option<char> {
        let place = (self.line, self.column);
        let letter = self.skip()?;
        self.statement_push(letter, place);
        Some(letter)
    }

    fn skip_many(&mut self, count: usize) {
        for _ in 0..count {
            self.skip();
        }
    }

    fn copy_many(&mut self, count: usize) {
        for _ in 0..count {
            self.copy();
        }
    }

    fn content(&mut self) {
        if let Some(bracket) = self.brackets.last_mut() {
            bracket.has_content = true;
        }
    }

    /// Ends the statement.
    fn end(&mut self) {
        let statement = std::mem::take(&mut self.statement);
        if !statement.text.trim().is_empty() {
            self.statements.push(statement);
        }
    }

    /// Whether the next line continues the statement: it begins with a dot or an operator, or with `else`, or this one ends with an
    /// operator.
    fn goes_on(&self) -> bool {
        let rest: String = self.letters[self.index..].iter().take(200).collect();
        let next = rest.trim_start();
        let word: String = next
            .chars()
            .take_while(|letter| letter.is_alphanumeric())
            .collect();
        let last = self.statement.text.trim_end().chars().last();
        let before = last.is_some_and(|letter| "=+*/,.&|<".contains(letter));
        before
            || next.starts_with('.')
            || ["else", "catch"].contains(&word.as_str()) && last == Some('}')
    }

    fn comment(&mut self, length: usize) {
        self.skip_many(length);
        while self.peek(0).is_some_and(|letter| letter != '\n') {
            self.skip();
        }
    }

    fn block_comment(&mut self) -> Result<(), ShellError> {
        self.skip();
        while let Some(letter) = self.skip() {
            if letter == '*' && self.peek(0) == Some('/') {
                self.skip();
                self.insert(" ");
                return Ok(());
            }
        }
        Err(self.error(NO_END_OF_TEXT))
    }

    /// A text in single or double quotes.
    fn quoted(&mut self, quote: char) -> Result<(), ShellError> {
        self.content();
        let start = self.error(NO_END_OF_TEXT);
        self.skip();
        self.insert("\"");
        while let Some(letter) = self.peek(0) {
            match letter {
                '\n' => {
                    return Err(
                        self.error("a text has to end on its line: use backticks for more lines")
                    );
                }
                '\\' if self.peek(1) == Some('\'') => {
                    self.skip();
                    self.copy();
                }
                '\\' => {
                    self.copy();
                    self.copy();
                }
                _ if letter == quote => {
                    self.skip();
                    self.insert("\"");
                    return Ok(());
                }
                '"' => {
                    self.insert("\\");
                    self.copy();
                }
                _ => self.copy_many(1),
            }
        }
        Err(start)
    }

    /// A text in backticks, which may have several lines.
    fn backticks(&mut self) -> Result<(), ShellError> {
        self.content();
        self.copy();
        while let Some(letter) = self.copy() {
            if letter == '`' {
                return Ok(());
            }
        }
        Err(self.error(NO_END_OF_TEXT))
    }

    fn open(&mut self, open: char) {
        self.content();
        let last = self.statement.text.chars().last();
        let follows_value =
            last.is_some_and(|last| last.is_alphanumeric() || "_)]\"`".contains(last));
        self.brackets.push(Bracket {
            open,
            follows_value,
            has_keywords: false,
            is_slice: false,
            has_content: false,
        });
        self.copy();
    }

    fn close(&mut self, close: char) -> Result<(), ShellError> {
        let open = match close {
            ')' => '(',
            ']' => '[',
            _ => '{',
        };
        let Some(bracket) = self.brackets.pop().filter(|bracket| bracket.open == open) else {
            return Err(self.error(&format!("{close} closes no bracket")));
        };
        if bracket.is_slice && !bracket.has_content {
            self.insert(NO_END);
        }
        if bracket.has_keywords {
            self.insert("}");
        }
        self.copy();
        Ok(())
    }

    fn in_index(&self) -> bool {
        self.brackets
            .last()
            .is_some_and(|bracket| bracket.open == '[' && bracket.follows_value)
    }

    fn colon(&mut self) {
        let is_empty = self
            .brackets
            .last()
            .is_some_and(|bracket| !bracket.has_content);
        if is_empty {
            self.insert("0");
        }
        self.skip();
        self.insert("..");
        if let Some(bracket) = self.brackets.last_mut() {
            bracket.is_slice = true;
            bracket.has_content = false;
        }
    }

    fn word(&mut self) {
        let is_first = self.brackets.is_empty() && self.statement.text.trim().is_empty();
        let before = self.statement.text.trim_end().chars().last();
        let word: String = self.letters[self.index..]
            .iter()
            .take_while(|letter| letter.is_alphanumeric() || **letter == '_')
            .collect();
        let length = word.chars().count();
        let is_assigned = self.is_assigned(length);
        let is_argument = self.brackets.last().is_some_and(|bracket| {
            bracket.open == '(' && bracket.follows_value && matches!(before, Some('(' | ','))
        });
        self.content();
        if is_first && is_assigned {
            self.statement.assigned = Some(word.clone());
        }
        if is_argument && is_assigned {
            let bracket = self
                .brackets
                .last_mut()
                .expect("it has just been looked at");
            if !std::mem::replace(&mut bracket.has_keywords, true) {
                self.insert("#{");
            }
            self.copy_many(length);
            while self.peek(0).is_some_and(|letter| letter != '=') {
                self.skip();
            }
            self.skip();
            self.insert(":");
            return;
        }
        let constant = match (word.as_str(), before) {
            (_, Some('.')) => None,
            ("True", _) => Some("true"),
            ("False", _) => Some("false"),
            ("None", _) => Some("()"),
            _ => None,
        };
        match constant {
            Some(constant) => {
                self.insert(constant);
                self.skip_many(length);
            }
            None => self.copy_many(length),
        }
    }

    /// Whether `=` follows a word of this length, and not `==` or `=>`.
    fn is_assigned(&self, length: usize) -> bool {
        let mut next = length;
        while self.peek(next).is_some_and(|letter| letter == ' ') {
            next += 1;
        }
        self.peek(next) == Some('=') && !matches!(self.peek(next + 1), Some('=' | '>'))
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
            ("Question.all()[:5]", "Question.all()[0..5]"),
            (
                "Question.all()[2:]",
                "Question.all()[2..9223372036854775807]",
            ),
            ("Question.all()[1:2]", "Question.all()[1..2]"),
            ("let m = #{a: 1}", "let m = #{a: 1}"),
            ("'it\\'s \"so\"'", "\"it's \\\"so\\\"\""),
            ("u.is_staff = True # staff", "u.is_staff = true"),
            ("x = None", "x = ()"),
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
        let assigned: Vec<_> = statements("a = 1; b == 2; let c = 3; d.e = 4")
            .unwrap()
            .into_iter()
            .map(|statement| statement.assigned)
            .collect();
        assert_eq!(assigned, [Some("a".to_owned()), None, None, None]);
    }

    #[test]
    fn incomplete_texts_are_recognized() {
        for text in ["f(", "if a {", "\"text", "/* x", "a =", "`x\ny", "[1,"] {
            assert!(is_incomplete(text), "{text}");
        }
        for text in ["f()", "", "a = 1", "}", "'x' 'y'"] {
            assert!(!is_incomplete(text), "{text}");
        }
    }
}
