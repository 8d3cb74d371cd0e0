-- The whole schema after all migrations. Times are microseconds since 1970 UTC (`_us`).
-- One database holds one account.

CREATE TABLE fact (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE pool (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL COLLATE NOCASE UNIQUE,
  state TEXT NOT NULL,
  state_us INTEGER NOT NULL,
  allocation_state TEXT NOT NULL,
  allocation_us INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  modified_us INTEGER NOT NULL,
  vm_size TEXT NOT NULL,
  engine TEXT NOT NULL,
  slots INTEGER NOT NULL,
  target_dedicated INTEGER NOT NULL,
  target_low_priority INTEGER NOT NULL,
  current_dedicated INTEGER NOT NULL DEFAULT 0,
  current_low_priority INTEGER NOT NULL DEFAULT 0,
  enable_auto_scale INTEGER NOT NULL DEFAULT 0,
  inter_node INTEGER NOT NULL DEFAULT 0,
  resize_started_us INTEGER,
  resize_timeout_s REAL NOT NULL,
  deallocation TEXT NOT NULL DEFAULT 'requeue',
  resize_errors TEXT,
  spec BLOB NOT NULL,
  scale_formula TEXT,
  scale_interval_s REAL,
  scale_us INTEGER,
  scale_run TEXT,
  scale_enabled_us INTEGER
);

CREATE TABLE node (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  pool_key INTEGER NOT NULL,
  pool_id TEXT NOT NULL COLLATE NOCASE,
  id TEXT NOT NULL COLLATE NOCASE UNIQUE,
  state TEXT NOT NULL,
  state_us INTEGER NOT NULL,
  scheduling TEXT NOT NULL DEFAULT 'enabled',
  is_dedicated INTEGER NOT NULL,
  secret_digest BLOB NOT NULL,
  allocated_us INTEGER NOT NULL,
  booted_us INTEGER,
  boot TEXT,
  ip_address TEXT NOT NULL DEFAULT '127.0.0.1',
  agent_version TEXT,
  operating_system TEXT,
  seen_us INTEGER,
  tasks_run INTEGER NOT NULL DEFAULT 0,
  tasks_succeeded INTEGER NOT NULL DEFAULT 0,
  start_task TEXT,
  errors TEXT,
  replaces INTEGER,
  deallocation TEXT,
  gone_us INTEGER,
  vm_size TEXT NOT NULL DEFAULT '',
  recent TEXT
);
CREATE INDEX node_of_pool ON node (pool_key, id) WHERE gone_us IS NULL;
CREATE INDEX node_by_time ON node (gone_us, allocated_us);

CREATE TABLE job (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL COLLATE NOCASE UNIQUE,
  pool_id TEXT COLLATE NOCASE,
  state TEXT NOT NULL,
  state_us INTEGER NOT NULL,
  previous_state TEXT,
  previous_us INTEGER,
  created_us INTEGER NOT NULL,
  modified_us INTEGER NOT NULL,
  start_us INTEGER NOT NULL,
  end_us INTEGER,
  priority INTEGER NOT NULL,
  disable_option TEXT,
  terminate_reason TEXT,
  spec BLOB NOT NULL,
  schedule_key INTEGER,
  scheduling_error TEXT
);
CREATE INDEX job_of_schedule ON job (schedule_key, id) WHERE schedule_key IS NOT NULL;
CREATE INDEX job_of_pool ON job (pool_id);
CREATE INDEX job_unsettled ON job (state) WHERE state NOT IN ('active', 'completed', 'disabled');

CREATE TABLE job_count (
  job_key INTEGER PRIMARY KEY,
  active INTEGER NOT NULL DEFAULT 0,
  running INTEGER NOT NULL DEFAULT 0,
  succeeded INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  active_slots INTEGER NOT NULL DEFAULT 0,
  running_slots INTEGER NOT NULL DEFAULT 0,
  succeeded_slots INTEGER NOT NULL DEFAULT 0,
  failed_slots INTEGER NOT NULL DEFAULT 0
);

-- phase: 0 blocked by dependencies, 1 ready, 2 placed on a node, 3 preparing, 4 running, 5 completed
-- (0 to 2 are `active` on the wire). flags: see lote.store.records.
CREATE TABLE task (
  key INTEGER PRIMARY KEY,
  job_key INTEGER NOT NULL,
  id TEXT NOT NULL COLLATE NOCASE,
  phase INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  slots INTEGER NOT NULL,
  waiting INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  modified_us INTEGER NOT NULL,
  state_us INTEGER NOT NULL,
  run INTEGER NOT NULL DEFAULT 0,
  retries INTEGER NOT NULL DEFAULT 0,
  requeues INTEGER NOT NULL DEFAULT 0,
  reruns INTEGER NOT NULL DEFAULT 0,
  node_key INTEGER,
  previous_phase INTEGER,
  previous_us INTEGER,
  start_us INTEGER,
  end_us INTEGER,
  exit_code INTEGER,
  result INTEGER,
  failure TEXT,
  last_retry_us INTEGER,
  last_requeue_us INTEGER,
  spans TEXT,
  wall_us INTEGER,
  user_us INTEGER,
  kernel_us INTEGER,
  read_blocks INTEGER,
  write_blocks INTEGER,
  container TEXT
);
CREATE UNIQUE INDEX task_by_id ON task (job_key, id);
CREATE INDEX task_ready ON task (job_key, key) WHERE phase = 1;
CREATE INDEX task_at_work ON task (job_key, id) WHERE phase IN (2, 3, 4);
CREATE INDEX task_failed ON task (job_key, id) WHERE result = 0;
CREATE INDEX task_with_code ON task (job_key, id) WHERE exit_code <> 0;
CREATE INDEX task_blocked ON task (job_key, phase, slots) WHERE phase = 0;

CREATE TABLE task_spec (
  key INTEGER PRIMARY KEY,
  spec BLOB NOT NULL
);

CREATE TABLE dependency (
  job_key INTEGER NOT NULL,
  parent_id TEXT NOT NULL COLLATE NOCASE,
  child_key INTEGER NOT NULL,
  PRIMARY KEY (job_key, parent_id, child_key)
) WITHOUT ROWID;
CREATE INDEX dependency_of_child ON dependency (child_key);

CREATE TABLE dependency_range (
  job_key INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  child_key INTEGER NOT NULL
);
CREATE INDEX dependency_range_of_job ON dependency_range (job_key, first, last);
CREATE INDEX dependency_range_of_child ON dependency_range (child_key);

CREATE TABLE satisfied_number (
  job_key INTEGER NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (job_key, number)
) WITHOUT ROWID;

-- until_key: tasks up to this key have had the number.
CREATE TABLE forgotten_number (
  job_key INTEGER NOT NULL,
  number INTEGER NOT NULL,
  until_key INTEGER NOT NULL,
  PRIMARY KEY (job_key, number)
) WITHOUT ROWID;

CREATE TABLE event (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  at_us INTEGER NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  text TEXT NOT NULL
);

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
  spec BLOB NOT NULL,
  auto_pool_id TEXT
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

CREATE TABLE scale_sample (
  pool_key INTEGER NOT NULL,
  at_us INTEGER NOT NULL,
  readings TEXT NOT NULL,
  PRIMARY KEY (pool_key, at_us)
) WITHOUT ROWID;

CREATE TABLE scale_evaluation (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  pool_key INTEGER NOT NULL,
  at_us INTEGER NOT NULL,
  formula TEXT NOT NULL,
  results TEXT NOT NULL,
  error TEXT,
  target_dedicated INTEGER NOT NULL,
  target_low_priority INTEGER NOT NULL,
  variables TEXT NOT NULL,
  readings TEXT NOT NULL
);
CREATE INDEX scale_evaluation_of_pool ON scale_evaluation (pool_key, key);

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
  is_used INTEGER NOT NULL DEFAULT 0,
  container TEXT,
  PRIMARY KEY (job_key, node_key, kind)
) WITHOUT ROWID;

