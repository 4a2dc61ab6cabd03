-- +goose Up
CREATE TABLE jobs (
    id       BIGINT PRIMARY KEY,
    owner    TEXT   NOT NULL,
    state    TEXT   NOT NULL,
    body     TEXT   NOT NULL
);
CREATE INDEX jobs_state ON jobs (state, id);
CREATE INDEX jobs_owner ON jobs (owner, id);

CREATE TABLE metrics (
    job      BIGINT NOT NULL REFERENCES jobs (id),
    seq      BIGINT NOT NULL,
    at       BIGINT NOT NULL, -- Unix nanoseconds
    step     BIGINT NOT NULL,
    epoch    BIGINT NOT NULL,
    name     TEXT   NOT NULL,
    value    DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (job, seq)
);
CREATE TABLE journals (
    job      BIGINT NOT NULL REFERENCES jobs (id),
    task     BIGINT NOT NULL,
    attempt  BIGINT NOT NULL,
    taken    BIGINT NOT NULL, -- bytes of the task's journal already taken
    PRIMARY KEY (job, task, attempt)
);

CREATE TABLE data_sets (
    name     TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    digest   TEXT   NOT NULL,
    body     TEXT   NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE models (
    name     TEXT   PRIMARY KEY,
    created  BIGINT NOT NULL,
    updated  BIGINT NOT NULL
);
CREATE TABLE model_versions (
    model    TEXT   NOT NULL REFERENCES models (name),
    version  BIGINT NOT NULL,
    source   TEXT   NOT NULL,
    digest   TEXT   NOT NULL,
    body     TEXT   NOT NULL,
    PRIMARY KEY (model, version)
);
CREATE TABLE model_aliases (
    model    TEXT   NOT NULL,
    alias    TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
);

CREATE TABLE services (
    name     TEXT   PRIMARY KEY,
    body     TEXT   NOT NULL
);

-- What the console's stream sends on; old rows are trimmed.
CREATE TABLE outbox (
    seq      BIGINT PRIMARY KEY,
    topic    TEXT   NOT NULL,
    body     TEXT   NOT NULL
);

-- Hash-chained; never updated, never deleted.
CREATE TABLE audit (
    seq      BIGINT PRIMARY KEY,
    at       BIGINT NOT NULL,
    actor    TEXT   NOT NULL,
    action   TEXT   NOT NULL,
    subject  TEXT   NOT NULL,
    body     TEXT   NOT NULL
);
CREATE INDEX audit_actor ON audit (actor, seq);
CREATE INDEX audit_action ON audit (action, seq);

-- Small records that are always read whole, by kind and key: users, tokens, sessions, links, grants, secrets,
-- modes of policies, cordons.
CREATE TABLE records (
    kind     TEXT   NOT NULL,
    id       TEXT   NOT NULL,
    body     TEXT   NOT NULL,
    PRIMARY KEY (kind, id)
);

-- Single values: the next job number, the audit chain's head.
CREATE TABLE settings (
    name     TEXT   PRIMARY KEY,
    value    TEXT   NOT NULL
);

-- +goose Down
DROP TABLE settings;
DROP TABLE records;
DROP TABLE audit;
DROP TABLE outbox;
DROP TABLE services;
DROP TABLE model_aliases;
DROP TABLE model_versions;
DROP TABLE models;
DROP TABLE data_sets;
DROP TABLE journals;
DROP TABLE metrics;
DROP TABLE jobs;
