//! The form of an object and those of its inlines.

use sea_orm::DbErr;

use super::{context::FormContext, formset::Formset, object::ObjectForm};
use crate::{
    admin::model::{Inline, Model, Object},
    db::Connection,
    error::Result,
    web::form::Form,
};

/// An object's form and those of its inlines.
#[derive(Debug)]
pub struct Editor<'a> {
    /// The object's form.
    pub main: ObjectForm<'a>,
    /// A formset per inline for which the user has any permission.
    pub formsets: Vec<Formset<'a>>,
}

impl<'a> Editor<'a> {
    /// Loads the forms of an object, or empty forms for a new one.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn load(
        model: &'a Model,
        object: Option<Object>,
        db: Connection<'_>,
        form_context: FormContext<'a>,
    ) -> Result<Self, DbErr> {
        let mut formsets = Vec::new();
        let inlines: Vec<&'a Inline> = form_context.site.inlines(model, form_context.user);
        for inline in inlines {
            formsets.push(Formset::load(inline, object.as_ref(), db, form_context).await?);
        }
        let main = ObjectForm::load(model, object, db, form_context).await?;
        Ok(Self { main, formsets })
    }

    /// Binds submitted data to the forms.
    ///
    /// # Errors
    /// [`AppError::BadRequest`](crate::error::AppError::BadRequest) when a management form is missing or invalid.
    pub fn bind(&mut self, form: &Form, form_context: FormContext<'_>) -> Result<()> {
        self.main.bind(form);
        self.formsets
            .iter_mut()
            .try_for_each(|formset| formset.bind(form, form_context))
    }

    /// The number of error messages in all forms.
    pub fn error_count(&self) -> usize {
        self.main.error_count()
            + self
                .formsets
                .iter()
                .map(Formset::error_count)
                .sum::<usize>()
    }
}
