//! A model of the polls beside servers on one database: random votes, edits, deletions and reads through each of them, through
//! Django and in SQL, while listening connections are cut or silent and servers are killed.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use polls::db::Database;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, Statement};

use super::{
    MAX_AGE, execute,
    postgres::{Stopped, listeners},
};
use crate::{
    django,
    support::{
        Site,
        http::metric,
        site::Server,
        voters::{SECRET, vote_for},
    },
};

const QUESTIONS: i32 = 4;
const STEPS: usize = 400;

/// The votes of a question's choices by their texts; none if the page is a 404.
type Page = Option<BTreeMap<String, i64>>;

/// A content of a question's results page, from a moment on.
struct Version {
    /// Before it was committed.
    begin: Instant,
    /// After it was committed.
    committed: Instant,
    page: Page,
    /// The server that has committed it.
    server: Option<usize>,
}

/// A client that votes.
#[derive(Default)]
struct Voter {
    /// Its cookie.
    mark: String,
    /// The last version of each question that it has made.
    own: BTreeMap<i32, usize>,
}

/// `manage.py shell`, which executes what it reads.
struct Django {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Django {
    fn start(site: &Site) -> Self {
        let code = "import sys\nfrom polls_app.models import *\nfrom django.db.models import F\n\
                    for line in sys.stdin:\n    exec(line)\n    print('done', flush=True)";
        let mut command = django::manage_command(site, &["shell", "--verbosity", "0", "-c", code]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self {
            child,
            input,
            output: BufReader::new(output),
        }
    }

    fn execute(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "{line}");
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The results page as in the model.
fn parse(answer: &str) -> Page {
    if answer.starts_with("HTTP/1.1 404") {
        return None;
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let choices = answer
        .split("class=\"result-text\"><span dir=\"auto\">")
        .skip(1);
    let parsed = choices.map(|choice| {
        let text = choice.split('<').next().unwrap().to_owned();
        let votes = choice.split("class=\"result-votes\">").nth(1).unwrap();
        let votes = votes.split(' ').next().unwrap().replace(',', "");
        (text, votes.parse().unwrap())
    });
    Some(parsed.collect())
}

struct Model {
    questions: BTreeMap<i32, Vec<Version>>,
}

impl Model {
    /// Whether a page is a content that was committed, and not replaced more than a second before the request, and is at least as
    /// new as version `minimum`.
    fn allows(
        &self,
        question: i32,
        page: &Page,
        requested: Instant,
        received: Instant,
        minimum: usize,
    ) -> bool {
        let versions = &self.questions[&question];
        versions.iter().enumerate().any(|(index, version)| {
            let is_known_old = versions
                .get(index + 1)
                .is_some_and(|next| next.committed + MAX_AGE < requested);
            index >= minimum && version.page == *page && version.begin <= received && !is_known_old
        })
    }

    fn now(&self, question: i32) -> &Page {
        &self.questions[&question].last().unwrap().page
    }

    fn set(&mut self, question: i32, page: Page, begin: Instant, server: Option<usize>) {
        let version = Version {
            begin,
            committed: Instant::now(),
            page,
            server,
        };
        self.questions.get_mut(&question).unwrap().push(version);
    }

    /// The last version that a server has committed.
    fn last_of(&self, question: i32, server: usize) -> usize {
        let mut versions = self.questions[&question].iter();
        versions
            .rposition(|version| version.server == Some(server))
            .unwrap_or(0)
    }

    fn count(&self) -> usize {
        self.questions.values().map(Vec::len).sum()
    }
}

async fn choices(db: &Database, question: i32) -> Vec<(i32, String)> {
    let sql = format!(
        "SELECT id, choice_text FROM polls_app_choice WHERE question_id = {question} ORDER BY id"
    );
    let rows = db
        .query_all_raw(Statement::from_string(db.get_database_backend(), sql))
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            (
                row.try_get("", "id").unwrap(),
                row.try_get("", "choice_text").unwrap(),
            )
        })
        .collect()
}

/// Where a server has its metrics.
fn metrics_address(server: &mut Server) -> String {
    let log = server.read_log_until("metrics at ");
    let address = log.rsplit("metrics at ").next().unwrap();
    address.trim().to_owned()
}

/// The pages that it has served from memory.
fn hits_of(metrics_address: &str) -> f64 {
    metric(metrics_address, "polls_page_cache_hits_total")
}

fn get(server: &Server, path: &str, cookie: &str) -> String {
    server.send(&format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n",
        server.address
    ))
}

on_both_databases! {
    async fn pages_are_as_new_as_a_model_allows(site: Site) {
        let site = site.with("RUST_LOG", "info,access=off");
        site.run(["migrate"]).success();
        let db = site.database.connect().await;
        let seed = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = Model { questions: BTreeMap::new() };
        for question in 1..=QUESTIONS {
            let begin = Instant::now();
            execute(&db, &format!("INSERT INTO polls_app_question (id, question_text, pub_date) VALUES ({question}, 'q{question}', '2020-01-01 00:00:00')")).await;
            for text in ["a", "b"] {
                execute(&db, &format!("INSERT INTO polls_app_choice (choice_text, votes, question_id) VALUES ('{text}', 0, {question})")).await;
            }
            let page = Some([("a".to_owned(), 0), ("b".to_owned(), 0)].into());
            model.questions.insert(question, Vec::new());
            model.set(question, page, begin, None);
        }
        let site = site.with("METRICS_BIND", "127.0.0.1:0");
        let mut servers = [site.serve(), site.serve()];
        let mut metrics = servers.each_mut().map(metrics_address);
        let mut django = Django::start(&site);
        django.execute("Question.objects.count()");
        let mut voters: [Voter; 3] = Default::default();
        let mut hits = 0.0;
        let (mut reads, mut stopped) = (0, Vec::<(Stopped, Instant)>::new());
        for step in 0..STEPS {
            let question = random.random_range(1..=QUESTIONS);
            let server = random.random_range(0..servers.len());
            let begin = Instant::now();
            let page = model.now(question).clone();
            let mut action = random.random_range(0..70);
            if page.is_none() && action < 17 {
                // Published again.
                action = 17;
            }
            match action {
                0..12 => {
                    let Some(mut page) = page.filter(|page| !page.is_empty()) else { continue };
                    let found = choices(&db, question).await;
                    let (choice, text) = &found[random.random_range(0..found.len())];
                    let voter = &mut voters[random.random_range(0..3)];
                    let vote = vote_for(&servers[server].address, question, *choice)
                        .replacen("\r\n", "\r\nConnection: close\r\n", 1)
                        .replacen("Cookie: ", &format!("Cookie: polls_recent={}; ", voter.mark), 1);
                    let answer = servers[server].send(&vote);
                    assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");
                    *page.get_mut(text).unwrap() += 1;
                    model.set(question, Some(page), begin, Some(server));
                    let mark = answer.split("polls_recent=").nth(1).unwrap().split(';').next().unwrap();
                    mark.clone_into(&mut voter.mark);
                    voter.own.insert(question, model.questions[&question].len() - 1);
                }
                12..17 => {
                    let Some(mut page) = page.filter(|page| !page.is_empty()) else { continue };
                    let found = choices(&db, question).await;
                    let (choice, text) = &found[0];
                    *page.get_mut(text).unwrap() += 10;
                    if random.random_range(0..2) == 0 {
                        execute(&db, &format!("UPDATE polls_app_choice SET votes = votes + 10 WHERE id = {choice}")).await;
                    } else {
                        django.execute(&format!("Choice.objects.filter(id={choice}).update(votes=F('votes') + 10)"));
                    }
                    model.set(question, Some(page), begin, None);
                }
                17..20 => {
                    if let Some(mut page) = page {
                        let text = format!("c{step}");
                        django.execute(&format!("Choice.objects.create(choice_text='{text}', votes=0, question_id={question})"));
                        page.insert(text, 0);
                        model.set(question, Some(page), begin, None);
                    } else {
                        execute(&db, &format!("UPDATE polls_app_question SET pub_date = '2020-01-01 00:00:00' WHERE id = {question}")).await;
                        // Its choices are as they were.
                        let before = model.questions[&question].iter().rev().find_map(|version| version.page.clone());
                        model.set(question, before, begin, None);
                    }
                }
                20..22 => {
                    if page.is_some() {
                        execute(&db, &format!("UPDATE polls_app_question SET pub_date = '2100-01-01 00:00:00' WHERE id = {question}")).await;
                        model.set(question, None, begin, None);
                    }
                }
                22..24 => {
                    let Some(mut page) = page.filter(|page| page.len() > 1) else { continue };
                    let (choice, text) = choices(&db, question).await.pop().unwrap();
                    execute(&db, &format!("DELETE FROM polls_app_choice WHERE id = {choice}")).await;
                    page.remove(&text);
                    model.set(question, Some(page), begin, None);
                }
                24..26 if site.database.backend == Backend::Postgres => {
                    let processes = listeners(&db).await;
                    if !processes.is_empty() {
                        let process = processes[random.random_range(0..processes.len())];
                        if random.random_range(0..2) == 0 {
                            execute(&db, &format!("SELECT pg_terminate_backend({process})")).await;
                        } else {
                            stopped.push((Stopped::new(process), Instant::now() + Duration::from_millis(random.random_range(300..2000))));
                        }
                    }
                }
                26 => {
                    // Killed when dropped.
                    hits += hits_of(&metrics[server]);
                    servers[server].signal("-KILL");
                    servers[server] = site.serve();
                    metrics[server] = metrics_address(&mut servers[server]);
                    // What another process has committed is not its own change.
                    for version in model.questions.values_mut().flatten().filter(|version| version.server == Some(server)) {
                        version.server = None;
                    }
                }
                _ => {
                    let (mark, own) = match voters.get(random.random_range(0..6)) {
                        Some(voter) => (&*voter.mark, voter.own.get(&question).copied()),
                        None => ("", None),
                    };
                    let cookie = format!("polls_recent={mark}; csrftoken={SECRET}");
                    let minimum = own.unwrap_or(0).max(model.last_of(question, server));
                    // The second is from memory, if changes are received.
                    for _ in 0..2 {
                        let requested = Instant::now();
                        let answer = get(&servers[server], &format!("/polls/{question}/results/"), &cookie);
                        let (found, received) = (parse(&answer), Instant::now());
                        assert!(
                            model.allows(question, &found, requested, received, minimum),
                            "seed {seed}, step {step}: question {question} on server {server}, own version {own:?}, {found:?}; it is {:?}",
                            model.now(question),
                        );
                        reads += 1;
                    }
                }
            }
            stopped.retain(|(_, end)| Instant::now() < *end);
            tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
        }
        drop(stopped);
        assert!(reads > STEPS / 3 && model.count() > STEPS / 8, "{reads} reads, {} versions", model.count());
        hits += metrics.iter().map(|address| hits_of(address)).sum::<f64>();
        // Usually a fifth to a half.
        assert!(hits > reads as f64 / 20.0, "{hits} of {reads} from memory");
        // No vote is lost or doubled.
        tokio::time::sleep(MAX_AGE).await;
        for question in 1..=QUESTIONS {
            for server in &servers {
                let found = parse(&get(server, &format!("/polls/{question}/results/"), "x=y"));
                assert_eq!(found, *model.now(question), "seed {seed}");
            }
        }
        db.close().await;
    }
}
