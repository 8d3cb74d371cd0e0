-- Multi-instance tasks: how many instances each has, and those that are on nodes.

CREATE TABLE multi_instance (
  task_key INTEGER PRIMARY KEY,
  job_key INTEGER NOT NULL,
  instances INTEGER NOT NULL
);
CREATE INDEX multi_instance_of_job ON multi_instance (job_key);

CREATE TABLE instance (
  task_key INTEGER NOT NULL,
  number INTEGER NOT NULL,
  node_key INTEGER NOT NULL,
  run INTEGER NOT NULL,
  is_coordinated INTEGER NOT NULL,
  state TEXT NOT NULL,
  state_us INTEGER NOT NULL,
  previous_state TEXT,
  previous_us INTEGER,
  start_us INTEGER,
  end_us INTEGER,
  exit_code INTEGER,
  failure TEXT,
  PRIMARY KEY (task_key, number)
) WITHOUT ROWID;
