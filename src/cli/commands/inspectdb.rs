use std::{io::Write, process::ExitCode};

use crate::{
    cli::context::{Context, print_error},
    introspection::{self, Column, Table},
};

/// Print sea-orm entities for tables that this program does not know, or for the given ones.
///
/// They are a beginning: relations refer to the tables' names, and columns of unknown types are texts.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these tables.
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

impl Args {
    /// Prints an entity per table.
    ///
    /// # Errors
    /// When there is no such table, the database cannot be reached, or standard output cannot be written.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let db = context.connect_to_read().await?;
        let names = introspection::table_names(&db).await?;
        let unknown = self.tables.iter().find(|table| !names.contains(table));
        if let Some(unknown) = unknown {
            anyhow::bail!("There is no table {unknown:?}.");
        }
        let wanted = names.iter().filter(|name| match self.tables.as_slice() {
            [] => !introspection::is_known(name),
            tables => tables.contains(name),
        });
        let mut is_empty = true;
        for name in wanted {
            is_empty = false;
            let table = introspection::describe(&db, name).await?;
            writeln!(context.out, "{}", entity(&table))?;
        }
        if is_empty && context.is_verbose() {
            print_error("No tables found that this program does not know.");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The source of an entity, in the style of `src/entities`.
fn entity(table: &Table) -> String {
    let name = &table.name;
    let mut fields = String::new();
    let mut names = Names::default();
    let columns: Vec<_> = table
        .columns
        .iter()
        .map(|column| (column, names.add(&column.name)))
        .collect();
    for (column, rust_name) in &columns {
        let (rust_type, attribute) = rust_type(column);
        let mut attributes = Vec::new();
        if column.is_primary_key {
            attributes.push("primary_key".to_owned());
            if !column.is_generated {
                attributes.push("auto_increment = false".to_owned());
            }
        }
        attributes.extend(attribute);
        if rust_name.strip_prefix("r#").unwrap_or(rust_name) != column.name {
            attributes.push(format!("column_name = {:?}", column.name));
        }
        fields += &format!("    /// `{}`: {}.\n", column.name, column.sql_type);
        if !attributes.is_empty() {
            fields += &format!("    #[sea_orm({})]\n", attributes.join(", "));
        }
        let rust_type = if column.is_null {
            format!("Option<{rust_type}>")
        } else {
            rust_type
        };
        fields += &format!("    pub {rust_name}: {rust_type},\n");
    }
    for (column, from) in &columns {
        let Some((related, key)) = &column.references else {
            continue;
        };
        let from = from.strip_prefix("r#").unwrap_or(from);
        let field = match from.strip_suffix("_id") {
            Some(field) => names.add(field),
            None => names.add(&format!("{from}_object")),
        };
        let entity = format!("super::{}::Entity", entity_module(related));
        let related_type = if column.is_null {
            format!("Option<{entity}>")
        } else {
            entity
        };
        fields += &format!(
            "    /// The related row of `{related}`.\n    #[sea_orm(belongs_to, from = \"{from}\", to = \"{key}\")]\n    \
             pub {field}: BelongsTo<{related_type}>,\n"
        );
    }
    let has_key = table.columns.iter().any(|column| column.is_primary_key);
    let note = if has_key {
        ""
    } else {
        "// The table has no primary key, which an entity needs: mark a column that is unique with `primary_key`.\n"
    };
    format!(
        "//! `{name}`.\n\n{note}use sea_orm::entity::prelude::*;\n\n/// A row of `{name}`.\n#[sea_orm::model]\n\
         #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]\n#[sea_orm(table_name = {name:?})]\npub struct Model {{\n\
         {fields}}}\n\nimpl ActiveModelBehavior for ActiveModel {{}}\n"
    )
}

/// The names of the fields of an entity, each of which there is once.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    /// The name of a column as that of a field; with a number if another column has it already.
    fn add(&mut self, column: &str) -> String {
        let name = rust_name(column);
        let mut unique = name.clone();
        let mut number = 0;
        while self.0.contains(&unique) {
            unique = format!("{}_{number}", name.strip_prefix("r#").unwrap_or(&name));
            number += 1;
        }
        self.0.push(unique.clone());
        unique
    }
}

/// The module of a table's entity.
fn entity_module(table: &str) -> String {
    let module = match table {
        "django_admin_log" => "log_entry",
        "django_content_type" => "content_type",
        "django_session" => "session",
        "django_migrations" => "migration",
        _ if introspection::is_known(table) => {
            let name = table
                .strip_prefix("auth_")
                .or_else(|| table.strip_prefix("polls_app_"));
            name.unwrap_or(table)
        }
        _ => table,
    };
    rust_name(module)
}

/// The type of a column, and the attribute that it needs.
fn rust_type(column: &Column) -> (String, Option<String>) {
    let sql_type = column.sql_type.to_lowercase();
    // `timestamp(3) with time zone`.
    let (name, length) = match sql_type.split_once('(') {
        Some((name, rest)) => {
            let (length, rest) = rest.split_once(')').unwrap_or((rest, ""));
            (format!("{}{rest}", name.trim_end()), Some(length))
        }
        None => (sql_type.clone(), None),
    };
    let plain = |name: &str| (name.to_owned(), None);
    match name.trim() {
        "smallint" | "smallint unsigned" => plain("i16"),
        "integer" | "int" | "integer unsigned" => plain("i32"),
        "bigint" | "bigint unsigned" => plain("i64"),
        "bool" | "boolean" => plain("bool"),
        "real" if !column.is_sqlite => plain("f32"),
        "real" | "double precision" => plain("f64"),
        "numeric" | "decimal" => plain("Decimal"),
        "date" => plain("Date"),
        "time" | "time without time zone" => plain("Time"),
        "datetime" | "timestamp with time zone" => plain("DateTimeUtc"),
        "timestamp" | "timestamp without time zone" => plain("DateTime"),
        "uuid" => plain("Uuid"),
        "json" | "jsonb" => plain("Json"),
        "blob" | "bytea" => plain("Vec<u8>"),
        "varchar" | "character varying" if length.is_some() => {
            let length = length.unwrap_or_default();
            (
                "String".to_owned(),
                Some(format!("column_type = \"String(StringLen::N({length}))\"")),
            )
        }
        _ => (
            "String".to_owned(),
            Some("column_type = \"Text\"".to_owned()),
        ),
    }
}

/// The name of a column as that of a field.
fn rust_name(name: &str) -> String {
    let mut plain: String = name
        .to_lowercase()
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        })
        .collect();
    if plain.starts_with(|letter: char| letter.is_ascii_digit()) {
        plain.insert(0, '_');
    }
    match plain.as_str() {
        "type" | "ref" | "match" | "move" | "use" | "in" | "as" | "for" | "loop" | "mod"
        | "pub" | "fn" | "where" | "struct" | "enum" | "static" | "const" | "trait" | "impl"
        | "let" | "if" | "else" | "return" | "while" | "break" | "continue" | "true" | "false"
        | "unsafe" | "extern" | "async" | "await" | "dyn" | "mut" | "gen" | "try" | "yield"
        | "box" | "macro" | "abstract" | "become" | "do" | "final" | "override" | "priv"
        | "typeof" | "unsized" | "virtual" => format!("r#{plain}"),
        "self" | "super" | "crate" | "_" => format!("{plain}_"),
        _ => plain,
    }
}
