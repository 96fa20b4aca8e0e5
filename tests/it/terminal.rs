//! The dialogues of the commands that ask, on a real terminal: each captured transcript of Django's is played with its
//! answers, and every word that the terminal shows has to be the same.

use std::process::Command;

use nix::sys::wait::WaitStatus;
use rexpect::session::PtySession;

use crate::support::{Backend, Site, captured};

/// In the order in which they were captured: each finds what those before it have left.
const DIALOGUES: &[&str] = &[
    "createsuperuser_interactive_default_username",
    "createsuperuser_interactive_usernames",
    "createsuperuser_interactive_no_default",
    "createsuperuser_interactive_passwords",
    "createsuperuser_interactive_cancelled",
    "createsuperuser_interactive_taken_by_option",
    "changepassword",
    "changepassword_three_mismatches",
];

fn system_user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Plays a transcript, in which what was typed stands between << and >>. Gives the exit status.
fn play(mut terminal: PtySession, transcript: &str, label: &str) -> i32 {
    let mut rest = transcript;
    while let Some((shown, after)) = rest.split_once("<<") {
        let (answer, after) = after.split_once(">>").unwrap();
        // Up to the last line, it has been said; the last line is the question.
        let (said, question) = shown
            .rsplit_once('\n')
            .map_or(("", shown), |(said, question)| (said, question));
        let before = terminal
            .exp_string(question)
            .unwrap_or_else(|error| panic!("{label}, waiting for {question:?}: {error}"));
        assert_eq!(
            before.replace('\r', "").trim_end_matches('\n'),
            said,
            "{label}, before {question:?}"
        );
        match answer {
            "^C" => terminal.send_control('c').unwrap(),
            answer => drop(terminal.send_line(answer).unwrap()),
        }
        rest = after;
    }
    let last = terminal.exp_eof().unwrap().replace('\r', "");
    assert_eq!(last, rest, "{label}, at the end");
    match terminal.process_mut().wait().unwrap() {
        WaitStatus::Exited(_, code) => code,
        other => panic!("{label}: {other:?}"),
    }
}

on_both_databases! {
    async fn commands_prompt_as_in_django(site: Site) {
        site.run(["migrate"]).success();
        site.run(["createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.com"]).success();
        let all: serde_json::Value = serde_json::from_str(&captured("commands.json")).unwrap();
        for label in DIALOGUES {
            let run = &all["commands"][label];
            let args: Vec<&str> = run["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
            let transcript = run["transcript"].as_str().unwrap().replace("'owner'", &format!("'{}'", system_user()));
            let code = play(site.terminal(&args), &transcript, label);
            assert_eq!(i64::from(code), run["rc"].as_i64().unwrap(), "{label}");
        }
        // Default name, second, third, john_smith and admin: those who were cancelled are not there.
        let said = site.run(["check"]).success();
        assert_eq!(said.stdout, "System check identified no issues (0 silenced).\n");
        let db = site.database.connect().await;
        let users = <polls::entities::user::Entity as sea_orm::EntityTrait>::find();
        let mut names: Vec<String> = users.all(&db).await.unwrap().into_iter().map(|user| user.username).collect();
        names.sort();
        let mut expected = vec!["admin".to_owned(), "john_smith".to_owned(), "second".to_owned(), "third".to_owned(), system_user()];
        expected.sort();
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn control_c_at_a_password_restores_the_terminal() {
    let site = Site::migrated(Backend::Sqlite).await;
    // The shell holds the terminal after the command has gone, and says whether it still echoes.
    let script =
        "\"$@\"; echo \"status $?\"; stty -a | tr ' ;' '\\n\\n' | grep -x -e echo -e -echo";
    let mut terminal = site.terminal_script(
        script,
        &["createsuperuser", "--username", "cancelled", "--email", ""],
    );
    terminal.exp_string("Password: ").unwrap();
    terminal.send_control('c').unwrap();
    let rest = terminal.exp_eof().unwrap().replace('\r', "");
    assert_eq!(rest.trim_start(), "Operation cancelled.\nstatus 1\necho\n");
}

#[tokio::test]
async fn a_password_that_is_not_utf_8_is_refused() {
    let site = Site::migrated(Backend::Sqlite).await;
    // What reading a terminal gives for bytes that are not UTF-8, whichever they are.
    let transcript = "Password: <<Qq7\u{fffd}zzpw91>>\nCommandError: the input is not UTF-8\n";
    let arguments = ["createsuperuser", "--username", "bytes", "--email", ""];
    assert_eq!(play(site.terminal(&arguments), transcript, "bytes"), 1);
}

#[tokio::test]
async fn seed_prompts_for_questions_and_choices() {
    let site = Site::migrated(Backend::Sqlite).await;
    let transcript = "An empty line ends the choices of a question, and the questions.\n\
        Question: <<Tea or coffee?>>Tea or coffee?\n  Choice 1: <<Tea>>Tea\n  Choice 2: << >> \nError: the text is blank.\n  \
        Choice 2: <<Coffee>>Coffee\n  Choice 3: <<Tea>>Tea\nError: the question has that choice already.\n  Choice 3: <<>>\n\
        Question: <<Tea or coffee?>>Tea or coffee?\nError: you have typed that question already.\nQuestion: <<Nothing to choose?>>Nothing to choose?\n  Choice 1: <<>>\n\
        Error: a question without choices cannot be voted on; it is left out.\nQuestion: <<>>\n\
        Added 1 question(s) and 2 choice(s).\n";
    assert_eq!(
        play(
            site.terminal(&["seed", "--interactive"]),
            transcript,
            "seed"
        ),
        0
    );
    site.run(["seed", "--interactive"])
        .refused("--interactive needs a terminal: give a file instead.");
}

#[tokio::test]
async fn long_work_shows_its_progress() {
    let site = Site::migrated(Backend::Sqlite).await;
    let mut terminal = site.terminal(&["seed", "--random", "3000"]);
    let shown = terminal.exp_eof().unwrap();
    assert!(shown.contains("/3,000 questions"), "{shown}");
    assert!(
        shown
            .trim_end()
            .ends_with("Added 3000 question(s) and 12000 choice(s)."),
        "{shown}"
    );
}

#[tokio::test]
async fn migrate_shows_its_result_in_colour_on_a_terminal_only() {
    let site = Site::new(Backend::Sqlite).await;
    let shown = site
        .terminal(&["migrate", "polls_app"])
        .exp_eof()
        .unwrap()
        .replace('\r', "");
    assert!(
        shown.contains("  Applying polls_app.0001_initial...\u{1b}[1m\u{1b}[32m OK\u{1b}[0m\n"),
        "{shown:?}"
    );
    for args in [
        ["--no-color", "migrate", "auth"],
        ["migrate", "auth", "--no-color"],
    ] {
        let shown = site.terminal(&args).exp_eof().unwrap();
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
    let piped = site.run(["migrate"]).success().stdout;
    assert!(
        piped.contains("... OK\n") && !piped.contains('\u{1b}'),
        "{piped:?}"
    );
}
