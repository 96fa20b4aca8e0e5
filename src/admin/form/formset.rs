//! The formset of an inline, with the field names and the management form of Django's `BaseInlineFormSet`.

use sea_orm::{
    ConnectionTrait, DbErr,
    sea_query::{ExprTrait, Order},
};

use super::{BoundField, FormContext, ObjectForm};
use crate::{
    admin::{
        entity::KEY,
        field::{Kind, NOT_AVAILABLE},
        model::{Inline, Model, Object},
    },
    db::Connection,
    error::{AppError, Result},
    web::form::Form,
};

/// The formset of an inline.
#[derive(Debug)]
pub struct Formset<'a> {
    /// The declaration.
    pub inline: &'a Inline,
    /// The forms, those of existing objects first.
    pub forms: Vec<InlineForm<'a>>,
    /// The user's permissions.
    pub rights: Rights,
    /// The errors that belong to no form (Django's `non_form_errors`).
    pub errors: Vec<String>,
    /// The existing objects.
    pub objects: Vec<Object>,
    /// The key of the parent object.
    pub(in crate::admin) parent_id: Option<i32>,
}

/// A user's permissions for the objects of an inline.
#[derive(Debug, Clone, Copy)]
pub struct Rights {
    /// Django's permission `add`.
    pub add: bool,
    /// Django's permission `change`.
    pub change: bool,
    /// Django's permission `delete`.
    pub delete: bool,
}

/// A form of a formset.
#[derive(Debug)]
pub struct InlineForm<'a> {
    /// The object's form.
    pub form: ObjectForm<'a>,
    /// Whether the object is marked for deletion.
    pub is_deleted: bool,
    /// The submitted key, if no existing object has it.
    pub missing_id: Option<i32>,
}

impl std::fmt::Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.prefix())
    }
}

