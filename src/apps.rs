//! Django's app registry (`django/apps/registry.py`): the models of the installed apps with their fields, in the order in which
//! Django's sources define them. Fixtures have that order; the columns of the tables often have another.

use std::{borrow::Cow, sync::LazyLock};

use migration::{Default, Field, Kind, State};
use sea_orm::Iterable;

use crate::entities::question_options::{Policy, ResultsShown};

/// A model (Django's `Model._meta`).
#[derive(Debug)]
pub struct Model {
    /// The label of its app: `polls_app`.
    pub app: &'static str,
    /// Its name: `Choice`.
    pub name: &'static str,
    /// Its table.
    pub table: String,
    /// The primary key.
    pub key: Field,
    /// The other column of a primary key of two columns; Django has none.
    pub second_key: Option<&'static str>,
    /// The other fields; those that are many-to-many are last. Their defaults are those of new objects.
    pub fields: Vec<Field>,
    /// The fields of its natural key; a foreign key stands for the natural key of the related object. Empty if it has none.
    pub natural_key: &'static [&'static str],
    /// The values that a field may have, where they are limited (Django's `choices`).
    pub choices: Vec<(&'static str, Vec<&'static str>)>,
}

/// What the migrations do not know of a model.
struct Declaration {
    app: &'static str,
    name: &'static str,
    fields: &'static [&'static str],
    natural_key: &'static [&'static str],
    /// The defaults of new objects, where they are not an empty text or NULL.
    defaults: &'static [(&'static str, Default)],
}

const DECLARATIONS: [Declaration; 8] = [
    Declaration {
        app: "polls_app",
        name: "Question",
        fields: &["question_text", "pub_date"],
        natural_key: &[],
        defaults: &[],
    },
    Declaration {
        app: "polls_app",
        name: "Choice",
        fields: &["question", "choice_text", "votes"],
        natural_key: &[],
        defaults: &[("votes", Default::Integer(0))],
    },
    Declaration {
        app: "admin",
        name: "LogEntry",
        fields: &[
            "action_time",
            "user",
            "content_type",
            "object_id",
            "object_repr",
            "action_flag",
            "change_message",
        ],
        natural_key: &[],
        defaults: &[("action_time", Default::Now)],
    },
    Declaration {
        app: "auth",
        name: "Permission",
        fields: &["name", "content_type", "codename"],
        natural_key: &["codename", "content_type"],
        defaults: &[],
    },
    Declaration {
        app: "auth",
        name: "Group",
        fields: &["name", "permissions"],
        natural_key: &["name"],
        defaults: &[],
    },
    Declaration {
        app: "auth",
        name: "User",
        fields: &[
            "password",
            "last_login",
            "is_superuser",
            "username",
            "first_name",
            "last_name",
            "email",
            "is_staff",
            "is_active",
            "date_joined",
            "groups",
            "user_permissions",
        ],
        natural_key: &["username"],
        defaults: &[
            ("is_superuser", Default::Boolean(false)),
            ("is_staff", Default::Boolean(false)),
            ("is_active", Default::Boolean(true)),
            ("date_joined", Default::Now),
        ],
    },
    Declaration {
        app: "contenttypes",
        name: "ContentType",
        fields: &["app_label", "model"],
        natural_key: &["app_label", "model"],
        defaults: &[],
    },
    Declaration {
        app: "sessions",
        name: "Session",
        fields: &["session_data", "expire_date"],
        natural_key: &[],
        defaults: &[],
    },
];

static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| {
    let state = State::latest();
    let models = DECLARATIONS.iter().map(|declaration| {
        let Declaration { app, name, .. } = declaration;
        let migrated = state.model(app, name);
        let key = migrated.fields.iter().find(|field| field.primary_key);
        let field = |field_name: &&str| {
            let mut field = migrated.field(field_name).clone();
            let default = declaration
                .defaults
                .iter()
                .find(|(name, _)| name == field_name);
            field.default = match (default, &field.kind) {
                (Some((_, default)), _) => *default,
                (None, Kind::Char(_) | Kind::Text) if !field.null => Default::Text(""),
                (None, _) => Default::None,
            };
            field
        };
        Model {
            app,
            name,
            table: migrated.table.clone(),
            key: key.expect("each model has a primary key").clone(),
            second_key: None,
            fields: declaration.fields.iter().map(field).collect(),
            natural_key: declaration.natural_key,
            choices: Vec::new(),
        }
    });
    models.chain(own_models()).collect()
});

/// The tables of our own app, which have no models in the migrations. Django does not know them.
fn own_models() -> [Model; 6] {
    let model = |name, table: &str, key: Field, fields: &[Field]| Model {
        app: "polls",
        name,
        table: table.to_owned(),
        key: key.primary_key(),
        second_key: None,
        fields: fields.to_vec(),
        natural_key: &[],
        choices: Vec::new(),
    };
    let name = || Field::char("name", 64);
    let number = |name| Field::new(name, Kind::BigInteger);
    let integer = |name| Field::new(name, Kind::Integer);
    [
        model(
            "LoginFailure",
            "polls_login_failures",
            name(),
            &[integer("failures"), number("since")],
        ),
        model(
            "LoginNetwork",
            "polls_login_networks",
            name(),
            &[number("seen")],
        ),
        model(
            "VoteReceipt",
            "polls_vote_receipts",
            number("writer"),
            &[number("batch"), number("written")],
        ),
        Model {
            choices: vec![
                ("policy", Policy::iter().map(Policy::name).collect()),
                (
                    "results",
                    ResultsShown::iter().map(ResultsShown::name).collect(),
                ),
            ],
            ..model(
                "QuestionOptions",
                "polls_question_options",
                integer("question_id"),
                &[
                    Field::char("policy", 10),
                    integer("max_choices"),
                    Field::new("closes_at", Kind::DateTime).null(),
                    Field::char("results", 10),
                    integer("codes"),
                    number("voters"),
                    number("votes_before"),
                    number("ballot_votes"),
                    Field::new("agreed_at", Kind::DateTime).null(),
                ],
            )
        },
        model(
            "VoteDay",
            "polls_vote_days",
            integer("day"),
            &[number("votes")],
        ),
        Model {
            second_key: Some("question_id"),
            ..model(
                "Voter",
                "polls_voters",
                Field::char("voter", 32),
                &[
                    integer("question_id"),
                    integer("day"),
                    Field::new("is_alias", Kind::Boolean),
                ],
            )
        },
    ]
}

