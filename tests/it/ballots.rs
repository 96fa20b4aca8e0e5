//! Questions that limit who may vote how often, and ballots with several choices.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use polls::{
    entities::question_options::{Model as Options, Policy, ResultsShown},
    error::AppError,
    polls_app::{
        recount::recount,
        urls, voters,
        votes::{Ballot, VoteCounter, VoteResult, VoterKey},
    },
    signing::Keys,
};
use sea_orm::ConnectionTrait;

use crate::support::{
    Backend, Client, TestApp,
    app::{Kind, TestQuestion, now},
    assert_within,
    client::Reply,
};

fn policy(policy: Policy) -> Options {
    Options {
        policy,
        ..Options::default()
    }
}

/// Votes with the form of the question's page.
async fn vote(visitor: &Client, question: &TestQuestion, choice: usize) -> Reply {
    let page = visitor.get(urls::detail(question.id)).await;
    submit(visitor, &page, &[question.choices[choice]]).await
}

/// Submits the form of a page, with its hidden fields.
async fn submit(visitor: &Client, page: &Reply, choices: &[i32]) -> Reply {
    let choices: Vec<String> = choices.iter().map(i32::to_string).collect();
    let mut fields: Vec<_> = choices.iter().map(|id| ("choice", id.as_str())).collect();
    if page.text().contains("name=\"policy\"") {
        fields.push(("policy", page.between("name=\"policy\" value=\"", "\"")));
    }
    if page.text().contains("name=\"code\"") {
        fields.push(("code", page.between("id=\"code\" value=\"", "\"")));
    }
    visitor.submit(page, &fields).await
}

/// Votes, and follows the redirect to the results.
async fn vote_and_follow(visitor: &Client, question: &TestQuestion, choice: usize) -> Reply {
    let reply = vote(visitor, question, choice).await;
    reply.assert_redirect(302, &urls::results(question.id));
    visitor.get(urls::results(question.id)).await
}

