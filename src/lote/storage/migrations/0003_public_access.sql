-- How far a container is open to requests without credentials.

ALTER TABLE container ADD COLUMN public TEXT NOT NULL DEFAULT '';
