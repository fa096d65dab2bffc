-- The newest events of all states, as a page asks for every few seconds.
CREATE INDEX outside_event_first_seen_at ON outside_event (first_seen_at) ALGORITHM = INPLACE LOCK = NONE;
-- Retention asks for old attempts.
CREATE INDEX outside_failed_attempt_started_at ON outside_failed_attempt (started_at) ALGORITHM = INPLACE LOCK = NONE;
