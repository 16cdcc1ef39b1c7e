-- Who caused an outcome: caller, provider, operator, weir; null where the answer was delivered.
ALTER TABLE weir.attempt ADD COLUMN cause text;
UPDATE weir.attempt SET cause = CASE outcome
    WHEN 'client_fault' THEN 'caller'
    WHEN 'client_abort' THEN 'caller'
    WHEN 'credential' THEN 'operator'
    WHEN 'shutdown' THEN 'operator'
    WHEN 'internal' THEN 'weir'
    WHEN 'crash_recovered' THEN 'weir'
    ELSE 'provider'
END
WHERE outcome <> 'ok';
