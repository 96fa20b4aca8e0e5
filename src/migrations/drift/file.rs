//! The source of a migration for the changes of an app, for its author to complete.

use std::{fs::File, io::Write, path::Path};

use anyhow::{Context, bail};
use migration::{Graph, State};

use super::table::{Change, Column};

/// The source of a migration to complete.
#[derive(Debug)]
pub struct MigrationFile {
    /// The path, relative to the root of the source tree.
    pub path: String,
    /// The content.
    pub source: String,
}

impl MigrationFile {
    /// Creates the file in the source tree at `root`.
    ///
    /// # Errors
    /// When the app's folder does not exist, when the file exists, or when it cannot be written.
    pub fn write(&self, root: &Path) -> anyhow::Result<()> {
        let path = root.join(&self.path);
        if !path.parent().is_some_and(Path::is_dir) {
            bail!(
                "the folder of {} is not here: run this in the source tree",
                self.path
            );
        }
        let file =
            File::create_new(&path).with_context(|| format!("{} cannot be created", self.path));
        file?
            .write_all(self.source.as_bytes())
            .with_context(|| format!("{} cannot be written", self.path))
    }
}

/// A migration for the changes of an app, with the next number.
pub fn migration_file(app: &str, changes: &[Change]) -> MigrationFile {
    let last = Graph::new()
        .of_app(app)
        .last()
        .expect("each app has a migration")
        .name;
    let number: u32 = last[..4].parse().expect("names begin with a number");
    let name = format!("{:04}_{}", number + 1, name_fragment(app, changes));
    let operations: String = changes
        .iter()
        .map(|change| operation(app, change))
        .collect();
    let source = format!(
        "//! TODO: say what this is for.\n\n\
         use crate::{{Field, Kind, Migration, ModelOptions, Operation}};\n\n\
         pub const MIGRATION: Migration = Migration {{\n    \
             app: \"{app}\",\n    \
             name: \"{name}\",\n    \
             initial: false,\n    \
             dependencies: &[(\"{app}\", \"{last}\")],\n    \
             operations: &[\n{operations}    ],\n}};\n"
    );
    MigrationFile {
        path: format!("migration/src/{app}/m{name}.rs"),
        source,
    }
}

/// The part of the name after the number, for the first change, as in Django's `migration_name_fragment`.
fn name_fragment(app: &str, changes: &[Change]) -> String {
    let model = |table: &str| model_name(app, table).to_lowercase();
    let first = match &changes[0] {
        Change::CreateTable(table) => model(&table.name),
        Change::DeleteTable(table) => format!("delete_{}", model(table)),
        Change::AddColumn(table, column) => format!("{}_{}", model(table), field_name(&column.0)),
        Change::AlterColumn(table, column) => {
            format!("alter_{}_{}", model(table), field_name(&column.0))
        }
        Change::RemoveColumn(table, column) => format!("remove_{}_{column}", model(table)),
        Change::AlterUniqueTogether(table) => {
            format!("alter_{}_unique_together", model(&table.name))
        }
    };
    if changes.len() > 1 {
        format!("{first}_and_more")
    } else {
        first
    }
}

/// A change as the Rust source of a `migration::Operation`.
pub(super) fn operation(app: &str, change: &Change) -> String {
    let model = |table: &str| model_name(app, table).to_lowercase();
    let text = match change {
        Change::CreateTable(table) => {
            let fields: String = table
                .columns
                .iter()
                .map(|column| format!("{}, ", field(column)))
                .collect();
            format!(
                "CreateModel {{ name: \"{}\", fields: &[{fields}], options: ModelOptions::DEFAULT }}",
                model_name(app, &table.name)
            )
        }
        Change::DeleteTable(table) => format!("DeleteModel {{ name: \"{}\" }}", model(table)),
        Change::AddColumn(table, column) => {
            format!(
                "AddField {{ model: \"{}\", field: {} }}",
                model(table),
                field(&column.0)
            )
        }
        Change::AlterColumn(table, column) => {
            format!(
                "AlterField {{ model: \"{}\", field: {} }}",
                model(table),
                field(&column.0)
            )
        }
        Change::RemoveColumn(table, column) => {
            format!(
                "RemoveField {{ model: \"{}\", name: \"{column}\" }}",
                model(table)
            )
        }
        Change::AlterUniqueTogether(table) => {
            let name = |column: &String| {
                let column = table.columns.iter().find(|other| other.name == *column);
                format!("\"{}\"", column.map_or("", field_name))
            };
            let group = |columns: &Vec<String>| {
                format!(
                    "&[{}]",
                    columns.iter().map(name).collect::<Vec<_>>().join(", ")
                )
            };
            let groups: Vec<_> = table.unique_together.iter().map(group).collect();
            let model = model(&table.name);
            format!(
                "AlterUniqueTogether {{ model: \"{model}\", unique_together: &[{}] }}",
                groups.join(", ")
            )
        }
    };
    format!("        Operation::{text},\n")
}

/// The model of a table; for a new table, its name without the app's prefix.
fn model_name(app: &str, table: &str) -> String {
    let state = State::latest();
    let known = state
        .of_app(app)
        .find(|model| model.table == table)
        .map(|model| model.name.to_string());
    known.unwrap_or_else(|| {
        table
            .trim_start_matches(app)
            .trim_start_matches('_')
            .to_owned()
    })
}

fn field_name(column: &Column) -> &str {
    match &column.references {
        Some(_) => column.name.trim_end_matches("_id"),
        None => &column.name,
    }
}

/// The source of a column's field.
fn field(column: &Column) -> String {
    let name = field_name(column);
    let mut text = match (&column.references, column.kind.as_str()) {
        (None, "Integer") if column.primary_key => return "Field::id()".to_owned(),
        (Some(table), _) => {
            let state = State::latest();
            let target = migration::APPS
                .into_iter()
                .flat_map(|app| state.of_app(app))
                .find(|model| model.table == *table);
            let target = target.map_or_else(
                || table.clone(),
                |model| format!("{}.{}", model.app, model.name),
            );
            format!("Field::foreign_key(\"{name}\", \"{target}\")")
        }
        (None, kind) => match kind
            .strip_prefix("Char(")
            .and_then(|rest| rest.strip_suffix(')'))
        {
            Some(length) => format!("Field::char(\"{name}\", {length})"),
            None => format!("Field::new(\"{name}\", Kind::{kind})"),
        },
    };
    if column.null {
        text += ".null()";
    }
    if column.index {
        text += ".index()";
    }
    if column.primary_key {
        text += ".primary_key()";
    } else if column.unique {
        text += ".unique()";
    }
    text
}
