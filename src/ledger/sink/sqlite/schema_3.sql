-- How many of its node's rows a cursor has behind it: what is gone of the spool then is known to the row.
ALTER TABLE cursor ADD COLUMN rows INTEGER NOT NULL DEFAULT 0;
