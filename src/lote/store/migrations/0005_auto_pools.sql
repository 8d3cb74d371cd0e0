-- Auto pools: the one that the jobs of a schedule share, and why a job could not have its own.

ALTER TABLE job ADD COLUMN scheduling_error TEXT;
ALTER TABLE job_schedule ADD COLUMN auto_pool_id TEXT;
