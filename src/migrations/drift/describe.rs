//! The tables that the migrations produce, and those that the entities describe.

use std::collections::BTreeSet;

use migration::{Field, Kind, Model, State};
use sea_orm::{
    ColumnTrait, ColumnType, DbBackend, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn,
    PrimaryKeyTrait, Schema, sea_query::StringLen,
};

use super::table::{Column, Table};
use crate::entities::{
    choice, content_type, group, group_permissions, log_entry, permission, question, references,
    session, user, user_groups, user_user_permissions,
};

/// The tables of an app's models in a migration state.
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
    // The same columns have an index on every backend.
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
    // The comparison supports no composite primary key with auto-increment.
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
