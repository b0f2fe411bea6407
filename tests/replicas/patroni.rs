//! Patroni moves the primary while people log in and out: by a failover, by a switchover, and with the old primary back as a
//! standby behind the address it had.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sessiond_needs::needs;
use sessiond_support::wait::until;
use tokio::task::JoinSet;

use crate::harness::fleet::{home_at, is_trusted, log_out, ops, serve_through, until_in_memory, until_trusted};
use crate::harness::load::Load;
use crate::harness::patroni::Cluster;
use crate::harness::process::{Process, attempt, logged_in, login};
use crate::harness::reverse_proxy::ReverseProxy;
use crate::harness::{ALICE, Database, LoggedIn, PASSWORD, get, post, seed};

/// How long after the new primary has made a first change a server may need until it answers from memory and logs out.
const RECOVERY: Duration = Duration::from_secs(5);

/// HAProxy, which leads to the node that Patroni calls the primary, and cuts connections to any other.
async fn haproxy(cluster: &Cluster) -> ReverseProxy {
    let check = |(port, rest): (u16, &str)| {
        let rest = rest.rsplit_once(':').expect("a port").1;
        format!("  server n{port} 127.0.0.1:{port} check port {rest}\n")
    };
    let servers: String = cluster.places().map(check).collect();
    ReverseProxy::haproxy(|address| {
        format!(
            "listen postgres\n  bind {address}\n  mode tcp\n  option httpchk GET /primary\n  http-check expect status 200\n  \
             default-server inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions\n{servers}"
        )
    })
    .await
}

/// Somebody who logs in on one server and out on the next, and checks on all of them, again and again.
struct Logins {
    enough: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    task: JoinSet<()>,
}

