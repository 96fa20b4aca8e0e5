//! Operations as SQL, with the same text as Django's schema editors.

use sea_orm_migration::sea_orm::DbBackend;

use super::names::index_name;
use crate::{Default, Direction, Field, Kind, Model, Operation, State};

/// Collects the statements of the current operation, and those deferred to the end of the migration (Django's `deferred_sql`).
pub struct SchemaEditor {
    /// The database system.
    pub(super) backend: DbBackend,
    statements: Vec<String>,
    deferred: Vec<String>,
}

impl SchemaEditor {
    /// Without statements.
    pub fn new(backend: DbBackend) -> Self {
        Self {
            backend,
            statements: Vec::new(),
            deferred: Vec::new(),
        }
    }

    /// The statements since the last call, without the deferred ones.
    pub fn take_statements(&mut self) -> Vec<String> {
        std::mem::take(&mut self.statements)
    }

    /// The deferred statements.
    pub fn into_deferred(self) -> Vec<String> {
        self.deferred
    }

    /// Adds the statements that change the schema from the models of `from` to those of `to`, which differ by `operation`.
    pub fn run(
        &mut self,
        app: &str,
        operation: &Operation,
        from: &State,
        to: &State,
        direction: Direction,
    ) {
        let forwards = direction == Direction::Forwards;
        match *operation {
            Operation::CreateModel { name, .. } if forwards => {
                self.create_model(to, to.model(app, name))
            }
            Operation::CreateModel { name, .. } => self.delete_model(from.model(app, name)),
            Operation::DeleteModel { name } if forwards => self.delete_model(from.model(app, name)),
            Operation::DeleteModel { name } => self.create_model(to, to.model(app, name)),
            Operation::AddField { model, ref field } if forwards => {
                self.add_field(to, to.model(app, model), &field.name)
            }
            Operation::AddField { model, ref field } => {
                self.remove_field(from, from.model(app, model), &field.name)
            }
            Operation::RemoveField { model, name } if forwards => {
                self.remove_field(from, from.model(app, model), name)
            }
            Operation::RemoveField { model, name } => {
                self.add_field(to, to.model(app, model), name)
            }
            Operation::AlterField { model, ref field } => {
                self.alter_field(
                    from.model(app, model),
                    to,
                    to.model(app, model),
                    &field.name,
                );
            }
            Operation::AlterUniqueTogether { model, .. } => {
                self.alter_unique_together(from.model(app, model), to.model(app, model));
            }
            Operation::AlterModelOptions { .. } => {}
            Operation::RunSql {
                backend: Some(backend),
                ..
            } if backend != self.backend => {}
            Operation::RunSql {
                forwards: apply,
                backwards: unapply,
                ..
            }
            | Operation::RunPython {
                forwards: apply,
                backwards: unapply,
                ..
            } => {
                let statements = if forwards { apply } else { unapply };
                self.statements
                    .extend(statements.iter().map(|&statement| statement.to_owned()));
            }
        }
    }

    /// Whether the statements are for SQLite.
    pub(super) fn is_sqlite(&self) -> bool {
        self.backend == DbBackend::Sqlite
    }

    /// Adds a statement.
    pub(super) fn execute(&mut self, statement: String) {
        self.statements.push(statement);
    }

    /// Adds the deferred statements, as at the end of a migration.
    pub(super) fn run_deferred(&mut self) {
        self.statements.append(&mut self.deferred);
    }

    fn create_model(&mut self, state: &State, model: &Model) {
        self.execute(self.create_table(state, model, &model.table));
        self.defer_constraints(state, model);
        for through in model.through_models() {
            self.create_model(state, &through);
        }
    }

    /// The statement that creates a model's table with the given name.
    pub(super) fn create_table(&self, state: &State, model: &Model, name: &str) -> String {
        let concrete = model.fields.iter().filter(|field| field.is_concrete());
        let columns: Vec<_> = concrete.map(|field| self.column(state, field)).collect();
        format!("CREATE TABLE \"{name}\" ({});", columns.join(", "))
    }

