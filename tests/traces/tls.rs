//! A collector over TLS, which has to be recognised by certificates that the machine or `SSL_CERT_FILE` has.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use super::start;
use crate::harness::{ALICE, StoreKind};

/// A collector that takes everything over TLS. Returns its URL, its certificate, and how many bytes it has taken.
fn collector() -> (String, String, Arc<AtomicUsize>) {
    let made = rcgen::generate_simple_self_signed([String::from("localhost")]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).expect("fits");
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    // It ends with the process.
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = StreamOwned::new(connection, tcp);
            let mut piece = [0; 1 << 16];
            // One read is the head and more; whoever does not trust it sends none.
            if let Ok(length @ 1..) = stream.read(&mut piece) {
                count.fetch_add(length, Ordering::AcqRel);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    (url, made.cert.pem(), taken)
}

#[on_both_stores]
async fn a_collector_over_tls_is_handed_spans_if_its_certificate_is_trusted(store: StoreKind) {
    let (url, certificate, taken) = collector();
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    };
    let other = rcgen::generate_simple_self_signed([String::from("localhost")]).expect("a certificate").cert.pem();
    let [wrong, none, right] = [file("wrong", &other), file("none", ""), file("right", &certificate)];
    for (roots, words) in [(&wrong, "invalid peer certificate"), (&none, "name a file of them by SSL_CERT_FILE")] {
        let (_home, server) = start(store, &url, &[("SSL_CERT_FILE", roots)]).await;
        server.log_in(ALICE).await;
        until("it is said why", async || server.log().contains(words)).await;
        assert_eq!(taken.load(Ordering::Acquire), 0);
    }
    let (_home, server) = start(store, &url, &[("SSL_CERT_FILE", &right)]).await;
    server.log_in(ALICE).await;
    until("spans have come", async || server.log().contains("the collector takes spans")).await;
    assert!(taken.load(Ordering::Acquire) > 100);
}
