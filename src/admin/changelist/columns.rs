//! The columns of a changelist and their order.

use sea_orm::{
    DbErr, QueryResult,
    sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement},
};

use super::params::Params;
use crate::{
    admin::{
        AdminSite,
        entity::KEY,
        field::{Field, Kind},
        model::{Model, Object},
        options::{Cell, Source as ComputedSource},
    },
    contenttypes::capfirst,
};

/// A column of a changelist.
pub struct Column {
    /// The name in `list_display`.
    pub name: &'static str,
    /// The heading.
    pub heading: String,
    source: Source,
}

enum Source {
    /// The object's label (`__str__`).
    Label,
    Field(Field),
    /// A computed column: its position in the declaration, and the table's column that sorting by it uses.
    Computed(usize, Option<&'static str>),
    Related(Related),
}

/// A field of a related model, `key__field`: the column of the foreign key, and the related table and field.
pub struct Related {
    key: &'static str,
    table: &'static str,
    field: Field,
}

/// The columns of a model's `list_display`.
pub fn of(site: &AdminSite, model: &Model) -> Vec<Column> {
    let column = |name: &&'static str| {
        let (heading, source) = source(site, model, name)?;
        Some(Column {
            name,
            heading,
            source,
        })
    };
    model
        .options
        .list_display
        .iter()
        .filter_map(column)
        .collect()
}

fn source(site: &AdminSite, model: &Model, name: &str) -> Option<(String, Source)> {
    if name == "__str__" {
        return Some((capfirst(model.options.verbose_name), Source::Label));
    }
    if let Some(field) = model.concrete().find(|field| field.name == name) {
        return Some((field.label(), Source::Field(field.clone())));
    }
    if let Some(position) = model
        .options
        .computed
        .iter()
        .position(|column| column.name == name)
    {
        let computed = &model.options.computed[position];
        let order_column = computed
            .ordered_by
            .and_then(|name| model.field(name))
            .map(|field| field.column);
        return Some((
            computed.heading.to_owned(),
            Source::Computed(position, order_column),
        ));
    }
    let related = related(site, model, name)?;
    Some((related.field.label(), Source::Related(related)))
}

/// Resolves `key__field`; `None` if `key` is no foreign key to a registered model, or has no such field.
pub fn related(site: &AdminSite, model: &Model, name: &str) -> Option<Related> {
    let (key, field_name) = name.split_once("__")?;
    let key = model.concrete().find(|field| field.name == key)?;
    let Kind::ForeignKey(table) = &key.kind else {
        return None;
    };
    let target = site.of_table(table)?;
    let field = target
        .concrete()
        .find(|field| field.name == field_name)?
        .clone();
    Some(Related {
        key: key.column,
        table: target.table(),
        field,
    })
}

/// Parses the parameter `o`: positions, and whether descending. Unknown positions are ignored.
pub fn order(columns: &[Column], model: &Model, parameter: Option<&str>) -> Vec<(usize, bool)> {
    let mut order: Vec<(usize, bool)> = Vec::new();
    for entry in parameter.unwrap_or_default().split('.') {
        let (digits, is_descending) = entry
            .strip_prefix('-')
            .map_or((entry, false), |digits| (digits, true));
        let Some(position) = digits
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1))
        else {
            continue;
        };
        let is_known = columns
            .get(position)
            .is_some_and(|column| column.order_by(model).is_some());
        if is_known && !order.iter().any(|(known, _)| *known == position) {
            order.push((position, is_descending));
        }
    }
    order
}

/// Formats an order as the parameter `o`: `1.-2`.
pub fn parameter(order: &[(usize, bool)]) -> String {
    let entry = |(position, is_descending): &(usize, bool)| {
        format!("{}{}", if *is_descending { "-" } else { "" }, position + 1)
    };
    order.iter().map(entry).collect::<Vec<_>>().join(".")
}

impl Column {
    /// The expression by which rows are ordered for the column, if any.
    pub fn order_by(&self, model: &Model) -> Option<Expr> {
        match &self.source {
            Source::Label => None,
            Source::Field(field) => Some(model.expression(field)),
            Source::Computed(position, order_column) => {
                match (&model.options.computed[*position].source, order_column) {
                    (_, Some(column)) => Some(model.column(column)),
                    (ComputedSource::Sql(sql), None) => Some(Expr::from(sql())),
                    (ComputedSource::Row(_), None) => None,
                }
            }
            Source::Related(related) => Some(related.subquery(model)),
        }
    }

    /// Adds the column of a related model to a query.
    pub fn select(&self, model: &Model, query: &mut SelectStatement) {
        if let Source::Related(related) = &self.source {
            query.expr_as(related.subquery(model), Alias::new(self.name));
        }
    }

    /// The model's field in the column, if it is one.
    pub fn field(&self) -> Option<&Field> {
        match &self.source {
            Source::Field(field) => Some(field),
            _ => None,
        }
    }

    /// The cell of an object; `row` is the object's.
    ///
    /// # Errors
    /// When the row does not have the column.
    pub fn cell(&self, model: &Model, object: &Object, row: &QueryResult) -> Result<Cell, DbErr> {
        Ok(match &self.source {
            Source::Label => Cell::Text(object.label.clone()),
            Source::Field(field) => model
                .value(object, field.name)
                .map_or(Cell::Empty, |value| field.cell(value)),
            Source::Computed(position, _) => object.computed[*position].clone(),
            Source::Related(related) => related.field.cell(&related.field.read(row, self.name)?),
        })
    }

    /// The links of the heading in a list ordered by `order`; `None` when rows cannot be ordered by the column.
    pub fn sorting(
        &self,
        position: usize,
        model: &Model,
        order: &[(usize, bool)],
        params: &Params,
    ) -> Option<Sorting> {
        self.order_by(model)?;
        let priority = order.iter().position(|(known, _)| *known == position);
        let is_descending = priority.map(|index| order[index].1);
        let others: Vec<_> = order
            .iter()
            .copied()
            .filter(|(known, _)| *known != position)
            .collect();
        let toggled = (
            position,
            is_descending.is_some_and(|is_descending| !is_descending),
        );
        let mut first = vec![toggled];
        first.extend(&others);
        let in_place: Vec<_> = order
            .iter()
            .map(|entry| if entry.0 == position { toggled } else { *entry })
            .collect();
        let link = |order: &[(usize, bool)]| match order {
            [] => params.with(&[], &["o"]),
            order => params.with(&[("o", &parameter(order))], &[]),
        };
        Some(Sorting {
            url: link(&first),
            is_descending,
            priority: priority.filter(|_| order.len() > 1).map(|index| index + 1),
            url_toggle: link(&in_place),
            url_remove: link(&others),
        })
    }
}

/// The query strings of a heading's links.
#[derive(Debug, serde::Serialize)]
pub struct Sorting {
    /// Orders by this column first.
    pub url: String,
    /// Whether the list is in descending order by it; `None` when it is not ordered by it.
    pub is_descending: Option<bool>,
    /// The position among several columns of the order, from 1.
    pub priority: Option<usize>,
    /// Reverses the direction.
    pub url_toggle: String,
    /// Removes it from the order.
    pub url_remove: String,
}

impl Related {
    fn subquery(&self, model: &Model) -> Expr {
        let table = Alias::new(self.table);
        let query = Query::select()
            .column((table.clone(), Alias::new(self.field.column)))
            .from(table.clone())
            .and_where(Expr::col((table, Alias::new(KEY))).eq(model.column(self.key)))
            .take();
        query.into()
    }
}
