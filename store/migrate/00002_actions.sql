-- +goose Up
-- What the loop wanted done, from the proposal to the outcome. Never deleted: it is listed by time, not read whole.
CREATE TABLE actions (
    id       TEXT   PRIMARY KEY,
    at       BIGINT NOT NULL, -- Unix nanoseconds
    changed  BIGINT NOT NULL, -- Unix nanoseconds
    live     BIGINT NOT NULL, -- 1 until it is at its end
    body     TEXT   NOT NULL
);
CREATE INDEX actions_at ON actions (at, id);
CREATE INDEX actions_changed ON actions (changed);
CREATE INDEX actions_live ON actions (live, at);

-- +goose Down
DROP TABLE actions;
