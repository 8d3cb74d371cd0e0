-- Tasks that may have begun on other nodes than their last: so far, all that were placed again.

UPDATE task SET flags = flags | 1024 WHERE run > 1;
