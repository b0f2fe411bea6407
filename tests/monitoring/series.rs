//! The number of series depends on nothing that clients send.

use std::collections::BTreeSet;

use sessiond::http::{ops_routes, routes};
use sessiond_needs::on_both_stores;
use tokio::task::JoinSet;

use super::scrape::{OPEN_METRICS, samples, scrape};
use crate::harness::{Server, StoreKind, ask, exchange};

/// Numbers that look random, and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        // Knuth's MMIX, of which the upper bits are good.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// Sends so many requests with random paths, methods and hosts to both listeners.
async fn send(server: &Server, count: usize, seed: u64) {
    let mut numbers = Numbers(seed);
    let (mut under_way, mut statuses) = (JoinSet::new(), BTreeSet::new());
    for number in 0..count {
        let prefix =
            numbers.of(&["", "/api/v1", "/api/v1/auth", "/api/v1/auth/sessions", "/api/v1/admin", "/verify", "/admin"]);
        let target = format!("{prefix}/zz{}/{number}?zz={seed}", numbers.below(1 << 30));
        let method = match numbers.below(6) {
            0 => "GET".to_owned(),
            1 => "POST".to_owned(),
            2 => "DELETE".to_owned(),
            3 => "OPTIONS".to_owned(),
            4 => format!("ZZ{}", numbers.below(1 << 30)),
            _ => "PROPFIND".to_owned(),
        };
        let address = if numbers.below(8) == 0 { server.ops_address() } else { server.address() };
        let host = match numbers.below(4) {
            0 => address.clone(),
            1 => format!("zz{}.example", numbers.below(1 << 30)),
            2 => format!("zz {}", numbers.below(1 << 30)),
            _ => format!("127.0.0.{}:{}", numbers.below(250), numbers.below(60_000)),
        };
        let bytes = ask(&method, &target).header("Host", &host).bytes(&address);
        under_way.spawn(async move { exchange(&address, &bytes).await.status });
        while under_way.len() >= 32 || (number + 1 == count && !under_way.is_empty()) {
            statuses.insert(under_way.join_next().await.expect("one").expect("answered"));
        }
    }
    assert!(statuses.is_superset(&BTreeSet::from([204, 400, 404])), "{statuses:?}");
}

async fn series(server: &Server) -> BTreeSet<String> {
    let text = scrape(&server.ops_address(), OPEN_METRICS).await;
    samples(&text).into_iter().map(|sample| format!("{} {:?}", sample.name, sample.labels)).collect()
}

#[on_both_stores]
async fn ten_thousand_random_requests_add_no_series(store: StoreKind) {
    let server = Server::start(store).await;
    // Every kind of refusal has its series by then, and so has a scrape.
    send(&server, 1_000, 1).await;
    series(&server).await;
    let before = series(&server).await;
    send(&server, if matches!(store, StoreKind::Sqlite) { 10_000 } else { 1_000 }, 2).await;
    let after = series(&server).await;
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(before.len() < 1_000, "{} series", before.len());
    let known: BTreeSet<_> = routes().into_iter().chain(ops_routes()).map(|route| route.path).collect();
    let text = scrape(&server.ops_address(), OPEN_METRICS).await;
    for route in samples(&text).iter().filter_map(|sample| sample.labels.get("route")) {
        // A family's checks are counted under its own path, whatever it is asked below.
        let below = known.contains(&format!("{route}/{{*path}}"));
        assert!(route == "(none)" || known.contains(route) || below, "{route}");
    }
    server.stop().await;
}
