//! The page with the form of one object: rendering and saving (Django's `changeform_view`).

use minijinja::{context, value::Serde};
use poem::{Request, Response, http::StatusCode};
use sea_orm::{DbErr, SqlErr, sea_query::ExprTrait};

use super::{
    filters::{back_to_list, preserved},
    target::missing,
};
use crate::{
    admin::{
        entity::KEY,
        form::{
            Editor, FormContext,
            formset::Formset,
            merge::{self, ConcurrentChange},
            save::Cleaned,
            show::EditorContext,
            version::{self, FormVersion},
        },
        model::{Model, Object},
        options::ObjectAction,
        page::{AdminPage, Crumb},
        rules::Values,
        state::AdminState,
        unsaved::{self, UnsavedForm},
        urls::INDEX,
    },
    db::{Connection, Transaction},
    error::{AppError, Result},
    templates::escape,
    web::{form::Form, messages::Level, routing::redirect},
};

/// The name of the submit button that saves an object's form as a new object.
pub const SAVED_AS_NEW: &str = "_saveasnew";
const ADDED: &str = "added";
const CHANGED: &str = "changed";

/// The page with the form of one object.
pub struct ChangeView<'a> {
    state: &'a AdminState,
    page: &'a AdminPage,
    model: &'a Model,
    request: &'a Request,
    /// The context of the request's forms.
    pub form_context: FormContext<'a>,
    /// The form that was submitted after its session expired, restored after the login.
    pub resumed: Option<UnsavedForm>,
}

impl<'a> ChangeView<'a> {
    /// The page of an object of `model`, for a request.
    pub fn new(
        state: &'a AdminState,
        page: &'a AdminPage,
        model: &'a Model,
        request: &'a Request,
    ) -> Self {
        Self {
            state,
            page,
            model,
            request,
            form_context: FormContext::new(state, page.staff.user()),
            resumed: None,
        }
    }

    /// Saves a new object, or renders the form with errors.
    ///
    /// # Errors
    /// [`AppError::BadRequest`] when a management form is invalid; others when the database cannot be reached or written to.
    pub async fn save_new(&self, form: &Form) -> Result<Response> {
        let mut editor = Editor::load(self.model, None, self.state.db(), self.form_context).await?;
        editor.bind(form, self.form_context)?;
        for formset in &mut editor.formsets {
            // The inline objects are copied to the new object.
            if form.has(SAVED_AS_NEW) {
                formset.recreate_missing();
            }
        }
        let mut cleaned = Cleaned::new(&mut editor, self.form_context);
        self.model
            .options
            .rules
            .prepare(&self.state.auth, &mut cleaned.main)
            .await?;
        let tx = self.state.core.db.write().begin().await?;
        self.store(tx, cleaned, editor, None, form).await
    }

    /// Saves a changed object, or renders the form with errors or with concurrent changes.
    ///
    /// # Errors
    /// [`AppError::BadRequest`] when a management form or the version is invalid; others when the database cannot be reached or
    /// written to.
    pub async fn save(&self, id: i32, form: &Form) -> Result<Response> {
        let version = FormVersion::read(form)?;
        let tx = self.state.core.db.write().begin().await?;
        let db = Connection::Transaction(&tx);
        let mut query = self.model.select();
        query.and_where(self.model.column(KEY).eq(id));
        Model::lock(&mut query, db);
        let Some(object) = self
            .model
            .all(db, query, self.form_context.now)
            .await?
            .pop()
        else {
            drop(tx);
            return self.show_deleted(id, version.as_ref(), form).await;
        };
        let mut editor = Editor::load(self.model, Some(object), db, self.form_context).await?;
        let stored = FormVersion::new(&editor, self.form_context.now);
        let mut changes = version
            .as_ref()
            .map(|version| version.compare(&mut editor, self.form_context))
            .unwrap_or_default();
        version::replace_keys_by_labels(&mut changes, self.model, db).await?;
        editor.bind(form, self.form_context)?;
        changes.extend(version::counter_conflicts(&editor, self.form_context));
        if let (Some(version), false) = (&version, changes.is_empty()) {
            let concurrent =
                ConcurrentChange::find(self.model, id, version, changes, db, self.form_context)
                    .await?;
            merge::merge_concurrent_changes(&mut editor, version, self.form_context);
            drop(tx);
            let db = self.state.db();
            return self
                .show(editor, db, Some(stored), Some(concurrent), false)
                .await;
        }
        let cleaned = Cleaned::new(&mut editor, self.form_context);
        self.store(tx, cleaned, editor, version.or(Some(stored)), form)
            .await
    }

