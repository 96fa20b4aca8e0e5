//! What separates the entities from what the migrations produce, and the migration that would mend it.

use std::{collections::BTreeSet, fmt, fs::File, io::Write, path::Path};

use anyhow::{Context, bail};
use migration::{Field, Graph, Kind, Model, State};
use sea_orm::{
    ColumnTrait, ColumnType, DbBackend, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn,
    PrimaryKeyTrait, RelationTrait, Schema,
    sea_query::{StringLen, TableRef},
};

use crate::entities::{
    choice, content_type, group, group_permissions, log_entry, permission, question, session, user,
    user_groups, user_user_permissions,
};

/// A table as either side describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    name: String,
    columns: Vec<Column>,
    /// Groups of columns that are unique together.
    unique_together: BTreeSet<Vec<String>>,
}

/// A column as either side describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    kind: String,
    null: bool,
    unique: bool,
    /// Whether it has an index of its own, besides the one that each foreign key has.
    index: bool,
    primary_key: bool,
    /// The table it refers to.
    references: Option<String>,
}

/// One difference, from the migrations' side to the entities'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An entity whose table no migration creates.
    CreateTable(Table),
    /// A table that no entity has.
    DeleteTable(String),
    /// A column that no migration adds.
    AddColumn(String, AddedColumn),
    /// A column that is different.
    AlterColumn(String, AddedColumn),
    /// A column that no entity has.
    RemoveColumn(String, String),
    /// Other groups of columns that are unique together.
    AlterUniqueTogether(Table),
}

/// A column that a migration has to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedColumn(Column);

/// The source of a migration to complete.
#[derive(Debug)]
pub struct MigrationFile {
    /// Where it belongs, from the top of the source tree.
    pub path: String,
    /// Its text.
    pub source: String,
}

