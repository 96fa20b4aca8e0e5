//! The templates: embedded in the binary, or from the folder `templates` in debug mode, read again when they change.

use std::{borrow::Cow, fmt, path::Path};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, TemplateSource, UndefinedBehavior,
    Value, syntax::SyntaxConfig,
};

use crate::assets;

/// All templates.
pub struct Templates(Environment<'static>);

impl Templates {
    /// The embedded ones; in debug mode those on disk, where there are any.
    pub fn new(debug: bool) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_formatter(format_escaped);
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.expect("the delimiters are the usual ones"));
        environment.add_function("static", move |name: &str| {
            let url = assets::url(name, debug);
            url.ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidOperation,
                    format!("there is no asset {name:?}"),
                )
            })
        });
        environment.add_global("debug", debug);
        if debug {
            environment.set_auto_reload(true);
        }
        environment.set_loader(move |name| {
            let embedded = assets::TEMPLATES
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, source)| *source);
            Ok(match embedded {
                Some(source) if debug => Some(from_disk(name, source)),
                source => source.map(TemplateSource::from),
            })
        });
        Self(environment)
    }

    /// The text that a template makes of `context`.
    ///
    /// # Errors
    /// When the template is at fault, or `context` lacks a value.
    pub fn render(&self, name: &str, context: Value) -> Result<String, Error> {
        self.0.get_template(name)?.render(context)
    }

    /// What a template is made from, as far as it is known.
    pub fn source(name: &str) -> Option<String> {
        let embedded = assets::TEMPLATES
            .iter()
            .find(|(known, _)| *known == name)?
            .1;
        let path = Path::new("templates").join(name);
        Some(std::fs::read_to_string(path).unwrap_or_else(|_| embedded.to_owned()))
    }

    /// Compiles every template; gives the errors of those that do not.
    pub fn check(&self) -> Vec<Error> {
        assets::TEMPLATES
            .iter()
            .filter_map(|(name, _)| self.0.get_template(name).err())
            .collect()
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Templates(…)")
    }
}

/// Escapes texts as Django does: minijinja would escape slashes too, which makes addresses in a page unreadable.
fn format_escaped(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() => Ok(write_escaped(out, text)?),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// A text as HTML.
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    write_escaped(&mut html, text).expect("a string takes all");
    html
}

fn write_escaped(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some(position) = rest.find(['&', '<', '>', '"', '\'']) {
        let (plain, special) = rest.split_at(position);
        out.write_str(plain)?;
        out.write_str(match special.as_bytes()[0] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#x27;",
        })?;
        rest = &special[1..];
    }
    out.write_str(rest)
}

/// A template from the working directory, or else the embedded one; with a check whether the file has changed since, or
/// has come or gone.
fn from_disk(name: &str, embedded: &'static str) -> TemplateSource {
    let path = Path::new("templates").join(name);
    let modified = move |path: &Path| {
        path.metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    let time = modified(&path);
    let source = std::fs::read_to_string(&path).map_or(Cow::Borrowed(embedded), Cow::Owned);
    TemplateSource::new(source).with_uptodate_check(move || modified(&path) == time)
}