    /// Validates and stores the changes, and commits. Renders the form with errors if it is invalid, or if a concurrent save
    /// makes the changes violate a unique or foreign key constraint.
    async fn store(
        &self,
        tx: Transaction,
        mut cleaned: Cleaned,
        mut editor: Editor<'_>,
        version: Option<FormVersion>,
        form: &Form,
    ) -> Result<Response> {
        let action = match editor.main.object {
            None => ADDED,
            Some(_) => CHANGED,
        };
        cleaned.check(&mut editor, &tx, self.form_context).await?;
        if editor.error_count() > 0 {
            // The page is rendered after the transaction has ended.
            drop(tx);
        } else {
            let stored = async {
                let object = cleaned.store(&editor, &tx, self.form_context).await?;
                let changed = editor.main.fields.iter();
                let changed = changed.filter(|bound| bound.has_changed(self.form_context.zone));
                let changed: Vec<&str> = changed.map(|bound| bound.field.name).collect();
                let (rules, now) = (&self.model.options.rules, self.form_context.now);
                let warnings = rules.after_save(&tx, object.id, &changed, now).await?;
                // Deferred foreign keys are checked here.
                tx.commit().await?;
                Ok((object, warnings))
            };
            match stored.await {
                Ok((object, warnings)) => {
                    let response = self.redirect_after_save(form, &object, action)?;
                    for warning in warnings {
                        self.page.messages.add(Level::Warning, &warning);
                    }
                    return Ok(response);
                }
                Err(error) => editor.main.errors.push(constraint_error(error)?),
            }
        }
        self.show(editor, self.state.db(), version, None, false)
            .await
    }

    /// Renders the form of an object that was deleted concurrently; submitting it adds a new object.
    ///
    /// # Errors
    /// [`AppError::BadRequest`] when a management form is invalid; others when the database cannot be reached.
    pub async fn show_deleted(
        &self,
        id: i32,
        version: Option<&FormVersion>,
        form: &Form,
    ) -> Result<Response> {
        let Some(version) = version.filter(|_| self.page.staff.may("add", self.model)) else {
            return Ok(missing(self.page, self.model, self.request));
        };
        let db = self.state.db();
        let mut editor = Editor::load(self.model, None, db, self.form_context).await?;
        editor.bind(form, self.form_context)?;
        editor
            .formsets
            .iter_mut()
            .for_each(Formset::recreate_missing);
        let mut concurrent =
            ConcurrentChange::find(self.model, id, version, Vec::new(), db, self.form_context)
                .await?;
        concurrent.is_deleted = true;
        self.show(editor, db, None, Some(concurrent), false).await
    }

