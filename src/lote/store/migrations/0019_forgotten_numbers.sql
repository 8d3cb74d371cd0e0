-- Numbers whose tasks are gone or run again: tasks up to until_key have had them.

CREATE TABLE forgotten_number (
  job_key INTEGER NOT NULL,
  number INTEGER NOT NULL,
  until_key INTEGER NOT NULL,
  PRIMARY KEY (job_key, number)
) WITHOUT ROWID;
