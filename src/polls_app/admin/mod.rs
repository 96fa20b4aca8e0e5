//! Registers questions and choices with the admin.

mod codes;
mod dashboard;
mod recount_page;
mod target;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use poem::Route;
use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter, Statement,
    Value,
    sea_query::{Expr, ExprTrait, Func, Query, SelectStatement},
};

use super::{
    export::{self, ExportError, ExportFormat},
    options::{OptionRules, POLICIES, RESULTS_SHOWN},
    recount,
    status::Status,
    urls,
};
use crate::{
    admin::{
        AdminSite, Cell, Changes, Computed, Description, Download, FieldOptions, Fieldset, Inline,
        ListFilter, ModelAdmin, ObjectAction, Rules, Source, Tone, Values, VirtualKind,
        side_fields,
    },
    auth::login::User,
    db::{Connection, Transaction},
    entities::{
        Timestamp, choice, question,
        question_options::{self, Policy, ResultsShown},
    },
    web::routing::get_and_post,
};

/// Adds the pages below `/admin/polls_app/` that the admin does not have for all models.
pub fn routes(route: Route) -> Route {
    let path = |page: &str| format!("/admin/polls_app/question/:id/{page}/");
    let route = get_and_post(route, &path("codes"), codes::issue_codes);
    get_and_post(route, &path("recount"), recount_page::show_recount)
}

const CLOSE: ObjectAction = ObjectAction {
    name: "close_now",
    label: "Close now",
    changes: Some("Closing time"),
};
const REOPEN: ObjectAction = ObjectAction {
    name: "reopen",
    label: "Reopen",
    changes: Some("Closing time"),
};

const EXPORT_CSV: ObjectAction = ObjectAction {
    name: "export_csv",
    label: "Export results as CSV",
    changes: None,
};
const EXPORT_JSON: ObjectAction = ObjectAction {
    name: "export_json",
    label: "Export results as JSON",
    changes: None,
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
    site.dashboard = Some(Box::new(dashboard::PollsDashboard));
    site.register(ModelAdmin {
        side_fields: side_fields::<question_options::Entity>(
            "question_id",
            &["policy", "max_choices", "closes_at", "results"],
        ),
        fields: fields(),
        computed: vec![
            Computed {
                name: "choices",
                heading: "Choices",
                ordered_by: None,
                source: Source::Sql(choice_count),
            },
            Computed {
                name: "status",
                heading: "Status",
                ordered_by: None,
                source: Source::row(status),
            },
            Computed {
                name: "votes",
                heading: "Votes",
                ordered_by: None,
                source: Source::Sql(votes),
            },
        ],
        list_display: &["question_text", "pub_date", "status", "votes"],
        list_filter: &["status", "pub_date"],
        filters: vec![ListFilter {
            name: "status",
            choices: Status::ALL
                .map(|status| (status.name(), status.label()))
                .to_vec(),
            condition: |name, now| {
                let status = Status::ALL.into_iter().find(|status| status.name() == name);
                status.map(|status| status.condition(now))
            },
        }],
        actions: vec![CLOSE, REOPEN, EXPORT_CSV, EXPORT_JSON],
        search_fields: &["question_text", "choice__choice_text"],
        date_hierarchy: Some("pub_date"),
        fieldsets: vec![
            Fieldset::new(None, &["question_text"]),
            Fieldset::collapsed("Date information", &["pub_date", "closes_at"]),
            Fieldset::collapsed(
                "Voting",
                &["policy", "codes", "recount", "max_choices", "results"],
            ),
        ],
        add_fieldsets: Some(vec![
            Fieldset::new(None, &["question_text"]),
            Fieldset::collapsed("Date information", &["pub_date", "closes_at"]),
            Fieldset::collapsed("Voting", &["policy", "max_choices", "results"]),
        ]),
        inlines: vec![Inline::tabular(choices, "question")],
        view_on_site: Some(urls::detail),
        rules: Box::new(QuestionRules),
        ..ModelAdmin::new::<question::Entity>("polls_app", ("question", "questions"), |question| {
            question.question_text.clone()
        })
    });
}

