# A static binary on nothing: no shell, no package manager, not root.
FROM docker.io/library/rust:1.95-bookworm AS build
ARG SESSIOND_COMMIT=
WORKDIR /src
COPY . .
# The cfg lets getrandom find its system call in a static binary.
ENV RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"'
RUN cargo build --release --locked --target "$(uname -m)-unknown-linux-gnu" -p sessiond \
 && install -D "target/$(uname -m)-unknown-linux-gnu/release/sessiond" /out/usr/bin/sessiond \
 && install -D -m 644 LICENSE docs/NOTICE -t /out/usr/share/doc/sessiond \
 && install -d -o 65532 -g 65532 -m 700 /out/data

FROM scratch
COPY --from=build --chown=65532:65532 /out/ /
USER 65532:65532
ENV SESSIOND_LISTEN=0.0.0.0:8080 SESSIOND_OPS_LISTEN=0.0.0.0:9090 SESSIOND_DATABASE_URL=sqlite:///data/sessiond.db
VOLUME /data
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s CMD ["/usr/bin/sessiond", "healthcheck"]
ENTRYPOINT ["/usr/bin/sessiond"]
