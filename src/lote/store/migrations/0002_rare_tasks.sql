-- Tasks that are few among many, in the order of lists: at work, failed, ended with another code
-- than 0. The first also finds what nodes hold when the service starts.

DROP INDEX task_placed;
CREATE INDEX task_at_work ON task (job_key, id) WHERE phase IN (2, 3, 4);
CREATE INDEX task_failed ON task (job_key, id) WHERE result = 0;
CREATE INDEX task_with_code ON task (job_key, id) WHERE exit_code <> 0;
