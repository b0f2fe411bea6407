# A static binary, the certificate authorities it trusts and a directory for data: no shell, no package manager, not root.
#
#   docker build -t sessiond --build-arg SESSIOND_COMMIT="$(git rev-parse --short HEAD)" .
#
# The same sources, commit and image of Rust make the same binary, wherever and whenever it is built. SOURCE_DATE_EPOCH
# (seconds since 1970) is the time of the files in the image, and CREATED the same for people, as in 2026-11-27T12:00:00Z.
ARG RUST_IMAGE=rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
ARG VERSION=0.1.0
ARG SESSIOND_COMMIT=development
ARG SOURCE_DATE_EPOCH=0
# The first flag links everything into the binary, and the second lets getrandom find its system call in such a binary. The
# others keep the paths of this machine out of it: those of the crates and of Rust itself, in Rust and in C. The sources are
# named relative to their folder anyway, and /target, where build scripts write, is the same wherever that is. With a target
# named, even if it is this machine's own, the flags are not those of build scripts and macros too.
RUN grep -qx "version = \"${VERSION}\"" Cargo.toml \
 && cargo="${CARGO_HOME:-$HOME/.cargo}" rust="$(rustc --print sysroot)" target="$(rustc --print host-tuple)" \
 && export CARGO_TARGET_DIR=/target RUSTFLAGS="-Ctarget-feature=+crt-static --cfg=getrandom_backend=\"linux_getrandom\" \
      --remap-path-prefix=${rust}=/rust --remap-path-prefix=${cargo}=/cargo" \
 && export CFLAGS="-ffile-prefix-map=${cargo}=/cargo" \
 && cargo build --release --locked --target "${target}" --package sessiond \
 && install -D "/target/${target}/release/sessiond" /out/usr/bin/sessiond \
 && install -D -m 644 LICENSE docs/NOTICE -t /out/usr/share/doc/sessiond \
 && install -D -m 644 /etc/ssl/certs/ca-certificates.crt -t /out/etc/ssl/certs \
 && install -d -m 770 /volume/data \
 && find /out /volume -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

FROM scratch
ARG VERSION=0.1.0
ARG SESSIOND_COMMIT=development
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="sessiond" \
      org.opencontainers.image.description="A standalone HTTP session service: log in, check from memory, log out for real" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${SESSIOND_COMMIT}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /out/ /
# Group 0, which may write here, is that of any other user that a platform chooses.
COPY --from=build --chown=65532:0 /volume/ /
USER 65532:65532
# Where sqlite://sessiond.db is, which is the default: as a variable it could not be replaced by SESSIOND_DATABASE_URL_FILE.
WORKDIR /data
ENV SESSIOND_LISTEN=0.0.0.0:8080 SESSIOND_OPS_LISTEN=0.0.0.0:9090
VOLUME /data
EXPOSE 8080 9090
# A server waits 30 s for its PostgreSQL.
HEALTHCHECK --interval=10s --timeout=5s --start-period=40s --retries=3 CMD ["/usr/bin/sessiond", "healthcheck"]
ENTRYPOINT ["/usr/bin/sessiond"]
