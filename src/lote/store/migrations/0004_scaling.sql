-- Samples that formulas of pools read, evaluations that were made, and an index that counts tasks
-- blocked by dependencies without looking at the others.

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

CREATE INDEX task_blocked ON task (job_key, phase, slots) WHERE phase = 0;
