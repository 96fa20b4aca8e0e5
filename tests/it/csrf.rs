//! Forms from elsewhere are refused, in each way that Django refuses them; those of our own pages are not.

use poem::http::Method;
use polls::{polls_app::urls, web::csrf::Secret};

use crate::support::{Client, Reply, TestApp, app::TestQuestion, captured};

/// Posts a vote with a token (or none) and headers.
async fn vote(
    visitor: &Client,
    question: &TestQuestion,
    token: Option<&str>,
    headers: &[(&str, &str)],
) -> Reply {
    let choice = question.choices[0].to_string();
    let mut fields = vec![("choice", choice.as_str())];
    fields.extend(token.map(|token| ("csrfmiddlewaretoken", token)));
    visitor
        .post(urls::vote(question.id), &fields, headers)
        .await
}

on_both_databases! {
    async fn a_form_needs_the_cookie_and_the_token(app: TestApp) {
        let question = app.question("Which?", &["This"]).await;
        let visitor = app.visitor();
        let page = visitor.get(urls::detail(question.id)).await;
        let (token, secret) = (page.csrf_token(), visitor.cookie("csrftoken").unwrap());
        assert_eq!((token.len(), secret.len()), (64, 32));
        assert_eq!(page.header("vary"), Some("Cookie"));
        let cookie = page.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; expires=Fri, 19 Nov 2027 12:00:00 GMT; Max-Age=31449600; Path=/; SameSite=Lax"), "{cookie}");

        let stranger = app.visitor();
        vote(&stranger, &question, Some(&token), &[]).await.assert_status(403).assert_contains("sent no cookie");
        vote(&visitor, &question, None, &[]).await.assert_status(403).assert_contains("CSRF verification failed");
        let wrong = Secret::random().masked();
        for bad in ["", "short", &wrong, &token[1..], &format!("{token}a"), &"!".repeat(64), &"ü".repeat(32)] {
            vote(&visitor, &question, Some(bad), &[]).await.assert_status(403);
        }
        assert_eq!(app.votes(question.choices[0]).await, 0);

        // The page's token, the bare secret, and either in a header.
        vote(&visitor, &question, Some(&token), &[]).await.assert_status(302);
        vote(&visitor, &question, Some(&secret), &[]).await.assert_status(302);
        vote(&visitor, &question, None, &[("x-csrftoken", &token)]).await.assert_status(302);
        vote(&visitor, &question, Some(""), &[("x-csrftoken", &secret)]).await.assert_status(302);
        // An old, masked cookie.
        visitor.set_cookie("csrftoken", &token);
        vote(&visitor, &question, Some(&secret), &[]).await.assert_status(302);
        assert_eq!(app.votes(question.choices[0]).await, 5);
    }

    async fn each_page_has_a_new_token_of_the_same_secret(app: TestApp) {
        let question = app.question("Which?", &["This"]).await;
        let visitor = app.visitor();
        let first = visitor.get(urls::detail(question.id)).await;
        let secret = visitor.cookie("csrftoken");
        let second = visitor.get(urls::detail(question.id)).await;
        assert_ne!(first.csrf_token(), second.csrf_token());
        assert_eq!(visitor.cookie("csrftoken"), secret);
        // Pages without a form set no cookie.
        assert_eq!(app.visitor().get(urls::results(question.id)).await.header("set-cookie"), None);
        assert_eq!(app.visitor().get("/polls/").await.header("set-cookie"), None);
        // A cookie that is none of ours is replaced.
        let stranger = app.visitor();
        stranger.set_cookie("csrftoken", "nonsense");
        stranger.get(urls::detail(question.id)).await;
        assert_eq!(stranger.cookie("csrftoken").unwrap().len(), 32);
    }

    async fn the_origin_must_match_or_be_trusted(app: TestApp) {
        let question = app.question("Which?", &["This"]).await;
        let visitor = app.visitor();
        let token = visitor.get(urls::detail(question.id)).await.csrf_token();
        for bad in ["http://evil.example", "null", "https://testserver", "http://testserver:81", "https://trusted.evil.example",
                    "http://a.trusted.example", "https://nottrusted.example", "https://sub.one.example"] {
            vote(&visitor, &question, Some(&token), &[("origin", bad)]).await.assert_status(403);
        }
        assert_eq!(app.votes(question.choices[0]).await, 0);
        for good in ["http://testserver", "https://a.trusted.example", "https://a.b.trusted.example", "https://one.example"] {
            vote(&visitor, &question, Some(&token), &[("origin", good)]).await.assert_status(302);
        }
    }

    async fn over_https_the_referer_is_checked_without_an_origin(app: TestApp) {
        let question = app.question("Which?", &["This"]).await;
        let visitor = app.visitor();
        let token = visitor.get(urls::detail(question.id)).await.csrf_token();
        let https = ("x-forwarded-proto", "https");
        for bad in ["", "nonsense", "http://testserver/polls/1/", "https://evil.example/", "https://testserver.evil.example/"] {
            vote(&visitor, &question, Some(&token), &[https, ("referer", bad)]).await.assert_status(403);
        }
        assert_eq!(app.votes(question.choices[0]).await, 0);
        for good in ["https://testserver/polls/1/", "https://testserver:443/", "https://one.example/x"] {
            vote(&visitor, &question, Some(&token), &[https, ("referer", good)]).await.assert_status(302);
        }
        vote(&visitor, &question, Some(&token), &[https, ("origin", "https://testserver")]).await.assert_status(302);
        // Over HTTP it is not checked.
        vote(&visitor, &question, Some(&token), &[("referer", "http://evil.example/")]).await.assert_status(302);
    }

    async fn csrf_is_checked_after_routing_and_before_the_method(app: TestApp) {
        let visitor = app.visitor();
        visitor.post("/polls/", &[("a", "b")], &[]).await.assert_status(403);
        visitor.request(Method::DELETE, "/polls/", &[], "").await.assert_status(403);
        visitor.post("/polls/1/vote/", &[("choice", "1")], &[]).await.assert_status(403);
        visitor.post("/nowhere/", &[("a", "b")], &[]).await.assert_status(404);
        visitor.post("/polls/1/vote", &[("choice", "1")], &[]).await.assert_redirect(301, "/polls/1/vote/");
    }

    async fn csrf_bodies_are_limited(app: TestApp) {
        let question = app.question("Which?", &["This"]).await;
        let visitor = app.visitor();
        let token = visitor.get(urls::detail(question.id)).await.csrf_token();
        let large = "x".repeat(2_621_441);
        visitor.post(urls::vote(question.id), &[("csrfmiddlewaretoken", &token), ("choice", &large)], &[]).await.assert_status(413);
        let mut fields = vec![("csrfmiddlewaretoken", token.as_str())];
        fields.extend(std::iter::repeat_n(("a", "b"), 999));
        visitor.post(urls::vote(question.id), &fields, &[]).await.assert_status(200);
        fields.push(("one", "more"));
        visitor.post(urls::vote(question.id), &fields, &[]).await.assert_status(400);
        let multipart = [("content-type", "multipart/form-data; boundary=x"), ("x-csrftoken", token.as_str())];
        visitor.request(Method::POST, &urls::vote(question.id), &multipart, "--x--").await.assert_status(415);
        // Bytes that are no text, and a body that is no form.
        let choice = question.choices[0];
        let body = format!("csrfmiddlewaretoken={token}&choice=%ff%00{choice}");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        visitor.request(Method::POST, &urls::vote(question.id), &form, &body).await.assert_status(200);
        let json = [("content-type", "application/json"), ("x-csrftoken", token.as_str())];
        visitor.request(Method::POST, &urls::vote(question.id), &json, "{\"choice\": 1}").await.assert_status(200);
        assert_eq!(app.votes(choice).await, 0);
    }
}

#[test]
fn tokens_are_django_s_byte_for_byte() {
    let vectors: serde_json::Value = serde_json::from_str(&captured("vectors.json")).unwrap();
    let masked = vectors["csrf"]["masked"].as_array().unwrap();
    assert!(!masked.is_empty());
    for vector in masked {
        let text = |name: &str| vector[name].as_str().unwrap();
        let parse = |name| Secret::parse(text(name)).unwrap();
        assert_eq!(parse("secret").masked_with(&parse("mask")), text("token"));
        assert_eq!(parse("token").to_string(), text("secret"));
        assert_eq!(parse("secret").to_string(), text("secret"));
    }
    let secret = Secret::random();
    assert_eq!(
        Secret::parse(&secret.masked()).unwrap().to_string(),
        secret.to_string()
    );
}
