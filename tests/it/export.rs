//! Results as CSV and JSON: of a question, of several, and of all.

use polls::{
    entities::question_options::{Model as Options, Policy, ResultsShown},
    polls_app::urls,
};

use crate::support::{Site, TestApp};

on_both_databases! {
    async fn results_are_exported_as_far_as_they_may_be_seen(app: TestApp) {
        let question = app.question("=Dinner, \"today\"?", &["Pizza\nor pasta", "+1"]).await;
        app.set_votes(question.choices[0], 3).await;
        let visitor = app.visitor();
        let address = format!("{}?format=", urls::export(question.id));
        visitor.get(urls::results(question.id)).await.assert_contains(&format!("href=\"{address}csv\""));
        let csv = visitor.get(format!("{address}csv")).await;
        assert_eq!(csv.header("content-disposition"), Some("attachment; filename=\"poll-1.csv\""));
        let [one, two] = question.choices[..] else { panic!("two choices") };
        assert_eq!(csv.text(), format!("question_id,question,published,choice_id,choice,votes\r\n\
            1,\"'=Dinner, \"\"today\"\"?\",2026-11-20T11:00:00Z,{one},\"Pizza\nor pasta\",3\r\n\
            1,\"'=Dinner, \"\"today\"\"?\",2026-11-20T11:00:00Z,{two},'+1,0\r\n"));
        let json = visitor.get(format!("{address}json")).await;
        let json: serde_json::Value = serde_json::from_str(json.text()).unwrap();
        assert_eq!((&json[0]["votes"], &json[0]["choices"][1]["choice"]), (&3.into(), &"+1".into()));
        for format in ["", "xml", "CSV"] {
            visitor.get(format!("{address}{format}")).await.assert_status(404);
        }
        let options = Options { policy: Policy::Browser, results: ResultsShown::AfterVoting, ..Options::default() };
        app.set_options(question.id, options).await;
        visitor.get(format!("{address}csv")).await.assert_status(403);
        visitor.get(urls::results(question.id)).await.assert_lacks("?format=csv");
        // In the admin, of the selected ones.
        let staff = app.staff(&["polls_app.view_question"]).await;
        let other = app.question("Lunch?", &["Soup"]).await;
        app.question("Not selected?", &["X"]).await;
        let token = staff.get("/admin/polls_app/question/").await.assert_contains("Export results as CSV").csrf_token();
        let ids = [question.id, other.id].map(|id| id.to_string());
        let fields = |action: &'static str| [("csrfmiddlewaretoken", token.as_str()), ("action", action), ("_selected_action", &*ids[0]), ("_selected_action", &*ids[1])].map(|pair| pair);
        let reply = staff.post("/admin/polls_app/question/", &fields("export_csv"), &[]).await;
        assert_eq!((reply.header("content-type"), reply.text().lines().count()), (Some("text/csv; charset=utf-8"), 5));
        let reply = staff.post("/admin/polls_app/question/", &fields("export_json"), &[]).await;
        let json: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
        assert_eq!((json.as_array().unwrap().len(), &json[1]["question"]), (2, &"Lunch?".into()));
    }

    async fn the_command_exports_all_questions_or_some(site: Site) {
        site.run(["migrate"]).success();
        assert_eq!(site.run(["export", "--format", "json"]).success().stdout, "[]\n");
        site.run(["seed", "--random", "2500"]).success();
        let csv = site.run(["export"]).success().stdout;
        assert_eq!(csv.lines().count() as i64 - 1, site.number("SELECT count(*) FROM polls_app_choice").await);
        let json: Vec<serde_json::Value> = serde_json::from_str(&site.run(["export", "--format", "json"]).success().stdout).unwrap();
        assert_eq!(json.len(), 2500);
        let some = site.run(["export", "--format", "json", "7", "3"]).success().stdout;
        let some: Vec<serde_json::Value> = serde_json::from_str(&some).unwrap();
        assert_eq!(some.iter().map(|one| one["id"].as_i64().unwrap()).collect::<Vec<_>>(), [3, 7]);
        assert_eq!(site.run(["export", "--format", "xml"]).code, 2);
        assert_eq!(site.run(["export", "7", "99999"]).stderr, "CommandError: There is no question 99999.\n");
    }
}
