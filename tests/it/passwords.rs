//! Passwords as `createsuperuser` and `changepassword` store them, with Django's own vectors.

use polls::auth::{hashers, users};

use crate::support::{Site, captured};

#[test]
fn hashes_are_django_s() {
    let vectors: serde_json::Value = serde_json::from_str(&captured("vectors.json")).unwrap();
    let mut seen = 0;
    for vector in vectors["passwords"].as_array().unwrap() {
        let (password, encoded) = (
            vector["password"].as_str().unwrap(),
            vector["encoded"].as_str().unwrap(),
        );
        let parts: Vec<&str> = encoded.split('$').collect();
        if let ["pbkdf2_sha256", iterations, salt, _] = parts[..] {
            assert_eq!(
                hashers::pbkdf2_sha256(password, salt, iterations.parse().unwrap()),
                encoded
            );
            seen += 1;
        }
    }
    assert!(seen > 3, "{seen}");
}

on_both_databases! {
    async fn superusers_are_stored_as_django_stores_them(site: Site) {
        site.run(["migrate"]).success();
        let site = site.with("DJANGO_SUPERUSER_PASSWORD", "k3Lm-91xz");
        site.run(["createsuperuser", "--noinput", "--username", "ﬁrst", "--email", "Name@EXAMPLE.com"]).success();
        let site = site.with("DJANGO_SUPERUSER_PASSWORD", "");
        site.run(["createsuperuser", "--noinput", "--username", "second", "--email", "s@example.com"]).success();
        site.run(["createsuperuser", "--noinput", "--username", "first", "--email", "a@b.co"]).refused("Error: That username is already taken.");
        site.run(["createsuperuser", "--noinput", "--username", "third", "--email", ""]).success();
        let db = site.database.connect().await;
        // The ligature has become two letters.
        let user = users::find(&db, "first").await.unwrap().unwrap();
        assert_eq!((user.email.as_str(), user.first_name.as_str(), user.last_login), ("Name@example.com", "", None));
        assert!(user.is_superuser && user.is_staff && user.is_active);
        let parts: Vec<&str> = user.password.split('$').collect();
        assert_eq!((parts[0], parts[1], parts[2].len(), parts.len()), ("pbkdf2_sha256", "1000000", 22, 4));
        assert_eq!(hashers::pbkdf2_sha256("k3Lm-91xz", parts[2], 1_000_000), user.password);
        let second = users::find(&db, "second").await.unwrap().unwrap();
        assert!(second.password.starts_with('!') && second.password.len() == 41, "{}", second.password);
    }
}