fn fields() -> Vec<FieldOptions> {
    vec![
        FieldOptions {
            verbose_name: Some("date published"),
            help_text: "Visitors see the question from then on.",
            default: Some(|now| Value::ChronoDateTimeUtc(Some(now))),
            ..FieldOptions::new("pub_date")
        },
        FieldOptions {
            verbose_name: Some("closing time"),
            help_text: "Voting ends then; leave it empty to keep the question open.",
            ..FieldOptions::new("closes_at")
        },
        FieldOptions {
            verbose_name: Some("votes per visitor"),
            choices: POLICIES,
            default: Some(|_| Value::String(Some("any".to_owned()))),
            ..FieldOptions::new("policy")
        },
        FieldOptions {
            virtual_kind: Some(VirtualKind::Description),
            ..FieldOptions::new("codes")
        },
        FieldOptions {
            virtual_kind: Some(VirtualKind::Description),
            ..FieldOptions::new("recount")
        },
        FieldOptions {
            verbose_name: Some("choices per vote"),
            help_text: "How many choices a visitor may select.",
            default: Some(|_| Value::Int(Some(1))),
            ..FieldOptions::new("max_choices")
        },
        FieldOptions {
            verbose_name: Some("results are shown"),
            choices: RESULTS_SHOWN,
            default: Some(|_| Value::String(Some("always".to_owned()))),
            ..FieldOptions::new("results")
        },
    ]
}

/// The columns of a question's row that its status depends on.
#[derive(Debug, FromQueryResult)]
struct StatusColumns {
    pub_date: Timestamp,
    closes_at: Option<Timestamp>,
    choices: i64,
}

fn status(row: &StatusColumns, now: DateTime<Utc>) -> Cell {
    let closes_at = row.closes_at.map(|closes_at| *closes_at);
    let status = Status::of(row.choices > 0, *row.pub_date, closes_at, now);
    let tone = match status {
        Status::Draft => Tone::Warning,
        Status::Scheduled => Tone::Info,
        Status::Open => Tone::Success,
        Status::Closed => Tone::Neutral,
    };
    Cell::Badge(tone, status.label())
}

/// The choices of the question of the outer query.
fn of_question() -> SelectStatement {
    Query::select()
        .from(choice::Entity)
        .and_where(
            Expr::col((choice::Entity, choice::Column::QuestionId))
                .equals((question::Entity, question::Column::Id)),
        )
        .take()
}

/// The number of a question's choices.
fn choice_count() -> SelectStatement {
    of_question().expr(Func::count(Expr::val(1))).take()
}

/// The sum of the votes of a question's choices.
fn votes() -> SelectStatement {
    let sum = Func::sum(Expr::col((choice::Entity, choice::Column::Votes)));
    // Without choices there are none, also in the order of the list.
    let sum = Func::coalesce([sum.into(), Expr::val(0)]);
    of_question().expr(sum).take()
}

/// What a form of a question is checked for, and its actions.
struct QuestionRules;

#[async_trait]
impl Rules for QuestionRules {
    async fn validate(
        &self,
        _: &Transaction,
        _: &User,
        _: Option<i32>,
        changes: &mut Changes,
    ) -> Result<(), DbErr> {
        let time = |name| match changes.values.get(name) {
            Some(Value::ChronoDateTimeUtc(time)) => *time,
            _ => None,
        };
        let rules = OptionRules {
            published: time("pub_date"),
            closes_at: time("closes_at"),
            policy: Policy::parse(changes.text("policy")),
            results: ResultsShown::parse(changes.text("results")),
            max_choices: match changes.values.get("max_choices") {
                Some(Value::Int(number)) => *number,
                _ => None,
            },
        };
        for (field, text) in rules.errors() {
            changes.add_error(field, text);
        }
        Ok(())
    }

