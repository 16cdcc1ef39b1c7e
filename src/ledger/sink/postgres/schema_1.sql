-- One row per dispatched attempt, a partition for each month of `ended_us`. Money in pico-dollars (10^-12 USD), times in Unix microseconds.
CREATE TABLE weir.attempt (
    node bytea NOT NULL,
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    generation_id text NOT NULL,
    attempt bigint NOT NULL,
    face text NOT NULL,
    operation text NOT NULL,
    streamed boolean NOT NULL,
    workspace text NOT NULL,
    key_hash bytea NOT NULL,
    app text NOT NULL,
    session text NOT NULL,
    "user" text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    provider_name text NOT NULL,
    endpoint text NOT NULL,
    upstream_model text NOT NULL,
    credential text NOT NULL,
    tier text NOT NULL,
    price bytea NOT NULL,
    prompt_bytes bigint NOT NULL,
    max_tokens bigint,
    outcome text NOT NULL,
    status bigint NOT NULL,
    finish text,
    native_finish text NOT NULL,
    upstream_id text NOT NULL,
    started_us bigint NOT NULL,
    ended_us bigint NOT NULL,
    first_content_us bigint,
    duration_us bigint NOT NULL,
    source text NOT NULL,
    estimator text NOT NULL,
    input bigint NOT NULL,
    cache_read bigint NOT NULL,
    cache_write_5m bigint NOT NULL,
    cache_write_1h bigint NOT NULL,
    input_audio bigint NOT NULL,
    input_audio_cached bigint NOT NULL,
    input_image bigint NOT NULL,
    input_video bigint NOT NULL,
    output bigint NOT NULL,
    reasoning bigint NOT NULL,
    output_audio bigint NOT NULL,
    output_image bigint NOT NULL,
    requests bigint NOT NULL,
    searches bigint NOT NULL,
    spare_1 bigint NOT NULL,
    spare_2 bigint NOT NULL,
    -- Bytes per class, as a JSON array.
    delivered text NOT NULL,
    committed boolean NOT NULL,
    cost_pico bigint NOT NULL,
    charge_pico bigint NOT NULL,
    policy text NOT NULL,
    flags bigint NOT NULL,
    PRIMARY KEY (node, epoch, seq, ended_us)
) PARTITION BY RANGE (ended_us);
CREATE INDEX attempt_generation ON weir.attempt (generation_id);

-- How far a node's spool has been delivered.
CREATE TABLE weir.cursor (
    node bytea PRIMARY KEY,
    epoch bigint NOT NULL,
    segment bigint NOT NULL,
    "offset" bigint NOT NULL
);

-- Every price version a row names, once.
CREATE TABLE weir.price (
    hash bytea PRIMARY KEY,
    text text NOT NULL
);
