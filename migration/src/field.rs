//! The fields of a model, as far as a database sees them.

use std::borrow::Cow;

/// A field of a model. Two fields that are equal need no statement to get from one to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name; a foreign key's column has `_id` behind it.
    pub name: Cow<'static, str>,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be NULL.
    pub null: bool,
    /// Whether it is the primary key.
    pub primary_key: bool,
    /// Whether each value may occur once only.
    pub unique: bool,
    /// Whether it has an index of its own. Foreign keys always have one.
    pub index: bool,
    /// What rows get that are there already.
    pub default: Default,
}

/// What a field holds; the names are Django's, without `Field`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A number that the database gives out.
    Auto,
    /// True or false.
    Boolean,
    /// Text, with its maximum length in characters.
    Char(u32),
    /// A moment, in UTC.
    DateTime,
    /// The key of a row of the named model, as `app.Model`.
    ForeignKey(Cow<'static, str>),
    /// A number of 32 bits.
    Integer,
    /// Any number of rows of the named model, as `app.Model`; a table of its own, no column.
    ManyToMany(Cow<'static, str>),
    /// A number from 0 to 32767.
    PositiveSmallInteger,
    /// Text of any length.
    Text,
}

/// The value for rows that are there already. The database keeps no default, as with Django.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// None: the field is new with its table, or may be NULL.
    None,
    /// The present time.
    Now,
    /// The present time, again at each save.
    AutoNow,
    /// True or false.
    Boolean(bool),
    /// A number.
    Integer(i64),
    /// A text.
    Text(&'static str),
}

impl Field {
    /// A field of the given name and kind: not NULL, not unique, without an index.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        let name = Cow::Borrowed(name);
        Self {
            name,
            kind,
            null: false,
            primary_key: false,
            unique: false,
            index: false,
            default: Default::None,
        }
    }

    /// The usual key: `id`, given out by the database.
    pub const fn id() -> Self {
        Self::new("id", Kind::Auto).primary_key()
    }

    /// Text of at most `length` characters.
    pub const fn char(name: &'static str, length: u32) -> Self {
        Self::new(name, Kind::Char(length))
    }

    /// The key of a row of `model`, given as `app.Model`.
    pub const fn foreign_key(name: &'static str, model: &'static str) -> Self {
        Self::new(name, Kind::ForeignKey(Cow::Borrowed(model)))
    }

    /// Any number of rows of `model`, given as `app.Model`.
    pub const fn many_to_many(name: &'static str, model: &'static str) -> Self {
        Self::new(name, Kind::ManyToMany(Cow::Borrowed(model)))
    }

    /// The same field, NULL allowed.
    pub const fn null(mut self) -> Self {
        self.null = true;
        self
    }

    /// The same field as the primary key.
    pub const fn primary_key(mut self) -> Self {
        self.primary_key = true;
        self
    }

    /// The same field, each value once.
    pub const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// The same field with an index.
    pub const fn index(mut self) -> Self {
        self.index = true;
        self
    }

    /// The same field with a default.
    pub const fn default(mut self, default: Default) -> Self {
        self.default = default;
        self
    }

    /// The name of its column.
    pub fn column(&self) -> String {
        match self.kind {
            Kind::ForeignKey(_) => format!("{}_id", self.name),
            _ => self.name.to_string(),
        }
    }

    /// Whether it has a column in its model's table.
    pub fn is_concrete(&self) -> bool {
        !matches!(self.kind, Kind::ManyToMany(_))
    }
}