    /// Renders the form. `version` is for its hidden field: the data that the form was loaded from or compared with; none for a new
    /// object.
    ///
    /// # Errors
    /// When the database cannot be reached, or the template is invalid.
    pub async fn show(
        &self,
        editor: Editor<'_>,
        db: Connection<'_>,
        version: Option<FormVersion>,
        concurrent: Option<ConcurrentChange>,
        is_readonly: bool,
    ) -> Result<Response> {
        let (model, object) = (self.model, editor.main.object.clone());
        let editor_context =
            EditorContext::new(&editor, db, self.form_context, is_readonly).await?;
        let may = |action| self.page.staff.may(action, model);
        let verb = match (&object, is_readonly) {
            (None, _) => "Add",
            (Some(_), false) => "Change",
            (Some(_), true) => "View",
        };
        let mut breadcrumbs = Crumb::to_changelist(model);
        breadcrumbs.push(Crumb::current(object.as_ref().map_or_else(
            || format!("Add {}", model.options.verbose_name),
            |o| o.label.clone(),
        )));
        let errors = editor.error_count();
        let has_concurrent_change = concurrent.is_some();
        let history_url = object
            .as_ref()
            .map(|object| model.object_url(object.id, "history"));
        let with_filters = |url: String| format!("{url}{}", preserved(self.request));
        let actions = object.as_ref().filter(|_| !is_readonly).map(|object| {
            let value = |column: &str| {
                let mut columns = model.concrete();
                let position = columns.position(|field| field.column == column)?;
                object.values.get(position)
            };
            let rules = &model.options.rules;
            let actions = rules.available_actions(&Values(&value), self.form_context.now);
            let of = |action: ObjectAction| (action.name, action.label, object.id);
            actions.into_iter().map(of).collect::<Vec<_>>()
        });
        let actions = actions.unwrap_or_default();
        let context = context! {
            form => Serde(editor_context),
            kind => model.options.verbose_name,
            heading => format!("{verb} {}", model.options.verbose_name),
            is_readonly,
            object_label => object.as_ref().map(|object| object.label.clone()),
            errors,
            concurrent => Serde(concurrent.as_ref()),
            // The form of a deleted object is submitted to the page that adds one.
            action => if object.is_none() { with_filters(format!("{}add/", model.url())) } else { String::new() },
            editor_field => unsaved::EDITOR,
            editor => unsaved::editor(self.state, self.page.staff.user()),
            resumed => self.resumed.as_ref().map(|unsaved| unsaved.had_passwords),
            version_field => version::FIELD,
            version => version.map(|version| version.text()),
            history_url => history_url.map(with_filters),
            delete_url => object.as_ref().filter(|_| may("delete") && !is_readonly)
                .map(|object| with_filters(model.object_url(object.id, "delete"))),
            actions => Serde(actions),
            list_url => model.url(),
            site_url => object.as_ref().zip(model.options.view_on_site).map(|(object, url)| url(object.id)),
            back => back_to_list(model, self.request),
            may_view => self.page.staff.may_view(model),
            may_add => may("add"),
            save_as => model.options.save_as && object.is_some() && may("add"),
            zone => self.form_context.zone.name(),
        };
        let title = match &object {
            Some(object) => format!("{} | {verb} {}", object.label, model.options.verbose_name),
            None => format!("{verb} {}", model.options.verbose_name),
        };
        let title = if errors > 0 || has_concurrent_change {
            format!("Error: {title}")
        } else {
            title
        };
        self.page
            .render("admin/change_form.html", &title, breadcrumbs, context)
    }

    /// Adds the success message, and redirects by the submit button (Django's `response_add` and `response_change`).
    fn redirect_after_save(&self, form: &Form, object: &Object, action: &str) -> Result<Response> {
        let (model, staff) = (self.model, &self.page.staff);
        let is_new = action == ADDED;
        let adds_another = form.has("_addanother");
        let continues = form.has("_continue")
            || is_new
                && (form.has(SAVED_AS_NEW) || model.options.rules.continues_after_add())
                && !adds_another;
        let filters = preserved(self.request);
        let (hint, target) = if continues && staff.may_view(model) {
            let url = model.object_url(object.id, "change");
            (
                " You may edit it again below.".to_owned(),
                url + filters.as_str(),
            )
        } else if adds_another {
            let hint = format!(" You may add another {} below.", model.options.verbose_name);
            (hint, format!("{}add/{filters}", model.url()))
        } else if staff.may_view(model) {
            (String::new(), back_to_list(model, self.request))
        } else {
            (String::new(), INDEX.to_owned())
        };
        let text = format!("was {action} successfully.{hint}");
        let html = message_html(model, object, &text, staff.may("change", model));
        self.page.messages.add_html(Level::Success, &html);
        Ok(redirect(StatusCode::FOUND, &target))
    }
}

/// The form error for a violated unique or foreign key constraint.
///
/// # Errors
/// Any other error of the database.
fn constraint_error(error: DbErr) -> Result<String> {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Ok(
            "Another user stored something at the same moment that conflicts with this. Try again."
                .to_owned(),
        ),
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => Ok(
            "Data of another application refers to what would be deleted here, or another user deleted something at the \
             same moment that this refers to."
                .to_owned(),
        ),
        _ => Err(AppError::from(error)),
    }
}

/// The success message about an object, as HTML like Django's, with a link to its page if `with_link`.
fn message_html(model: &Model, object: &Object, text: &str, with_link: bool) -> String {
    let label = escape(&object.label);
    let name = escape(model.options.verbose_name);
    if with_link {
        let url = model.object_url(object.id, "change");
        format!("The {name} “<a href=\"{url}\">{label}</a>” {text}")
    } else {
        format!("The {name} “{label}” {text}")
    }
}
