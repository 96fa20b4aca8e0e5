//! The functions and types of the language.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rhai::{Array, Dynamic, Engine, FnPtr, ImmutableString, Map, NativeCallContext, Scope};

use super::{
    changes::ColumnValue,
    connection::{Connection, Result, failure, now},
    delete::Deleted,
    help::{self, MODELS},
    instance::Instance,
    moment::{self, Moment},
    queryset::QuerySet,
    relations,
};
use crate::{apps, auth::hashers};

/// The depth of expressions at most, outside and inside functions.
const MAX_DEPTH: (usize, usize) = (64, 32);

/// The length of a text at most, in bytes.
const MAX_TEXT: usize = 64 << 20;
/// The number of values in an array or a map at most.
const MAX_VALUES: usize = 4 << 20;

/// The module `timezone` of Django.
#[derive(Clone)]
struct Timezone;

/// An engine with the models as variables of `scope`. It ends a statement once `stop` is set; `print` writes a line.
pub fn new(
    connection: &Rc<Connection>,
    scope: &mut Scope<'static>,
    stop: Arc<AtomicBool>,
    print: impl Fn(&str) + 'static,
) -> Engine {
    let mut engine = Engine::new();
    engine.on_progress(move |_| stop.load(Ordering::Relaxed).then(|| "stopped".into()));
    engine.set_max_expr_depths(MAX_DEPTH.0, MAX_DEPTH.1);
    engine.set_max_string_size(MAX_TEXT);
    engine.set_max_array_size(MAX_VALUES);
    engine.set_max_map_size(MAX_VALUES);
    let print = Rc::new(print);
    let (line, debug) = (print.clone(), print.clone());
    engine
        .on_print(move |text| line(text))
        .on_debug(move |text, _, _| debug(text));
    moment::register(&mut engine);
    register_instances(&mut engine);
    register_querysets(&mut engine);
    register_managers(&mut engine);
    #[expect(
        deprecated,
        reason = "the engine marks functions so whose signature may change"
    )]
    engine.on_var({
        let connection = connection.clone();
        // In functions, which do not see the variables of the session.
        move |name, _, context| {
            let is_model = MODELS.contains(&name) && !context.scope().contains(name);
            let model = apps::models().iter().find(|model| model.name == name);
            let value = model
                .filter(|_| is_model)
                .map(|model| Dynamic::from(QuerySet::all(&connection, model)));
            Ok(value)
        }
    });
    for name in MODELS {
        let model = apps::models().iter().find(|model| model.name == name);
        let model = model.expect("the models are declared");
        scope.push(name, QuerySet::all(connection, model));
        let (one, other) = (connection.clone(), connection.clone());
        engine
            .register_fn(name, move |fields: Map| Instance::new(&one, model, fields))
            .register_fn(name, move || Instance::new(&other, model, Map::new()));
    }
    scope.push("timezone", Timezone);
    engine
        .register_type_with_name::<Timezone>("timezone")
        .register_fn("now", |_: &mut Timezone| Moment(now()));
    let group = connection.clone();
    engine.register_fn(
        "transaction",
        move |context: NativeCallContext<'_>, function: FnPtr| {
            group.group(|| function.call_within_context::<Dynamic>(&context, ()))
        },
    );
    let iterations = connection.settings.password_iterations;
    engine.register_fn("make_password", move |password: &str| {
        hashers::make_password(password, iterations)
    });
    let (general, of_model, of_object, of_topic) =
        (print.clone(), print.clone(), print.clone(), print);
    engine
        .register_fn("help", move || general(&help::general()))
        .register_fn("help", move |objects: QuerySet| {
            of_model(&help::of_model(objects.model))
        })
        .register_fn("help", move |object: Instance| {
            of_object(&help::of_model(object.model))
        })
        .register_fn("help", move |topic: &str| of_topic(&help::of_topic(topic)));
    engine
}

