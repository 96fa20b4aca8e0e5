//! Tables and columns in a form that both sides can be brought to, and the changes between them.

use std::{collections::BTreeSet, fmt};

/// A table as either side describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// Groups of columns that are unique together.
    pub unique_together: BTreeSet<Vec<String>>,
}

/// A column as either side describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: String,
    pub null: bool,
    pub unique: bool,
    /// Whether it has an index of its own, besides the one that each foreign key has.
    pub index: bool,
    pub primary_key: bool,
    /// The table it refers to.
    pub references: Option<String>,
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
