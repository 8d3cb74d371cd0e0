-- Failures that were asked for: what, until when, how often they acted, why they ended.

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