fn register_instances(engine: &mut Engine) {
    engine
        .register_type_with_name::<Instance>("object")
        .register_fn("to_string", |object: &mut Instance| object.to_string())
        .register_fn("to_debug", |object: &mut Instance| object.repr())
        .register_indexer_get(|object: &mut Instance, name: ImmutableString| {
            relations::get(object, &name)
        })
        .register_indexer_set(
            |object: &mut Instance, name: ImmutableString, value: Dynamic| {
                relations::set(object, &name, &value)
            },
        )
        .register_fn("save", Instance::save)
        .register_fn("delete", |object: &mut Instance| {
            object.delete().map(counts)
        })
        .register_fn("refresh_from_db", relations::refresh)
        .register_fn("set_password", Instance::set_password)
        .register_fn("check_password", |object: &mut Instance, password: &str| {
            object.check_password(password)
        })
        .register_fn("==", |one: Instance, other: Instance| is_same(&one, &other))
        .register_fn("!=", |one: Instance, other: Instance| {
            !is_same(&one, &other)
        });
}

fn is_same(one: &Instance, other: &Instance) -> bool {
    one.model.table == other.model.table && one.key().is_some() && one.key() == other.key()
}

/// The numbers of deleted objects, as Django returns them: all, and by model.
fn counts(deleted: Deleted) -> Array {
    let total: i64 = deleted.values().sum();
    let by_model: Map = deleted
        .into_iter()
        .map(|(label, count)| (label.into(), count.into()))
        .collect();
    vec![total.into(), by_model.into()]
}

