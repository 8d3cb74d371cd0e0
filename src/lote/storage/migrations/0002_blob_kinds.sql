-- Leases, snapshots, kinds of blobs, tags, and the properties of an account's service.

ALTER TABLE container ADD COLUMN lease TEXT NOT NULL DEFAULT '';  -- JSON list; '': never leased

CREATE TABLE account (
    name       TEXT PRIMARY KEY,
    properties TEXT NOT NULL                -- the XML document of Set Blob Service Properties
) WITHOUT ROWID;

CREATE TABLE blob_2 (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    container   INTEGER NOT NULL,
    name        BLOB NOT NULL,
    snapshot    INTEGER NOT NULL,           -- .NET ticks; the blob itself has the largest integer
    kind        TEXT NOT NULL,              -- BlockBlob, AppendBlob
    etag        INTEGER,                    -- NULL: nothing but staged blocks yet
    created_us  INTEGER NOT NULL,
    modified_us INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    content     INTEGER,                    -- NULL: made of parts
    properties  TEXT NOT NULL,              -- JSON object: content type and the like
    metadata    TEXT NOT NULL,              -- JSON object
    tags        TEXT NOT NULL,              -- JSON object; '': none
    lease       TEXT NOT NULL,              -- JSON list; '': never leased
    UNIQUE (container, name, snapshot)      -- so a blob is listed after its snapshots
);
INSERT INTO blob_2
    SELECT id, container, name, 9223372036854775807, 'BlockBlob', etag, created_us, modified_us,
        size, content, properties, metadata, '', ''
    FROM blob;
DROP TABLE blob;
ALTER TABLE blob_2 RENAME TO blob;

CREATE TABLE tag (                          -- the tags of blobs once more, to be searched
    blob  INTEGER NOT NULL,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (blob, key)
) WITHOUT ROWID;
CREATE INDEX tag_by_value ON tag (key, value, blob);
