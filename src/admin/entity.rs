//! The table of a sea-orm entity, with the entity's type erased.

use sea_orm::{
    ColumnTrait, ColumnType, DbErr, EntityTrait, FromQueryResult, IdenStatic, Iterable, ModelTrait,
    PrimaryKeyToColumn, QueryResult, Value, sea_query::StringLen,
};

use super::{
    field::{Field, Kind, SideTable},
    options::FieldOptions,
};
use crate::entities::references;

/// The name of the primary key of every registered model.
pub const KEY: &str = "id";

/// The maximum length of a text field, in characters, if its column has none.
const CHAR_LIMIT: u32 = 255;

/// Reads the label and the values of an object from a row, the values in the order of the columns.
type Read = dyn Fn(&QueryResult) -> Result<(String, Vec<Value>), DbErr> + Send + Sync;

/// The table of a model.
pub struct Entity {
    /// The name of the table.
    pub(super) table: &'static str,
    /// Its columns, without the key.
    pub(super) fields: Vec<Field>,
    /// Whether the key is one integer named `id`.
    pub(super) has_usual_key: bool,
    /// Reads an object from a row.
    pub(super) read: Box<Read>,
}

impl Entity {
    /// The table of an entity; `label` is Django's `__str__`.
    ///
    /// # Panics
    /// When a column has a type without a [`Kind`].
    pub fn of<E: EntityTrait>(label: fn(&E::Model) -> String) -> Self {
        let keys: Vec<_> = E::PrimaryKey::iter()
            .map(|key| key.into_column().as_str().to_owned())
            .collect();
        let columns = || E::Column::iter().filter(|column| column.as_str() != KEY);
        Self {
            table: E::default().table_name(),
            fields: columns().map(|column| field::<E>(&column)).collect(),
            has_usual_key: keys == [KEY],
            read: Box::new(move |row| {
                let model = E::Model::from_query_result(row, "")?;
                let values = columns().map(|column| model.get(column)).collect();
                Ok((label(&model), values))
            }),
        }
    }
}

/// The fields for these columns of a table with one row at most for each object of a model. `key` is its primary key.
///
/// # Panics
/// When there is no such column, or the admin has no field for the type of one.
pub fn side_fields<E: EntityTrait>(key: &'static str, names: &[&str]) -> Vec<Field> {
    let side_table = Some(SideTable {
        table: E::default().table_name(),
        key,
    });
    let field_of = |name: &&str| {
        let column = E::Column::iter().find(|column| column.as_str() == *name);
        let column = column.unwrap_or_else(|| panic!("there is no column {name}"));
        Field {
            side_table,
            ..field::<E>(&column)
        }
    };
    names.iter().map(field_of).collect()
}

fn field<E: EntityTrait>(column: &E::Column) -> Field {
    let (definition, name) = (column.def(), column.as_str());
    let references = references::<E>(name);
    let kind = match (definition.get_column_type(), references) {
        (_, Some(table)) => Kind::ForeignKey(table),
        (ColumnType::String(StringLen::N(length)), _) => Kind::Char(*length),
        (ColumnType::String(_), _) => Kind::Char(CHAR_LIMIT),
        (ColumnType::SmallInteger, _) => Kind::SmallInteger,
        (ColumnType::Integer, _) => Kind::Integer,
        (ColumnType::Boolean, _) => Kind::Boolean,
        (ColumnType::TimestampWithTimeZone, _) => Kind::DateTime,
        (ColumnType::Text, _) => Kind::Text,
        (other, _) => panic!("the admin has no field for the column {name}: {other:?}"),
    };
    let field_name = match kind {
        Kind::ForeignKey(_) => name.strip_suffix("_id").unwrap_or(name),
        _ => name,
    };
    Field {
        name: field_name,
        column: name,
        side_table: None,
        verbose_name: field_name.replace('_', " "),
        kind,
        null: definition.is_null(),
        unique: definition.is_unique(),
        options: FieldOptions::new(field_name),
    }
}