/// All models, by app in the order of [`migration::APPS`].
pub fn models() -> &'static [Model] {
    &MODELS
}

/// The models of an app; none of an app without models.
pub fn models_of(app: &str) -> impl Iterator<Item = &'static Model> {
    models().iter().filter(move |model| model.app == app)
}

/// The model with a label such as `polls_app.Choice`; the name's case does not matter.
pub fn model(label: &str) -> Option<&'static Model> {
    let (app, name) = label.split_once('.')?;
    models_of(app).find(|model| model.name.eq_ignore_ascii_case(name))
}

/// The app with a label.
pub fn app(label: &str) -> Option<&'static str> {
    migration::APPS.into_iter().find(|app| *app == label)
}

impl Model {
    /// Its label: `polls_app.Choice`.
    pub fn label(&self) -> String {
        format!("{}.{}", self.app, self.name)
    }

    /// Its label in fixtures: `polls_app.choice`.
    pub fn lower_label(&self) -> String {
        self.label().to_lowercase()
    }

    /// The field with a name; not the primary key.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The fields with a column in its table, without the primary key.
    pub fn columns(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.is_concrete())
    }

    /// Its many-to-many fields.
    pub fn many_to_many(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !field.is_concrete())
    }

    /// The table of a many-to-many field, and its columns with the keys of this model and of the related one.
    pub fn through(&self, field: &Field) -> Through {
        let related = related(field).expect("a many-to-many field has a related model");
        Through {
            table: format!("{}_{}", self.table, field.name),
            source: format!("{}_id", self.name.to_lowercase()),
            target: format!("{}_id", related.name.to_lowercase()),
        }
    }

    /// Whether the database generates its keys.
    pub fn has_auto_key(&self) -> bool {
        self.key.kind == Kind::Auto
    }
}

/// The table of a many-to-many field.
#[derive(Debug)]
pub struct Through {
    /// Its name.
    pub table: String,
    /// The column of the key of the object that has the field.
    pub source: String,
    /// The column of the key of the related object.
    pub target: String,
}

/// The model that a foreign key or a many-to-many field refers to; `None` for other fields.
pub fn related(field: &Field) -> Option<&'static Model> {
    match &field.kind {
        Kind::ForeignKey(label) | Kind::ManyToMany(label) => {
            Some(model(label).expect("the models of relations are declared"))
        }
        _ => None,
    }
}

/// The model and its foreign key to `model` by the name of the reverse relation: `choice_set`, or `choices`.
pub fn reverse_relation(model: &Model, name: &str) -> Option<(&'static Model, &'static Field)> {
    referring(model, name).find(|(_, field)| field.is_concrete())
}

/// The model and its many-to-many field to `model`, by the name of the reverse relation.
pub fn reverse_many_to_many(model: &Model, name: &str) -> Option<(&'static Model, &'static Field)> {
    referring(model, name).find(|(_, field)| !field.is_concrete())
}

/// The fields that refer to `model`, of the models that a name of a reverse relation means: `choice_set`, or `choices`.
fn referring(model: &Model, name: &str) -> impl Iterator<Item = (&'static Model, &'static Field)> {
    let of_model = move |other: &&'static Model| {
        let lower = other.name.to_lowercase();
        name == lower
            || name.strip_suffix("_set") == Some(&lower)
            || name.strip_suffix('s') == Some(&lower)
    };
    let fields = models()
        .iter()
        .filter(of_model)
        .flat_map(|other| other.fields.iter().map(move |field| (other, field)));
    fields.filter(|(_, field)| related(field).is_some_and(|other| other.table == model.table))
}

/// The tables of the models, those of many-to-many fields before that of their model.
pub fn tables(model: &Model) -> impl Iterator<Item = Cow<'_, str>> {
    let through = model
        .many_to_many()
        .map(|field| Cow::Owned(model.through(field).table));
    through.chain([Cow::Borrowed(model.table.as_str())])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use migration::{APPS, State};

    use super::*;

    #[test]
    fn the_declarations_have_all_models_and_fields_of_the_migrations() {
        let state = State::latest();
        for app in APPS {
            let migrated: BTreeSet<&str> =
                state.of_app(app).map(|model| model.name.as_ref()).collect();
            let declared = models_of(app).map(|model| model.name);
            if app != "polls" {
                assert_eq!(declared.collect::<BTreeSet<_>>(), migrated);
            }
            for migrated in state.of_app(app) {
                let declared = model(&format!("{app}.{}", migrated.name)).unwrap();
                let names = |fields: &[Field]| -> BTreeSet<String> {
                    fields.iter().map(|field| field.name.to_string()).collect()
                };
                let mut all = declared.fields.clone();
                all.push(declared.key.clone());
                assert_eq!(names(&all), names(&migrated.fields), "{}", declared.label());
                let through: Vec<_> = migrated
                    .through_models()
                    .map(|through| through.table)
                    .collect();
                for field in declared.many_to_many() {
                    assert!(
                        through.contains(&declared.through(field).table),
                        "{}",
                        field.name
                    );
                }
            }
        }
    }
}
