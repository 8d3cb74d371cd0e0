-- Whether the job was ready on the node as its disk is: there its release task runs at the end.

ALTER TABLE special_run ADD COLUMN is_used INTEGER NOT NULL DEFAULT 0;
UPDATE special_run SET is_used = 1
WHERE kind = 0 AND state = 'completed' AND failure IS NULL AND is_void = 0;
