-- Makes the role and the database of sessiond when PostgreSQL starts for the first time. The role's password is the one in
-- the URL that the servers are given.
\set url `cat /run/secrets/database_url`
SELECT format('CREATE ROLE sessiond LOGIN PASSWORD %L', substring(:'url' FROM '^postgres://sessiond:([^@]+)@')) \gexec
CREATE DATABASE sessiond OWNER sessiond ENCODING 'UTF8' TEMPLATE template0;