    async fn after_save(
        &self,
        tx: &Transaction,
        id: i32,
        changed: &[&str],
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, DbErr> {
        if changed.contains(&"policy") {
            recount::begin(tx, id, now).await?;
        }
        let choices = choice::Entity::find().filter(choice::COLUMN.question_id.eq(id));
        let options = question_options::Entity::find_by_id(id).one(tx).await?;
        let max_choices = options.map_or(1, |options| options.max_choices);
        let text = match choices.count(tx).await? {
            0 => "Visitors will not see this question until it has a choice.".to_owned(),
            count if i64::from(max_choices) > 1 && max_choices as u64 > count => {
                format!("A vote may have {max_choices} choices, and there are only {count}.")
            }
            _ => return Ok(Vec::new()),
        };
        Ok(vec![text])
    }

    fn describe(&self, field: &str, values: &Values<'_>) -> Description {
        if field == "recount" {
            return Description {
                text: "Compares the votes with the voters, where votes are limited. ".to_owned(),
                link: "../recount/",
                link_text: "Recount",
            };
        }
        let text = match values.text("policy") {
            "code" => "Each code is valid for one vote. ",
            _ => "For one vote per code. ",
        };
        Description {
            text: text.to_owned(),
            link: "../codes/",
            link_text: "Add and download codes",
        }
    }

    fn available_actions(&self, values: &Values<'_>, now: DateTime<Utc>) -> Vec<ObjectAction> {
        let is_published = values.time("pub_date").is_some_and(|time| time <= now);
        match values.time("closes_at") {
            Some(closes_at) if closes_at <= now => vec![REOPEN],
            _ if is_published => vec![CLOSE],
            _ => Vec::new(),
        }
    }

    async fn download(
        &self,
        db: Connection<'_>,
        action: &str,
        ids: &[i32],
    ) -> Result<Option<Download>, DbErr> {
        let (format, name) = if action == EXPORT_CSV.name {
            (ExportFormat::Csv, "polls.csv")
        } else {
            (ExportFormat::Json, "polls.json")
        };
        let mut content = Vec::new();
        match export::write(&db, ids, format, &mut content).await {
            Ok(()) => {}
            Err(ExportError::Database(error)) => return Err(error),
            Err(ExportError::Output(error)) => return Err(DbErr::Custom(error.to_string())),
        }
        Ok(Some(Download {
            name,
            media_type: format.media_type(),
            content,
        }))
    }

    async fn act(
        &self,
        tx: &Transaction,
        action: &str,
        ids: &[i32],
        now: DateTime<Utc>,
    ) -> Result<Vec<i32>, DbErr> {
        // Locked by the caller, in the order of the keys.
        let marks: Vec<String> = (0..ids.len())
            .map(|index| format!("${}", index + 2))
            .collect();
        let marks = marks.join(", ");
        let sql = if action == CLOSE.name {
            format!(
                "INSERT INTO polls_question_options (question_id, policy, max_choices, closes_at, results) \
                 SELECT id, 'any', 1, $1, 'always' FROM polls_app_question WHERE pub_date <= $1 AND id IN ({marks}) \
                 ON CONFLICT (question_id) DO UPDATE SET closes_at = excluded.closes_at \
                 WHERE polls_question_options.closes_at IS NULL OR polls_question_options.closes_at > excluded.closes_at \
                 RETURNING question_id"
            )
        } else {
            format!(
                "UPDATE polls_question_options SET closes_at = NULL WHERE closes_at <= $1 AND question_id IN ({marks}) \
                 RETURNING question_id"
            )
        };
        let values = [now.into()]
            .into_iter()
            .chain(ids.iter().map(|id| Value::from(*id)));
        let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
        let rows = tx.query_all_raw(statement).await?;
        rows.iter()
            .map(|row| row.try_get("", "question_id"))
            .collect()
    }
}
