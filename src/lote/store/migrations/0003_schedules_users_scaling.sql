-- Job schedules, users of nodes, certificates, autoscale settings of pools.

ALTER TABLE pool ADD COLUMN scale_formula TEXT;
ALTER TABLE pool ADD COLUMN scale_interval_s REAL;
ALTER TABLE pool ADD COLUMN scale_us INTEGER;
ALTER TABLE pool ADD COLUMN scale_run TEXT;

ALTER TABLE node ADD COLUMN vm_size TEXT NOT NULL DEFAULT '';
UPDATE node SET vm_size = coalesce((SELECT vm_size FROM pool WHERE pool.key = node.pool_key), '');
CREATE INDEX node_by_time ON node (gone_us, allocated_us);

ALTER TABLE job ADD COLUMN schedule_key INTEGER;
CREATE INDEX job_of_schedule ON job (schedule_key, id) WHERE schedule_key IS NOT NULL;

CREATE TABLE job_schedule (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL COLLATE NOCASE UNIQUE,
  state TEXT NOT NULL,
  state_us INTEGER NOT NULL,
  previous_state TEXT,
  previous_us INTEGER,
  created_us INTEGER NOT NULL,
  modified_us INTEGER NOT NULL,
  served_us INTEGER,
  end_us INTEGER,
  jobs_made INTEGER NOT NULL DEFAULT 0,
  recent_job_id TEXT,
  spec BLOB NOT NULL
);

CREATE TABLE node_user (
  node_key INTEGER NOT NULL,
  name TEXT NOT NULL COLLATE NOCASE,
  is_admin INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  ssh_public_key TEXT,
  PRIMARY KEY (node_key, name)
) WITHOUT ROWID;

CREATE TABLE certificate (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  algorithm TEXT NOT NULL COLLATE NOCASE,
  thumbprint TEXT NOT NULL COLLATE NOCASE,
  state TEXT NOT NULL,
  state_us INTEGER NOT NULL,
  previous_state TEXT,
  previous_us INTEGER,
  public_data TEXT NOT NULL,
  delete_error TEXT,
  UNIQUE (algorithm, thumbprint)
);
