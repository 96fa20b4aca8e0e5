//! `shell`: the session of the tutorial, the methods of Django's ORM, errors with their places, transactions, and the prompt.

use std::time::{Duration, Instant};

use crate::{
    django::manage_command,
    support::{Backend, Site, site::CommandOutput},
};

/// What a session of these lines prints.
fn session(site: &Site, source: &str) -> CommandOutput {
    site.run_with_input(["shell"], source)
}

on_both_databases! {
    async fn the_tutorial_s_session_works_line_by_line(site: Site) {
        site.run(["migrate"]).success();
        let said = session(&site, r#"
print(Question.all())
q = Question(question_text="What's new?", pub_date=timezone.now())
q.save()
print(q.id)
print(q.question_text)
print(q.pub_date.year >= 2026)
q.question_text = "What's up?"
q.save()
print(Question.objects.all())
print(Question.filter(id=1))
print(Question.filter(question_text__startswith="What"))
print(Question.get(pub_date__year=timezone.now().year))
print(q.choices.all())
q.choices.create(choice_text="Not much", votes=0)
q.choice_set.create(choice_text='The sky', votes=0)
c = q.choices.create(choice_text='Just hacking again', votes=0)
print(c.question)
print(q.choices.count())
print(Choice.filter(question__pub_date__year=timezone.now().year))
c = q.choices.filter(choice_text__startswith='Just hacking')
print(c.delete())
"#).success();
        assert_eq!(said.stdout, "<QuerySet []>\n1\nWhat's new?\ntrue\n<QuerySet [<Question: What's up?>]>\n<QuerySet [<Question: What's up?>]>\n\
            <QuerySet [<Question: What's up?>]>\nWhat's up?\n<QuerySet []>\nWhat's up?\n3\n\
            <QuerySet [<Choice: Not much>, <Choice: The sky>, <Choice: Just hacking again>]>\n[1, #{\"polls_app.Choice\": 1}]\n");
    }

    async fn queries_give_what_django_s_give(site: Site) {
        site.run(["migrate"]).success();
        let code = "from polls_app.models import *; from datetime import datetime, timezone, timedelta\nstart = datetime(2026, 1, 1, tzinfo=timezone.utc)\n\
            for n in range(12):\n    q = Question.objects.create(question_text=['Blue?', 'blue_50%', 'Red', 'tail\\\\'][n % 4] + str(n), pub_date=start + timedelta(days=n))\n    \
            [q.choice_set.create(choice_text=text, votes=n) for text in ['one', 'Two'][:n % 3]]";
        CommandOutput::from(manage_command(&site, &["shell", "-v", "0", "-c", code]).output().unwrap()).success();
        // The same expressions in both; only the lookups differ in nothing.
        let queries = [
            "all()", "filter(id__in=[1, 5, 99])", "filter(question_text__contains='lue')", "filter(question_text__icontains='BLUE')",
            "filter(question_text__contains='_50%')", "filter(question_text__startswith='blue')", "filter(question_text__istartswith='blue')",
            "filter(question_text__endswith='1')", "filter(question_text__contains='\\\\')", "filter(question_text__iexact='RED2')", "filter(question_text='red2')",
            "filter(pub_date__gt='2026-01-05T00:00:00Z')", "filter(pub_date__lte='2026-01-05T00:00:00Z').order_by('-pub_date')", "filter(pub_date__range=['2026-01-02T00:00:00Z', '2026-01-04T00:00:00Z'])",
            "filter(pub_date__year=2026, id__lt=3)", "filter(pub_date__date='2026-01-03')", "exclude(id__gt=3)", "exclude(question_text__contains='e').order_by('id')", "filter(choice__votes__gte=8)",
            "filter(choice__isnull=False)", "order_by('question_text')", "order_by('-question_text')[2:5]", "all().order_by('id')[3:]", "filter(pk=3).exclude(pk=3)",
            // Of one choice each, of any, and of none.
            "filter(choice__choice_text='one', choice__votes=4)", "filter(choice__choice_text='two', choice__votes__gte=4)",
            "filter(choice__choice_text='one').filter(choice__choice_text='Two')", "filter(choice__choice_text='one', choice__pk__in=[2, 3])",
            "filter(choice=None)", "exclude(choice=None)", "filter(choice__votes=None)", "exclude(choice__votes=None)", "filter(choice__isnull=True)",
            "filter(choice__votes__isnull=True, choice__choice_text='one')", "exclude(choice__choice_text='one')", "exclude(choice__choice_text='one', choice__votes=4)",
            // Numbers that the column cannot have.
            "filter(id__lt=99999999999)", "filter(id__gt=99999999999)", "filter(id=99999999999)", "filter(id__gte=-99999999999)", "exclude(id__in=[1, 99999999999])",
            "filter(pub_date__year=9999)", "filter(pub_date__year='2026')",
        ];
        let prints: String = queries.iter().map(|query| format!("print(sorted(set(q.pk for q in Question.objects.{query})) if 'order_by' not in {query:?} else [q.pk for q in Question.objects.{query}])\n")).collect();
        let code = format!("from polls_app.models import *\n{}", prints);
        let theirs = CommandOutput::from(manage_command(&site, &["shell", "-v", "0", "-c", &code]).output().unwrap()).success();
        let ours: String = queries.iter().map(|query| format!("print(Question.objects.{query}.values_list('id'))\n")).collect();
        let ours = session(&site, &ours).success();
        let (ours, theirs): (Vec<_>, Vec<_>) = (ours.stdout.lines().collect(), theirs.stdout.lines().collect());
        for ((query, ours), theirs) in queries.iter().zip(&ours).zip(&theirs) {
            assert_eq!(ours, theirs, "{query}");
        }
        assert_eq!((ours.len(), theirs.len()), (queries.len(), queries.len()));
        let said = session(&site, "print(Choice.filter(question__question_text__icontains='blue').update(votes=F('votes') + 5))\n\
            print(Choice.order_by('-votes', 'id')[0].votes)\nprint(Question.first().id, )\nprint(Question.last().id)\nprint(Question.filter(id=0).first() == ())\n\
            print(Question.get_or_create(id=1)[1])\nprint(Question.exists())\nfor c in Choice.filter(votes__gt=12) { print(c.choice_text); }\n").success();
        assert!(said.stdout.ends_with("1\n12\ntrue\nfalse\ntrue\none\nTwo\n"), "{}", said.stdout);
    }

    async fn users_and_groups_can_be_made(site: Site) {
        site.run(["migrate"]).success();
        let said = session(&site, r#"
u = User.create_superuser(username="admin", email="A@EXAMPLE.com", password="k3Lm-91xz")
print(u.email)
b = User.create(username="bob")
print(b.check_password(""))
b.set_password("s3cret-91")
b.save()
print(User.get(username="bob").check_password("s3cret-91"))
g = Group.create(name="Editors")
g.permissions.set(Permission.filter(content_type__model="question").values_list("id"))
b.groups.add(g)
print(b.groups.all())
print(User.filter(groups__name="Editors").count())
print(Group.get(name="Editors").permissions.count())
b.groups.clear()
print(b.groups.count())
print(u == User.get(1))
"#).success();
        assert_eq!(said.stdout, "A@example.com\nfalse\ntrue\n<QuerySet [<Group: Editors>]>\n1\n4\n0\ntrue\n");
        let code = "from django.contrib.auth import authenticate; u = authenticate(username='bob', password='s3cret-91'); \
            a = authenticate(username='admin', password='k3Lm-91xz'); print(u.is_staff, a.is_superuser, a.is_staff)";
        let theirs = CommandOutput::from(manage_command(&site, &["shell", "-v", "0", "-c", code]).output().unwrap()).success();
        assert_eq!(theirs.stdout, "False True True\n");
        // Deleting a user takes their log entries and memberships with them.
        site.execute("INSERT INTO django_admin_log (action_time, object_repr, action_flag, change_message, user_id) VALUES ('2026-01-01 00:00:00', 'x', 1, '', 1)").await;
        let said = session(&site, "print(User.filter(username='admin').delete())\nprint(Question.filter(id=1).delete())\n").success();
        assert_eq!(said.stdout, "[2, #{\"admin.LogEntry\": 1, \"auth.User\": 1}]\n[0, #{}]\n");
    }

    async fn passwords_are_hashed_and_hashes_are_kept(site: Site) {
        site.run(["migrate"]).success();
        // What looks like a stored value, and is a password.
        let passwords = ["!Secret-4711", "scrypt", "pbkdf2_sha256$1$a$b", "md5$x$y", "argon2"];
        for (number, password) in passwords.iter().enumerate() {
            let code = format!("u = User.create_user(username='u{number}', password='{password}')\nprint(u.check_password('{password}'))\nprint(u.password.starts_with('pbkdf2_sha256$'))");
            assert_eq!(session(&site, &code).success().stdout, "true\ntrue\n", "{password}");
        }
        let said = session(&site, "print(User.create_user(username='none', password=None).password[:1])\n\
            try { User.create(username='x', password='plain') } catch (e) { print(e) }\nu = User.get(1)\ntry { u.password = '!short' } catch (e) { print(\"refused\") }\n\
            User.create(username='copy', password=User.get(1).password)\nprint(User.get(username='copy').check_password('!Secret-4711'))").success();
        let refusal = "the field `password` takes a hash, as of make_password(): set_password() or create_user() take a password";
        assert_eq!(said.stdout, format!("!\n{refusal}\nrefused\ntrue\n"));
        // A hash that is not known stays, and so does an empty one.
        for stored in ["md5$salt$0123456789abcdef0123456789abcdef", "{crypt}ab01FAX.bQRSU", ""] {
            site.execute(&format!("UPDATE auth_user SET password = '{stored}' WHERE id = 1")).await;
            session(&site, "u = User.get(1)\nu.first_name = 'x'\nu.save()\n").success();
            assert_eq!(session(&site, "print(User.get(1).password)").success().stdout, format!("{stored}\n"));
        }
    }

    async fn queries_of_other_models_give_what_django_s_give(site: Site) {
        site.run(["migrate"]).success();
        session(&site, "for name in ['a', 'b'] { Group.create(name=name); }\nfor name in ['x', 'y', 'z'] { User.create(username=name); }\n\
            User.get(username='x').groups.set(Group.all()); User.get(username='y').groups.set(Group.filter(name='a'))\n").success();
        let queries = ["User.objects.filter(groups=None)", "User.objects.exclude(groups=None)", "User.objects.filter(groups__name__isnull=True)", "User.objects.filter(groups__name='a', groups__id=2)",
            "Permission.objects.filter(content_type__app_label=None)", "Permission.objects.all()", "Permission.objects.filter(id__lt=9).reverse()", "Permission.objects.order_by('content_type__model', '-codename')"];
        let ours: String = queries.iter().map(|query| format!("print({query}.values_list('id'))\n")).collect();
        let theirs: String = queries.iter().map(|query| format!("print([o.pk for o in {query}])\n")).collect();
        let code = format!("from django.contrib.auth.models import *\n{theirs}");
        let theirs = CommandOutput::from(manage_command(&site, &["shell", "-v", "0", "-c", &code]).output().unwrap()).success();
        let ours = session(&site, &ours).success();
        for ((query, ours), theirs) in queries.iter().zip(ours.stdout.lines()).zip(theirs.stdout.lines()) {
            assert_eq!(ours, theirs, "{query}");
        }
        assert_eq!(ours.stdout.lines().count(), queries.len());
        let said = session(&site, "try { Group.get_or_create(id__gt=0) } catch (e) { print(e) }\nprint(Group.get_or_create(name__iexact='New', name='new')[1])\n").success();
        assert_eq!(said.stdout, "get() returned more than one Group -- it returned 2!\ntrue\n");
        let said = session(&site, "q = Question.create(question_text='A?', pub_date=now())\nq.choices.create(choice_text='b', votes=3)\nChoice.update(votes=F('votes') + 9223372036854775807)\n");
        assert_eq!(said.code, 1, "{}", said.stdout);
        assert_eq!(session(&site, "print(Choice.first().votes)").success().stdout, "3\n");
        // Many reads after a write, in one statement.
        session(&site, "transaction(|| { Group.create(name='c'); for n in range(0, 3000) { Group.exists(); } })").success();
    }

    async fn relations_are_followed_in_both_directions(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        let said = session(&site, r#"
fn questions() { Question.count() }
print(questions())
print(Question.filter(choices__isnull=True).count())
c = Choice.order_by("id").first()
c.question.question_text = "Renamed?"
c.question.save()
print(Question.get(c.question_id).question_text)
try { c.question = Question.filter(id=1) } catch (e) { print(e) }
try { Choice.all().update(question=Choice.first()) } catch (e) { print(e) }
try { Question.order_by("id")[:2].last() } catch (e) { print(e) }
print(Question.order_by("id")[1:][:1].values_list("id"))
print([1, 2, 3][1:])
print("abcdef"[1:3])
try { [1, 2][-1:] } catch (e) { print(e) }
u = User.create(username="bob")
for name in ["a", "b", "c"] { Group.create(name=name); }
u.groups.set(Group.all())
u.groups.remove(Group.get(name="a"))
try { u.groups.filter(name="b").clear() } catch (e) { print("refused") }
print(u.groups.count())
print(Group.get(name="b").user_set.all())
print(User.filter(groups__isnull=False).count())
print(Group.filter(user__username="bob").count())
print(Group.filter(name__icontains="B").count())
print(Question.filter(choices__votes=0).delete()[0])
print(Question.count())
print(Group.get_or_create(name="d", defaults=#{})[1])
exit
print("not reached")
"#).success();
        let lines: Vec<&str> = said.stdout.lines().collect();
        assert_eq!(lines, ["3", "0", "Renamed?", "a field cannot have a value of the type QuerySet", "question: it has to be a Question, not a Choice",
            "Cannot reverse a query once a slice has been taken.", "[2]", "[2, 3]", "bc", "negative places are not supported", "refused", "2", "<QuerySet [<User: bob>]>", "1", "2", "1", "12", "0", "true"]);
        // A read that fails does not undo what the statement has written.
        let said = session(&site, "if true { Group.create(name='kept'); try { Question.filter(question_text__contains='\\x00').count() } catch { } }\nprint(Group.filter(name='kept').exists())\n").success();
        assert_eq!(said.stdout, "true\n");
        // Saving an object does not set the sequence back.
        let said = session(&site, "q = Question.create(question_text='A?', pub_date=now())\nq.delete()\nz = Question.create(question_text='B?', pub_date=now())\nz.save()\n\
            y = Question.create(question_text='C?', pub_date=now())\nprint(y.id > z.id)\nprint(z.delete()[0])\n").success();
        assert_eq!(said.stdout, "true\n1\n");
        let mut endless = site.command_by("sh", &["-c", "\"$0\" shell -c 'loop { print(1) }' | head -1"], &[]);
        let output = CommandOutput::from(endless.output().unwrap());
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "1\n", ""));
    }

    async fn each_statement_is_one_transaction(site: Site) {
        site.run(["migrate"]).success();
        let count = "SELECT count(*) FROM polls_app_question";
        // The statements before the one that fails stay.
        let said = session(&site, "Question.create(question_text='kept', pub_date=now())\nfor n in 0..3 { Question.create(question_text='lost', pub_date=now()); if n == 1 { throw 'stop'; } }\n");
        assert_eq!((said.code, said.stderr.as_str()), (1, "CommandError: line 2, column 84: stop\n"));
        assert_eq!(site.number(count).await, 1);
        let said = session(&site, "fn add(text) { Question.create(question_text=text, pub_date=now()) }\nx = 1\n\
            try { transaction(|| { Question.create(question_text='lost', pub_date=now()); throw 'no' }) } catch (e) { Question.create(question_text=e, pub_date=now()); }\n\
            transaction(|| { Question.create(question_text='both', pub_date=now()); Question.create(question_text='both', pub_date=now()); })\n\
            try { Choice.create(choice_text='a', question_id=99); } catch (e) { print('refused'); }\n").code;
        // A reference is checked when its statement ends, so that the block cannot catch it.
        assert_eq!(said, 1);
        assert_eq!(session(&site, "print(Question.order_by('id').values_list('question_text'))\n").success().stdout, "[\"kept\", \"no\", \"both\", \"both\"]\n");
        // A deferred reference is refused when the statement ends.
        let said = session(&site, "Choice.create(choice_text='a', question_id=99)\n");
        assert!(said.code == 1 && said.stderr.starts_with("CommandError: line 1, column 1: "), "{}", said.stderr);
        assert_eq!(site.number("SELECT count(*) FROM polls_app_choice").await, 0);
    }

    async fn errors_have_their_line_and_column(site: Site) {
        site.run(["migrate"]).success();
        for (source, error) in [
            ("let x = 1\nprint(y)\n", "line 2, column 7: Variable not found: y"),
            ("\n\n  Question.nothing()\n", "line 3, column 12: there is no function or method nothing for these arguments"),
            ("Question.filter(colour=1)\n", "line 1, column 10: Question has no field colour"),
            ("Question.filter(id__near=1)\n", "line 1, column 10: there is no lookup near: there are exact,"),
            ("q = Question(question_text='A?', pub_date='soon')\n", "line 1, column 5: pub_date: “soon” value has an invalid format."),
            ("q = Question()\nq.question_text = 'a'\nq.save()\n", "line 3, column 3: pub_date: the value must not be null"),
            (&format!("Question.create(question_text='{}', pub_date=now())\n", "x".repeat(300)), "line 1, column 10: question_text: the value has 300 characters, at most 200 are allowed"),
            ("Question.get(7)\n", "line 1, column 10: Question matching query does not exist."),
            ("Question.all()[:2].delete()\n", "line 1, column 20: Cannot use delete() once a slice has been taken."),
            ("Question.all()[0]\n", "line 1, column 15: there is no object at 0"),
            ("print(1\n", "line 2, column 1: the end of a bracket, a text or a comment is missing"),
            ("print(1))\n", "line 1, column 9: ) closes no bracket"),
            ("x = 'a\n", "line 1, column 7: a text has to end on its line: use three quotes for more lines"),
            ("User.create(username='a')\nUser.create(username='a')\n", "line 2, column 6: "),
            ("transaction(|| {\n  throw 'inner'\n})\n", "line 2, column 3: inner"),
            ("fn f() { throw 'deep' }\n\nf()\n", "line 3, column 1: deep (in the function f)"),
        ] {
            let said = session(&site, source);
            assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{source}: {}", said.stderr);
            assert!(said.stderr.starts_with(&format!("CommandError: {error}")), "{source}: {}", said.stderr);
            assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
        }
    }

    async fn code_comes_from_an_option_a_file_or_standard_input(site: Site) {
        site.run(["migrate"]).success();
        assert_eq!(site.run(["shell", "-c", "print(Question.count()); print('two')"]).success().stdout, "0\ntwo\n");
        std::fs::write(site.folder().join("code.rhai"), "let total = 0;\nfor n in [1, 2, 3] {\n    total += n;\n}\nprint(total);\n").unwrap();
        assert_eq!(site.run(["shell", "code.rhai"]).success().stdout, "6\n");
        assert_eq!(site.run_with_input(["shell", "-"], "print(\"in\")").success().stdout, "in\n");
        let help = site.run(["shell", "-c", "help(); help(Question); help('order_by'); help('xyzzy')"]).success().stdout;
        for text in ["Models: Question, Choice, User,", "transaction(|| { … })", "polls_app.Question, table polls_app_question\n", "question_text                        a text of at most 200 characters\n",
                     "choices choice_set                   the Choice objects", "There is nothing named \"xyzzy\""] {
            assert!(help.contains(text), "{text}: {help}");
        }
    }

    async fn a_change_appears_on_the_pages(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        let server = site.serve();
        assert!(server.get("/polls/1/").contains("<h1"));
        session(&site, "q = Question.get(1)\nq.question_text = 'From the shell?'\nq.save()\n").success();
        let changed = Instant::now();
        while !server.get("/polls/1/").contains("From the shell?") {
            assert!(changed.elapsed() < Duration::from_secs(1));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[tokio::test]
async fn the_prompt_shows_values_and_goes_on_after_errors() {
    let site = Site::migrated(Backend::Sqlite).await;
    let home = site.folder().to_str().unwrap().to_owned();
    let site = site.with("HOME", &home);
    let mut terminal = site.terminal(&["shell", "--no-color"]);
    terminal.exp_string(">>> ").unwrap();
    terminal
        .send_line("q = Question.create(question_text=\"What's up?\", pub_date=now())")
        .unwrap();
    terminal.exp_string("\n").unwrap();
    terminal.send_line("Question.get(1)").unwrap();
    terminal.exp_string("\n<Question: What's up?>\r\n").unwrap();
    terminal.send_line("Question.all()").unwrap();
    terminal
        .exp_string("<QuerySet [<Question: What's up?>]>")
        .unwrap();
    terminal.send_line("nothing").unwrap();
    terminal
        .exp_string("Error: line 1, column 1: Variable not found: nothing")
        .unwrap();
    // Several lines, a completion, and the variable of before.
    terminal.send_line("if q.id == 1 {").unwrap();
    terminal.send_line("print(\"in \" + \"a block\")").unwrap();
    terminal.send_line("}").unwrap();
    terminal.exp_string("in a block").unwrap();
    terminal.send("Question.cou\t").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("Question.count").unwrap();
    terminal.send_line("()").unwrap();
    terminal.exp_string("\n1\r\n").unwrap();
    terminal.send_line("'it is ' + q.question_text").unwrap();
    terminal.exp_string("\"it is What's up?\"").unwrap();
    // CONTROL-C ends a statement, and not the session.
    terminal.send_line("loop { }").unwrap();
    // The line editor is done when it turns bracketed paste off.
    terminal.exp_string("\u{1b}[?2004l").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    terminal.send_control('c').unwrap();
    terminal.exp_string("stopped").unwrap();
    terminal.send_line("q.id + 41").unwrap();
    terminal.exp_string("42").unwrap();
    terminal.send_line("exit").unwrap();
    terminal.exp_eof().unwrap();
    let history = std::fs::read_to_string(site.folder().join(".polls_history")).unwrap();
    assert!(history.contains("Question.all()"), "{history}");
}