impl Logins {
    fn on(servers: &[&Process]) -> Self {
        let servers: Vec<_> = servers.iter().map(|server| server.listen.clone()).collect();
        let (enough, done, mut task) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), JoinSet::new());
        let (until, count) = (Arc::clone(&enough), Arc::clone(&done));
        task.spawn(async move {
            let mut turn = 0;
            while !until.load(Ordering::Relaxed) {
                turn += 1;
                let one = &servers[turn % servers.len()];
                let Some(reply) = attempt(one, &login(ALICE, PASSWORD)).await.filter(|reply| reply.status == 200)
                else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let session = logged_in(&reply);
                let status = async |server: &String| {
                    let reply = attempt(server, &get("/verify").bearer(&session.token)).await;
                    reply.map_or(0, |reply| reply.status)
                };
                let statuses = join_all(servers.iter().map(status)).await;
                assert!(!statuses.contains(&401), "an answered login was lost: {statuses:?}");
                let out = post("/api/v1/auth/logout").bearer(&session.token);
                let out = attempt(&servers[(turn + 1) % servers.len()], &out).await;
                if out.is_some_and(|reply| reply.status == 200) {
                    let statuses = join_all(servers.iter().map(status)).await;
                    assert!(!statuses.contains(&200), "an answered logout was lost: {statuses:?}");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { enough, done, task }
    }

    fn count(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    async fn end(mut self) {
        self.enough.store(true, Ordering::Relaxed);
        while let Some(ended) = self.task.join_next().await {
            ended.expect("no panic");
        }
    }
}

/// Panics unless each server answers from memory and logs out soon after the new primary made its first change. Returns the
/// longest that it took.
async fn assert_recovered(servers: &[&Process], since: Instant, sessions: &mut Vec<LoggedIn>) -> Duration {
    let recovered = servers.iter().zip(sessions.drain(..servers.len())).map(async |(server, session)| {
        until("it answers from memory", async || is_trusted(server).await).await;
        log_out(server, &session.token).await;
        (since.elapsed(), server, session)
    });
    let recovered = join_all(recovered).await;
    for (took, server, session) in &recovered {
        assert!(*took <= RECOVERY, "{took:?}: {}", server.log());
        for server in servers {
            assert_eq!(server.check(&session.token).await, 401);
        }
    }
    recovered.iter().map(|(took, ..)| *took).max().unwrap_or_default()
}

#[needs(initdb, patroni, haproxy)]
#[tokio::test]
async fn patroni_moves_the_primary_and_no_answered_logout_is_lost() {
    let mut cluster = Cluster::start().await;
    let first = cluster.primary().await;
    let proxy = haproxy(&cluster).await;
    let home = home_at(&cluster.url(first));
    let ports: Vec<_> = cluster.places().map(|(port, _)| port).collect();
    let hosts = |ports: &[u16]| {
        let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("postgres://sessiond@{}/postgres?sslmode=disable", hosts.join(","))
    };
    let proxied = format!("postgres://sessiond@{}/postgres?sslmode=disable", proxy.address);
    let named = serve_through(&home, &hosts(&ports)).await;
    let reversed = serve_through(&home, &hosts(&[ports[2], ports[1], ports[0]])).await;
    let proxied = serve_through(&home, &proxied).await;
    // This one knows only where the primary is now.
    let fixed = serve_through(&home, &cluster.url(first)).await;
    let (servers, all) = ([&named, &reversed, &proxied], [&named, &reversed, &proxied, &fixed]);
    let mut spare: Vec<_> = seed::sessions::<1>(&cluster.url(first), 20).await.into_iter().flatten().collect();
    let pairs = seed::sessions(&cluster.url(first), 4_000).await;
    until_trusted(&all).await;
    let [kept, ended] = [(); 2].map(|()| spare.pop().expect("enough"));
    for session in [&kept, &ended] {
        until_in_memory(&all, &session.token).await;
    }
    let (load, logins) = (Load::on(&servers, pairs), Logins::on(&servers));
    until("sessions begin and end", async || load.tally().ended > 20 && logins.count() > 2).await;

    // A failover.
    let begin = load.tally();
    cluster.kill_node(first).await;
    let others: Vec<_> = (0..3).filter(|node| *node != first).collect();
    let (second, since) = cluster.until_changes(&others).await;
    let failover = assert_recovered(&servers, since, &mut spare).await;
    let after = load.tally();
    assert!(after.failed > begin.failed, "it was missed: {after:?}");
    log_out(&named, &ended.token).await;

    // The old primary comes back as a standby.
    let is_refused = async || {
        let statuses = [&kept, &ended].map(async |session| fixed.check(&session.token).await);
        assert_eq!(join_all(statuses).await, [503, 503], "{}", fixed.log());
        let ready = ops(&fixed, "/readyz").await;
        assert_eq!(ready.status, 503, "{}", ready.text());
        ready.text()
    };
    is_refused().await;
    cluster.start_node_until_it_answers(first).await;
    until("it is there, and refused", async || is_refused().await.contains("this server is a standby")).await;
    cluster.until_whole().await;
    is_refused().await;
    // A name whose tries were lost with the store may have to wait, so that logins are not waited for.
    until("sessions end", async || load.tally().ended > after.ended + 10).await;

    // A switchover, back to it.
    cluster.make_both_synchronous().await;
    assert_eq!(cluster.primary().await, second);
    let begin = load.tally();
    let back = [first];
    let ((), (_, since)) = tokio::join!(cluster.switch_over(first), cluster.until_changes(&back));
    let switchover = assert_recovered(&all, since, &mut spare).await;
    let after = load.tally();
    assert!(after.failed > begin.failed, "it was missed: {after:?}");
    assert_eq!((fixed.check(&kept.token).await, fixed.check(&ended.token).await), (200, 401));
    until("sessions end", async || load.tally().ended > after.ended + 10).await;

    let count = logins.count();
    logins.end().await;
    let states = load.end().await;
    states.assert_true(&all, &Database::at(&cluster.url(first))).await;
    eprintln!("{after:?}, {count} logins, failover {failover:?}, switchover {switchover:?}");
}
