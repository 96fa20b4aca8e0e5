//! Registers questions and choices with the admin.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    Value,
    sea_query::{Expr, ExprTrait, Func, Query, SelectStatement},
};

use super::urls;
use crate::{
    admin::{AdminSite, Cell, Computed, FieldOptions, Fieldset, Inline, ModelAdmin, Source},
    entities::{choice, question},
};

/// Registers the model `Question`, with its choices inline.
pub fn register(site: &mut AdminSite) {
    let choices = ModelAdmin {
        fields: vec![FieldOptions {
            default: Some(|_| Value::Int(Some(0))),
            counts: Some(("vote", "votes")),
            ..FieldOptions::new("votes")
        }],
        ..ModelAdmin::new::<choice::Entity>("polls_app", ("choice", "choices"), |choice| {
            choice.choice_text.clone()
        })
    };
    site.register(ModelAdmin {
        fields: vec![FieldOptions {
            verbose_name: Some("date published"),
            help_text: "Visitors see the question from then on.",
            ..FieldOptions::new("pub_date")
        }],
        computed: vec![
            Computed {
                name: "was_published_recently",
                heading: "Published recently?",
                ordered_by: Some("pub_date"),
                source: Source::row(was_published_recently),
            },
            Computed {
                name: "votes",
                heading: "Votes",
                ordered_by: None,
                source: Source::Sql(votes),
            },
        ],
        list_display: &[
            "question_text",
            "pub_date",
            "was_published_recently",
            "votes",
        ],
        list_filter: &["pub_date"],
        search_fields: &["question_text", "choice__choice_text"],
        date_hierarchy: Some("pub_date"),
        fieldsets: vec![
            Fieldset::new(None, &["question_text"]),
            Fieldset::collapsed("Date information", &["pub_date"]),
        ],
        inlines: vec![Inline::tabular(choices, "question")],
        view_on_site: Some(urls::detail),
        ..ModelAdmin::new::<question::Entity>("polls_app", ("question", "questions"), |question| {
            question.question_text.clone()
        })
    });
}

fn was_published_recently(question: &question::Model, now: DateTime<Utc>) -> Cell {
    Cell::Boolean(*question.pub_date <= now && *question.pub_date >= now - TimeDelta::days(1))
}

/// The sum of the votes of a question's choices.
fn votes() -> SelectStatement {
    let sum = Func::sum(Expr::col((choice::Entity, choice::Column::Votes)));
    Query::select()
        .expr(sum)
        .from(choice::Entity)
        .and_where(
            Expr::col((choice::Entity, choice::Column::QuestionId))
                .equals((question::Entity, question::Column::Id)),
        )
        .take()
}
