//! What a migration can do, with Django's names and descriptions.

use crate::{Field, ModelOptions};

/// One step of a migration. Model names are written as Django's migrations write them: `ContentType` where it is
/// created, `contenttype` afterwards.
#[derive(Debug)]
pub enum Operation {
    /// A new table, with those of its many-to-many fields.
    CreateModel {
        /// The model's name.
        name: &'static str,
        /// Its fields, in the order of the columns.
        fields: &'static [Field],
        /// Its `Meta` options.
        options: ModelOptions,
    },
    /// The end of a table.
    DeleteModel {
        /// The model's name.
        name: &'static str,
    },
    /// A new column, or the table of a new many-to-many field.
    AddField {
        /// The model's name.
        model: &'static str,
        /// The new field.
        field: Field,
    },
    /// Another type, length or NULL rule for a column.
    AlterField {
        /// The model's name.
        model: &'static str,
        /// The field as it shall be.
        field: Field,
    },
    /// The end of a column.
    RemoveField {
        /// The model's name.
        model: &'static str,
        /// The field's name.
        name: &'static str,
    },
    /// Which fields are unique together.
    AlterUniqueTogether {
        /// The model's name.
        model: &'static str,
        /// All such groups, old and new.
        unique_together: &'static [&'static [&'static str]],
    },
    /// Options that no database sees.
    AlterModelOptions {
        /// The model's name.
        model: &'static str,
        /// What it is called from now on.
        verbose_name: &'static str,
    },
    /// Statements that both databases read, for what no model describes.
    RunSql {
        /// What applies it.
        forwards: &'static [&'static str],
        /// What unapplies it.
        backwards: &'static [&'static str],
    },
    /// A change to the rows, which Django does in Python and this in SQL that both databases read.
    RunPython {
        /// The documentation of Django's function, as `migrate --plan` shows it.
        doc: &'static str,
        /// What applies it.
        forwards: &'static [&'static str],
        /// What unapplies it.
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
