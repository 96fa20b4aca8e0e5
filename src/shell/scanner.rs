//! Splits a text into statements and translates them, character by character.

use super::{error::ShellError, statement::Statement};

/// The end of a slice without one.
const NO_END: &str = "9223372036854775807";
/// Characters after which a statement goes on on the next line.
pub const OPERATORS: &str = "=+-*/%^,.&|<>";
/// The reason of an error that further lines can mend.
pub const NO_END_OF_TEXT: &str = "the end of a bracket, a text or a comment is missing";

/// An open bracket.
#[derive(Debug)]
struct Bracket {
    open: char,
    /// Whether it encloses the arguments of a call, or the index of a value.
    follows_value: bool,
    has_keywords: bool,
    /// Where its character is in the statement's text.
    start: usize,
    /// Whether an index has a colon.
    is_slice: bool,
    /// Whether something stands after the last comma, colon or opening bracket.
    has_content: bool,
}

/// The state of the splitting.
pub struct Scanner {
    letters: Vec<char>,
    index: usize,
    line: usize,
    column: usize,
    brackets: Vec<Bracket>,
    statement: Statement,
    statements: Vec<Statement>,
}

impl Scanner {
    /// A scanner at the beginning of a text.
    pub fn new(source: &str) -> Self {
        Self {
            // The byte order mark that some editors write.
            letters: source.trim_start_matches('\u{feff}').chars().collect(),
            index: 0,
            line: 1,
            column: 1,
            brackets: Vec::new(),
            statement: Statement::default(),
            statements: Vec::new(),
        }
    }

    /// The statements of the text.
    ///
    /// # Errors
    /// When a bracket, a text or a comment has no end, or a bracket is closed that is not open.
    pub fn scan(mut self) -> Result<Vec<Statement>, ShellError> {
        while let Some(letter) = self.peek(0) {
            match letter {
                '/' if self.peek(1) == Some('/') => self.comment(0),
                '#' if self.raw_hashes().is_some() => self.raw_text()?,
                '#' if self.peek(1) != Some('{') => self.comment(1),
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
            return Ok(self.statements);
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

    /// Whether the next line continues the statement: it begins with a dot or a block, or with `else`, or this one ends with an
    /// operator.
    fn goes_on(&self) -> bool {
        let next = self.after_comments();
        let first = self.letters.get(next).copied();
        let is_word = |letter: &&char| letter.is_alphanumeric() || **letter == '_';
        let word: String = self.letters[next..].iter().take_while(is_word).collect();
        let word = word.as_str();
        let last = self.statement.text.trim_end().chars().next_back();
        let before = last.is_some_and(|letter| OPERATORS.contains(letter));
        let is_block = last == Some('}');
        let is_loop = self.statement.text.trim_start().starts_with("do");
        before
            || matches!(first, Some('.' | '{'))
            || is_block && ["else", "catch"].contains(&word)
            || is_block && is_loop && ["while", "until"].contains(&word)
    }

    /// The index of the next character that is neither whitespace nor in a comment of a line.
    fn after_comments(&self) -> usize {
        let mut index = self.index;
        loop {
            let is_at = |ahead, letter| self.letters.get(index + ahead) == Some(&letter);
            let is_comment = is_at(0, '/') && is_at(1, '/')
                || is_at(0, '#') && !['{', '"', '#'].iter().any(|letter| is_at(1, *letter));
            match self.letters.get(index) {
                Some(letter) if letter.is_whitespace() => index += 1,
                Some(_) if is_comment => {
                    let line = self.letters[index..].iter();
                    index += line.take_while(|letter| **letter != '\n').count();
                }
                _ => return index,
            }
        }
    }

    /// The number of `#` before a raw text such as `#"C:\n"#`; `None` if there is none.
    fn raw_hashes(&self) -> Option<usize> {
        let mut count = 0;
        while self.peek(count) == Some('#') {
            count += 1;
        }
        (count > 0 && self.peek(count) == Some('"')).then_some(count)
    }

    /// A raw text, which ends with a quote and as many `#` as it begins with.
    fn raw_text(&mut self) -> Result<(), ShellError> {
        self.content();
        let count = self.raw_hashes().unwrap_or_default();
        self.copy_many(count + 1);
        while let Some(letter) = self.copy() {
            let is_end = letter == '"' && (0..count).all(|ahead| self.peek(ahead) == Some('#'));
            if is_end {
                self.copy_many(count);
                return Ok(());
            }
        }
        Err(self.error(NO_END_OF_TEXT))
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

    /// A text in single or double quotes, or in three of them, which may have several lines.
    fn quoted(&mut self, quote: char) -> Result<(), ShellError> {
        self.content();
        let is_triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let length = if is_triple { 3 } else { 1 };
        // Rhai takes two quotes for one in the text.
        if self.statement.text.ends_with('"') {
            self.insert(" ");
        }
        self.skip_many(length);
        self.insert("\"");
        while let Some(letter) = self.peek(0) {
            let is_end = (0..length).all(|ahead| self.peek(ahead) == Some(quote));
            match letter {
                _ if is_end => {
                    self.skip_many(length);
                    self.insert("\"");
                    return Ok(());
                }
                '\n' if is_triple => {
                    self.insert("\\n");
                    self.skip();
                }
                '\n' => break,
                '\\' if self.peek(1) == Some('\'') => {
                    self.skip();
                    self.copy();
                }
                '\\' => self.copy_many(2),
                '"' => {
                    self.insert("\\");
                    self.copy();
                }
                _ => self.copy_many(1),
            }
        }
        Err(self.error(if is_triple {
            NO_END_OF_TEXT
        } else {
            "a text has to end on its line: use three quotes for more lines"
        }))
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
            start: self.statement.text.len(),
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
        if bracket.is_slice {
            if !bracket.has_content {
                self.insert(NO_END);
            }
            self.insert(")");
            self.skip();
            let statement = &mut self.statement;
            let index = statement.text[..bracket.start].chars().count();
            let call = ".slice(";
            statement
                .text
                .replace_range(bracket.start..=bracket.start, call);
            let place = statement.places[index];
            statement
                .places
                .splice(index..=index, call.chars().map(|_| place));
            return Ok(());
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
        self.insert(",");
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
        while self
            .peek(next)
            .is_some_and(|letter| letter == ' ' || letter == '\t')
        {
            next += 1;
        }
        self.peek(next) == Some('=') && !matches!(self.peek(next + 1), Some('=' | '>'))
    }
}
