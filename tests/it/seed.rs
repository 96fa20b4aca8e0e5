//! `seed`: valid files are added once, invalid ones not at all.

use polls::entities::{choice, question};
use sea_orm::{EntityTrait, PaginatorTrait};

use crate::support::{Site, captured};

async fn counts(site: &Site) -> (u64, u64) {
    let db = site.database.connect().await;
    let counts = (
        question::Entity::find().count(&db).await.unwrap(),
        choice::Entity::find().count(&db).await.unwrap(),
    );
    db.close().await;
    counts
}

fn file(site: &Site, name: &str, text: &str) {
    std::fs::write(site.folder().join(name), text).unwrap();
}

on_both_databases! {
    async fn the_examples_are_added_once(site: Site) {
        site.run(["migrate"]).success();
        assert_eq!(site.run(["seed"]).success().stdout, "Added 3 question(s) and 9 choice(s).\n");
        assert_eq!(site.run(["seed"]).success().stdout, "Everything is there already.\n");
        assert_eq!(counts(&site).await, (3, 9));
    }

    async fn seed_files_add_missing_rows_and_keep_existing_ones(site: Site) {
        site.run(["migrate"]).success();
        file(&site, "a.yaml", "- question: Which?\n  published: 2026-01-02 03:04\n  choices: [a, {choice: b, votes: 7}]\n");
        file(&site, "b.json", "\u{feff}[{\"question\": \"Which?\", \"choices\": [\"b\", \"c\"]}]");
        assert_eq!(site.run(["seed", "a.yaml"]).success().stdout, "Added 1 question(s) and 2 choice(s).\n");
        assert_eq!(site.run(["seed", "a.yaml", "b.json"]).success().stdout, "Added 0 question(s) and 1 choice(s).\n");
        let db = site.database.connect().await;
        let choices: Vec<_> = choice::Entity::find().all(&db).await.unwrap();
        let found: Vec<_> = choices.iter().map(|choice| (choice.choice_text.as_str(), choice.votes.0)).collect();
        assert_eq!(found, [("a", 0), ("b", 7), ("c", 0)]);
        let question = question::Entity::find().one(&db).await.unwrap().unwrap();
        assert_eq!(question.pub_date.to_rfc3339(), "2026-01-02T03:04:00+00:00");
        db.close().await;
        let said = site.run_with_input(["seed", "-"], "- question: From input?\n  choices: [x]\n").success();
        assert_eq!(said.stdout, "Added 1 question(s) and 1 choice(s).\n");
    }

    async fn a_question_may_have_any_number_of_choices(site: Site) {
        site.run(["migrate"]).success();
        let choices: Vec<String> = (0..40_000).map(|number| format!("c{number}")).collect();
        file(&site, "long.yaml", &format!("- question: Which?\n  choices: [{}]\n", choices.join(", ")));
        assert_eq!(site.run(["seed", "long.yaml"]).success().stdout, "Added 1 question(s) and 40000 choice(s).\n");
        assert_eq!(site.run(["seed", "long.yaml"]).success().stdout, "Everything is there already.\n");
    }

    async fn django_fixtures_are_read(site: Site) {
        site.run(["migrate"]).success();
        file(&site, "polls.json", &captured("polls-dumpdata.json"));
        let said = site.run(["seed", "polls.json"]).success();
        assert!(said.stderr.starts_with("polls.json: ") && said.stderr.ends_with(" object(s) of other models were left out.\n"), "{}", said.stderr);
        assert!(counts(&site).await.0 >= 2);
        assert_eq!(site.run(["seed", "polls.json"]).success().stdout, "Everything is there already.\n");
    }

    async fn an_invalid_file_is_refused_and_nothing_is_written(site: Site) {
        site.run(["migrate"]).success();
        file(&site, "good.yaml", "- question: Good?\n  choices: [x]\n");
        file(&site, "bad.yaml", "- question: First?\n  choices: [x]\n- question: Second?\n  choices: []\n");
        site.run(["seed", "good.yaml", "bad.yaml"]).refused("bad.yaml, line 3: the question has no choices");
        site.run(["seed", "nowhere.yaml"]).refused("nowhere.yaml cannot be read: No such file or directory (os error 2)");
        for (name, text, line) in [
            ("empty.yaml", "# nothing\n", "there are no questions in it"),
            ("empty.json", "[]", "there are no questions in it"),
            ("old.yaml", "- question: When?\n  published: 0000-01-01\n  choices: [x]\n", "is no time: write it as 2026-11-20 07:30"),
            ("late.yaml", "- question: When?\n  published: '9999-12-31T23:59:59-12:00'\n  choices: [x]\n", "is no time: "),
            ("votes.yaml", "- question: How?\n  choices: [{choice: x, votes: many}]\n", "a whole number of votes"),
        ] {
            file(&site, name, text);
            let said = site.run(["seed", name]);
            assert_eq!(said.code, 1, "{name}");
            assert!(said.stderr.starts_with(&format!("CommandError: {name}, line ")) && said.stderr.contains(line), "{}", said.stderr);
        }
        std::fs::write(site.folder().join("latin.yaml"), b"- question: \xff").unwrap();
        assert_eq!(site.run(["seed", "latin.yaml"]).code, 1);
        assert_eq!(counts(&site).await, (0, 0));
    }

    async fn seed_generates_any_number_of_random_questions(site: Site) {
        site.run(["migrate"]).success();
        let said = site.run(["seed", "--random", "2345"]).success();
        assert_eq!(said.stdout, "Added 2345 question(s) and 9380 choice(s).\n");
        assert_eq!(counts(&site).await, (2345, 9380));
        assert_eq!(site.run(["seed", "--random", "0"]).code, 2);
        assert_eq!(site.run(["seed", "--random", "10000001"]).code, 2);
    }

    async fn without_tables_the_error_suggests_migrate(site: Site) {
        let said = site.run(["seed"]);
        assert_eq!(said.code, 1);
        assert!(said.stderr.starts_with("CommandError: the questions could not be added: "), "{}", said.stderr);
        assert!(said.stderr.ends_with(": run `polls migrate` first\n"), "{}", said.stderr);
        let said = crate::support::site::CommandOutput::from(site.command_of(&["createsuperuser", "--noinput", "--username", "a", "--email", "a@b.co"]).output().unwrap());
        assert!(said.stderr.ends_with(": run `polls migrate` first\n"), "{}", said.stderr);
    }
}
