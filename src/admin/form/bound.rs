//! A field with what a form holds for it.

use chrono_tz::Tz;

use crate::admin::field::{Field, Kind, Raw};

/// A field of a form.
#[derive(Debug)]
pub struct BoundField<'a> {
    /// Which.
    pub field: &'a Field,
    /// What it holds.
    pub raw: Raw,
    /// What it held when the user got it.
    pub initial: Raw,
    /// What is in the database now, where that is something else.
    pub theirs: Option<Raw>,
    /// What is wrong with it.
    pub errors: Vec<String>,
    /// Whether it is only shown.
    pub is_readonly: bool,
}

impl<'a> BoundField<'a> {
    /// A field that holds this.
    pub fn new(field: &'a Field, raw: Raw, is_readonly: bool) -> Self {
        Self {
            field,
            initial: raw.clone(),
            raw,
            theirs: None,
            errors: Vec::new(),
            is_readonly,
        }
    }

    /// Whether the user changed it.
    pub fn has_changed(&self, zone: Tz) -> bool {
        !self.is_readonly && !is_same(self.field, &self.raw, &self.initial, zone)
    }
}

/// Whether two contents of a field mean the same.
pub fn is_same(field: &Field, one: &Raw, other: &Raw, zone: Tz) -> bool {
    if field.kind == Kind::ManyToMany {
        let sorted = |raw: &Raw| {
            let mut keys = raw.clone();
            keys.sort();
            keys
        };
        return sorted(one) == sorted(other);
    }
    one == other
        || matches!((field.clean(one, zone), field.clean(other, zone)), (Ok(a), Ok(b)) if a == b)
}
