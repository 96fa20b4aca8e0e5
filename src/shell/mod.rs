//! The language of `shell`: Rhai with the models of the apps, in the way of Django's ORM.
//!
//! Rhai is made for being embedded: it has no access to files or the network, limits on depth, and errors with line and column. What
//! a session in Python writes and Rhai does not know is translated ([`syntax`]): keyword arguments, single quotes, slices, and
//! assignments without `let`.

mod changes;
mod comparison;
mod connection;
mod delete;
mod engine;
mod error;
mod help;
mod instance;
mod lookups;
mod moment;
mod order;
mod queryset;
mod relations;
mod scanner;
mod statement;
pub mod syntax;
mod values;

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rhai::{AST, Dynamic, Engine, EvalAltResult, Position, Scope};

use self::connection::Connection;
pub use self::{
    connection::ShellSettings,
    error::ShellError,
    help::{functions, members},
};
use crate::db::{self, Database};

/// The beginning of the names that the engine gives to closures.
const CLOSURE: &str = "anon$";

/// A session: its variables, its functions and its connection. It blocks, so it has to run in a thread of its own.
pub struct Shell {
    engine: Engine,
    scope: Scope<'static>,
    functions: AST,
    connection: Rc<Connection>,
    stop: Arc<AtomicBool>,
}

impl Shell {
    /// A session on a database. It ends a statement once `stop` is set; `print` writes a line of the script's output.
    pub fn new(
        db: Database,
        settings: ShellSettings,
        stop: Arc<AtomicBool>,
        print: impl Fn(&str) + 'static,
    ) -> Self {
        let connection = Rc::new(Connection::new(db, settings));
        let mut scope = Scope::new();
        let engine = engine::new(&connection, &mut scope, stop.clone(), print);
        Self {
            engine,
            scope,
            functions: AST::empty(),
            connection,
            stop,
        }
    }

    /// The names of the variables.
    pub fn variables(&self) -> Vec<String> {
        self.scope
            .iter()
            .map(|(name, ..)| name.to_owned())
            .collect()
    }

    /// Runs the statements of a text; each is one transaction. Returns the text of the last one's value, if it has one.
    ///
    /// # Errors
    /// The place and the reason of the first error. What its statement has written is undone, what the ones before have written stays.
    pub fn run(&mut self, source: &str) -> Result<Option<String>, ShellError> {
        let mut last = None;
        for statement in syntax::statements(source)? {
            last = self.run_statement(&statement)?;
        }
        Ok(last)
    }

    /// Runs a statement in one transaction. Returns the text of its value, if it has one.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_statement(
        &mut self,
        statement: &syntax::Statement,
    ) -> Result<Option<String>, ShellError> {
        let is_new = |name: &String| !self.scope.contains(name);
        let (text, shift) = match statement.assigned.as_ref().filter(|name| is_new(name)) {
            Some(_) => (format!("let {}", statement.text), "let ".len()),
            None => (statement.text.clone(), 0),
        };
        let place = |position: Position| statement.place(position, shift);
        let script = self.engine.compile(&text).map_err(|error| ShellError {
            reason: error.0.to_string(),
            ..place(error.1)
        })?;
        let script = self.functions.merge(&script);
        let length = self.scope.len();
        let result = self
            .engine
            .eval_ast_with_scope::<Dynamic>(&mut self.scope, &script);
        let result = result.map_err(|error| {
            let (position, reason) = runtime_reason(*error);
            ShellError {
                reason,
                ..place(position)
            }
        });
        let result = match result {
            // While it waited for the database.
            Ok(_) if self.stop.load(Ordering::Relaxed) => {
                self.connection.roll_back();
                Err(ShellError {
                    reason: "stopped".to_owned(),
                    ..place(Position::NONE)
                })
            }
            Ok(value) => self
                .connection
                .commit()
                .map(|()| value)
                .map_err(|error| ShellError {
                    reason: db::message(&error),
                    ..place(Position::NONE)
                }),
            Err(error) => {
                self.connection.roll_back();
                Err(error)
            }
        };
        match result {
            Ok(value) => {
                self.functions = script.clone_functions_only();
                Ok((!value.is_unit()).then(|| values::repr(&self.engine, &value)))
            }
            Err(error) => {
                // A variable whose value is missing is not there.
                self.scope.rewind(length);
                Err(error)
            }
        }
    }
}

/// The place and the text of an error. That of one in a function, which another statement may have defined, is the call.
fn runtime_reason(error: EvalAltResult) -> (Position, String) {
    match error {
        // The place is in the closure, which is a part of the statement.
        EvalAltResult::ErrorInFunctionCall(name, _, inner, position)
            if name.starts_with(CLOSURE) =>
        {
            let (inner_position, reason) = runtime_reason(*inner);
            let place = if inner_position.is_none() {
                position
            } else {
                inner_position
            };
            (place, reason)
        }
        EvalAltResult::ErrorInFunctionCall(name, _, inner, position) => {
            let (_, reason) = runtime_reason(*inner);
            (position, format!("{reason} (in the function {name})"))
        }
        EvalAltResult::ErrorRuntime(value, position) => (position, value.to_string()),
        EvalAltResult::ErrorTerminated(reason, position) => (position, reason.to_string()),
        EvalAltResult::ErrorFunctionNotFound(signature, position) => {
            let name = signature.split(" (").next().unwrap_or(&signature);
            (
                position,
                format!("there is no function or method {name} for these arguments"),
            )
        }
        mut error => {
            let position = error.take_position();
            (position, error.to_string())
        }
    }
}