    /// Defers the constraints and indexes of a new table: first unique constraints, then foreign keys, then indexes.
    pub(super) fn defer_constraints(&mut self, state: &State, model: &Model) {
        for names in &model.unique_together {
            let columns: Vec<_> = names
                .iter()
                .map(|name| model.field(name).column())
                .collect();
            self.deferred.push(self.create_unique(model, &columns));
        }
        if !self.is_sqlite() {
            for field in &model.fields {
                if let Kind::ForeignKey(target) = &field.kind {
                    let (table, column, name) = (
                        &model.table,
                        field.column(),
                        self.foreign_key_name(state, model, field),
                    );
                    let target = &state.related(target).table;
                    self.deferred.push(format!(
                        "ALTER TABLE \"{table}\" ADD CONSTRAINT \"{name}\" FOREIGN KEY (\"{column}\") \
                         REFERENCES \"{target}\" (\"id\") DEFERRABLE INITIALLY DEFERRED;"
                    ));
                }
            }
        }
        for field in &model.fields {
            self.defer_indexes(model, field);
        }
    }

    fn defer_indexes(&mut self, model: &Model, field: &Field) {
        let (table, column) = (&model.table, field.column());
        let name = |suffix| index_name(self.backend, table, &[field.column()], suffix);
        let mut indexes = Vec::new();
        if field.index || matches!(field.kind, Kind::ForeignKey(_)) {
            indexes.push(format!(
                "CREATE INDEX \"{}\" ON \"{table}\" (\"{column}\");",
                name("")
            ));
        }
        // In other locales than C, PostgreSQL needs a second index for LIKE.
        let is_text = matches!(field.kind, Kind::Char(_) | Kind::Text);
        if !self.is_sqlite() && is_text && (field.index || field.unique || field.primary_key) {
            let operator_class = if field.kind == Kind::Text {
                "text_pattern_ops"
            } else {
                "varchar_pattern_ops"
            };
            let name = name("_like");
            indexes.push(format!(
                "CREATE INDEX \"{name}\" ON \"{table}\" (\"{column}\" {operator_class});"
            ));
        }
        self.deferred.extend(indexes);
    }

    fn delete_model(&mut self, model: &Model) {
        for through in model.through_models() {
            self.delete_model(&through);
        }
        let cascade = if self.is_sqlite() { "" } else { " CASCADE" };
        self.execute(format!("DROP TABLE \"{}\"{cascade};", model.table));
    }

    fn add_field(&mut self, state: &State, model: &Model, name: &str) {
        let field = model.field(name);
        if let Some(through) = model.through_model(field) {
            return self.create_model(state, &through);
        }
        if self.is_sqlite() && (field.unique || !field.null || field.default != Default::None) {
            return self.remake_table(state, model, Some(field), None);
        }
        let mut definition = self.column(state, field);
        // Existing rows get the default, which is then dropped from the column.
        let default = self.default_value(field);
        if let Some(default) = &default {
            definition += &format!(" DEFAULT {default}");
        }
        if let (Kind::ForeignKey(target), false) = (&field.kind, self.is_sqlite()) {
            let (name, target) = (
                self.foreign_key_name(state, model, field),
                &state.related(target).table,
            );
            definition += &format!(
                " CONSTRAINT \"{name}\" REFERENCES \"{target}\"(\"id\") DEFERRABLE INITIALLY DEFERRED; \
                 SET CONSTRAINTS \"{name}\" IMMEDIATE"
            );
        }
        self.execute(format!(
            "ALTER TABLE \"{}\" ADD COLUMN {definition};",
            model.table
        ));
        if default.is_some() {
            let (table, column) = (&model.table, field.column());
            self.execute(format!(
                "ALTER TABLE \"{table}\" ALTER COLUMN \"{column}\" DROP DEFAULT;"
            ));
        }
        self.defer_indexes(model, field);
    }