fn register_querysets(engine: &mut Engine) {
    engine
        .register_type_with_name::<QuerySet>("QuerySet")
        .register_iterator_result::<QuerySet, Instance>()
        .register_fn("to_string", |objects: &mut QuerySet| objects.repr())
        .register_fn("to_debug", |objects: &mut QuerySet| objects.repr())
        .register_get("objects", |objects: &mut QuerySet| objects.clone())
        .register_fn("all", |objects: &mut QuerySet| objects.clone())
        .register_fn("filter", |objects: &mut QuerySet| objects.clone())
        .register_fn("filter", |objects: &mut QuerySet, lookups: Map| {
            objects.filter(&lookups)
        })
        .register_fn("exclude", |objects: &mut QuerySet, lookups: Map| {
            objects.exclude(&lookups)
        })
        .register_fn("order_by", |objects: &mut QuerySet, one: &str| {
            objects.order_by(&[one])
        })
        .register_fn(
            "order_by",
            |objects: &mut QuerySet, one: &str, two: &str| objects.order_by(&[one, two]),
        )
        .register_fn(
            "order_by",
            |objects: &mut QuerySet, one: &str, two: &str, three: &str| {
                objects.order_by(&[one, two, three])
            },
        )
        .register_fn("order_by", |objects: &mut QuerySet, names: Array| {
            let names: Vec<String> = names.iter().map(Dynamic::to_string).collect();
            objects.order_by(&names.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .register_fn("reverse", |objects: &mut QuerySet| objects.reverse())
        .register_fn("get", |objects: &mut QuerySet, lookups: Map| {
            objects.filter(&lookups)?.get()
        })
        .register_fn("get", |objects: &mut QuerySet, key: i64| {
            objects.with_key(key)?.get()
        })
        .register_fn("get", |objects: &mut QuerySet, key: &str| {
            objects.with_key(key.to_owned())?.get()
        })
        .register_fn("get", |objects: &mut QuerySet| objects.get())
        .register_fn(
            "get_or_create",
            |objects: &mut QuerySet, lookups: Map| -> Result<Array> {
                let (object, is_new) = objects.get_or_create(lookups)?;
                Ok(vec![Dynamic::from(object), is_new.into()])
            },
        )
        .register_fn("first", |objects: &mut QuerySet| objects.first())
        .register_fn("last", |objects: &mut QuerySet| objects.reverse()?.first())
        .register_fn("count", |objects: &mut QuerySet| objects.count())
        .register_fn("len", |objects: &mut QuerySet| objects.count())
        .register_fn("exists", |objects: &mut QuerySet| -> Result<bool> {
            Ok(objects.slice(0, 1)?.count()? > 0)
        })
        .register_fn("create", |objects: &mut QuerySet, fields: Map| {
            objects.create(fields)
        })
        .register_fn("create", |objects: &mut QuerySet| {
            objects.create(Map::new())
        })
        .register_fn("update", |objects: &mut QuerySet, fields: Map| {
            objects.update(&fields)
        })
        .register_fn("delete", |objects: &mut QuerySet| {
            objects.delete().map(counts)
        })
        .register_fn("values_list", |objects: &mut QuerySet, name: &str| {
            let values = objects
                .fetch()?
                .into_iter()
                .map(|object| relations::get(&object, name));
            values.collect::<Result<Array>>()
        })
        .register_indexer_get(|objects: &mut QuerySet, place: i64| {
            let found = objects
                .slice(place, place.saturating_add(1))?
                .fetch()?
                .pop();
            found.ok_or_else(|| failure(format!("there is no object at {place}")))
        })
        .register_fn("slice", |objects: &mut QuerySet, start: i64, end: i64| {
            objects.slice(start, end)
        })
        .register_fn(
            "slice",
            |values: &mut Array, start: i64, end: i64| -> Result<Array> {
                let (start, length) = span(start, end)?;
                Ok(values.iter().skip(start).take(length).cloned().collect())
            },
        )
        .register_fn(
            "slice",
            |text: &str, start: i64, end: i64| -> Result<String> {
                let (start, length) = span(start, end)?;
                Ok(text.chars().skip(start).take(length).collect())
            },
        )
        .register_type_with_name::<ColumnValue>("F")
        .register_fn("F", |field: &str| ColumnValue {
            field: field.to_owned(),
            added: 0,
        })
        .register_fn("+", |value: ColumnValue, number: i64| ColumnValue {
            added: value.added.saturating_add(number),
            ..value
        })
        .register_fn("-", |value: ColumnValue, number: i64| ColumnValue {
            added: value.added.saturating_sub(number),
            ..value
        });
}

/// The beginning and the length of a slice of an array or a text.
fn span(start: i64, end: i64) -> Result<(usize, usize)> {
    let place = |place: i64| {
        usize::try_from(place).map_err(|_| failure("negative places are not supported"))
    };
    let (start, end) = (place(start)?, place(end)?);
    Ok((start, end.saturating_sub(start)))
}

/// The methods of many-to-many relations, and those of Django's `UserManager`.
fn register_managers(engine: &mut Engine) {
    engine
        .register_fn("add", |objects: &mut QuerySet, object: Dynamic| {
            objects.add(&[object])
        })
        .register_fn(
            "add",
            |objects: &mut QuerySet, one: Dynamic, two: Dynamic| objects.add(&[one, two]),
        )
        .register_fn("remove", |objects: &mut QuerySet, object: Dynamic| {
            objects.remove(&[object])
        })
        .register_fn("set", |objects: &mut QuerySet, all: QuerySet| {
            objects.set(&[Dynamic::from(all)])
        })
        .register_fn("set", |objects: &mut QuerySet, all: Array| {
            objects.set(&all)
        })
        .register_fn("clear", |objects: &mut QuerySet| objects.set(&[]));
    let create = |flag: bool| {
        move |objects: &mut QuerySet, mut fields: Map| {
            for name in ["is_staff", "is_superuser"] {
                fields.entry(name.into()).or_insert_with(|| flag.into());
            }
            let password = fields.remove("password").unwrap_or_default();
            objects.create_with_password(fields, &password)
        }
    };
    for (name, flag) in [("create_user", false), ("create_superuser", true)] {
        let of_map = create(flag);
        let of_words = create(flag);
        engine.register_fn(name, of_map).register_fn(
            name,
            move |objects: &mut QuerySet, username: &str, email: &str, password: &str| {
                let words = [
                    ("username", username),
                    ("email", email),
                    ("password", password),
                ];
                let fields = words
                    .into_iter()
                    .map(|(name, word)| (name.into(), word.to_owned().into()));
                of_words(objects, fields.collect())
            },
        );
    }
}
