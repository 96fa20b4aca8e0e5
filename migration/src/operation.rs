//! The operations of migrations, with Django's names and descriptions.

use sea_orm_migration::sea_orm::DbBackend;

use crate::{Field, ModelOptions};

/// An operation of a migration. Model names are written as in Django's migrations: `ContentType` where the model is created,
/// `contenttype` afterwards.
#[derive(Debug)]
pub enum Operation {
    /// Creates a table, and the through tables of its many-to-many fields.
    CreateModel {
        /// The model's name.
        name: &'static str,
        /// Its fields, in the order of the columns.
        fields: &'static [Field],
        /// Its `Meta` options.
        options: ModelOptions,
    },
    /// Drops a table, and the through tables of its many-to-many fields.
    DeleteModel {
        /// The model's name.
        name: &'static str,
    },
    /// Adds a column, or the through table of a many-to-many field.
    AddField {
        /// The model's name.
        model: &'static str,
        /// The new field.
        field: Field,
    },
    /// Changes the type, the length or the nullability of a column.
    AlterField {
        /// The model's name.
        model: &'static str,
        /// The field after the change.
        field: Field,
    },
    /// Drops a column, or the through table of a many-to-many field.
    RemoveField {
        /// The model's name.
        model: &'static str,
        /// The field's name.
        name: &'static str,
    },
    /// Changes the groups of fields that are unique together.
    AlterUniqueTogether {
        /// The model's name.
        model: &'static str,
        /// All groups after the change.
        unique_together: &'static [&'static [&'static str]],
    },
    /// Changes options that are not in the database.
    AlterModelOptions {
        /// The model's name.
        model: &'static str,
        /// The new verbose name.
        verbose_name: &'static str,
    },
    /// Runs SQL, for objects that belong to no model.
    RunSql {
        /// The database system that runs it; `None` for SQL that both accept.
        backend: Option<DbBackend>,
        /// The statements that apply it.
        forwards: &'static [&'static str],
        /// The statements that unapply it.
        backwards: &'static [&'static str],
    },
    /// Changes rows: in Python in Django, here with SQL that SQLite and PostgreSQL accept.
    RunPython {
        /// The documentation of Django's function, as `migrate --plan` shows it.
        doc: &'static str,
        /// The statements that apply it.
        forwards: &'static [&'static str],
        /// The statements that unapply it.
        backwards: &'static [&'static str],
    },
}

impl Operation {
    /// Django's description, as `sqlmigrate` and `migrate --plan` print it.
    pub fn describe(&self) -> String {
        match self {
            Self::CreateModel { name, .. } => format!("Create model {name}"),
            Self::DeleteModel { name } => format!("Delete model {name}"),
            Self::AddField { model, field } => format!("Add field {} to {model}", field.name),
            Self::AlterField { model, field } => format!("Alter field {} on {model}", field.name),
            Self::RemoveField { model, name } => format!("Remove field {name} from {model}"),
            Self::AlterUniqueTogether {
                model,
                unique_together,
            } => {
                format!(
                    "Alter unique_together for {model} ({} constraint(s))",
                    unique_together.len()
                )
            }
            Self::AlterModelOptions { model, .. } => format!("Change Meta options on {model}"),
            Self::RunSql { .. } => "Raw SQL operation".to_owned(),
            Self::RunPython { .. } => "Raw Python operation".to_owned(),
        }
    }
}
