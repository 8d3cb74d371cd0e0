-- What tasks used, and its sum over the tasks of a job that ended.

ALTER TABLE task ADD COLUMN wall_us INTEGER;
ALTER TABLE task ADD COLUMN user_us INTEGER;
ALTER TABLE task ADD COLUMN kernel_us INTEGER;
ALTER TABLE task ADD COLUMN read_blocks INTEGER;
ALTER TABLE task ADD COLUMN write_blocks INTEGER;

CREATE TABLE job_use (
  job_key INTEGER PRIMARY KEY,
  retries INTEGER NOT NULL,
  wall_us INTEGER NOT NULL,
  wait_us INTEGER NOT NULL,
  user_us INTEGER NOT NULL,
  kernel_us INTEGER NOT NULL,
  read_blocks INTEGER NOT NULL,
  write_blocks INTEGER NOT NULL
);
