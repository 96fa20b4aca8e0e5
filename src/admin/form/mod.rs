//! The forms of the admin.

mod bound;
mod context;
mod editor;
pub mod formset;
pub mod merge;
mod object;
pub mod save;
pub mod show;
pub mod version;

pub use self::{
    bound::{BoundField, count_of, is_same},
    context::FormContext,
    editor::Editor,
    object::{ObjectForm, fieldsets},
};
