-- Who caused an outcome: caller, provider, operator, weir; null where the answer was delivered.
ALTER TABLE attempt ADD COLUMN cause TEXT;
UPDATE attempt SET cause = CASE outcome
    WHEN 'client_fault' THEN 'caller'
    WHEN 'client_abort' THEN 'caller'
    WHEN 'credential' THEN 'operator'
    WHEN 'shutdown' THEN 'operator'
    WHEN 'internal' THEN 'weir'
    WHEN 'crash_recovered' THEN 'weir'
    ELSE 'provider'
END
WHERE outcome <> 'ok';
-- Who asks for what a workspace used asks for some days of it.
CREATE INDEX attempt_workspace ON attempt (workspace, ended_us);
