-- The containers that tasks ran in, as the wire's containerInfo.

ALTER TABLE task ADD COLUMN container TEXT;
ALTER TABLE special_run ADD COLUMN container TEXT;