impl<'a> Formset<'a> {
    /// Loads the forms of an object's inline objects, and empty ones.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn load(
        inline: &'a Inline,
        parent: Option<&Object>,
        db: Connection<'_>,
        form_context: FormContext<'_>,
    ) -> Result<Self, DbErr> {
        let model = &inline.model;
        let objects = match parent {
            Some(parent) => rows(inline, parent.id, db, form_context).await?,
            None => Vec::new(),
        };
        let has_perm = |action| form_context.user.has_perm(&model.permission(action));
        let rights = Rights {
            add: has_perm("add"),
            change: has_perm("change"),
            delete: has_perm("delete"),
        };
        let mut formset = Self {
            inline,
            forms: Vec::new(),
            rights,
            errors: Vec::new(),
            objects: objects.clone(),
            parent_id: parent.map(|parent| parent.id),
        };
        for object in objects {
            formset.push(Some(object), form_context);
        }
        if rights.add {
            for _ in 0..inline
                .extra
                .min(inline.max.saturating_sub(formset.forms.len()))
            {
                formset.push(None, form_context);
            }
        }
        Ok(formset)
    }

    /// Binds submitted data: `TOTAL_FORMS` forms, each with the key of its object.
    ///
    /// # Errors
    /// [`AppError::BadRequest`] when `TOTAL_FORMS` or `INITIAL_FORMS` is missing or invalid.
    pub fn bind(&mut self, form: &Form, form_context: FormContext<'_>) -> Result<()> {
        let prefix = self.inline.prefix();
        let number = |name: &str| {
            form.get(&format!("{prefix}-{name}"))
                .and_then(|text| text.parse::<usize>().ok())
        };
        let bad_management_form = || {
            AppError::BadRequest("ManagementForm data is missing or has been tampered with".into())
        };
        let total = number("TOTAL_FORMS").ok_or_else(bad_management_form)?;
        number("INITIAL_FORMS")
            .filter(|initial| *initial <= total)
            .ok_or_else(bad_management_form)?;
        if total > self.inline.max {
            self.errors
                .push(format!("Please submit at most {} forms.", self.inline.max));
        }
        let mut loaded = std::mem::take(&mut self.forms);
        for index in 0..total.min(self.inline.max) {
            let form_prefix = format!("{prefix}-{index}-");
            let id = form
                .get(&format!("{form_prefix}{KEY}"))
                .unwrap_or_default()
                .trim();
            let has_id = |row: &InlineForm<'_>| {
                let object = row.form.object.as_ref();
                object.is_some_and(|object| object.id.to_string() == id)
            };
            match loaded.iter().position(has_id) {
                Some(position) => self.forms.push(loaded.remove(position)),
                None => self.push(None, form_context),
            }
            let parent = form
                .get(&format!("{form_prefix}{}", self.inline.key))
                .unwrap_or_default();
            let has_other_parent =
                !parent.is_empty() && self.parent_id.is_none_or(|own| own.to_string() != parent);
            let Some(row) = self.forms.last_mut() else {
                continue;
            };
            row.form.prefix = form_prefix;
            row.form.bind(form);
            row.is_deleted = form.has(&format!("{prefix}-{index}-DELETE"));
            if !id.is_empty() && row.form.object.is_none() {
                row.missing_id = id.parse().ok();
                row.form.errors.push(NOT_AVAILABLE.to_owned());
            }
            if has_other_parent {
                let text = "The inline value did not match the parent instance.";
                row.form.errors.push(text.to_owned());
            }
        }
        // Objects without a submitted form are not changed, as in Django.
        Ok(())
    }

    /// Adds the form of an object, or an empty form.
    pub fn push(&mut self, object: Option<Object>, form_context: FormContext<'_>) {
        let model = &self.inline.model;
        let is_readonly = if object.is_some() {
            !self.rights.change
        } else {
            !self.rights.add
        };
        let fields = model
            .concrete()
            .filter(|field| field.name != self.inline.key)
            .map(|field| {
                let raw = match &object {
                    Some(object) => model.raw(object, field, form_context.zone),
                    None => field.initial(form_context.now, form_context.zone),
                };
                BoundField::new(
                    field,
                    raw,
                    is_readonly || model.options.readonly_fields.contains(&field.name),
                )
            });
        let form = ObjectForm {
            model,
            prefix: format!("{}-{}-", self.inline.prefix(), self.forms.len()),
            fields: fields.collect(),
            object,
            errors: Vec::new(),
        };
        self.forms.push(InlineForm {
            form,
            is_deleted: false,
            missing_id: None,
        });
    }

    /// Converts all forms to forms of new objects, except those marked for deletion, which are removed.
    pub fn recreate_missing(&mut self) {
        self.forms.retain(|row| !row.is_deleted);
        for row in &mut self.forms {
            row.form.object = None;
            row.form.errors.clear();
        }
        self.renumber();
    }

    /// Renumbers the forms, those of existing objects first.
    pub fn renumber(&mut self) {
        self.forms.sort_by_key(|row| row.form.object.is_none());
        let prefix = self.inline.prefix();
        for (index, row) in self.forms.iter_mut().enumerate() {
            row.form.prefix = format!("{prefix}-{index}-");
        }
    }

    /// The number of error messages, those of its forms included.
    pub fn error_count(&self) -> usize {
        self.errors.len()
            + self
                .forms
                .iter()
                .map(|row| row.form.error_count())
                .sum::<usize>()
    }
}

/// The inline objects of a parent object, in the order of their keys. In a transaction they are locked.
async fn rows(
    inline: &Inline,
    parent: i32,
    db: Connection<'_>,
    form_context: FormContext<'_>,
) -> Result<Vec<Object>, DbErr> {
    let model = &inline.model;
    let key = model
        .field(inline.key)
        .filter(|field| matches!(field.kind, Kind::ForeignKey(_)));
    let Some(key) = key else {
        return Ok(Vec::new());
    };
    let mut query = model.select();
    query
        .and_where(model.column(key.column).eq(parent))
        .order_by_expr(model.column(KEY), Order::Asc)
        // A formset has at most this many forms.
        .limit(inline.max as u64);
    if let Connection::Transaction(_) = db {
        Model::lock(&mut query, db);
    }
    let rows = db.query_all(&query).await?;
    rows.iter()
        .map(|row| model.object(row, form_context.now))
        .collect()
}
