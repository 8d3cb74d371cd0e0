-- Blobs whose contents are still being fetched from elsewhere.

CREATE TABLE pending_copy (
    blob INTEGER PRIMARY KEY
);