CREATE TABLE rehearsal (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  spec BLOB NOT NULL,
  node_ids TEXT NOT NULL,
  began_us INTEGER NOT NULL,
  until_us INTEGER NOT NULL,
  times_left INTEGER,
  times_acted INTEGER NOT NULL,
  ended_us INTEGER,
  ended_by TEXT
);
CREATE INDEX rehearsal_at_work ON rehearsal (key) WHERE ended_us IS NULL;

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
  container TEXT,
  PRIMARY KEY (task_key, number)
) WITHOUT ROWID;

CREATE TABLE pool_use (
  pool_key INTEGER PRIMARY KEY,
  first_us INTEGER NOT NULL,
  last_us INTEGER NOT NULL,
  measured_s REAL NOT NULL,
  cpu_percent_s REAL NOT NULL,
  memory_byte_s REAL NOT NULL,
  memory_bytes_max REAL NOT NULL,
  disk_byte_s REAL NOT NULL,
  disk_bytes_max REAL NOT NULL,
  disk_reads REAL NOT NULL,
  disk_writes REAL NOT NULL,
  disk_read_bytes REAL NOT NULL,
  disk_write_bytes REAL NOT NULL,
  network_in_bytes REAL NOT NULL,
  network_out_bytes REAL NOT NULL
);

CREATE TABLE cleaning (
  node_key INTEGER NOT NULL,
  directory TEXT NOT NULL,
  PRIMARY KEY (node_key, directory)
) WITHOUT ROWID;
