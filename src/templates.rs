//! The templates: embedded in the binary; in debug mode read from the folder `templates`, and again after each change.

use std::{borrow::Cow, fmt, path::Path};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, TemplateSource, UndefinedBehavior,
    Value, syntax::SyntaxConfig,
};

use crate::assets;

/// The environment of all templates.
pub struct Templates(Environment<'static>);

impl Templates {
    /// The embedded templates; in debug mode the files of the same names in `templates`, where they exist. Static files are below
    /// `static_url`.
    pub fn new(static_url: &str, debug: bool) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_formatter(format_escaped);
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.expect("the default delimiters are valid"));
        let base = static_url.to_owned();
        environment.add_function("static", move |name: &str| {
            let url = assets::url(&base, name, debug);
            url.ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidOperation,
                    format!("the static file {name:?} does not exist"),
                )
            })
        });
        environment.add_global("debug", debug);
        if debug {
            environment.set_auto_reload(true);
        }
        let base = static_url.to_owned();
        environment.set_loader(move |name| {
            let embedded = assets::TEMPLATES
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, source)| *source);
            Ok(match embedded {
                Some(source) if debug => Some(from_disk(name, source)),
                source => {
                    source.map(|source| TemplateSource::from(with_static_urls(source, &base)))
                }
            })
        });
        Self(environment)
    }

    /// Renders a template.
    ///
    /// # Errors
    /// When the template does not exist, does not compile, or uses a variable that `context` does not define.
    pub fn render(&self, name: &str, context: Value) -> Result<String, Error> {
        self.0.get_template(name)?.render(context)
    }

    /// The source of a template, from the folder `templates` if it has the file; `None` if there is no such template.
    pub fn source(name: &str) -> Option<String> {
        let embedded = assets::TEMPLATES
            .iter()
            .find(|(known, _)| *known == name)?
            .1;
        let path = Path::new("templates").join(name);
        Some(std::fs::read_to_string(path).unwrap_or_else(|_| embedded.to_owned()))
    }

    /// Compiles all templates, and returns the errors.
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

/// A template's source with the URL in place of each call of `static`, which would be executed for each response.
fn with_static_urls(source: &str, static_url: &str) -> String {
    let (start, end) = ("{{ static('", "') }}");
    let mut parts = source.split(start);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let call = part.split_once(end);
        match call.and_then(|(name, rest)| Some((assets::url(static_url, name, false)?, rest))) {
            Some((url, rest)) => result.extend([&*url, rest]),
            // The function reports that the file does not exist.
            None => result.extend([start, part]),
        }
    }
    result
}

/// Escapes the characters that Django escapes: minijinja escapes slashes, too, which makes URLs in a page unreadable.
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

/// Escapes a text for HTML (Django's `escape`).
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    write_escaped(&mut html, text).expect("writing to a String does not fail");
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

/// The template in the working directory's folder `templates`, else the embedded one; with a check whether the file has been
/// changed, created or deleted since.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_static_become_urls() {
        let icon = assets::url("/static/", "icon.svg", false).unwrap();
        for (source, expected) in [
            (
                "<a href=\"{{ static('icon.svg') }}\">",
                format!("<a href=\"{icon}\">"),
            ),
            (
                "{{ static('icon.svg') }}{{ static('icon.svg') }}",
                format!("{icon}{icon}"),
            ),
            (
                "{{ static('none.svg') }} {{ static('icon.svg') }}",
                format!("{{{{ static('none.svg') }}}} {icon}"),
            ),
            (
                "{{ static('icon.svg', 1) }}",
                "{{ static('icon.svg', 1) }}".to_owned(),
            ),
        ] {
            assert_eq!(with_static_urls(source, "/static/"), expected);
        }
    }
}