impl MigrationFile {
    /// Writes the file below the top of a source tree, where none is yet.
    ///
    /// # Errors
    /// When the folder is not there, or the file is.
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

/// The differences of one app; none when entities and migrations agree.
pub fn of_app(app: &str) -> Vec<Change> {
    compare(&migrated(&State::latest(), app), &entities(app))
}

/// The differences between two descriptions, table by table.
pub fn compare(migrated: &[Table], entities: &[Table]) -> Vec<Change> {
    let mut changes = Vec::new();
    for entity in entities {
        match migrated.iter().find(|table| table.name == entity.name) {
            None => changes.push(Change::CreateTable(entity.clone())),
            Some(table) => {
                compare_columns(table, entity, &mut changes);
                if table.unique_together != entity.unique_together {
                    changes.push(Change::AlterUniqueTogether(entity.clone()));
                }
            }
        }
    }
    let lost = migrated
        .iter()
        .filter(|table| entities.iter().all(|entity| entity.name != table.name));
    changes.extend(lost.map(|table| Change::DeleteTable(table.name.clone())));
    changes
}

fn compare_columns(migrated: &Table, entity: &Table, changes: &mut Vec<Change>) {
    for column in &entity.columns {
        let added = || AddedColumn(column.clone());
        match migrated
            .columns
            .iter()
            .find(|other| other.name == column.name)
        {
            None => changes.push(Change::AddColumn(entity.name.clone(), added())),
            Some(other) if other != column => {
                changes.push(Change::AlterColumn(entity.name.clone(), added()))
            }
            Some(_) => {}
        }
    }
    let lost = migrated
        .columns
        .iter()
        .filter(|column| entity.columns.iter().all(|other| other.name != column.name));
    changes
        .extend(lost.map(|column| Change::RemoveColumn(entity.name.clone(), column.name.clone())));
}

/// The tables of an app as its migrations leave them.
pub fn migrated(state: &State, app: &str) -> Vec<Table> {
    let describe = |model: &Model| Table {
        name: model.table.clone(),
        columns: model
            .fields
            .iter()
            .filter(|field| field.is_concrete())
            .map(|field| column(state, field))
            .collect(),
        unique_together: model
            .unique_together
            .iter()
            .map(|names| columns_of(model, names))
            .collect(),
    };
    state
        .of_app(app)
        .flat_map(|model| {
            [describe(model)]
                .into_iter()
                .chain(model.through_models().map(|t| describe(&t)))
        })
        .collect()
}

fn columns_of(model: &Model, names: &[impl AsRef<str>]) -> Vec<String> {
    names
        .iter()
        .map(|name| model.field(name.as_ref()).column())
        .collect()
}

fn column(state: &State, field: &Field) -> Column {
    let references = match &field.kind {
        Kind::ForeignKey(target) => Some(state.related(target).table.clone()),
        _ => None,
    };
    Column {
        name: field.column(),
        kind: match &field.kind {
            Kind::Auto | Kind::Integer | Kind::ForeignKey(_) => "Integer".to_owned(),
            Kind::PositiveSmallInteger => "PositiveSmallInteger".to_owned(),
            Kind::Char(length) => format!("Char({length})"),
            other => format!("{other:?}"),
        },
        null: field.null,
        unique: field.unique || field.primary_key,
        index: field.index,
        primary_key: field.primary_key,
        references,
    }
}

/// The tables of an app as its entities describe them.
pub fn entities(app: &str) -> Vec<Table> {
    match app {
        "polls_app" => vec![table::<choice::Entity>(), table::<question::Entity>()],
        "admin" => vec![table::<log_entry::Entity>()],
        "auth" => vec![
            table::<permission::Entity>(),
            table::<group::Entity>(),
            table::<group_permissions::Entity>(),
            table::<user::Entity>(),
            table::<user_groups::Entity>(),
            table::<user_user_permissions::Entity>(),
        ],
        "contenttypes" => vec![table::<content_type::Entity>()],
        "sessions" => vec![table::<session::Entity>()],
        _ => Vec::new(),
    }
}

fn table<E: EntityTrait>() -> Table {
    let keys: Vec<_> = E::PrimaryKey::iter()
        .map(|key| key.into_column().as_str().to_owned())
        .collect();
    // The kind of database makes no difference to which columns have an index.
    let indexes = Schema::new(DbBackend::Sqlite).create_index_from_entity(E::default());
    let indexes: BTreeSet<Vec<String>> = indexes
        .iter()
        .map(|index| index.get_index_spec().get_column_names())
        .collect();
    let columns = E::Column::iter().map(|column| {
        let (definition, name) = (column.def(), column.as_str().to_owned());
        let is_key = keys.contains(&name);
        Column {
            kind: kind(definition.get_column_type()),
            null: definition.is_null(),
            unique: definition.is_unique() || is_key,
            index: indexes.contains(&vec![name.clone()]),
            primary_key: is_key,
            references: references::<E>(&name),
            name,
        }
    });
    // Keys that the database does not give out have a type of their own.
    debug_assert!(E::PrimaryKey::iter().count() == 1 || !E::PrimaryKey::auto_increment());
    let columns = columns.collect();
    let unique_together = indexes
        .into_iter()
        .filter(|columns| columns.len() > 1)
        .collect();
    Table {
        name: E::default().table_name().to_owned(),
        columns,
        unique_together,
    }
}

fn kind(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Integer => "Integer".to_owned(),
        ColumnType::SmallInteger => "PositiveSmallInteger".to_owned(),
        ColumnType::String(StringLen::N(length)) => format!("Char({length})"),
        ColumnType::TimestampWithTimeZone => "DateTime".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The table that a column of an entity refers to.
fn references<E: EntityTrait>(column: &str) -> Option<String> {
    E::Relation::iter()
        .map(|relation| relation.def())
        .find_map(|definition| {
            let is_own = definition
                .from_col
                .iter()
                .any(|own| own.to_string() == column);
            match definition.to_tbl {
                TableRef::Table(name, _) if !definition.is_owner && is_own => {
                    Some(name.1.to_string())
                }
                _ => None,
            }
        })
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTable(table) => write!(f, "+ Create table {}", table.name),
            Self::DeleteTable(table) => write!(f, "- Delete table {table}"),
            Self::AddColumn(table, column) => {
                write!(f, "+ Add column {} to {table}", column.0.name)
            }
            Self::AlterColumn(table, column) => {
                write!(f, "~ Alter column {} on {table}", column.0.name)
            }
            Self::RemoveColumn(table, column) => write!(f, "- Remove column {column} from {table}"),
            Self::AlterUniqueTogether(table) => {
                write!(f, "~ Alter unique_together for {}", table.name)
            }
        }
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
    let name = format!("{:04}_{}", number + 1, title(app, changes));
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

/// What the first change is about, in the words of Django's names.
fn title(app: &str, changes: &[Change]) -> String {
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

fn operation(app: &str, change: &Change) -> String {
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

/// The model that a table belongs to; for a new one, the table's name less its app.
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

/// A column as the source of a field.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn before(app: &'static str, name: &'static str) -> Vec<Table> {
        migrated(
            &State::after(|migration| migration.app != app || migration.name < name),
            app,
        )
    }

    #[test]
    fn entities_and_migrations_agree() {
        for app in migration::APPS {
            assert_eq!(of_app(app), [], "{app}");
            assert!(!entities(app).is_empty(), "{app}");
        }
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let changes = compare(&before("auth", "0012"), &entities("auth"));
        assert_eq!(
            changes.iter().map(Change::to_string).collect::<Vec<_>>(),
            ["~ Alter column first_name on auth_user"]
        );

        let changes = compare(&before("contenttypes", "0002"), &entities("contenttypes"));
        let texts: Vec<_> = changes.iter().map(Change::to_string).collect();
        assert_eq!(texts, ["- Remove column name from django_content_type"]);

        let changes = compare(&[], &entities("polls_app"));
        let texts: Vec<_> = changes.iter().map(Change::to_string).collect();
        assert_eq!(
            texts,
            [
                "+ Create table polls_app_choice",
                "+ Create table polls_app_question"
            ]
        );

        let mut without = entities("polls_app");
        without[0]
            .columns
            .retain(|column| column.name != "question_id");
        let changes = compare(&without, &entities("polls_app"));
        assert_eq!(
            changes[0].to_string(),
            "+ Add column question_id to polls_app_choice"
        );
        assert_eq!(
            compare(&entities("sessions"), &[])[0].to_string(),
            "- Delete table django_session"
        );
    }

    #[test]
    fn indexes_and_unique_groups_are_compared() {
        let mut without = entities("sessions");
        without[0]
            .columns
            .iter_mut()
            .for_each(|column| column.index = false);
        let changes = compare(&without, &entities("sessions"));
        assert_eq!(
            changes[0].to_string(),
            "~ Alter column expire_date on django_session"
        );
        assert!(
            operation("sessions", &changes[0])
                .contains(r#"Field::new("expire_date", Kind::DateTime).index()"#)
        );

        let mut without = entities("auth");
        without[0].unique_together.clear();
        let changes = compare(&without, &entities("auth"));
        assert_eq!(
            changes[0].to_string(),
            "~ Alter unique_together for auth_permission"
        );
        let text = operation("auth", &changes[0]);
        assert!(
            text.contains(r#"unique_together: &[&["content_type", "codename"]]"#),
            "{text}"
        );
    }

    #[test]
    fn a_migration_file_is_written_once_and_where_it_belongs() {
        let file = migration_file("auth", &compare(&before("auth", "0012"), &entities("auth")));
        let root = tempfile::tempdir().unwrap();
        let error = file.write(root.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("is not here: run this in the source tree"),
            "{error}"
        );
        std::fs::create_dir_all(root.path().join("migration/src/auth")).unwrap();
        file.write(root.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(root.path().join(&file.path)).unwrap(),
            file.source
        );
        assert!(
            file.write(root.path())
                .unwrap_err()
                .to_string()
                .ends_with("cannot be created")
        );
    }

    #[test]
    fn a_migration_file_holds_the_operations() {
        let file = migration_file("auth", &compare(&before("auth", "0012"), &entities("auth")));
        assert_eq!(
            file.path,
            "migration/src/auth/m0013_alter_user_first_name.rs"
        );
        assert!(
            file.source
                .contains(r#"dependencies: &[("auth", "0012_alter_user_first_name_max_length")],"#)
        );
        assert!(file.source.contains(
            r#"Operation::AlterField { model: "user", field: Field::char("first_name", 150) },"#
        ));

        let file = migration_file("polls_app", &compare(&[], &entities("polls_app")));
        assert_eq!(
            file.path,
            "migration/src/polls_app/m0002_choice_and_more.rs"
        );
        assert!(
            file.source
                .contains(r#"Field::foreign_key("question", "polls_app.Question")"#),
            "{}",
            file.source
        );
    }
}
