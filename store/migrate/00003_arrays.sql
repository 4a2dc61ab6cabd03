-- +goose Up
-- The array that a job is of, by the number of its first job; 0 is none.
ALTER TABLE jobs ADD COLUMN array_id BIGINT NOT NULL DEFAULT 0;
CREATE INDEX jobs_array ON jobs (array_id, state, id);

-- +goose Down
DROP INDEX jobs_array;
ALTER TABLE jobs DROP COLUMN array_id;