    fn remove_field(&mut self, state: &State, model: &Model, name: &str) {
        let field = model.field(name);
        if let Some(through) = model.through_model(field) {
            return self.delete_model(&through);
        }
        let is_relation = matches!(field.kind, Kind::ForeignKey(_));
        if self.is_sqlite() && (is_relation || field.unique || field.index) {
            let mut without = model.clone();
            without.fields.retain(|other| other != field);
            return self.remake_table(state, &without, None, None);
        }
        let (table, column) = (&model.table, field.column());
        if is_relation {
            let name = self.foreign_key_name(state, model, field);
            self.execute(format!(
                "SET CONSTRAINTS \"{name}\" IMMEDIATE; ALTER TABLE \"{table}\" DROP CONSTRAINT \"{name}\";"
            ));
        }
        let cascade = if self.is_sqlite() { "" } else { " CASCADE" };
        self.execute(format!(
            "ALTER TABLE \"{table}\" DROP COLUMN \"{column}\"{cascade};"
        ));
    }

    fn alter_field(&mut self, before: &Model, state: &State, model: &Model, name: &str) {
        let (old, new) = (before.field(name), model.field(name));
        if old == new {
            return;
        }
        if self.is_sqlite() {
            return self.remake_table(state, model, None, Some((old, new)));
        }
        assert!(
            old.unique == new.unique
                && old.index == new.index
                && old.column() == new.column()
                && new.is_concrete(),
            "altering {name} of {} is not supported: remove the field and add it again",
            model.name
        );
        let (table, column) = (&model.table, new.column());
        let alter = format!("ALTER TABLE \"{table}\" ALTER COLUMN \"{column}\"");
        let type_of = |field| self.column_type(field);
        if type_of(old) != type_of(new) {
            let is_same_kind = matches!(
                (&old.kind, &new.kind),
                (Kind::Char(_) | Kind::Text, Kind::Char(_) | Kind::Text)
            );
            let using = if is_same_kind {
                String::new()
            } else {
                format!(" USING \"{column}\"::{}", type_of(new))
            };
            self.execute(format!("{alter} TYPE {}{using};", type_of(new)));
        }
        match (old.null, new.null) {
            (false, true) => self.execute(format!("{alter} DROP NOT NULL;")),
            (true, false) => {
                if let Some(default) = self.default_value(new) {
                    // ALTER TABLE fails while deferred constraint checks are pending.
                    self.execute(format!(
                        "UPDATE \"{table}\" SET \"{column}\" = {default} WHERE \"{column}\" IS NULL; \
                         SET CONSTRAINTS ALL IMMEDIATE;"
                    ));
                }
                self.execute(format!("{alter} SET NOT NULL;"));
            }
            _ => {}
        }
    }

    fn alter_unique_together(&mut self, before: &Model, after: &Model) {
        let columns = |model: &Model, names: &[_]| -> Vec<String> {
            names
                .iter()
                .map(|name: &std::borrow::Cow<'_, str>| model.field(name).column())
                .collect()
        };
        for names in before
            .unique_together
            .iter()
            .filter(|names| !after.unique_together.contains(names))
        {
            let name = index_name(
                self.backend,
                &before.table,
                &columns(before, names),
                "_uniq",
            );
            self.execute(if self.is_sqlite() {
                format!("DROP INDEX \"{name}\";")
            } else {
                format!(
                    "ALTER TABLE \"{}\" DROP CONSTRAINT \"{name}\";",
                    before.table
                )
            });
        }
        for names in after
            .unique_together
            .iter()
            .filter(|names| !before.unique_together.contains(names))
        {
            self.execute(self.create_unique(after, &columns(after, names)));
        }
    }

    fn create_unique(&self, model: &Model, columns: &[String]) -> String {
        let (table, name) = (
            &model.table,
            index_name(self.backend, &model.table, columns, "_uniq"),
        );
        let columns = columns
            .iter()
            .map(|column| format!("\"{column}\""))
            .collect::<Vec<_>>()
            .join(", ");
        if self.is_sqlite() {
            format!("CREATE UNIQUE INDEX \"{name}\" ON \"{table}\" ({columns});")
        } else {
            format!("ALTER TABLE \"{table}\" ADD CONSTRAINT \"{name}\" UNIQUE ({columns});")
        }
    }

    fn foreign_key_name(&self, state: &State, model: &Model, field: &Field) -> String {
        let Kind::ForeignKey(target) = &field.kind else {
            unreachable!("called for foreign keys only")
        };
        let suffix = format!("_fk_{}_id", state.related(target).table);
        index_name(self.backend, &model.table, &[field.column()], &suffix)
    }
}
