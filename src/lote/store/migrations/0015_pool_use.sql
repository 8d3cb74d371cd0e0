-- What the agents of a pool's nodes measured, summed up: times and products with seconds in
-- seconds, sizes in bytes. REAL, as sums have no limit; whole numbers are exact up to 2^53.

CREATE TABLE pool_use (
  pool_key INTEGER PRIMARY KEY,
  first_us INTEGER NOT NULL,
  last_us INTEGER NOT NULL,
  measured_s REAL NOT NULL,
  cpu_percent_s REAL NOT NULL,
  memory_byte_s REAL NOT NULL,
  memory_bytes_max REAL NOT NULL,
  disk_byte_s REAL NOT NULL,
  disk_bytes_max REAL NOT NULL,
  disk_reads REAL NOT NULL,
  disk_writes REAL NOT NULL,
  disk_read_bytes REAL NOT NULL,
  disk_write_bytes REAL NOT NULL,
  network_in_bytes REAL NOT NULL,
  network_out_bytes REAL NOT NULL
);
