//! Failures of parts of the deployment: killed, paused, unreachable.

use std::time::{Duration, Instant};

use super::{
    deployment::{Deployment, TIMEOUT, assert_all_counted, goes_on, wait_for_postgres},
    engine::Container,
};
use crate::support::{
    http::{get, status, wait_until},
    voters::Voters,
};

/// How often each replica has said this.
fn said(site: &Deployment, text: &str) -> Vec<usize> {
    site.web
        .iter()
        .map(|web| web.log().matches(text).count())
        .collect()
}

/// Whether a replica reads the standby, and has no server that takes changes.
fn has_no_primary(site: &Deployment, web: &Container) -> bool {
    let ready = get(&site.address_of(web), "/readyz", "");
    status(&ready) == 200 && ready.contains("there is only a standby")
}

#[test]
fn every_part_can_fail_and_recover() {
    let mut site = Deployment::start();
    let voters = Voters::start(&site.address(), 8);
    goes_on(&voters);

    // A replica is killed, and stands still.
    site.web[0].act("kill");
    goes_on(&voters);
    site.web[0].act("start");
    site.wait_until_ready(&site.web[0]);
    site.web[1].act("pause");
    goes_on(&voters);
    site.web[1].act("unpause");
    site.wait_until_ready(&site.web[1]);

    // One is cut off from the databases: it is live and not ready.
    let back = &site.backend.back;
    site.web[2].disconnect(back);
    wait_until(TIMEOUT, || !site.is_ready(&site.web[2]));
    assert_eq!(
        status(&get(&site.address_of(&site.web[2]), "/livez", "")),
        200
    );
    goes_on(&voters);
    site.web[2].reconnect(back);
    site.wait_until_ready(&site.web[2]);

    // Redis is killed, then paused: no request fails.
    for (down, up) in [("kill", "start"), ("pause", "unpause")] {
        site.redis.act(down);
        goes_on(&voters);
        assert!(site.web.iter().all(|web| site.is_ready(web)));
        site.redis.act(up);
    }

    // The standby is killed, stands still, and is too far behind: pages come from the primary, and each replica says so once.
    let left_out = "the replica is not used";
    let in_use = |site: &Deployment, is: f64| {
        let web = &site.web;
        wait_until(TIMEOUT, || {
            web.iter()
                .all(|web| site.metric(web, "polls_replica_in_use") == is)
        });
    };
    in_use(&site, 1.0);
    let pages = |site: &Deployment| {
        for web in &site.web {
            let start = Instant::now();
            assert_eq!(status(&get(&site.address_of(web), "/polls/", "")), 200);
            assert!(
                start.elapsed() < Duration::from_secs(8),
                "{:?}",
                start.elapsed()
            );
        }
    };
    for (down, up) in [("kill", "start"), ("pause", "unpause")] {
        let before = said(&site, left_out);
        site.standby.act(down);
        pages(&site);
        in_use(&site, 0.0);
        pages(&site);
        goes_on(&voters);
        assert_eq!(
            said(&site, left_out),
            before.iter().map(|count| count + 1).collect::<Vec<_>>()
        );
        site.standby.act(up);
        in_use(&site, 1.0);
    }
    let before = said(&site, "too far behind");
    site.standby.sql("SELECT pg_wal_replay_pause()");
    in_use(&site, 0.0);
    let once_more: Vec<_> = before.iter().map(|count| count + 1).collect();
    assert_eq!(said(&site, "too far behind"), once_more);
    site.standby.sql("SELECT pg_wal_replay_resume()");
    in_use(&site, 1.0);

    // The primary is killed, restarted, stands still, is cut off. Votes wait, or are refused, and come back.
    for (down, up) in [("kill", "start"), ("pause", "unpause"), ("stop", "start")] {
        site.backend.primary.act(down);
        wait_until(TIMEOUT, || {
            site.web.iter().all(|web| has_no_primary(&site, web))
        });
        assert_eq!(
            status(&get(&site.address_of(&site.web[0]), "/livez", "")),
            200
        );
        site.backend.primary.act(up);
        goes_on(&voters);
    }
    site.backend.primary.disconnect(&site.backend.back);
    wait_until(TIMEOUT, || {
        site.web.iter().all(|web| has_no_primary(&site, web))
    });
    site.backend.primary.reconnect(&site.backend.back);
    goes_on(&voters);

    for web in &site.web {
        site.wait_until_ready(web);
        assert_eq!(web.inspect("{{.State.Running}}"), "true");
    }
    wait_for_postgres(&site.backend.primary);
    assert_all_counted(&voters.finish(), site.votes());
}
