//! The forms of a page, as a browser would read and send them.

use super::{Client, Reply};

/// A form with what its inputs hold.
#[derive(Debug, Clone)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// The form that has this text in its first tag.
    #[track_caller]
    pub fn find(page: &Reply, mark: &str, address: &str) -> Self {
        let html = page.text();
        let found = html
            .split("<form")
            .skip(1)
            .find(|form| form.split('>').next().unwrap().contains(mark));
        let form = found.unwrap_or_else(|| panic!("no form with {mark:?} in:\n{html}"));
        let tag = form.split('>').next().unwrap();
        let action = attribute(tag, "action").filter(|action| !action.is_empty());
        let mut fields = Vec::new();
        // What stands in a template is not there for the browser.
        let body = form.split("</form>").next().unwrap();
        let body: String = body
            .split("<template")
            .enumerate()
            .map(|(index, part)| {
                if index == 0 {
                    part
                } else {
                    part.split("</template>").nth(1).unwrap()
                }
            })
            .collect();
        let mut select = None;
        for tag in body.split('<').skip(1) {
            let (head, text) = tag.split_once('>').unwrap();
            let name = attribute(head, "name");
            let value = attribute(head, "value").unwrap_or_default();
            if let Some(name) = name.clone().filter(|_| head.starts_with("input")) {
                let is_box = head.contains("type=\"checkbox\"") || head.contains("type=\"radio\"");
                if !is_box || head.contains(" checked") {
                    fields.push((
                        name,
                        if is_box && value.is_empty() {
                            "on".to_owned()
                        } else {
                            value
                        },
                    ));
                }
            } else if let Some(name) = name.filter(|_| head.starts_with("textarea")) {
                fields.push((name, unescape(text.strip_prefix('\n').unwrap_or(text))));
            } else if head.starts_with("select") {
                select =
                    attribute(head, "name").map(|name| (name, head.contains(" multiple"), false));
            } else if head.starts_with("option") {
                let (name, is_multiple, has_value) = select.as_mut().unwrap();
                if head.contains(" selected") {
                    if *has_value && !*is_multiple {
                        fields.pop();
                    }
                    fields.push((name.clone(), value));
                    *has_value = true;
                } else if !*is_multiple && !*has_value {
                    // Without a choice the browser takes the first.
                    fields.push((name.clone(), value));
                    *has_value = true;
                }
            }
        }
        Self {
            action: action.unwrap_or_else(|| address.to_owned()),
            fields,
        }
    }

    /// Types something else.
    #[track_caller]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        let found = self.fields.iter_mut().find(|(known, _)| known == name);
        match found {
            Some(field) => value.clone_into(&mut field.1),
            None => panic!("no field {name:?} among {:?}", self.fields),
        }
        self
    }

    /// Types several things.
    #[track_caller]
    pub fn set_all(self, values: &[(&str, &str)]) -> Self {
        values
            .iter()
            .fold(self, |form, (name, value)| form.set(name, value))
    }

    /// Adds a field: a button that is pressed, a box that is ticked, a choice.
    pub fn add(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a field out: a box that is cleared.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    #[track_caller]
    pub fn value(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        &found
            .unwrap_or_else(|| panic!("no field {name:?} among {:?}", self.fields))
            .1
    }

    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == name)
    }

    /// Sends it.
    pub async fn submit(&self, client: &Client) -> Reply {
        self.submit_with(client, &[]).await
    }

    /// Sends it with more headers.
    pub async fn submit_with(&self, client: &Client, headers: &[(&str, &str)]) -> Reply {
        let fields: Vec<(&str, &str)> = self
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        client.post(&self.action, &fields, headers).await
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split_once(&format!(" {name}=\""))?.1;
    Some(unescape(rest.split('"').next().unwrap()))
}

/// The text that escaped HTML stands for.
pub fn unescape(html: &str) -> String {
    html.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
}
