# In place of the official image of PostgreSQL, with the number of its user, and what its first start does of what
# compose.yaml asks for.
FROM localhost/sessiond-tests/debian
RUN usermod --uid 999 postgres \
 && groupmod --gid 999 postgres \
 && install -d -o 999 -g 999 -m 1777 /var/lib/postgresql/data /var/run/postgresql \
 && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin
COPY --chmod=755 postgres /usr/local/bin/docker-entrypoint
ENV PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint"]
