//! The texts of `help()`.

use migration::Kind;

use super::comparison::LOOKUPS;
use crate::apps::{self, Model};

/// The models that have a name of their own in scripts.
pub const MODELS: [&str; 8] = [
    "Question",
    "Choice",
    "User",
    "Group",
    "Permission",
    "ContentType",
    "LogEntry",
    "Session",
];

/// The methods of queries, with a line of help each.
const QUERY_METHODS: [(&str, &str); 18] = [
    ("all()", "all objects"),
    ("filter(field=value, …)", "those for which all lookups hold"),
    (
        "exclude(field=value, …)",
        "those for which they do not all hold",
    ),
    (
        "order_by(\"field\", \"-other\")",
        "in this order; - is descending",
    ),
    ("reverse()", "in the opposite order"),
    ("[2:5] [0]", "a part, or one object"),
    (
        "get(1) get(field=value)",
        "the only object, by its key or by lookups",
    ),
    (
        "get_or_create(field=value)",
        "an array: the object, and whether it is new",
    ),
    ("first() last()", "an object, or nothing"),
    ("count() exists()", "how many, or whether there are any"),
    ("create(field=value, …)", "stores a new object"),
    (
        "update(field=value, …)",
        "changes all in one statement; returns their number",
    ),
    ("delete()", "deletes all, with what refers to them"),
    (
        "values_list(\"field\")",
        "an array of the values of a field",
    ),
    ("add(object) remove(object)", "of a many-to-many field"),
    ("set([object, …]) clear()", "of a many-to-many field"),
    ("create_user(username=…, password=…)", "of User"),
    ("create_superuser(username=…, …)", "of User"),
];

/// The methods of objects.
const OBJECT_METHODS: [(&str, &str); 5] = [
    ("save()", "stores it"),
    ("delete()", "deletes it, with what refers to it"),
    ("refresh_from_db()", "reads its fields again"),
    ("set_password(\"…\")", "of a user; save() stores it"),
    ("check_password(\"…\")", "of a user"),
];

/// The functions.
const FUNCTIONS: [(&str, &str); 8] = [
    ("now() timezone.now()", "the current time"),
    (
        "days(1) hours(2) minutes(3) seconds(4)",
        "durations: now() - days(1)",
    ),
    (
        "F(\"field\")",
        "in update(): update(votes=F(\"votes\") + 1)",
    ),
    (
        "transaction(|| { … })",
        "if it fails, nothing of it is kept",
    ),
    ("make_password(\"…\")", "a hash"),
    ("print(value)", "writes a line"),
    ("help() help(Question)", "this, or the fields of a model"),
    ("exit", "ends the session, as CONTROL-D"),
];

/// The names of the functions.
pub fn functions() -> impl Iterator<Item = &'static str> {
    names(&FUNCTIONS)
}

/// The names before the brackets of a list's usages.
fn names(list: &'static [(&str, &str)]) -> impl Iterator<Item = &'static str> {
    let words = list.iter().flat_map(|(usage, _)| usage.split_whitespace());
    let names = words
        .filter_map(|word| word.split_once('('))
        .map(|(name, _)| name);
    names.filter(|name| {
        name.chars()
            .all(|letter| letter.is_alphanumeric() || letter == '_')
    })
}

/// The names that complete an input after a dot.
pub fn members() -> impl Iterator<Item = &'static str> {
    let fields = apps::models().iter().flat_map(|model| &model.fields);
    names(&QUERY_METHODS)
        .chain(names(&OBJECT_METHODS))
        .chain(fields.map(|field| field.name.as_ref()))
        .chain(["id", "pk", "objects", "choices"])
}

fn table(lines: &[(&str, &str)]) -> String {
    lines
        .iter()
        .map(|(usage, text)| format!("  {usage:<36} {text}\n"))
        .collect()
}

/// What there is.
pub fn general() -> String {
    format!(
        "Models: {}\n\nQueries, as Question.filter(question_text__contains=\"?\").order_by(\"-pub_date\")[:5]:\n{}\n\
         Objects, as q = Question(question_text=\"What's new?\", pub_date=now()):\n{}\n\
         Functions:\n{}\n\
         Lookups: {}; with the name of a relation before them: question__pub_date__lte.\n\
         Each statement that writes is one transaction. The language is Rhai (https://rhai.rs/book): let, if, for, fn and closures;\n\
         keyword arguments, 'texts' and slices are translated, and outside of blocks a new variable needs no `let`.",
        MODELS.join(", "),
        table(&QUERY_METHODS),
        table(&OBJECT_METHODS),
        table(&FUNCTIONS),
        LOOKUPS.join(", "),
    )
}

/// The fields of a model.
pub fn of_model(model: &'static Model) -> String {
    let mut lines = vec![(model.key.name.to_string(), "the key".to_owned())];
    for field in &model.fields {
        let related = apps::related(field).map_or("", |related| related.name);
        let kind = match &field.kind {
            Kind::Char(length) => format!("a text of at most {length} characters"),
            Kind::Text => "a text".to_owned(),
            Kind::Boolean => "true or false".to_owned(),
            Kind::DateTime => "a time".to_owned(),
            Kind::ForeignKey(_) => format!("a {related}"),
            Kind::ManyToMany(_) => format!("any number of {related} objects"),
            Kind::Auto | Kind::Integer | Kind::BigInteger | Kind::PositiveSmallInteger => {
                "an integer".to_owned()
            }
        };
        let null = if field.null { ", or ()" } else { "" };
        lines.push((field.name.to_string(), format!("{kind}{null}")));
    }
    for other in apps::models() {
        let refers = |field: &migration::Field| {
            field.is_concrete()
                && apps::related(field).is_some_and(|related| related.table == model.table)
        };
        if other.fields.iter().any(refers) {
            let name = format!("{}_set", other.name.to_lowercase());
            let name = match other.name {
                "Choice" => format!("choices {name}"),
                _ => name,
            };
            lines.push((name, format!("the {} objects that refer to it", other.name)));
        }
    }
    let lines: Vec<(&str, &str)> = lines
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    format!(
        "{}, table {}\n{}",
        model.label(),
        model.table,
        table(&lines).trim_end_matches('\n')
    )
}

/// The help of a name.
pub fn of_topic(topic: &str) -> String {
    let all = QUERY_METHODS
        .iter()
        .chain(&OBJECT_METHODS)
        .chain(&FUNCTIONS);
    let found: Vec<(&str, &str)> = all
        .filter(|(usage, _)| usage.contains(topic))
        .copied()
        .collect();
    if found.is_empty() {
        format!("There is nothing named {topic:?}: help() says what there is.")
    } else {
        table(&found).trim_end_matches('\n').to_owned()
    }
}
