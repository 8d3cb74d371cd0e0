-- When autoscale was last enabled by request: it may not be again for half a minute.

ALTER TABLE pool ADD COLUMN scale_enabled_us INTEGER;
