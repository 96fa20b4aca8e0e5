//! The declarations of settings: from them values are read, and the tables in `docs/settings.md` are generated.

use std::{fmt::Display, str::FromStr};

use super::environment::{Environment, parse, parse_flag};

/// The default of a setting.
#[derive(Debug, Clone, Copy)]
pub enum DefaultValue {
    /// A value, in the notation of a variable.
    Value(&'static str),
    /// A description: there is no fixed value.
    Described(&'static str),
}

impl DefaultValue {
    /// The value or its description.
    pub fn text(self) -> &'static str {
        match self {
            Self::Value(text) | Self::Described(text) => text,
        }
    }

    /// As Markdown.
    pub fn markdown(self) -> String {
        match self {
            Self::Value(text) => format!("`{text}`"),
            Self::Described(text) => text.to_owned(),
        }
    }
}

/// A setting that is an environment variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its default.
    pub default: DefaultValue,
    /// Its meaning, in Markdown.
    pub help: &'static str,
}

/// Declares variables as constants, with the meaning, the name and the default of each, and a list of them, in the order of
/// the documentation.
macro_rules! variables {
    ($list:ident: $( #[doc = $help:literal] $name:ident = $default:expr; )*) => {
        $(
            #[doc = $help]
            const $name: Variable = Variable {
                name: stringify!($name),
                default: $default,
                help: $help,
            };
        )*
        /// Declared variables, in the order of the documentation.
        pub const $list: &[Variable] = &[$($name),*];
    };
}
pub(super) use variables;

impl Variable {
    /// A row of a table in Markdown: name, default and meaning.
    pub fn row(&self) -> String {
        let (name, default, help) = (self.name, self.default.markdown(), self.help.trim());
        format!("| `{name}` | {default} | {help} |\n")
    }

    /// The value or, when the variable is not set, the default.
    ///
    /// # Errors
    /// When it is not UTF-8.
    ///
    /// # Panics
    /// When the default is not a value. So do the methods below.
    pub fn text<'e>(&self, environment: &'e Environment) -> anyhow::Result<&'e str> {
        Ok(environment.get(self.name)?.unwrap_or_else(|| self.value()))
    }

    /// [`Variable::text`] as a value of some type; `expected` describes a valid value in the error.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn parsed<T: FromStr>(
        &self,
        environment: &Environment,
        expected: &str,
    ) -> anyhow::Result<T> {
        parse(self.name, self.text(environment)?, expected)
    }

    /// [`Variable::text`] as a boolean.
    ///
    /// # Errors
    /// When it is neither true nor false.
    pub fn flag(&self, environment: &Environment) -> anyhow::Result<bool> {
        parse_flag(self.name, self.text(environment)?)
    }

    /// A list, separated by commas; empty when the variable is not set.
    ///
    /// # Errors
    /// When an entry does not parse.
    pub fn list<T: FromStr<Err: Display>>(
        &self,
        environment: &Environment,
    ) -> anyhow::Result<Vec<T>> {
        Ok(environment.list(self.name)?.unwrap_or_default())
    }

    fn value(&self) -> &'static str {
        match self.default {
            DefaultValue::Value(text) => text,
            DefaultValue::Described(_) => panic!("{} has no fixed default", self.name),
        }
    }
}