on_both_databases! {
    async fn a_vote_is_acknowledged_once(app: TestApp) {
        let question = app.question("Dinner?", &["Pizza", "\"Pasta\""]).await;
        let visitor = app.visitor();
        let results = visitor.get(urls::results(question.id)).await;
        results.assert_lacks("Vote again").assert_lacks("role=\"status\"");
        let results = vote_and_follow(&visitor, &question, 0).await;
        results.assert_contains("role=\"status\" tabindex=\"-1\" autofocus").assert_contains("Your vote for &quot;Pizza&quot; was counted.")
            .assert_contains("Pizza</span><span class=\"visually-hidden\"> (leads)</span> <span class=\"badge own-vote\">Your vote</span>")
            .assert_contains(">More polls</a>").assert_contains(">Vote again</a>");
        let again = visitor.get(urls::results(question.id)).await;
        again.assert_lacks("was counted").assert_lacks("Your vote").assert_lacks("Vote again");
        // From memory too, for each choice.
        for (choice, name) in [(0, "Pizza"), (1, "&quot;&quot;Pasta&quot;&quot;"), (0, "Pizza")] {
            let results = vote_and_follow(&visitor, &question, choice).await;
            results.assert_contains(&format!("Your vote for {}", name.replace("Pizza", "&quot;Pizza&quot;")));
            app.visitor().get(urls::results(question.id)).await.assert_lacks("Your vote");
        }
        assert_eq!(app.votes(question.choices[0]).await, 3);
    }

    async fn one_vote_per_browser(app: TestApp) {
        let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
        app.set_options(question.id, policy(Policy::Browser)).await;
        let (one, other) = (app.visitor(), app.visitor());
        vote_and_follow(&one, &question, 0).await.assert_contains("Your vote for &quot;Pizza&quot; was counted.")
            .assert_lacks("Vote again").assert_contains("More polls");
        vote_and_follow(&other, &question, 1).await.assert_contains("&quot;Pasta&quot; was counted.");
        assert_eq!((app.voters(question.id).await, app.votes(question.choices[0]).await), (2, 1));
        // A replayed request, with the form of another visitor's page.
        let page = app.visitor().get(urls::detail(question.id)).await;
        let token = page.csrf_token();
        let stranger = app.visitor();
        stranger.set_cookie("csrftoken", &one.cookie("csrftoken").unwrap());
        let fields = [("csrfmiddlewaretoken", token.as_str()), ("policy", "browser"), ("choice", "1")];
        stranger.set_cookie("csrftoken", &token);
        stranger.post(urls::vote(question.id), &fields, &[]).await.assert_status(200)
            .assert_contains("Your vote was not counted: your browser sent no cookie");
        assert!(stranger.cookie("polls_voter").is_some());
        let page = stranger.get(urls::detail(question.id)).await;
        submit(&stranger, &page, &[question.choices[0]]).await.assert_redirect(302, &urls::results(question.id));
        let reply = submit(&stranger, &page, &[question.choices[1]]).await;
        reply.assert_redirect(302, &urls::results(question.id));
        stranger.get(urls::results(question.id)).await
            .assert_contains("You have already voted in this poll. Your first vote stands.").assert_lacks("Your vote for");
        assert_eq!((app.votes(question.choices[0]).await, app.votes(question.choices[1]).await), (2, 1));
        // Coming back.
        one.get(urls::detail(question.id)).await.assert_contains("You voted in this poll on Nov. 20.")
            .assert_contains("result-bar").assert_lacks("name=\"choice\"");
        one.get(urls::results(question.id)).await.assert_contains("You voted in this poll on Nov. 20.").assert_lacks("Your vote");
        app.visitor().get(urls::detail(question.id)).await.assert_contains("name=\"choice\"");
        // The browser has forgotten that it voted, and is still the same.
        one.delete_cookie("polls_voted");
        one.get(urls::detail(question.id)).await.assert_contains("name=\"choice\"");
        vote_and_follow(&one, &question, 1).await.assert_contains("You have already voted in this poll.");
        // A forged cookie is not a voter.
        let forger = app.visitor();
        forger.get(urls::detail(question.id)).await;
        let cookie = forger.cookie("polls_voter").unwrap();
        forger.set_cookie("polls_voter", &format!("0{}", &cookie[1..]));
        let page = forger.get(urls::detail(question.id)).await;
        assert!(forger.cookie("polls_voter").unwrap() != format!("0{}", &cookie[1..]));
        forger.set_cookie("polls_voter", "x.y");
        submit(&forger, &page, &[question.choices[0]]).await.assert_status(200).assert_contains("sent no cookie");
        assert_eq!(app.voters(question.id).await, 3);
    }

    async fn a_form_without_the_policy_is_counted_under_it(app: TestApp) {
        let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
        let visitor = app.visitor();
        // Rendered before the question had a policy, as Django renders it.
        let page = visitor.get(urls::detail(question.id)).await;
        app.set_options(question.id, policy(Policy::Browser)).await;
        submit(&visitor, &page, &[question.choices[0]]).await.assert_status(200).assert_contains("sent no cookie");
        submit(&visitor, &page, &[question.choices[0]]).await.assert_redirect(302, &urls::results(question.id));
        submit(&visitor, &page, &[question.choices[0]]).await.assert_redirect(302, &urls::results(question.id));
        assert_eq!(app.votes(question.choices[0]).await, 1);
        // And the reverse.
        let page = app.visitor().get(urls::detail(question.id)).await;
        app.set_options(question.id, Options::default()).await;
        let other = app.visitor();
        other.set_cookie("csrftoken", &page.csrf_token());
        other.get(urls::detail(question.id)).await;
        submit(&other, &page, &[question.choices[0]]).await.assert_redirect(302, &urls::results(question.id));
        let page = other.get(urls::detail(question.id)).await;
        for policy in ["any", "account", "code", "x", ""] {
            let fields = [("policy", policy), ("choice", &*question.choices[0].to_string())];
            other.submit(&page, &fields).await.assert_redirect(302, &urls::results(question.id));
        }
        assert_eq!(app.votes(question.choices[0]).await, 7);
    }

    async fn one_vote_per_account(app: TestApp) {
        let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
        app.set_options(question.id, policy(Policy::Account)).await;
        let anonymous = app.visitor();
        let page = anonymous.get(urls::detail(question.id)).await;
        let login = format!("/accounts/login/?next=/polls/{}/", question.id);
        page.assert_contains(&format!("href=\"{login}\">Log in to vote</a>")).assert_lacks(">Vote</button>");
        submit(&anonymous, &page, &[question.choices[0]]).await.assert_redirect(302, &login);
        app.add_user("ann", Kind::Staff, &[]).await;
        for device in 0..2 {
            let ann = app.logged_in("ann").await;
            let page = ann.get(urls::detail(question.id)).await;
            if device == 0 {
                page.assert_contains(">Vote</button>");
                vote_and_follow(&ann, &question, 0).await.assert_contains("&quot;Pizza&quot; was counted.");
            } else {
                page.assert_contains("You voted in this poll on Nov. 20.").assert_lacks("name=\"choice\"");
                let fields = [("csrfmiddlewaretoken", "x"), ("policy", "account"), ("choice", "1")];
                ann.set_cookie("csrftoken", &"s".repeat(32));
                let fields = [("csrfmiddlewaretoken", &*"s".repeat(32)), fields[1], ("choice", &*question.choices[1].to_string())];
                ann.post(urls::vote(question.id), &fields, &[]).await.assert_redirect(302, &urls::results(question.id));
            }
        }
        assert_eq!((app.voters(question.id).await, app.votes(question.choices[0]).await, app.votes(question.choices[1]).await), (1, 1, 0));
    }

    async fn one_vote_per_code(app: TestApp) {
        let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
        let other = app.question("Breakfast?", &["Bread"]).await;
        app.set_options(question.id, Options { codes: 2, ..policy(Policy::Code) }).await;
        app.set_options(other.id, policy(Policy::Code)).await;
        let keys = &app.site.core.settings.security.keys;
        let codes = [0, 1].map(|number| voters::code(keys, question.id, number));
        assert_eq!(codes[0].len(), 19);
        let visitor = app.visitor();
        vote(&visitor, &question, 0).await.assert_status(200).assert_contains("Enter a valid code for this poll.");
        let link = |code: &str| format!("{}?code={code}", urls::detail(question.id));
        let page = visitor.get(link(&codes[0])).await;
        page.assert_contains(&format!("value=\"{}\"", codes[0]));
        submit(&visitor, &page, &[question.choices[0]]).await.assert_redirect(302, &urls::results(question.id));
        visitor.get(link(&codes[0])).await.assert_contains("You voted in this poll on Nov. 20.");
        // On another device the code shows the results, and leads to what belongs to them.
        app.set_options(question.id, Options { codes: 2, results: ResultsShown::AfterVoting, ..policy(Policy::Code) }).await;
        let holder = app.visitor();
        let page = holder.get(link(&codes[0])).await;
        page.assert_contains("result-bar").assert_contains(&format!("/events/?code={}\"", codes[0]));
        let csv = page.between("results: <a href=\"", "\"").replace("&amp;", "&");
        assert!(csv.ends_with(&format!("?format=csv&code={}", codes[0])), "{csv}");
        holder.get(csv).await.assert_status(200);
        holder.get(urls::export(question.id) + "?format=csv").await.assert_status(403);
        app.set_options(question.id, Options { codes: 2, ..policy(Policy::Code) }).await;
        // Used up on all devices, however it is written; the next code on the same device is valid.
        let written = codes[0].to_lowercase().replace('-', "\u{2013}\u{a0}").replace('0', "o");
        let elsewhere = app.visitor();
        let page = elsewhere.get(link("")).await;
        let fields = [("policy", "code"), ("choice", &*question.choices[1].to_string()), ("code", &*written)];
        elsewhere.submit(&page, &fields).await.assert_redirect(302, &urls::results(question.id));
        elsewhere.get(urls::results(question.id)).await.assert_contains("You have already voted in this poll.");
        let page = visitor.get(link(&codes[1])).await;
        submit(&visitor, &page, &[question.choices[1]]).await.assert_redirect(302, &urls::results(question.id));
        // Not another question's, and no changed number.
        let page = elsewhere.get(urls::detail(other.id)).await;
        let changed = codes[1].replacen("0000", "0001", 1);
        for code in [codes[0].as_str(), "", "K7QP", &"x".repeat(5000), "ünï🎉", "\0"] {
            let fields = [("policy", "code"), ("choice", &*other.choices[0].to_string()), ("code", code)];
            elsewhere.submit(&page, &fields).await.assert_status(200).assert_contains("Enter a valid code");
        }
        let page = elsewhere.get(link(&changed)).await;
        submit(&elsewhere, &page, &[question.choices[1]]).await.assert_status(200).assert_contains("Enter a valid code");
        assert_eq!((app.voters(question.id).await, app.voters(other.id).await), (2, 0));
    }

    async fn a_ballot_may_have_several_choices(app: TestApp) {
        let question = app.question("Toppings?", &["Olives", "Cheese", "Ham"]).await;
        let [olives, cheese, ham] = question.choices[..] else { panic!("three choices") };
        for policy in [Policy::Any, Policy::Browser] {
            app.set_options(question.id, Options { policy, max_choices: 2, ..Options::default() }).await;
            let visitor = app.visitor();
            let page = visitor.get(urls::detail(question.id)).await;
            page.assert_contains("Select up to 2 choices.").assert_contains("type=\"checkbox\"");
            submit(&visitor, &page, &[olives, cheese, ham]).await.assert_status(200)
                .assert_contains("You selected too many choices. Select 2 at most.").assert_contains(&format!("value=\"{olives}\" checked"));
            submit(&visitor, &page, &[]).await.assert_status(200).assert_contains("You didn&#x27;t select a choice.");
            submit(&visitor, &page, &[olives, 999]).await.assert_status(200).assert_contains("You didn&#x27;t select a choice.");
            submit(&visitor, &page, &[olives, ham, ham]).await.assert_redirect(302, &urls::results(question.id));
            let results = visitor.get(urls::results(question.id)).await;
            results.assert_contains("Your votes for &quot;Olives&quot; and &quot;Ham&quot; were counted.");
            // The votes of the first turn are not of the ballots of the second one's options.
            assert_eq!(results.text().contains("by 1 voter<"), policy == Policy::Any);
        }
        let votes = [app.votes(olives).await, app.votes(cheese).await, app.votes(ham).await];
        assert_eq!((votes, app.voters(question.id).await), ([2, 0, 2], 1));
    }

    async fn a_closed_poll_takes_no_votes_and_shows_its_results(app: TestApp) {
        for options in [policy(Policy::Any), policy(Policy::Browser)] {
            let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
            app.set_options(question.id, options.clone()).await;
            let visitor = app.visitor();
            let page = visitor.get(urls::detail(question.id)).await;
            let closes_at = Some((now() - TimeDelta::seconds(1)).into());
            app.set_options(question.id, Options { closes_at, ..options }).await;
            submit(&visitor, &page, &[question.choices[0]]).await.assert_status(200)
                .assert_contains("Voting has ended. Your vote was not counted.").assert_contains("result-bar");
            app.visitor().get(urls::detail(question.id)).await.assert_contains("Voting ended <time")
                .assert_contains("Nov. 20, 2026, 11:59 UTC").assert_contains("result-bar").assert_lacks("name=\"choice\"");
            assert_eq!(app.votes(question.choices[0]).await, 0);
        }
    }

    async fn results_are_shown_when_the_options_say(app: TestApp) {
        let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
        let closes_at = Some((now() + TimeDelta::hours(1)).into());
        let staff = app.staff(&[]).await;
        for (results, text) in [
            (ResultsShown::AfterVoting, "The results appear here after you have voted."),
            (ResultsShown::AfterClosing, "The results appear here when voting ends: Nov. 20, 2026, 13:00 UTC."),
            (ResultsShown::StaffOnly, "The results of this poll are not public."),
        ] {
            let options = Options { results, closes_at, ..policy(Policy::Browser) };
            app.set_options(question.id, options.clone()).await;
            let visitor = app.visitor();
            let address = urls::results(question.id);
            visitor.get(&address).await.assert_contains(text).assert_lacks("result-bar");
            staff.get(&address).await.assert_contains("result-bar");
            app.visitor().get(&address).await.assert_contains(text);
            let results_page = vote_and_follow(&visitor, &question, 0).await;
            results_page.assert_contains("Your vote for &quot;Pizza&quot; was counted.");
            // Nor do the lists say how many have voted.
            for list in ["/polls/", "/polls/all/"] {
                app.visitor().get(list).await.assert_contains("Dinner?").assert_lacks("votes</span>").assert_lacks("vote</span>");
            }
            let is_shown = results == ResultsShown::AfterVoting;
            assert_eq!(results_page.text().contains("result-bar"), is_shown);
            assert_eq!(visitor.get(urls::detail(question.id)).await.text().contains("result-bar"), is_shown);
            let closes_at = Some(now().into());
            app.set_options(question.id, Options { closes_at, ..options }).await;
            let closed = app.visitor().get(&address).await;
            assert_eq!(closed.text().contains("result-bar"), results != ResultsShown::StaffOnly);
        }
    }

    async fn a_voter_under_a_fallback_key_has_one_vote(app: TestApp) {
        let question = app.question("Dinner?", &["Pizza"]).await;
        app.set_options(question.id, policy(Policy::Browser)).await;
        let votes = &app.site.votes;
        let key = |current: &str, aliases: &[&str]| VoterKey {
            current: current.to_owned(),
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        };
        let ballot = |voter| Ballot {
            choices: BTreeSet::from([question.choices[0]]),
            policy: Policy::Browser,
            voter: Some(voter),
        };
        // Voted before the key was changed; afterwards; and when the fallback is gone.
        let mut results = Vec::new();
        for voter in [key("old", &[]), key("new", &["old"]), key("new", &[])] {
            results.push(votes.cast(question.id, ballot(voter)).await.unwrap());
        }
        // A server with the new key comes first, then one that has only the old key.
        for voter in [key("new2", &["old2"]), key("old2", &[]), key("new2", &[])] {
            results.push(votes.cast(question.id, ballot(voter)).await.unwrap());
        }
        let (counted, again) = (VoteResult::Counted, VoteResult::AlreadyVoted);
        assert_eq!(results, [counted, again, again, counted, again, again]);
        assert_eq!((app.votes(question.choices[0]).await, app.voters(question.id).await), (2, 2));
    }

    async fn a_receipt_shows_that_a_vote_is_in_the_count(app: TestApp) {
        let question = app.question("Dinner?", &["Pizza"]).await;
        app.set_options(question.id, policy(Policy::Browser)).await;
        let visitor = app.visitor();
        let results = vote_and_follow(&visitor, &question, 0).await;
        let receipt = results.between("<code>", "</code>").to_owned();
        assert_eq!(receipt.len(), 29);
        let stranger = app.visitor();
        let address = urls::receipt(question.id);
        stranger.get(&address).await.assert_status(200).assert_lacks("in the count");
        for written in [receipt.clone(), receipt.to_lowercase().replace('-', "")] {
            let page = stranger.get(format!("{address}?receipt={written}")).await;
            page.assert_contains("The vote of this receipt is in the count, since Nov. 20.");
        }
        let other = app.question("Lunch?", &["Soup"]).await;
        for (id, odd) in [(question.id, "K7QP"), (question.id, "%00"), (question.id, "ü"), (other.id, receipt.as_str())] {
            stranger.get(format!("{}?receipt={odd}", urls::receipt(id))).await.assert_status(200).assert_contains("No vote with this receipt");
        }
        // A receipt is not a vote: its cookie is signed.
        let options = Options { results: ResultsShown::AfterVoting, ..policy(Policy::Browser) };
        app.set_options(question.id, options).await;
        stranger.set_cookie("polls_voted", &receipt.replace('-', ""));
        stranger.get(urls::results(question.id)).await.assert_lacks("result-bar").assert_lacks("You voted");
        visitor.get(urls::results(question.id)).await.assert_contains("result-bar").assert_contains(&receipt);
        // Nothing in the database has the choice.
        let sql = sea_orm::Statement::from_string(app.site.core.db.write().get_database_backend(), "SELECT * FROM polls_voters WHERE NOT is_alias");
        let row = app.site.core.db.write().query_one_raw(sql).await.unwrap().unwrap();
        let mut columns = row.column_names();
        columns.sort();
        assert_eq!(columns, ["day", "is_alias", "question_id", "voter"]);
    }

    async fn a_recount_finds_votes_that_no_voter_cast(app: TestApp) {
        let (admin, db) = (app.superuser().await, app.site.core.db.write());
        let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
        app.set_votes(question.choices[0], 5).await;
        let form = admin.form(format!("/admin/polls_app/question/{}/change/", question.id), "object-form").await;
        form.set("policy", "browser").set("max_choices", "2").submit(&admin).await.assert_status(302);
        let visitors = [app.visitor(), app.visitor(), app.visitor()];
        for visitor in &visitors {
            let page = visitor.get(urls::detail(question.id)).await;
            submit(visitor, &page, &question.choices).await.assert_status(302);
        }
        let found = recount(db, None, now()).await.unwrap();
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!((one.votes, one.votes_before, one.ballot_votes, one.voters), (11, 5, 6, 3));
        assert!(one.agrees());
        let address = format!("/admin/polls_app/question/{}/recount/", question.id);
        let form = admin.form(&address, "method=\"post\" class=\"narrow\"").await;
        form.submit(&admin).await.assert_contains("The votes agree: 6 votes of 3 voters, and 5 from before votes were limited.");
        app.set_votes(question.choices[1], 10).await;
        let form = admin.form(&address, "method=\"post\" class=\"narrow\"").await;
        form.clone().submit(&admin).await.assert_contains("There are 7 more votes than voters cast, since Nov. 20, 2026, 12:00 UTC.");
        app.set_votes(question.choices[1], 0).await;
        form.submit(&admin).await.assert_contains("There are 3 fewer votes than voters cast, since Nov. 20, 2026, 12:00 UTC.");
        // Fewer choices per ballot from now on.
        app.set_votes(question.choices[1], 3).await;
        let tx = db.begin().await.unwrap();
        tx.execute_unprepared("UPDATE polls_question_options SET max_choices = 1").await.unwrap();
        tx.commit().await.unwrap();
        assert!(recount(db, None, now()).await.unwrap()[0].agrees());
        // A voter whose votes are there, and whose row is not.
        app.set_votes(question.choices[1], 3).await;
        let tx = db.begin().await.unwrap();
        tx.execute_unprepared("DELETE FROM polls_voters").await.unwrap();
        tx.commit().await.unwrap();
        let found = recount(db, Some(question.id), now()).await.unwrap();
        assert_eq!(found[0].text(None), "There are 3 ballots of 0 voters.");
    }

    async fn ballots_without_limit_are_votes_of_before_in_a_recount(app: TestApp) {
        let (admin, db) = (app.superuser().await, app.site.core.db.write());
        let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
        app.set_options(question.id, Options { max_choices: 2, ..policy(Policy::Any) }).await;
        let vote = async || {
            let visitor = app.visitor();
            let page = visitor.get(urls::detail(question.id)).await;
            submit(&visitor, &page, &question.choices).await.assert_status(302);
        };
        let limit = async |policy: &str| {
            let form = admin.form(format!("/admin/polls_app/question/{}/change/", question.id), "object-form").await;
            form.set("policy", policy).submit(&admin).await.assert_status(302);
        };
        let text = async || recount(db, Some(question.id), now()).await.unwrap()[0].text(None);
        vote().await;
        vote().await;
        limit("browser").await;
        assert_eq!(text().await, "The votes agree: 0 votes of 0 voters, and 4 from before votes were limited.");
        vote().await;
        assert_eq!(text().await, "The votes agree: 2 votes of 1 voter, and 4 from before votes were limited.");
        limit("any").await;
        vote().await;
        limit("account").await;
        assert_eq!(text().await, "The votes agree: 0 votes of 1 voter, and 8 from before votes were limited.");
    }

    async fn a_browser_of_a_fallback_key_stays_the_same(app: TestApp) {
        let question = app.question("Dinner?", &["Pizza"]).await;
        app.set_options(question.id, policy(Policy::Browser)).await;
        let sign = |key: &str| {
            let keys = Keys { current: key.into(), fallbacks: Vec::new() };
            format!("{}.{}", "7".repeat(32), polls::signing::hex(&keys.salted_hmac("polls.voters.browser", &"7".repeat(32))))
        };
        let visitor = app.visitor();
        visitor.set_cookie("polls_voter", &sign("older-key"));
        let page = visitor.get(urls::detail(question.id)).await;
        assert_eq!(visitor.cookie("polls_voter"), Some(sign("test-secret-key-0123456789")));
        submit(&visitor, &page, &question.choices).await.assert_redirect(302, &urls::results(question.id));
        // From memory, too, and a valid one is not set again.
        visitor.delete_cookie("polls_voted");
        visitor.set_cookie("polls_voter", &sign("older-key"));
        visitor.get(urls::detail(question.id)).await;
        assert_eq!(visitor.cookie("polls_voter"), Some(sign("test-secret-key-0123456789")));
        let page = visitor.get(urls::detail(question.id)).await;
        assert!(page.headers.get_all("set-cookie").iter().all(|cookie| !cookie.to_str().unwrap().starts_with("polls_voter")));
    }

    async fn the_options_and_voters_of_a_deleted_question_are_deleted(app: TestApp) {
        let question = app.question("Dinner?", &["Pizza"]).await;
        let kept = app.question("Breakfast?", &["Bread"]).await;
        for id in [question.id, kept.id] {
            app.set_options(id, policy(Policy::Browser)).await;
        }
        vote_and_follow(&app.visitor(), &question, 0).await;
        vote_and_follow(&app.visitor(), &kept, 0).await;
        let tx = app.site.core.db.write().begin().await.unwrap();
        for table in ["polls_app_choice WHERE question_id", "polls_app_question WHERE id"] {
            tx.execute_unprepared(&format!("DELETE FROM {table} = {}", question.id)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let count = |table: &str| format!("SELECT count(*) AS n FROM {table}");
        for table in ["polls_question_options", "polls_voters WHERE NOT is_alias"] {
            let sql = sea_orm::Statement::from_string(app.site.core.db.write().get_database_backend(), count(table));
            let row = app.site.core.db.write().query_one_raw(sql).await.unwrap().unwrap();
            assert_eq!(row.try_get::<i64>("", "n").unwrap(), 1, "{table}");
        }
    }

    async fn two_servers_count_one_vote_per_voter(app: TestApp) {
        let questions = [app.question("One?", &["Yes", "No"]).await, app.question("Two?", &["Yes", "No"]).await];
        for question in &questions {
            app.set_options(question.id, policy(Policy::Browser)).await;
        }
        let servers = [(); 3].map(|()| VoteCounter::start(app.site.core.db.write(), now, chrono_tz::UTC));
        let votes: Vec<_> = (0..3000).map(|number: usize| {
            let (votes, question) = (servers[number % 3].clone(), &questions[number % 2]);
            let (id, choice) = (question.id, question.choices[number / 7 % 2]);
            let ballot = Ballot {
                choices: BTreeSet::from([choice]),
                policy: Policy::Browser,
                voter: Some(VoterKey { current: format!("{id}-{}", number % 100), aliases: Vec::new() }),
            };
            tokio::spawn(async move { votes.cast(id, ballot).await.unwrap() })
        }).collect();
        let mut counted = 0;
        for vote in votes {
            match vote.await.unwrap() {
                VoteResult::Counted => counted += 1,
                result => assert_eq!(result, VoteResult::AlreadyVoted),
            }
        }
        let mut sum = 0;
        for question in &questions {
            sum += app.votes(question.choices[0]).await + app.votes(question.choices[1]).await;
        }
        assert_eq!((counted, sum), (100, 100));
    }
}

/// Casts a ballot of a voter with this name, in a task of its own.
fn cast(
    app: &TestApp,
    question: &TestQuestion,
    voter: &str,
) -> tokio::task::JoinHandle<Result<VoteResult, AppError>> {
    let (votes, id) = (app.site.votes.clone(), question.id);
    let ballot = Ballot {
        choices: BTreeSet::from([question.choices[0]]),
        policy: Policy::Browser,
        voter: Some(VoterKey {
            current: format!("{id}-{voter}"),
            aliases: Vec::new(),
        }),
    };
    tokio::spawn(async move { votes.cast(id, ballot).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_question_does_not_block_ballots_for_others_on_postgres() {
    let app = TestApp::new(Backend::Postgres).await;
    let held = app.question("Held?", &["Yes", "No"]).await;
    let other = app.question("Other?", &["Yes", "No"]).await;
    for question in [&held, &other] {
        app.set_options(question.id, policy(Policy::Browser)).await;
    }
    for (turn, row) in [
        "polls_question_options WHERE question_id = 1",
        "polls_app_choice WHERE id = 2",
    ]
    .into_iter()
    .enumerate()
    {
        let connection = app.database.connect().await;
        let tx = connection.begin().await.unwrap();
        let lock = format!("SELECT 1 FROM {row} FOR UPDATE");
        tx.execute_unprepared(&lock).await.unwrap();
        let waiting = cast(&app, &held, &turn.to_string());
        tokio::time::sleep(Duration::from_millis(20)).await;
        let start = Instant::now();
        for number in 0..5 {
            let vote = cast(&app, &other, &format!("{turn} {number}"));
            assert_eq!(vote.await.unwrap().unwrap(), VoteResult::Counted);
        }
        assert_within(start, Duration::from_millis(900));
        // Counted as soon as the row is free.
        drop(tx);
        assert_eq!(waiting.await.unwrap().unwrap(), VoteResult::Counted);
    }
    assert_eq!(
        (app.voters(held.id).await, app.voters(other.id).await),
        (2, 10)
    );
}
