//! `dumpdata` and `loaddata`: byte for byte what Django writes, all that Django reads, and nothing of a fixture with an error.

use std::{
    io::Write,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::{
    django::manage_command,
    support::{Backend, Site, site::CommandOutput},
};

/// Objects of all models, with texts that formats write in different ways.
const OBJECTS: &str = r##"
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from polls_app.models import Choice, Question

question = Question.objects.create(question_text='Ä "x" yes\n\ttab \x01 \x7f \u2028 \U0001F600 end', pub_date=timezone.now())
Question.objects.create(question_text='Whole?', pub_date=timezone.now().replace(microsecond=0))
texts = ['yes', '12', '1.5', 'null', '', '~', 'a: b', '- x', '2020-01-02', '=', '<<', ' lead', 'trail ', 'x' * 100 + ' ' + 'y' * 60,
    'a b ' * 40, "it's", '#c', 'multi\nline\n', '0x1F', '1:30', 'é', '!t', '\x85nel', '@at', 'k:v', '[a]', '\U0001F600',
    'long with \U0001F600 ' * 10, '\U0001F1E9\U0001F1EA', '\ufffe', 'back\\slash', 'tab\t', '# ' + 'é' * 90]
for text in texts:
    Choice.objects.create(question=question, choice_text=text, votes=len(text))
group = Group.objects.create(name='Editors')
group.permissions.set(Permission.objects.all()[:5])
user = User.objects.create(username='admin', password='!', is_superuser=True, last_login=timezone.now())
user.groups.add(group, Group.objects.create(name='Others'))
user.user_permissions.set(Permission.objects.all()[3:6])
LogEntry.objects.log_actions(user.pk, [question], 2, change_message=[{'changed': {'fields': ['Question text']}}])
LogEntry.objects.update(content_type=None)
LogEntry.objects.log_actions(user.pk, [question], 1, change_message=[{'added': {}}])
session = SessionStore()
session['a'] = 1
session.save()
"##;

const DUMPS: [&str; 14] = [
    "",
    "--indent 2",
    "--indent 0",
    "--format jsonl",
    "--format yaml",
    "--format yaml --indent 4",
    "--natural-foreign",
    "--natural-foreign --natural-primary --indent 4",
    "--natural-foreign --format yaml",
    "auth.user polls_app --all",
    "polls_app.Choice --pks 3,5,1",
    "sessions.session --pks nothing",
    "-e auth -e contenttypes.contenttype",
    "auth.user auth.group polls_app auth.permission --natural-foreign",
];

fn python(site: &Site, code: &str) -> String {
    let mut command = manage_command(site, &["shell", "--verbosity", "0", "-c", code]);
    CommandOutput::from(command.output().unwrap())
        .success()
        .stdout
}

fn dump(site: &Site, args: &str) -> String {
    let words: Vec<&str> = ["dumpdata"]
        .into_iter()
        .chain(args.split_whitespace())
        .collect();
    CommandOutput::from(site.command_of(&words).output().unwrap())
        .success()
        .stdout
}

fn file(site: &Site, name: &str, text: &str) {
    std::fs::write(site.folder().join(name), text).unwrap();
}

async fn texts(site: &Site, sql: &str) -> Vec<String> {
    use sea_orm::ConnectionTrait;
    let db = site.database.connect().await;
    let statement = sea_orm::Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    let texts = rows
        .iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect();
    db.close().await;
    texts
}

on_both_databases! {
    async fn dumps_are_those_of_django_and_both_load_them(site: Site) {
        site.run(["migrate"]).success();
        python(&site, OBJECTS);
        let code = format!("import io, json; from django.core.management import call_command\n\
            outputs = []\nfor args in {DUMPS:?}:\n    out = io.StringIO(); call_command('dumpdata', *args.split(), stdout=out); outputs.append(out.getvalue())\n\
            print(json.dumps(outputs))");
        let theirs: Vec<String> = serde_json::from_str(&python(&site, &code)).unwrap();
        for (args, theirs) in DUMPS.iter().zip(&theirs) {
            assert_eq!(&dump(&site, args), theirs, "dumpdata {args}");
        }
        // Their fixtures, loaded by us over other data and dumped again. A time has milliseconds only, except in YAML.
        let backend = site.database.backend;
        for (extension, args) in [("json", ""), ("jsonl", "--format jsonl"), ("yaml", "--format yaml"), ("json", "--natural-foreign --natural-primary")] {
            let fixture = dump(&site, args);
            let other = Site::new(backend).await;
            other.run(["migrate"]).success();
            file(&other, &format!("all.{extension}"), &fixture);
            let said = other.run(["loaddata", "all"]).success();
            assert!(said.stdout.ends_with(" object(s) from 1 fixture(s)\n"), "{}", said.stdout);
            assert_eq!(dump(&other, args), fixture, "loaddata of dumpdata {args}");
            // Again, over itself.
            other.run(["loaddata", "all"]).success();
            assert_eq!(dump(&other, args), fixture, "loaddata of dumpdata {args}, twice");
            let mut django = manage_command(&other, &["loaddata", &other.folder().join(format!("all.{extension}")).display().to_string()]);
            let theirs = CommandOutput::from(django.output().unwrap()).success();
            assert_eq!(theirs.stdout, said.stdout);
            assert_eq!(dump(&other, args), fixture, "Django's loaddata of dumpdata {args}");
        }
    }

    async fn own_tables_are_dumped_by_their_label(site: Site) {
        site.run(["migrate"]).success();
        site.execute("INSERT INTO polls_login_failures VALUES ('hash', 3, 1790000000)").await;
        site.execute("INSERT INTO polls_vote_receipts VALUES (-9000000000000000000, 2, 3)").await;
        assert!(!dump(&site, "").contains("polls.login"));
        let fixture = dump(&site, "polls");
        assert_eq!(fixture, "[{\"model\": \"polls.loginfailure\", \"pk\": \"hash\", \"fields\": {\"failures\": 3, \"since\": 1790000000}}, \
            {\"model\": \"polls.votereceipt\", \"pk\": -9000000000000000000, \"fields\": {\"batch\": 2, \"written\": 3}}]");
        assert_eq!(dump(&site, "polls -e polls"), "[]");
        let other = Site::new(site.database.backend).await;
        other.run(["migrate"]).success();
        file(&other, "polls.json", &fixture);
        assert_eq!(other.run(["loaddata", "polls.json"]).success().stdout, "Installed 2 object(s) from 1 fixture(s)\n");
        assert_eq!(dump(&other, "polls"), fixture);
        let path = other.folder().join("polls.json").display().to_string();
        let theirs = CommandOutput::from(manage_command(&other, &["loaddata", &path]).output().unwrap());
        assert!(theirs.stderr.contains("Invalid model identifier: polls.loginfailure"), "{}", theirs.stderr);
    }

    async fn unknown_labels_and_formats_are_refused(site: Site) {
        site.run(["migrate"]).success();
        site.run(["dumpdata", "nothing"]).refused("No installed app with label 'nothing'.");
        site.run(["dumpdata", "polls_app.nothing"]).refused("Unknown model: polls_app.nothing");
        site.run(["dumpdata", "-e", "nothing"]).refused("No installed app with label 'nothing'.");
        site.run(["dumpdata", "--format", "xml"]).refused("Unknown serialization format: xml");
        site.run(["dumpdata", "--pks", "1"]).refused("You can only use --pks option with one model");
        site.run(["dumpdata", "polls_app", "--pks", "1"]).refused("You can only use --pks option with one model");
        site.run(["dumpdata", "polls_app.question", "--pks", "1,x"])
            .refused("Unable to serialize database: Field 'id' expected a number but got 'x'.");
        site.run(["loaddata", "nothing"]).refused("No fixture named 'nothing' found.");
        site.run(["loaddata", "nothing.xml"]).refused("Problem installing fixture 'nothing.xml': xml is not a known serialization format.");
        site.run(["loaddata", "-"]).refused("--format must be specified when reading from stdin.");
        file(&site, "two.json", "[]");
        file(&site, "two.yaml", "[]");
        site.run(["loaddata", "two"]).refused("Multiple fixtures named 'two' in ''. Aborting.");
        let said = site.run(["loaddata", "two.json"]).success();
        assert_eq!(said.stderr, "RuntimeWarning: No fixture data found for 'two.json'. (File format may be invalid.)\n");
    }

    async fn a_fixture_with_an_error_is_refused_with_its_place(site: Site) {
        site.run(["migrate"]).success();
        let question = "{\"model\": \"polls_app.question\", \"pk\": 1, \"fields\": {\"question_text\": \"A?\", \"pub_date\": \"2026-01-01T00:00:00Z\"}}";
        let choice = |fields: &str| format!("{{\"model\": \"polls_app.choice\", \"pk\": 7, \"fields\": {{{fields}}}}}");
        let long = format!("\"question\": 1, \"choice_text\": \"{}\"", "x".repeat(201));
        let cases = [
            ("{\"model\": \"polls_app.nothing\", \"pk\": 1, \"fields\": {}}".to_owned(), "Invalid model identifier: polls_app.nothing"),
            ("{\"model\": \"polls.nothing\", \"pk\": 1, \"fields\": {}}".to_owned(), "Invalid model identifier: polls.nothing"),
            ("{\"model\": \"polls.questionoptions\", \"pk\": 1, \"fields\": {\"policy\": \"zzz\"}}".to_owned(), "policy: Value 'zzz' is not a valid choice.: (polls.questionoptions:pk=1)"),
            ("{\"pk\": 1, \"fields\": {}}".to_owned(), "the object has no `model`"),
            ("{\"model\": \"polls_app.choice\", \"pk\": 7}".to_owned(), "the object has no `fields`: (polls_app.choice:pk=7)"),
            (choice("\"question\": 1, \"colour\": 1"), "Choice has no field named 'colour': (polls_app.choice:pk=7)"),
            (choice("\"question\": 1, \"votes\": \"many\""), "votes: “many” value must be an integer.: (polls_app.choice:pk=7)"),
            (choice("\"question\": 1, \"votes\": null"), "votes: the value must not be null: (polls_app.choice:pk=7)"),
            (choice("\"question\": [1]"), "question: polls_app.Question has no natural key: (polls_app.choice:pk=7)"),
            (choice("\"choice_text\": \"a\""), "question: the field is missing: (polls_app.choice:pk=7)"),
            (choice("\"question\": 1, \"choice_text\": \"a\\u0000\""), "choice_text: null characters are not allowed: (polls_app.choice:pk=7)"),
            (choice(&long), "choice_text: the value has 201 characters, at most 200 are allowed: (polls_app.choice:pk=7)"),
            (choice("\"question\": 3000000000"), "question: “3000000000” is out of range: (polls_app.choice:pk=7)"),
            (question.replace("2026-01-01T00:00:00Z", "soon"), "pub_date: “soon” value has an invalid format. It must be in YYYY-MM-DD HH:MM[:ss[.uuuuuu]][TZ] format.: (polls_app.question:pk=1)"),
            (choice("\"question\": 1, \"choice_text\": 100000000000000000000000000000"), "choice_text: the value is not a text: write it in quotes: (polls_app.choice:pk=7)"),
            ("{\"model\": \"auth.group\", \"pk\": 1, \"fields\": {\"name\": \"A\", \"permissions\": 1}}".to_owned(), "permissions: “1” is no list of related objects: (auth.group:pk=1)"),
            ("7".to_owned(), "it is not an object with `model`, `pk` and `fields`"),
            ("{\"model\": ".to_owned(), "expected value"),
        ];
        for (object, reason) in cases {
            file(&site, "bad.json", &format!("[{question},\n{object}\n]"));
            site.run(["loaddata", "bad.json"]).refused(&format!("Problem installing fixture 'bad.json': line {}: {reason}", if reason == "expected value" { 3 } else { 2 }));
        }
        // The database refuses the second of two names, in a batch and alone.
        let group = |pk: &str, name: &str| format!("{{\"model\": \"auth.group\", {pk}\"fields\": {{\"name\": \"{name}\"}}}}");
        file(&site, "bad.json", &format!("[{},\n{},\n{}]", group("\"pk\": 1, ", "A"), group("\"pk\": 2, ", "B"), group("\"pk\": 3, ", "A")));
        let said = site.run(["loaddata", "bad.json"]);
        assert_eq!(said.code, 1);
        assert!(said.stderr.starts_with("CommandError: Problem installing fixture 'bad.json': line 3: Could not load auth.Group(pk=3): "), "{}", said.stderr);
        // References that are broken, at the end.
        file(&site, "bad.json", &format!("[{question},\n{}]", choice("\"question\": 9")));
        site.run(["loaddata", "bad.json"]).refused("Problem installing fixtures: The row in table 'polls_app_choice' with primary key '7' has an invalid \
            foreign key: polls_app_choice.question_id contains a value '9' that does not have a corresponding value in polls_app_question.id. ('bad.json', line 2)");
        file(&site, "bad.json", "[{\"model\": \"auth.group\", \"pk\": 1, \"fields\": {\"name\": \"A\", \"permissions\": [[\"fly\", \"polls_app\", \"question\"]]}}]");
        site.run(["loaddata", "bad.json"]).refused("Problem installing fixture 'bad.json': line 1: auth.Permission with the natural key \
            [\"fly\",\"polls_app\",\"question\"] does not exist");
        file(&site, "bad.json", "[{\"model\": \"auth.group\", \"pk\": 1, \"fields\": {\"name\": \"A\", \"permissions\": [999]}}]");
        let said = site.run(["loaddata", "bad.json"]);
        assert!(said.stderr.contains("auth_group_permissions.permission_id contains a value '999'") && said.stderr.ends_with("('bad.json', line 1)\n"), "{}", said.stderr);
        assert_eq!(dump(&site, "polls_app auth.group"), "[]");
    }

    async fn objects_replace_those_with_their_key_and_the_next_key_is_free(site: Site) {
        site.run(["migrate"]).success();
        site.execute("INSERT INTO polls_app_question VALUES (500, 'Old?', '2026-01-01 00:00:00')").await;
        site.execute("INSERT INTO polls_app_choice (id, choice_text, votes, question_id) VALUES (5, 'old', 9, 500)").await;
        // A choice before its question, twice the same key, and a choice without votes, which are 0 then.
        let text = "- {model: polls_app.choice, pk: 5, fields: {question: 600, choice_text: yes and no}}\n\
            - {model: polls_app.question, pk: 600, fields: {question_text: First?, pub_date: 2026-01-02}}\n\
            - {model: polls_app.question, pk: 600, fields: {question_text: New?, pub_date: 2026-01-02 03:04:05+01:00}}\n\
            - {model: polls_app.question, fields: {question_text: No key?, pub_date: 2026-01-02T00:00:00.5Z}}\n";
        let text = text.replace("{model: polls_app.question, fields", "{model: polls_app.question, pk: 601, fields");
        let said = site.run_with_input(["loaddata", "-", "--format", "yaml"], &text).success();
        assert_eq!(said.stdout, "Installed 4 object(s) from 1 fixture(s)\n");
        assert_eq!(dump(&site, "polls_app.choice"), "[{\"model\": \"polls_app.choice\", \"pk\": 5, \"fields\": {\"question\": 600, \"choice_text\": \"yes and no\", \"votes\": 0}}]");
        assert!(dump(&site, "polls_app.question").contains("\"question_text\": \"New?\", \"pub_date\": \"2026-01-02T02:04:05Z\""));
        site.run_with_input(["seed", "-"], "- question: Next?\n  choices: [x]\n").success();
        assert_eq!(texts(&site, "SELECT question_text FROM polls_app_question WHERE id = 602").await, ["Next?"]);
        // References to objects that come later, also to ones that wait for others themselves.
        let text = "{\"model\": \"admin.logentry\", \"pk\": 1, \"fields\": {\"user\": [\"later\"], \"action_time\": \"2026-01-01\", \"object_repr\": \"x\", \"action_flag\": 1}}\n\
            {\"model\": \"auth.user\", \"pk\": 4, \"fields\": {\"username\": \"later\", \"groups\": [[\"Last\"]]}}\n\
            {\"model\": \"auth.group\", \"fields\": {\"name\": \"Last\", \"permissions\": [[\"add_choice\", \"polls_app\", \"choice\"]]}}\n";
        let said = site.run_with_input(["loaddata", "-", "--format", "jsonl"], text).success();
        assert_eq!(said.stdout, "Installed 3 object(s) from 1 fixture(s)\n");
        let stored = dump(&site, "admin auth.user --natural-foreign");
        assert!(stored.contains("\"user\": [\"later\"]") && stored.contains("\"groups\": [[\"Last\"]]"), "{stored}");
        // Without a key.
        let text = "{\"model\": \"polls_app.question\", \"fields\": {\"question_text\": \"No key?\", \"pub_date\": \"2026-01-02\"}}\n";
        site.run_with_input(["loaddata", "-", "--format", "jsonl"], text).success();
        assert_eq!(texts(&site, "SELECT question_text FROM polls_app_question WHERE id = 603").await, ["No key?"]);
    }

    async fn yaml_is_that_of_django_for_texts_that_look_like_escapes(site: Site) {
        site.run(["migrate"]).success();
        let code = r#"from polls_app.models import *; from datetime import datetime, timezone
for t in ["C:\uFFFEabcd", "C:\uFFFEabcd 🎉", "￾abcd", "￾abcd 🎉 \uFFFFabcd", "￾￿﻿ 1ekm"]:
    Question.objects.create(question_text=t, pub_date=datetime(2026, 1, 1, tzinfo=timezone.utc))"#;
        python(&site, code);
        let theirs = CommandOutput::from(manage_command(&site, &["dumpdata", "polls_app", "--format", "yaml"]).output().unwrap()).success();
        assert_eq!(dump(&site, "polls_app --format yaml"), theirs.stdout);
        // Each placeholder is in a text: another spelling of the same.
        let code = r#"from polls_app.models import *; q = Question.objects.get(id=1); q.question_text = "￾￿﻿ 🎉"; q.save()"#;
        python(&site, code);
        file(&site, "all.yaml", &dump(&site, "polls_app --format yaml"));
        let before = dump(&site, "polls_app");
        site.run(["loaddata", "all.yaml"]).success();
        assert_eq!(dump(&site, "polls_app"), before);
    }

    async fn keys_may_be_among_the_fields(site: Site) {
        site.run(["migrate"]).success();
        file(&site, "keys.json", r#"[{"model": "polls_app.question", "pk": null, "fields": {"id": 7, "question_text": "A?", "pub_date": "2026-01-01T00:00:00Z"}},
            {"model": "polls_app.choice", "pk": 3, "fields": {"question_id": 7, "choice_text": "b"}}]"#);
        site.run(["loaddata", "keys.json"]).success();
        assert_eq!(site.number("SELECT count(*) FROM polls_app_choice WHERE id = 3 AND question_id = 7").await, 1);
    }

    async fn a_dump_keeps_the_permissions_and_the_link_of_its_file(site: Site) {
        use std::os::unix::fs::{PermissionsExt, symlink};
        site.run(["migrate"]).success();
        let path = site.folder().join("secret.json");
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&path, site.folder().join("link.json")).unwrap();
        site.run(["dumpdata", "auth", "-o", "link.json"]).success();
        assert!(site.folder().join("link.json").is_symlink());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(&path).unwrap().starts_with('['));
        assert!(!site.folder().join("secret.json.part").exists());
    }

    async fn fixtures_are_found_left_out_and_decompressed(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        for name in ["all.json.gz", "all.yaml.xz", "plain.json"] {
            assert_eq!(site.run(["dumpdata", "polls_app", "-o", name]).success().stdout, "");
        }
        let magic = |name: &str| std::fs::read(site.folder().join(name)).unwrap()[..2].to_vec();
        assert_eq!((magic("all.json.gz"), magic("all.yaml.xz")), (vec![0x1f, 0x8b], vec![0xfd, b'7']));
        // JSON is YAML as well.
        for name in ["all.json.gz", "all.yaml.xz", "plain"] {
            assert_eq!(site.run(["loaddata", name]).success().stdout, "Installed 12 object(s) from 1 fixture(s)\n", "{name}");
        }
        let said = site.run(["loaddata", "plain", "-e", "polls_app.Choice"]).success();
        assert_eq!(said.stdout, "Installed 3 object(s) (of 12) from 1 fixture(s)\n");
        std::fs::create_dir_all(site.folder().join("polls_app/fixtures")).unwrap();
        let text = "{\"model\": \"polls_app.question\", \"pk\": 1, \"fields\": {\"question_text\": \"Q?\", \"pub_date\": \"2026-01-01\", \"colour\": 1}}\n\
            {\"model\": \"gone.model\", \"pk\": 1, \"fields\": {}}\n";
        file(&site, "polls_app/fixtures/own.jsonl", text);
        site.run(["loaddata", "own", "--app", "auth"]).refused("No fixture named 'own' found.");
        assert!(site.run(["loaddata", "own", "--app", "polls_app"]).stderr.contains("own.jsonl': line 1: Question has no field named 'colour'"));
        assert_eq!(site.run(["loaddata", "own", "--ignorenonexistent", "-v", "0"]).success().stdout, "");
        assert!(dump(&site, "polls_app.question --pks 1").contains("Q?"));
        // A dump that fails leaves the old file as it was.
        site.execute("ALTER TABLE polls_app_choice RENAME TO gone").await;
        assert_eq!(site.run(["dumpdata", "polls_app", "-o", "plain.json"]).code, 1);
        assert!(std::fs::read_to_string(site.folder().join("plain.json")).unwrap().ends_with("}}]"));
        assert!(!site.folder().join("plain.json.part").exists());
    }

    async fn loaded_objects_are_on_the_pages_within_a_second(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        let server = site.serve();
assert!(server.get("/polls/").contains("/polls/1/"));
        let fixture = dump(&site, "polls_app").replace("\"question_text\": \"", "\"question_text\": \"Loaded: ");
        site.run_with_input(["loaddata", "-", "--format", "json"], &fixture).success();
        let loaded = Instant::now();
        while !server.get("/polls/").contains("Loaded: ") {
            assert!(loaded.elapsed() < Duration::from_secs(1));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn others_can_write_while_input_is_waited_for(site: Site) {
        site.run(["migrate"]).success();
        let mut command = site.command(["loaddata", "-", "--format", "json"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"[{\"model\": \"polls_app.question\", \"pk\": 1, \"fields\": {\"question_text\": \"A?\", ").unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        site.run(["seed"]).success();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        input.write_all(b"\"pub_date\": \"2026-01-01\"}}]").unwrap();
        drop(input);
        CommandOutput::from(child.wait_with_output().unwrap()).success();
        assert_eq!(texts(&site, "SELECT question_text FROM polls_app_question WHERE id = 1").await, ["A?"]);
    }

    async fn a_closed_pipe_ends_a_dump_quietly(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed", "--random", "2000", "-v", "0"]).success();
        let mut head = site.command_by("sh", &["-c", "\"$0\" dumpdata polls_app | head -c 100"], &[]);
        let output = CommandOutput::from(head.output().unwrap());
        assert_eq!((output.code, output.stdout.len(), output.stderr.as_str()), (0, 100, ""));
    }
}

#[tokio::test]
async fn infinite_times_of_postgresql_are_errors_and_no_panics() {
    let site = Site::new(Backend::Postgres).await;
    site.run(["migrate"]).success();
    site.execute("INSERT INTO polls_app_question VALUES (1, 'q', 'infinity')")
        .await;
    site.execute("INSERT INTO django_session VALUES ('k', 'x', 'infinity')")
        .await;
    site.run(["dumpdata", "polls_app", "-o", "x.json"]).refused(
        "Unable to serialize database: Type Error: polls_app.Question(pk=1).pub_date: Type Error: the time is out of range",
    );
    let said = site.run(["inspect"]);
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (1, ""),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains("the time is out of range"),
        "{}",
        said.stderr
    );
}
