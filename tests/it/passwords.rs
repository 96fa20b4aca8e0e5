//! Passwords as `createsuperuser` and `changepassword` store them, with Django's own vectors.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use polls::auth::{
    hashers::{self, PasswordCheck},
    hashing::Hashing,
    users,
};

use crate::support::{Site, captured};

/// Every captured password with its hash.
fn vectors() -> Vec<(String, String, serde_json::Value)> {
    let vectors: serde_json::Value = serde_json::from_str(&captured("vectors.json")).unwrap();
    let text = |vector: &serde_json::Value, name: &str| vector[name].as_str().unwrap().to_owned();
    let vectors = vectors["passwords"].as_array().unwrap().iter();
    vectors
        .map(|vector| {
            (
                text(vector, "password"),
                text(vector, "encoded"),
                vector.clone(),
            )
        })
        .collect()
}

#[test]
fn password_hashes_match_django_s() {
    let mut seen = 0;
    for (password, encoded, vector) in vectors() {
        let expected = match (
            &vector["accepted_by_reference_settings"],
            &vector["check_password_would_upgrade"],
        ) {
            (serde_json::Value::Bool(false), _) => PasswordCheck::Wrong,
            (_, serde_json::Value::Bool(true)) => PasswordCheck::Outdated,
            _ => PasswordCheck::Right,
        };
        assert_eq!(
            hashers::check_password(&password, &encoded, 1_000_000),
            expected,
            "{encoded}"
        );
        assert_eq!(
            hashers::check_password("another", &encoded, 1),
            PasswordCheck::Wrong,
            "{encoded}"
        );
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn an_invalid_hash_matches_no_password() {
    for encoded in [
        "",
        "!",
        "!abc",
        "plain",
        "pbkdf2_sha256",
        "pbkdf2_sha256$1",
        "pbkdf2_sha256$x$salt$AAAA",
        "pbkdf2_sha256$0$salt$AAAA",
        "pbkdf2_sha256$-1$salt$",
        "argon2$argon2id$v=19$m=1,t=1$c2FsdA$aGFzaA",
        "argon2$x$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "bcrypt_sha256$$2b$12$short",
        "bcrypt_sha256$$2b$99$abcdefghijklmnopqrstuuXjrjCz0Q7JKAudztu",
        "scrypt$3$salt$8$1$AAAA",
        "scrypt$99999999999999999999$salt$8$1$AAAA",
        // Costs that would stop all logins, or the process.
        "pbkdf2_sha256$4000000000$salt$AAAA",
        "pbkdf2_sha1$4000000000$salt$AAAA",
        "argon2$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "argon2$argon2id$v=19$m=8,t=4294967295,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "bcrypt_sha256$$2b$31$abcdefghijklmnopqrstuuXjrjCz0Q7JKAudztuabcdefghijklm",
        "scrypt$1099511627776$salt$8$1$AAAA",
        "scrypt$16384$salt$4294967295$1$AAAA",
        "scrypt$2$salt$8$1000000$AAAA",
        "scrypt$2$salt$16777216$63$AAAA",
        "md5$salt$0cc175b9c0f1b6a831c399e269772661",
        "nosuch$1$2$3",
        "$$$$$$",
    ] {
        assert_eq!(
            hashers::check_password("", encoded, 1),
            PasswordCheck::Wrong,
            "{encoded}"
        );
        assert_eq!(
            hashers::check_password("a", encoded, 1),
            PasswordCheck::Wrong,
            "{encoded}"
        );
    }
}

on_both_databases! {
    async fn superusers_are_stored_as_django_stores_them(site: Site) {
        site.run(["migrate"]).success();
        let site = site.with("DJANGO_SUPERUSER_PASSWORD", "k3Lm-91xz");
        site.run(["createsuperuser", "--noinput", "--username", "ﬁrst", "--email", "Name@EXAMPLE.com"]).success();
        let long = site.with("DJANGO_SUPERUSER_PASSWORD", &"Quite-new-91".repeat(342));
        long.run(["createsuperuser", "--noinput", "--username", "long", "--email", ""])
            .refused("This password is too long. It must contain at most 4096 bytes.");
        let site = long.with("DJANGO_SUPERUSER_PASSWORD", "");
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

/// One network's many requests take turns with another's one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_hashing_is_fair_between_networks() {
    // A hash takes far longer than the scheduling of the tasks.
    let hashing = Arc::new(Hashing::new(80_000));
    let finished = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..40)
        .map(|number| {
            let (hashing, finished) = (hashing.clone(), finished.clone());
            let address = format!("2001:db8:0:{number:x}::1").parse().unwrap();
            tokio::spawn(async move {
                hashing
                    .harden_runtime("x".to_owned(), Some(address))
                    .await
                    .unwrap();
                finished.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    tokio::task::yield_now().await;
    while finished.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let before = finished.load(Ordering::Relaxed);
    let other = "203.0.113.1".parse().unwrap();
    hashing
        .harden_runtime("x".to_owned(), Some(other))
        .await
        .unwrap();
    let meanwhile = finished.load(Ordering::Relaxed) - before;
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(meanwhile <= 3 * cores, "{meanwhile}");
    for one in crowd {
        one.await.unwrap();
    }
}
