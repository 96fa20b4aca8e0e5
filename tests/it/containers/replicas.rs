//! Sessions and votes across replicas.

use super::deployment::{Deployment, TIMEOUT};
use crate::support::{
    app::PASSWORD,
    http::{SECRET, get, log_in, send, status, wait_until},
    voters::{Voters, vote},
};

/// The session's cookie in an answer.
fn session(answer: &str) -> String {
    let rest = answer
        .split_once("sessionid=")
        .unwrap_or_else(|| panic!("{answer}"))
        .1;
    format!("sessionid={}", rest.split_once(';').unwrap().0)
}

/// Sends a form to the admin.
fn post(address: &str, path: &str, cookie: &str, fields: &str) -> String {
    let body = format!("csrfmiddlewaretoken={SECRET}{fields}");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: csrftoken={SECRET}; {cookie}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    send(address, request.as_bytes())
}

#[test]
fn sessions_work_on_every_replica() {
    let site = Deployment::start();
    let addresses: Vec<_> = site.web.iter().map(|web| site.address_of(web)).collect();

    // Logged in at one, known to all; logged out at one, known to none.
    let cookie = session(&log_in(&addresses[0]));
    let header = format!("Cookie: {cookie}\r\n");
    for address in addresses.iter().cycle().take(9) {
        assert_eq!(status(&get(address, "/admin/", &header)), 200);
    }
    let hits: f64 = site
        .web
        .iter()
        .map(|web| site.metric(web, "polls_cache_hits_total"))
        .sum();
    assert!(hits >= 6.0, "{hits}");
    assert_eq!(
        status(&post(&addresses[1], "/admin/logout/", &cookie, "")),
        200
    );
    for address in &addresses {
        assert_eq!(status(&get(address, "/admin/", &header)), 302);
    }

    // Who has voted sees their vote, wherever they ask next, although pages come from the standby.
    let address = site.address();
    for votes in 1..=12 {
        let answer = send(
            &address,
            vote("127.0.0.1", 1)
                .replace(
                    "\r\nContent-Length",
                    "\r\nConnection: close\r\nContent-Length",
                )
                .as_bytes(),
        );
        assert_eq!(status(&answer), 302, "{answer}");
        let mark = answer.split("polls_recent=").nth(1).unwrap();
        let mark = mark.split(';').next().unwrap();
        let cookie = format!("Cookie: polls_recent={mark}\r\n");
        let page = get(&address, "/polls/1/results/", &cookie);
        let counted = if votes == 1 {
            "1 vote".to_owned()
        } else {
            format!("{votes} votes")
        };
        assert!(page.contains(&counted), "{counted}: {page}");
    }
    // A path in an unusual form, since `/polls/1/` is served from memory.
    for address in addresses.iter().cycle().take(30) {
        assert_eq!(status(&get(address, "/polls/01/", "")), 200);
    }
    for web in &site.web {
        let reads = site.metric(web, "polls_replica_reads_total");
        assert!(reads >= 5.0, "{reads}");
    }

    // Failed logins count together.
    let wrong = "&username=admin&password=wrong";
    for address in addresses.iter().cycle().take(5) {
        assert_eq!(status(&post(address, "/admin/login/", "", wrong)), 200);
    }
    for address in &addresses {
        assert_eq!(status(&post(address, "/admin/login/", "", wrong)), 429);
    }
    // The counts were in Redis: without it, rows count from now on.
    assert_eq!(
        site.backend
            .primary
            .sql("SELECT count(*) FROM polls_login_failures"),
        "0"
    );
    site.redis.act("kill");
    wait_until(TIMEOUT, || {
        site.metric(&site.web[0], "polls_cache_in_use") == 0.0 || {
            get(&addresses[0], "/admin/", &header);
            false
        }
    });
    let right = format!("&username=admin&password={PASSWORD}");
    assert_eq!(
        status(&post(&addresses[0], "/admin/login/", "", &right)),
        302
    );
    assert!(site.is_ready(&site.web[0]));
}

#[test]
fn a_rolling_update_under_load_fails_no_request() {
    let mut site = Deployment::start();
    let voters = Voters::start(&site.address(), 8);
    voters.wait_for(200, TIMEOUT);
    for number in 4..=6 {
        // As Kubernetes does it with maxSurge 1 and maxUnavailable 0.
        site.add_replica(number);
        let before = site.metric(site.web.last().unwrap(), "polls_votes_total");
        wait_until(TIMEOUT, || {
            site.metric(site.web.last().unwrap(), "polls_votes_total") > before
        });
        let old = site.web.remove(0);
        old.act("stop");
        assert_eq!(old.inspect("{{.State.ExitCode}}"), "0");
    }
    let so_far = voters.acknowledged();
    voters.wait_for(so_far + 200, TIMEOUT);
    let tally = voters.finish();
    assert_eq!(tally.keys().collect::<Vec<_>>(), [&302], "{tally:?}");
    assert_eq!(site.votes(), tally[&302]);
}
