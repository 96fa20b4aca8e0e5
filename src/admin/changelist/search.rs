//! The search: each term must occur in one of `search_fields`. A term is a word or a quoted phrase
//! (Django's `smart_split`).

use sea_orm::{
    DbBackend,
    sea_query::{Alias, Condition, Expr, ExprTrait, Query},
};

use crate::{
    admin::{
        AdminSite,
        entity::KEY,
        field::{Field, Kind},
        model::Model,
    },
    db::text_lookup,
};

/// The maximum number of terms.
const MAX_TERMS: usize = 20;

/// A resolved path of `search_fields`.
enum Target<'a> {
    /// A field of the model.
    Own(&'a Field),
    /// A field of the rows of `table` whose `related_column` equals the model's `own_column`.
    Related {
        table: &'static str,
        related_column: String,
        own_column: String,
        field: &'a Field,
    },
}

/// Whether a path of `search_fields` is a text field of the model, of an inline or of a related model.
pub fn is_searchable(site: &AdminSite, model: &Model, path: &str) -> bool {
    target(site, model, path).is_some()
}

/// The condition of a search among the objects with keys from `min_key` on, or all.
pub fn condition(
    site: &AdminSite,
    model: &Model,
    search: &str,
    min_key: Option<i32>,
    backend: DbBackend,
) -> Condition {
    let mut all =
        Condition::all().add_option(min_key.map(|min_key| model.column(KEY).gte(min_key)));
    for term in terms(search) {
        let contains = |text| text_lookup(text, "icontains", &term, backend);
        let mut any = Condition::any();
        for target in model
            .options
            .search_fields
            .iter()
            .filter_map(|path| target(site, model, path))
        {
            any = any.add(match target {
                Target::Own(field) => contains(model.expression(field)),
                Target::Related {
                    table,
                    related_column,
                    own_column,
                    field,
                } => {
                    let name = Alias::new(table);
                    let column = |column: &str| Expr::col((name.clone(), Alias::new(column)));
                    // PostgreSQL may read the rows of all objects before it compares their keys with those of the model.
                    let min_key = min_key.filter(|_| own_column == KEY);
                    let rows = Query::select()
                        .expr(Expr::val(1))
                        .from(name.clone())
                        .and_where(column(&related_column).eq(model.column(&own_column)))
                        .and_where_option(min_key.map(|key| column(&related_column).gte(key)))
                        .and_where(contains(column(field.column)))
                        .take();
                    Expr::exists(rows)
                }
            });
        }
        all = all.add(any);
    }
    all
}

fn target<'a>(site: &'a AdminSite, model: &'a Model, path: &str) -> Option<Target<'a>> {
    let text_field = |model: &'a Model, name: &str| {
        model
            .field(name)
            .filter(|field| matches!(field.kind, Kind::Char(_) | Kind::Text))
    };
    let Some((relation, field_name)) = path.split_once("__") else {
        return text_field(model, path).map(Target::Own);
    };
    if let Some(inline) = model
        .options
        .inlines
        .iter()
        .find(|inline| inline.model.options.name == relation)
    {
        let key = inline.model.field(inline.key)?;
        return Some(Target::Related {
            table: inline.model.table(),
            related_column: key.column.to_owned(),
            own_column: KEY.to_owned(),
            field: text_field(&inline.model, field_name)?,
        });
    }
    let key = model.field(relation)?;
    let Kind::ForeignKey(table) = &key.kind else {
        return None;
    };
    let related = site.of_table(table)?;
    Some(Target::Related {
        table: related.table(),
        related_column: KEY.to_owned(),
        own_column: key.column.to_owned(),
        field: text_field(related, field_name)?,
    })
}

/// The terms of a search. An unclosed quote is part of its term.
fn terms(search: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut rest = search.trim_start();
    while !rest.is_empty() && terms.len() < MAX_TERMS {
        let quote = rest.chars().next().filter(|c| ['"', '\''].contains(c));
        let closed = quote.and_then(|quote| rest[1..].split_once(quote));
        let (term, after) = match closed {
            Some((term, after)) if after.is_empty() || after.starts_with(char::is_whitespace) => {
                (term, after)
            }
            _ => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        if !term.is_empty() {
            terms.push(term.to_owned());
        }
        rest = after.trim_start();
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::terms;

    #[test]
    fn a_quoted_phrase_is_one_term() {
        for (search, expected) in [
            ("", vec![]),
            (" a  b ", vec!["a", "b"]),
            (r#""two words" three"#, vec!["two words", "three"]),
            ("'two words'", vec!["two words"]),
            (r#"it's "open"#, vec!["it's", "\"open"]),
            (r#"""#, vec!["\""]),
            (r#""" x"#, vec!["x"]),
        ] {
            assert_eq!(terms(search), expected, "{search}");
        }
    }
}
