//! Conversion of the fuzzer's bytes to requests: method, target and form.

use poem::http::Method;

/// The list of questions in the admin.
const LIST: &str = "/admin/polls_app/question/";

/// A request: its method, target and form.
pub type Input = (Method, String, String);

/// Percent-encodes bytes for a query or a form, except the delimiters `&`, `=`, `;` and `,`.
fn encoded(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.&=;,".contains(byte);
    bytes
        .iter()
        .map(|byte| {
            if plain(byte) {
                char::from(*byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// The changelist with any query: filters, search, ordering, date hierarchy, pages.
pub fn filters(bytes: &[u8]) -> Vec<Input> {
    vec![(
        Method::GET,
        format!("{LIST}?{}", encoded(bytes)),
        String::new(),
    )]
}

/// The form of a question with any date and time. The text is empty, so that the form is invalid and nothing is stored.
pub fn dates(bytes: &[u8]) -> Vec<Input> {
    let (date, time) = bytes.split_at(bytes.len() / 2);
    let (date, time) = (
        encoded(date).replace('&', "%26"),
        encoded(time).replace('&', "%26"),
    );
    let form = format!(
        "question_text=&pub_date_0={date}&pub_date_1={time}&choice_set-TOTAL_FORMS=0&choice_set-INITIAL_FORMS=0"
    );
    vec![(Method::POST, format!("{LIST}add/"), form)]
}

/// Any target, and any form sent to a page of the polls.
pub fn requests(bytes: &[u8]) -> Vec<Input> {
    let target = std::str::from_utf8(bytes).ok();
    let page = target.map(|target| (Method::GET, format!("/{target}"), String::new()));
    let vote = (Method::POST, "/polls/1/vote/".to_owned(), encoded(bytes));
    page.into_iter().chain([vote]).collect()
}
