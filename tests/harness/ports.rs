//! Free ports, for programs that cannot say which one they chose by themselves.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Outgoing connections get higher ports by themselves, and would be in the way of a program that starts again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port on which nothing listens, and that was given out by this process only now.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id().wrapping_mul(101);
    loop {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = begin.wrapping_add(step) % u32::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(offset).expect("within the range");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
