//! Values of scripts and values of fields.

use rhai::{Dynamic, Engine};
use serde_json::Value as Json;

use super::moment::Moment;
use crate::fixtures::Value;

/// The depth of arrays that a text shows.
const MAX_DEPTH: usize = 20;

/// The value of a field for a script.
pub fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Text(text) => text.clone().into(),
        Value::Time(time) => Dynamic::from(Moment(*time)),
        Value::List(values) => values.iter().map(to_dynamic).collect::<Vec<_>>().into(),
    }
}

/// A time as fixtures have it, with microseconds.
pub fn json_time(time: &Moment) -> String {
    time.0.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// The value of a field as fixtures have it, with microseconds.
pub fn field_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Time(time) => json_time(&Moment(*time)).into(),
        Value::List(values) => values.iter().map(field_json).collect(),
    }
}

/// A value as the prompt shows it: texts with quotes.
pub fn repr(engine: &Engine, value: &Dynamic) -> String {
    repr_within(engine, value, MAX_DEPTH)
}

fn repr_within(engine: &Engine, value: &Dynamic, depth: usize) -> String {
    if let Ok(text) = value.clone().into_string() {
        return format!("{text:?}");
    }
    if let Some(values) = value.clone().try_cast::<rhai::Array>() {
        let Some(depth) = depth.checked_sub(1) else {
            return "[…]".to_owned();
        };
        let values = values.iter().map(|value| repr_within(engine, value, depth));
        let values: Vec<String> = values.collect();
        return format!("[{}]", values.join(", "));
    }
    let text = engine.eval_with_scope::<String>(
        &mut rhai::Scope::from_iter([(("value").to_owned(), false, value.clone())]),
        "value.to_debug()",
    );
    text.unwrap_or_else(|_| value.to_string())
}
