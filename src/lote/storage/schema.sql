-- The rows of the storage account. Times are microseconds since 1970; ETags are .NET ticks, and
-- never used twice. Blob names are UTF-8 bytes, so that they sort as the protocol lists them.

CREATE TABLE state (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    last_etag INTEGER NOT NULL,
    starts    INTEGER NOT NULL              -- names of content files begin with it
);
INSERT INTO state VALUES (1, 0, 0);

CREATE TABLE container (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account     TEXT,                       -- NULL: deleted, its blobs are still being removed
    name        TEXT NOT NULL,
    etag        INTEGER NOT NULL,
    modified_us INTEGER NOT NULL,
    metadata    TEXT NOT NULL,              -- JSON object
    policies    TEXT NOT NULL,              -- JSON list of stored access policies
    lease       TEXT NOT NULL DEFAULT '',   -- JSON list; '': never leased
    public      TEXT NOT NULL DEFAULT '',   -- blob, container; '': closed
    UNIQUE (account, name)
);

CREATE TABLE content (                      -- bytes: here when small, else in a file
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    size  INTEGER NOT NULL,
    file  TEXT,
    bytes BLOB,
    links INTEGER NOT NULL                  -- how many blobs, parts and staged blocks use it
);
CREATE INDEX content_unused ON content (id) WHERE links = 0;
CREATE INDEX content_by_file ON content (file) WHERE file IS NOT NULL;

CREATE TABLE blob (
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

CREATE TABLE part (                         -- a committed block of a blob
    blob    INTEGER NOT NULL,
    start   INTEGER NOT NULL,               -- offset in the blob
    size    INTEGER NOT NULL,
    block   TEXT NOT NULL,                  -- block id as the client spelled it
    content INTEGER NOT NULL,
    PRIMARY KEY (blob, start)
) WITHOUT ROWID;

CREATE TABLE staged (                       -- an uncommitted block
    blob      INTEGER NOT NULL,
    block     TEXT NOT NULL,
    size      INTEGER NOT NULL,
    content   INTEGER NOT NULL,
    staged_us INTEGER NOT NULL,
    PRIMARY KEY (blob, block)
) WITHOUT ROWID;
CREATE INDEX staged_by_age ON staged (staged_us);

CREATE TABLE account (
    name       TEXT PRIMARY KEY,
    properties TEXT NOT NULL                -- the XML document of Set Blob Service Properties
) WITHOUT ROWID;

CREATE TABLE tag (                          -- the tags of blobs once more, to be searched
    blob  INTEGER NOT NULL,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (blob, key)
) WITHOUT ROWID;
CREATE INDEX tag_by_value ON tag (key, value, blob);

CREATE TABLE pending_copy (                 -- blobs whose contents are still being fetched
    blob INTEGER PRIMARY KEY
);
