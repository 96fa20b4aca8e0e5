//! A field with its data in a form (Django's `BoundField`).

use chrono_tz::Tz;

use crate::admin::field::{Field, Kind, Raw};

/// A field with its data in a form (Django's `BoundField`).
#[derive(Debug)]
pub struct BoundField<'a> {
    /// The field.
    pub field: &'a Field,
    /// The form data: the submitted data once the form is bound.
    pub raw: Raw,
    /// The form data when the form was rendered.
    pub initial: Raw,
    /// The data of another user's concurrent change, if it differs.
    pub theirs: Option<Raw>,
    /// Its error messages, after validation.
    pub errors: Vec<String>,
    /// Whether it is displayed without an input.
    pub is_readonly: bool,
}

impl<'a> BoundField<'a> {
    /// A field with unchanged data.
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

    /// Whether the form data differs from the initial data.
    pub fn has_changed(&self, zone: Tz) -> bool {
        !self.is_readonly && !is_same(self.field, &self.raw, &self.initial, zone)
    }
}

/// Whether two form data of a field convert to the same value.
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

/// The number of a counter's form data.
pub fn count_of(raw: &Raw) -> Option<i64> {
    raw.first()?.trim().parse().ok()
}
