//! Conversion of operations to SQL. Alterations that SQLite does not support are in `sqlite`.

mod columns;
mod editor;
mod names;
mod remake_table;

use editor::SchemaEditor;
use sea_orm_migration::sea_orm::DbBackend;

use crate::{Direction, Field, Kind, Migration, Model, ModelOptions, Operation, State};

/// The statements of a migration.
#[derive(Debug)]
pub struct Sql {
    /// The operations, in the order of execution.
    pub steps: Vec<Step>,
    /// Statements after those of all operations: constraints and indexes.
    pub deferred: Vec<String>,
}

/// One operation and its statements.
#[derive(Debug)]
pub struct Step {
    /// Django's description of the operation.
    pub description: String,
    /// Its statements; empty when the operation does not change the database.
    pub statements: Vec<String>,
    /// Whether the operation is Django's `RunPython`.
    pub is_python: bool,
}

impl Sql {
    /// All statements, in the order of execution.
    pub fn statements(&self) -> impl Iterator<Item = &str> {
        self.steps
            .iter()
            .flat_map(|step| &step.statements)
            .chain(&self.deferred)
            .map(String::as_str)
    }

    /// All statements in the format of Django's `sqlmigrate`; empty for a migration without operations.
    pub fn script(&self) -> String {
        if self.steps.is_empty() {
            return String::new();
        }
        let mut script = "BEGIN;\n".to_owned();
        for step in &self.steps {
            script += &format!("--\n-- {}\n--\n", step.description);
            script += &match (step.statements.is_empty(), step.is_python) {
                (true, true) => "-- THIS OPERATION CANNOT BE WRITTEN AS SQL\n".to_owned(),
                (true, false) => "-- (no-op)\n".to_owned(),
                (false, _) => step.statements.join("\n") + "\n",
            };
        }
        for statement in &self.deferred {
            script += &format!("{statement}\n");
        }
        script + "COMMIT;\n"
    }
}

/// The statements that apply or unapply `migration`; `before` is the state before it.
pub fn sql(migration: &Migration, before: &State, backend: DbBackend, direction: Direction) -> Sql {
    // The states before and after each operation; unapplying it needs both, too.
    let mut states = vec![before.clone()];
    for operation in migration.operations {
        let mut state = states[states.len() - 1].clone();
        state.apply_operation(migration.app, operation);
        states.push(state);
    }
    let mut editor = SchemaEditor::new(backend);
    let mut steps = Vec::new();
    let mut run = |operation: &Operation, from: &State, to: &State| {
        editor.run(migration.app, operation, from, to, direction);
        steps.push(Step {
            description: operation.describe(),
            statements: editor.take_statements(),
            is_python: matches!(operation, Operation::RunPython { .. }),
        });
    };
    let operations = migration.operations.iter().zip(states.windows(2));
    match direction {
        Direction::Forwards => {
            operations.for_each(|(operation, pair)| run(operation, &pair[0], &pair[1]))
        }
        Direction::Backwards => operations
            .rev()
            .for_each(|(operation, pair)| run(operation, &pair[1], &pair[0])),
    }
    Sql {
        steps,
        deferred: editor.into_deferred(),
    }
}

/// The statement that creates Django's table `django_migrations`, which no migration creates.
pub fn create_history_table(backend: DbBackend) -> String {
    let fields = [
        Field::id(),
        Field::char("app", 255),
        Field::char("name", 255),
        Field::new("applied", Kind::DateTime),
    ];
    let options = ModelOptions {
        db_table: Some("django_migrations"),
        ..ModelOptions::DEFAULT
    };
    let model = Model::new("migrations", "Migration", &fields, &options);
    SchemaEditor::new(backend).create_table(&State::empty(), &model, &model.table)
}
