# In place of the official image of Rust: its toolchain is mounted at /usr/local/rust, and Debian has the C compiler.
FROM localhost/sessiond-tests/debian
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
