//! The page of a changelist.

use std::{collections::BTreeMap, sync::Arc};

use minijinja::{context, value::Serde};
use poem::{Response, http::StatusCode};
use sea_orm::{ConnectionTrait, sea_query::ExprTrait};
use serde::Serialize;

use super::filters::with_filters;
use crate::{
    admin::{
        changelist::{
            ChangeList,
            columns::Sorting,
            filters, hierarchy,
            paging::{COUNT_LIMIT, PageMap, Paging, SEARCH_LIMIT},
        },
        entity::KEY,
        field::Kind,
        form::{
            FormContext,
            show::{CellContext, show_cell},
        },
        model::{Model, Object},
        page::{AdminPage, Crumb},
        state::AdminState,
    },
    error::Result,
    web::{format::grouped, routing::redirect},
};

/// The maximum number of objects to which an action is applied.
pub const ACTION_LIMIT: u64 = 2000;

#[derive(Debug, Serialize)]
struct Heading {
    text: String,
    kind: &'static str,
    sorting: Option<Sorting>,
}

#[derive(Debug, Serialize)]
struct Row {
    id: i32,
    label: String,
    url: String,
    /// The number of the row in the form, if it is editable.
    index: usize,
    cells: Vec<RowCell>,
}

#[derive(Debug, Serialize)]
struct RowCell {
    #[serde(flatten)]
    cell: CellContext,
    /// The input in place of the text, if the cell is editable.
    input: Option<Input>,
}

/// An input in a row.
#[derive(Debug, Serialize)]
pub struct Input {
    /// The name, with the prefix of its row.
    pub name: String,
    /// The accessible name.
    pub label: String,
    /// `checkbox`, `number` or `text`.
    pub kind: &'static str,
    /// The submitted data or, without it, the stored data.
    pub value: String,
    /// The stored data.
    pub initial: String,
    /// Its error messages.
    pub errors: Vec<String>,
}

/// The submitted data of editable cells and its error messages, by the object's key and the field's name.
pub type SubmittedValues = BTreeMap<(i32, &'static str), (Vec<String>, Vec<String>)>;

/// A changelist, as requested by a user.
pub struct ListPage<'a> {
    /// The admin site and its caches.
    pub state: &'a Arc<AdminState>,
    /// The layout, user and messages.
    pub page: &'a AdminPage,
    /// The parsed query string.
    pub list: ChangeList<'a>,
    /// The page map of the table, if it is long.
    pub map: Option<PageMap>,
}

