-- Directories that nodes are to remove which could not be told so.

CREATE TABLE cleaning (
  node_key INTEGER NOT NULL,
  directory TEXT NOT NULL,
  PRIMARY KEY (node_key, directory)
) WITHOUT ROWID;
