-- Runs of job preparation and job release tasks, by node: kind 0 and 1.

CREATE TABLE special_run (
  job_key INTEGER NOT NULL,
  node_key INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  run INTEGER NOT NULL,
  boot TEXT,
  state TEXT NOT NULL,
  start_us INTEGER NOT NULL,
  end_us INTEGER,
  exit_code INTEGER,
  failure TEXT,
  retries INTEGER NOT NULL,
  last_retry_us INTEGER,
  is_void INTEGER NOT NULL,
  PRIMARY KEY (job_key, node_key, kind)
) WITHOUT ROWID;
