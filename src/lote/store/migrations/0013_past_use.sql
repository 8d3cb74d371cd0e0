-- How many tasks ended and how, beside what they used; and what deleted jobs used: of a schedule
-- while that exists, else under the key 0.

ALTER TABLE job_use ADD COLUMN succeeded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job_use ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
INSERT INTO job_use (job_key, retries, wall_us, wait_us, user_us, kernel_us, read_blocks,
  write_blocks)
SELECT job_key, 0, 0, 0, 0, 0, 0, 0 FROM job_count
WHERE succeeded + failed > 0 AND job_key NOT IN (SELECT job_key FROM job_use);
UPDATE job_use SET (succeeded, failed) = (
  SELECT succeeded, failed FROM job_count WHERE job_count.job_key = job_use.job_key
) WHERE job_key IN (SELECT job_key FROM job_count);

CREATE TABLE past_use (
  schedule_key INTEGER PRIMARY KEY,
  first_us INTEGER NOT NULL,
  retries INTEGER NOT NULL,
  wall_us INTEGER NOT NULL,
  wait_us INTEGER NOT NULL,
  user_us INTEGER NOT NULL,
  kernel_us INTEGER NOT NULL,
  read_blocks INTEGER NOT NULL,
  write_blocks INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL
);
