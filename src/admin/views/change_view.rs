//! The page with the form of one object: rendering and saving.

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
        page::{AdminPage, Crumb},
        state::AdminState,
        unsaved::{self, UnsavedForm},
        urls::INDEX,
    },
    db::{Connection, Transaction},
    error::{AppError, Result},
    templates::escape,
    web::{form::Form, messages::Level, routing::redirect},
};

/// The button that saves an object's form as a new object.
pub const SAVED_AS_NEW: &str = "_saveasnew";
const ADDED: &str = "added";
const CHANGED: &str = "changed";

/// The page with the form of one object.
pub struct ChangeView<'a> {
    state: &'a AdminState,
    page: &'a AdminPage,
    model: &'a Model,
    request: &'a Request,
    pub form_context: FormContext<'a>,
    /// The unsaved form of an expired session that is shown again.
    pub resumed: Option<UnsavedForm>,
}

impl<'a> ChangeView<'a> {
    /// The page for a request.
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

    /// Saves a new object, or shows the form with errors.
    pub async fn save_new(&self, form: &Form) -> Result<Response> {
        let mut editor = Editor::load(self.model, None, self.state.db(), self.form_context).await?;
        editor.bind(form, self.form_context)?;
        for formset in &mut editor.formsets {
            // The inline objects are copied to the new object.
            if form.has(SAVED_AS_NEW) {
                formset.adopt();
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

    /// Saves a changed object, or shows the form with errors or with concurrent changes.
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
            return self.gone(id, version.as_ref(), form).await;
        };
        let mut editor = Editor::load(self.model, Some(object), db, self.form_context).await?;
        let mut changes = version
            .as_ref()
            .map(|version| version.compare(&mut editor, self.form_context))
            .unwrap_or_default();
        version::name_keys(&mut changes, self.model, db).await?;
        editor.bind(form, self.form_context)?;
        if let (Some(version), false) = (&version, changes.is_empty()) {
            let meanwhile =
                ConcurrentChange::find(self.model, id, version, changes, db, self.form_context)
                    .await?;
            merge::take_theirs(&mut editor, version, self.form_context);
            drop(tx);
            let db = self.state.db();
            return self.show(editor, db, None, Some(meanwhile), false).await;
        }
        let cleaned = Cleaned::new(&mut editor, self.form_context);
        self.store(tx, cleaned, editor, version, form).await
    }

    /// Validates and stores the changes, and commits. Shows the form again if it has errors, or if a concurrent save has stored
    /// something that conflicts with it.
    async fn store(
        &self,
        tx: Transaction,
        mut cleaned: Cleaned,
        mut editor: Editor<'_>,
        version: Option<FormVersion>,
        form: &Form,
    ) -> Result<Response> {
        let done = match editor.main.object {
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
                // Deferred foreign keys are checked here.
                tx.commit().await?;
                Ok(object)
            };
            match stored.await {
                Ok(object) => return self.after(form, &object, done),
                Err(error) => editor.main.errors.push(explain(error)?),
            }
        }
        self.show(editor, self.state.db(), version, None, false)
            .await
    }

    /// Shows the form of a deleted object, whose data can be saved as a new one.
    pub async fn gone(
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
        editor.formsets.iter_mut().for_each(Formset::adopt);
        let mut meanwhile =
            ConcurrentChange::find(self.model, id, version, Vec::new(), db, self.form_context)
                .await?;
        meanwhile.is_deleted = true;
        self.show(editor, db, None, Some(meanwhile), false).await
    }

    /// Renders the form. A form with errors keeps its version; any other gets the current one.
    pub async fn show(
        &self,
        editor: Editor<'_>,
        db: Connection<'_>,
        version: Option<FormVersion>,
        meanwhile: Option<ConcurrentChange>,
        is_readonly: bool,
    ) -> Result<Response> {
        let (model, object) = (self.model, editor.main.object.clone());
        let shown = EditorContext::new(&editor, db, self.form_context, is_readonly).await?;
        let version = match (&object, version) {
            (None, _) => None,
            (Some(_), Some(version)) => Some(version),
            (Some(object), None) => {
                let fresh =
                    Editor::load(model, Some(object.clone()), db, self.form_context).await?;
                Some(FormVersion::new(&fresh, self.form_context.now))
            }
        };
        let may = |action| self.page.staff.may(action, model);
        let verb = match (&object, is_readonly) {
            (None, _) => "Add",
            (Some(_), false) => "Change",
            (Some(_), true) => "View",
        };
        let mut way = Crumb::to_changelist(model);
        way.push(Crumb::here(object.as_ref().map_or_else(
            || format!("Add {}", model.options.verbose_name),
            |o| o.label.clone(),
        )));
        let errors = editor.error_count();
        let meanwhile_is_shown = meanwhile.is_some();
        let history_url = object
            .as_ref()
            .map(|object| model.object_url(object.id, "history"));
        let with_filters = |url: String| format!("{url}{}", preserved(self.request));
        let context = context! {
            form => Serde(shown),
            kind => model.options.verbose_name,
            heading => format!("{verb} {}", model.options.verbose_name),
            is_readonly,
            object_label => object.as_ref().map(|object| object.label.clone()),
            errors,
            meanwhile => Serde(meanwhile.as_ref()),
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
        let title = if errors > 0 || meanwhile_is_shown {
            format!("Error: {title}")
        } else {
            title
        };
        self.page
            .render("admin/change_form.html", &title, way, context)
    }

    /// Adds the success message, and redirects as the pressed button says.
    fn after(&self, form: &Form, object: &Object, done: &str) -> Result<Response> {
        let (model, staff) = (self.model, &self.page.staff);
        let is_new = done == ADDED;
        let adds_another = form.has("_addanother");
        let continues = form.has("_continue")
            || is_new
                && (form.has(SAVED_AS_NEW) || model.options.rules.continues_after_add())
                && !adds_another;
        let filters = preserved(self.request);
        let (more, target) = if continues && staff.may_view(model) {
            let url = model.object_url(object.id, "change");
            (" You may edit it again below.".to_owned(), url + &filters)
        } else if adds_another {
            let more = format!(" You may add another {} below.", model.options.verbose_name);
            (more, format!("{}add/{filters}", model.url()))
        } else if staff.may_view(model) {
            (String::new(), back_to_list(model, self.request))
        } else {
            (String::new(), INDEX.to_owned())
        };
        let what = format!("was {done} successfully.{more}");
        let html = changed_html(model, object, &what, staff.may("change", model));
        self.page.messages.add_html(Level::Success, &html);
        Ok(redirect(StatusCode::FOUND, &target))
    }
}

/// The message of an error that the user can correct.
///
/// # Errors
/// All other errors.
fn explain(error: DbErr) -> Result<String> {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_) | SqlErr::ForeignKeyConstraintViolation(_)) => Ok(
            "Another user stored something at the same moment that conflicts with this. Try again."
                .to_owned(),
        ),
        _ => Err(AppError::from(error)),
    }
}

/// A message about an object, as HTML like Django's, with a link if the user may follow it.
fn changed_html(model: &Model, object: &Object, what: &str, with_link: bool) -> String {
    let label = escape(&object.label);
    let name = escape(model.options.verbose_name);
    if with_link {
        let url = model.object_url(object.id, "change");
        format!("The {name} “<a href=\"{url}\">{label}</a>” {what}")
    } else {
        format!("The {name} “{label}” {what}")
    }
}
