//! Tables and columns in a common format for migrations and entities, and the changes between them.

use std::{collections::BTreeSet, fmt};

/// A table, described by the migrations or by an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The name.
    pub name: String,
    /// The columns, in any order.
    pub columns: Vec<Column>,
    /// Groups of columns that are unique together.
    pub unique_together: BTreeSet<Vec<String>>,
}

/// A column, described by the migrations or by an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name.
    pub name: String,
    /// The name of a `migration::Kind`, with a length as in `Char(200)`.
    pub kind: String,
    /// Whether it may be NULL.
    pub null: bool,
    /// Whether its values are unique.
    pub unique: bool,
    /// Whether it has an index, besides the one of each foreign key.
    pub index: bool,
    /// Whether it is the primary key.
    pub primary_key: bool,
    /// The table that a foreign key references.
    pub references: Option<String>,
}

/// A change that turns the migrated schema into that of the entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An entity's table is missing in the migrations.
    CreateTable(Table),
    /// A table of this name has no entity.
    DeleteTable(String),
    /// A column of the named table is missing in the migrations.
    AddColumn(String, AddedColumn),
    /// A column of the named table is different.
    AlterColumn(String, AddedColumn),
    /// The named table has a column of this name that its entity does not have.
    RemoveColumn(String, String),
    /// The groups of columns that are unique together are different.
    AlterUniqueTogether(Table),
}

/// A column that a migration has to add or alter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedColumn(pub Column);

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
