-- One row per dispatched attempt. Money in pico-dollars (10^-12 USD), times in Unix microseconds.
CREATE TABLE attempt (
    node BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    generation_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    face TEXT NOT NULL,
    operation TEXT NOT NULL,
    streamed INTEGER NOT NULL,
    workspace TEXT NOT NULL,
    key_hash BLOB NOT NULL,
    app TEXT NOT NULL,
    session TEXT NOT NULL,
    user TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    provider_name TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    credential TEXT NOT NULL,
    tier TEXT NOT NULL,
    price BLOB NOT NULL,
    prompt_bytes INTEGER NOT NULL,
    max_tokens INTEGER,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    finish TEXT,
    native_finish TEXT NOT NULL,
    upstream_id TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    ended_us INTEGER NOT NULL,
    first_content_us INTEGER,
    duration_us INTEGER NOT NULL,
    source TEXT NOT NULL,
    estimator TEXT NOT NULL,
    input INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    input_audio INTEGER NOT NULL,
    input_audio_cached INTEGER NOT NULL,
    input_image INTEGER NOT NULL,
    input_video INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    output_audio INTEGER NOT NULL,
    output_image INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    searches INTEGER NOT NULL,
    spare_1 INTEGER NOT NULL,
    spare_2 INTEGER NOT NULL,
    -- Bytes per class, as a JSON array.
    delivered TEXT NOT NULL,
    committed INTEGER NOT NULL,
    cost_pico INTEGER NOT NULL,
    charge_pico INTEGER NOT NULL,
    policy TEXT NOT NULL,
    flags INTEGER NOT NULL,
    PRIMARY KEY (node, epoch, seq)
) STRICT;
CREATE INDEX attempt_generation ON attempt (generation_id);

-- How far a node's spool has been delivered.
CREATE TABLE cursor (
    node BLOB PRIMARY KEY,
    epoch INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL
) STRICT;

-- Every price version a row names, once.
CREATE TABLE price (
    hash BLOB PRIMARY KEY,
    text TEXT NOT NULL
) STRICT;
