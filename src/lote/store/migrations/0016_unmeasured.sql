-- What nobody measured is not zero, and the containers of subtasks.

CREATE TABLE job_use_before AS SELECT * FROM job_use;
DROP TABLE job_use;
CREATE TABLE job_use (
  job_key INTEGER PRIMARY KEY,
  retries INTEGER NOT NULL,
  wall_us INTEGER NOT NULL,
  wait_us INTEGER NOT NULL,
  user_us INTEGER,
  kernel_us INTEGER,
  read_blocks INTEGER,
  write_blocks INTEGER,
  succeeded INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0
);
INSERT INTO job_use SELECT * FROM job_use_before;
DROP TABLE job_use_before;

CREATE TABLE past_use_before AS SELECT * FROM past_use;
DROP TABLE past_use;
CREATE TABLE past_use (
  schedule_key INTEGER PRIMARY KEY,
  first_us INTEGER NOT NULL,
  retries INTEGER NOT NULL,
  wall_us INTEGER NOT NULL,
  wait_us INTEGER NOT NULL,
  user_us INTEGER,
  kernel_us INTEGER,
  read_blocks INTEGER,
  write_blocks INTEGER,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL
);
INSERT INTO past_use SELECT * FROM past_use_before;
DROP TABLE past_use_before;

ALTER TABLE instance ADD COLUMN container TEXT;
