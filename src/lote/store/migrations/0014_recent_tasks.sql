-- The tasks that ended last on a node, so that a server that starts can show them.

ALTER TABLE node ADD COLUMN recent TEXT;
