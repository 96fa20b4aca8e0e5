//! The models after a series of migrations (Django's `ProjectState`).

use crate::{Graph, Migration, Model, Operation, model::owned};

/// The models after a series of migrations, in the order of creation.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    models: Vec<Model>,
}

impl State {
    /// No models.
    pub fn empty() -> Self {
        Self { models: Vec::new() }
    }

    /// The state after all migrations.
    pub fn latest() -> Self {
        Self::after(|_| true)
    }

    /// The state after the migrations for which `applied` returns true.
    pub fn after(applied: impl Fn(&Migration) -> bool) -> Self {
        let mut state = Self::empty();
        for migration in Graph::new()
            .full_plan()
            .into_iter()
            .filter(|migration| applied(migration))
        {
            state.apply(migration);
        }
        state
    }

    /// The state before `migration` in the full plan.
    pub(crate) fn before(migration: &Migration) -> Self {
        let mut state = Self::empty();
        for earlier in Graph::new()
            .full_plan()
            .into_iter()
            .take_while(|earlier| earlier.key() != migration.key())
        {
            state.apply(earlier);
        }
        state
    }

    fn apply(&mut self, migration: &Migration) {
        for operation in migration.operations {
            self.apply_operation(migration.app, operation);
        }
    }

    /// Applies an operation to the models of `app` (Django's `state_forwards`).
    pub(crate) fn apply_operation(&mut self, app: &'static str, operation: &Operation) {
        match operation {
            Operation::CreateModel {
                name,
                fields,
                options,
            } => self.add(Model::new(app, name, fields, options)),
            Operation::DeleteModel { name } => self.remove(app, name),
            Operation::AddField { model, field } => {
                self.model_mut(app, model).fields.push(field.clone())
            }
            Operation::AlterField { model, field } => {
                *self.model_mut(app, model).field_mut(&field.name) = field.clone()
            }
            Operation::RemoveField { model, name } => self
                .model_mut(app, model)
                .fields
                .retain(|field| field.name != *name),
            Operation::AlterUniqueTogether {
                model,
                unique_together,
            } => {
                self.model_mut(app, model).unique_together = owned(unique_together);
            }
            Operation::AlterModelOptions {
                model,
                verbose_name,
            } => {
                self.model_mut(app, model).verbose_name = (*verbose_name).to_owned();
            }
            Operation::RunSql { .. } | Operation::RunPython { .. } => {}
        }
    }

    /// The models of an app, in the order of creation.
    pub fn of_app(&self, app: &str) -> impl Iterator<Item = &Model> {
        self.models.iter().filter(move |model| model.app == app)
    }

    /// The model of an app with a name, which is case-insensitive.
    ///
    /// # Panics
    /// When the state has no such model: an error in a migration, which the tests find.
    pub fn model(&self, app: &str, name: &str) -> &Model {
        let found = self.models.iter().find(|model| model.is(app, name));
        found.unwrap_or_else(|| panic!("no migration has created {app}.{name} at this point"))
    }

    /// The model that a relation references as `app.Model`.
    ///
    /// # Panics
    /// When the state has no such model: an error in a migration, which the tests find.
    pub fn related(&self, target: &str) -> &Model {
        let (app, name) = target
            .split_once('.')
            .expect("a relation names its model as app.Model");
        self.model(app, name)
    }

    fn model_mut(&mut self, app: &str, name: &str) -> &mut Model {
        let found = self.models.iter_mut().find(|model| model.is(app, name));
        found.unwrap_or_else(|| panic!("no migration has created {app}.{name} at this point"))
    }

    fn add(&mut self, model: Model) {
        self.models.push(model);
    }

    fn remove(&mut self, app: &str, name: &str) {
        self.models.retain(|model| !model.is(app, name));
    }
}
