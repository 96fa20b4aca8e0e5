//! The page with the form of one object: saving what was posted, and showing it.

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
            mark::{self, Mark},
            merge::{self, ConcurrentChange},
            save::Cleaned,
            show::ShownEditor,
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
    /// The form of an ended session that is shown again.
    pub resumed: Option<UnsavedForm>,
}

impl<'a> ChangeView<'a> {
    /// A page that answers a request.
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

    /// Stores a new object, or shows what is wrong with it.
    pub async fn save_new(&self, form: &Form) -> Result<Response> {
        let mut editor = Editor::load(self.model, None, self.state.db(), self.form_context).await?;
        editor.bind(form, self.form_context)?;
        for formset in &mut editor.formsets {
            // Rows of another object that are saved as new become rows of this one.
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
        cleaned.check(&mut editor, &tx, self.form_context).await?;
        if editor.error_count() > 0 {
            // A page is rendered while nothing is locked, here and below.
            drop(tx);
            return self.show(editor, self.state.db(), None, None, false).await;
        }
        let object = match self.store(tx, cleaned, &editor).await {
            Ok(object) => object,
            Err(error) => return self.taken(editor, None, explain(error)?).await,
        };
        self.after(form, &object, ADDED)
    }

    /// Stores a changed object; shows what is wrong with it, or what others have done to it meanwhile.
    pub async fn save(&self, id: i32, form: &Form) -> Result<Response> {
        let mark = Mark::read(form)?;
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
            return self.gone(id, mark.as_ref(), form).await;
        };
        let mut editor = Editor::load(self.model, Some(object), db, self.form_context).await?;
        let mut changes = mark
            .as_ref()
            .map(|mark| mark.compare(&mut editor, self.form_context))
            .unwrap_or_default();
        mark::name_keys(&mut changes, self.model, db).await?;
        editor.bind(form, self.form_context)?;
        if let (Some(mark), false) = (&mark, changes.is_empty()) {
            let meanwhile =
                ConcurrentChange::find(self.model, id, mark, changes, db, self.form_context)
                    .await?;
            merge::take_theirs(&mut editor, mark, self.form_context);
            drop(tx);
            let db = self.state.db();
            return self.show(editor, db, None, Some(meanwhile), false).await;
        }
        let mut cleaned = Cleaned::new(&mut editor, self.form_context);
        cleaned.check(&mut editor, &tx, self.form_context).await?;
        if editor.error_count() > 0 {
            drop(tx);
            let db = self.state.db();
            return self.show(editor, db, mark, None, false).await;
        }
        let object = match self.store(tx, cleaned, &editor).await {
            Ok(object) => object,
            Err(error) => return self.taken(editor, mark, explain(error)?).await,
        };
        self.after(form, &object, CHANGED)
    }

    /// Stores everything, or nothing. Dangling foreign keys are found at the commit only.
    async fn store(
        &self,
        tx: Transaction,
        cleaned: Cleaned,
        editor: &Editor<'_>,
    ) -> Result<Object, DbErr> {
        let object = cleaned.store(editor, &tx, self.form_context).await?;
        tx.commit().await?;
        Ok(object)
    }

    /// Two have stored the same at the same time, and the other was first.
    async fn taken(
        &self,
        mut editor: Editor<'_>,
        mark: Option<Mark>,
        text: String,
    ) -> Result<Response> {
        editor.main.errors.push(text);
        self.show(editor, self.state.db(), mark, None, false).await
    }

    /// The object is gone. What was typed is not: it can be stored as a new one.
    pub async fn gone(&self, id: i32, mark: Option<&Mark>, form: &Form) -> Result<Response> {
        let Some(mark) = mark.filter(|_| self.page.staff.may("add", self.model)) else {
            return Ok(missing(self.page, self.model, self.request));
        };
        let db = self.state.db();
        let mut editor = Editor::load(self.model, None, db, self.form_context).await?;
        editor.bind(form, self.form_context)?;
        editor.formsets.iter_mut().for_each(Formset::adopt);
        let mut meanwhile =
            ConcurrentChange::find(self.model, id, mark, Vec::new(), db, self.form_context).await?;
        meanwhile.is_deleted = true;
        self.show(editor, db, None, Some(meanwhile), false).await
    }

    /// The form as a page. A form with errors keeps its mark; any other gets one of what it holds.
    pub async fn show(
        &self,
        editor: Editor<'_>,
        db: Connection<'_>,
        mark: Option<Mark>,
        meanwhile: Option<ConcurrentChange>,
        is_readonly: bool,
    ) -> Result<Response> {
        let (model, object) = (self.model, editor.main.object.clone());
        let shown = ShownEditor::new(&editor, db, self.form_context, is_readonly).await?;
        let mark = match (&object, mark) {
            (None, _) => None,
            (Some(_), Some(mark)) => Some(mark),
            (Some(object), None) => {
                let fresh =
                    Editor::load(model, Some(object.clone()), db, self.form_context).await?;
                Some(Mark::new(&fresh, self.form_context.now))
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
            // When another user has deleted the object, the form is posted to the page that adds one.
            action => if object.is_none() { with_filters(format!("{}add/", model.url())) } else { String::new() },
            editor_field => unsaved::EDITOR,
            editor => unsaved::editor(self.state, self.page.staff.user()),
            resumed => self.resumed.as_ref().map(|unsaved| unsaved.had_passwords),
            mark_field => mark::FIELD,
            mark => mark.map(|mark| mark.text()),
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

    /// Says what was done, and leads where the button that was pressed leads.
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

/// What to say of an error that a person can do something about.
///
/// # Errors
/// When it is none of those.
fn explain(error: DbErr) -> Result<String> {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_) | SqlErr::ForeignKeyConstraintViolation(_)) => Ok(
            "Another user stored something at the same moment that conflicts with this. Try again."
                .to_owned(),
        ),
        _ => Err(AppError::from(error)),
    }
}

/// A message about an object, as HTML: Django keeps such texts as they are shown. A link, if the user may follow it.
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
