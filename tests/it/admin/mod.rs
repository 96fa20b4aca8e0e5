//! The admin site.

mod bad_input;
mod captured;
mod changelist;
mod conflicts;
mod dashboard;
mod engine;
mod errors;
mod expired;
mod forms;
mod options;
mod pages;
mod permissions;
mod plans;
mod scale;
mod statements;
mod users;

use crate::support::{Form, TestApp};

const LIST: &str = "/admin/polls_app/question/";
const ADD: &str = "/admin/polls_app/question/add/";

fn change(id: i32) -> String {
    format!("{LIST}{id}/change/")
}

/// The form of a question with a text, a date and choices in the first rows.
fn filled(form: Form, text: &str, choices: &[&str]) -> Form {
    let mut form = form
        .set("question_text", text)
        .set("pub_date_0", "2026-11-20")
        .set("pub_date_1", "08:30:00");
    for (index, choice) in choices.iter().enumerate() {
        form = form.set(&format!("choice_set-{index}-choice_text"), choice);
    }
    form
}

/// The choices of a question: text and votes, in order.
async fn choices(app: &TestApp, question: i32) -> Vec<(String, i32)> {
    let found = polls::polls_app::queries::find(app.site.core.db.write(), question)
        .await
        .unwrap();
    let choices = found.unwrap().choices.into_iter();
    choices
        .map(|choice| (choice.choice_text, choice.votes.0.try_into().unwrap()))
        .collect()
}

async fn text(app: &TestApp, question: i32) -> String {
    polls::polls_app::queries::find(app.site.core.db.write(), question)
        .await
        .unwrap()
        .unwrap()
        .question
        .question_text
}