impl ListPage<'_> {
    /// The lowest key that the search covers; `None` if it covers all.
    pub fn min_key(&self) -> Option<i32> {
        let is_bounded =
            !self.list.search.is_empty() && self.list.params.get("scope") != Some("all");
        self.map
            .as_ref()
            .filter(|_| is_bounded)
            .and_then(PageMap::min_searched_key)
    }

    /// Redirects to the list with the same query string.
    pub fn redirect(&self) -> Response {
        let (url, filters) = (self.list.model.url(), self.list.params.text());
        let separator = if filters.is_empty() { "" } else { "?" };
        redirect(StatusCode::FOUND, &format!("{url}{separator}{filters}"))
    }

    /// Renders the page, with submitted data and an error message, which may be empty.
    ///
    /// # Errors
    /// When the database cannot be reached, or the template is invalid.
    pub async fn show(&self, submitted: &SubmittedValues, error: &str) -> Result<Response> {
        let (state, list, model) = (self.state, &self.list, self.list.model);
        let (db, min_key) = (state.db(), self.min_key());
        let form_context = FormContext::new(state, self.page.staff.user());
        let Some(paging) = Paging::find(list, db, self.map.as_ref(), min_key).await? else {
            return Ok(redirect(StatusCode::FOUND, &format!("{}?e=1", model.url())));
        };
        let mut query = list.select();
        model.select_computed(&mut query);
        list.narrow(&mut query, min_key);
        list.sort(&mut query);
        let filters_text = list.params.text();
        let may_change = self.page.staff.may("change", model);
        let mut rows = Vec::new();
        // An empty list needs no query.
        let results = match paging.count.number {
            0 => Vec::new(),
            _ => {
                db.query_all_raw(paging.statement(db, model, &mut query))
                    .await?
            }
        };
        for row in results {
            let object = model.object(&row, form_context.now)?;
            let mut cells = Vec::new();
            for column in &list.columns {
                let cell = show_cell(&column.cell(model, &object, &row)?, form_context);
                let is_editable = may_change && model.options.list_editable.contains(&column.name);
                let input = is_editable
                    .then(|| self.input(&object, column.name, rows.len(), submitted))
                    .flatten();
                cells.push(RowCell { cell, input });
            }
            let url = with_filters(&model.object_url(object.id, "change"), &filters_text);
            rows.push(Row {
                id: object.id,
                label: object.label,
                url,
                index: rows.len(),
                cells,
            });
        }
        self.replace_keys_by_labels(&mut rows).await?;
        let headings: Vec<Heading> = list
            .columns
            .iter()
            .enumerate()
            .map(|(position, column)| Heading {
                text: column.heading.clone(),
                kind: rows
                    .first()
                    .map_or("text", |row| row.cells[position].cell.kind),
                sorting: column.sorting(position, model, &list.order, &list.params),
            })
            .collect();
        let filters = filters::filters(list, db, min_key).await?;
        let hierarchy = hierarchy::hierarchy(list, db).await?;
        let count = model.counted(paging.count.number);
        let count = if paging.count.has_more {
            format!("more than {count}")
        } else {
            count
        };
        let links: Vec<(String, String)> = paging
            .elided()
            .into_iter()
            .map(|number| match number {
                Some(number) => (
                    number.to_string(),
                    list.params.with(&[("p", &number.to_string())], &["all"]),
                ),
                None => (String::new(), String::new()),
            })
            .collect();
        let total = self.map.as_ref().map_or(0, |map| map.total);
        let may = |action| self.page.staff.may(action, model);
        let is_editable = may_change && !model.options.list_editable.is_empty();
        let mut actions: Vec<(&str, String)> = Vec::new();
        if may("delete") {
            let label = format!("Delete selected {}", model.options.verbose_name_plural);
            actions.push(("delete_selected", label));
        }
        let own = model.options.actions.iter();
        let own = own.filter(|action| may_change || action.changes.is_none());
        actions.extend(own.map(|action| (action.name, action.label.to_owned())));
        let all_url = list.params.with(&[("all", "")], &[]);
        let context = context! {
            kind => model.options.verbose_name,
            kinds => model.options.verbose_name_plural,
            heading => format!("Select {} to {}", model.options.verbose_name, if may_change { "change" } else { "view" }),
            add_url => may("add").then(|| with_filters(&format!("{}add/", model.url()), &filters_text)),
            can_search => !model.options.search_fields.is_empty(),
            search => &list.search,
            other_params => Serde(list.params.without(&["q", "p", "e", "all", "scope"]).collect::<Vec<_>>()),
            is_narrowed => list.is_narrowed(),
            clear_url => list.params.with(&[], &["q", "scope"]),
            reset_url => model.url(),
            filters_used => filters.iter().filter(|filter| filter.is_used).count(),
            filters => Serde(filters),
            facets_url => match list.params.get("_facets") {
                Some(_) => list.params.with(&[], &["_facets"]),
                None => list.params.with(&[("_facets", "True")], &[]),
            },
            has_facets => list.params.get("_facets").is_some(),
            hierarchy => Serde(hierarchy),
            headings => Serde(headings),
            unsort_url => (list.order.len() > 1).then(|| list.params.with(&[], &["o"])),
            rows => Serde(&rows),
            has_actions => !actions.is_empty(),
            actions => Serde(actions),
            is_editable,
            error,
            count,
            number => paging.number,
            pages => paging.pages,
            previous_url => (paging.number > 1).then(|| list.params.with(&[("p", &(paging.number - 1).to_string())], &[])),
            next_url => (paging.number < paging.pages).then(|| list.params.with(&[("p", &(paging.number + 1).to_string())], &[])),
            links => Serde(links),
            show_all_url => (paging.can_show_all && paging.pages > 1 && !paging.shows_all).then_some(all_url),
            // If counting stopped, only the displayed objects can be selected.
            across => (paging.count.number as usize > rows.len() && paging.count.number <= ACTION_LIMIT && !paging.count.has_more)
                .then(|| format!("Select all {}", count_text(&paging, model))),
            is_truncated => paging.pages * model.options.list_per_page < paging.count.number || paging.count.has_more,
            limit => grouped(COUNT_LIMIT as i64),
            searched => min_key.map(|_| grouped(SEARCH_LIMIT as i64)),
            total => grouped(total as i64),
            search_all_url => list.params.with(&[("scope", "all")], &[]),
            is_bad_lookup => list.params.get("e").is_some(),
        };
        let mut breadcrumbs = Crumb::to_changelist(model);
        if let Some(last) = breadcrumbs.last_mut() {
            last.url = String::new();
        }
        let title = format!(
            "Select {} to {}",
            model.options.verbose_name,
            if may_change { "change" } else { "view" }
        );
        self.page
            .render("admin/change_list.html", &title, breadcrumbs, context)
    }

    /// The input for a field of a row, with submitted data.
    fn input(
        &self,
        object: &Object,
        name: &str,
        index: usize,
        submitted: &SubmittedValues,
    ) -> Option<Input> {
        let model = self.list.model;
        let field = model.field(name)?;
        let initial = model
            .raw(object, field, self.list.zone)
            .first()
            .cloned()
            .unwrap_or_default();
        let (raw, errors) = match submitted.get(&(object.id, field.name)) {
            Some((raw, errors)) => (raw.clone(), errors.clone()),
            None => (model.raw(object, field, self.list.zone), Vec::new()),
        };
        let kind = match field.kind {
            Kind::Boolean => "checkbox",
            Kind::Integer | Kind::SmallInteger => "number",
            _ => "text",
        };
        let value = raw.first().cloned().unwrap_or_default();
        let label = format!("{} of {}", field.label(), object.label);
        Some(Input {
            name: format!("form-{index}-{name}"),
            label,
            kind,
            value,
            initial,
            errors,
        })
    }

    /// Replaces the keys of related objects by labels.
    async fn replace_keys_by_labels(&self, rows: &mut [Row]) -> Result<()> {
        for (position, column) in self.list.columns.iter().enumerate() {
            let Some(Kind::ForeignKey(table)) = column.field().map(|field| &field.kind) else {
                continue;
            };
            let Some(related) = self.state.site.of_table(table) else {
                continue;
            };
            let key = |row: &Row| {
                row.cells[position]
                    .cell
                    .text
                    .replace(',', "")
                    .parse::<i32>()
                    .ok()
            };
            let keys: Vec<i32> = rows.iter().filter_map(key).collect();
            let query = related
                .select()
                .and_where(related.column(KEY).is_in(keys))
                .take();
            let objects = related.all(self.state.db(), query, self.list.now).await?;
            for row in rows.iter_mut() {
                let found = key(row).and_then(|key| objects.iter().find(|object| object.id == key));
                if let Some(object) = found {
                    row.cells[position].cell = CellContext::text(object.label.clone());
                }
            }
        }
        Ok(())
    }
}

fn count_text(paging: &Paging, model: &Model) -> String {
    model.counted(paging.count.number)
}
