-- When a client of the customer acknowledged how the slip ended. What ended before anybody was told counts as told: without a row
-- being written for it.
ALTER TABLE slip ADD COLUMN notified_at DATETIME(3) NULL DEFAULT '2026-11-28 00:00:00.000', ALGORITHM = INSTANT;
ALTER TABLE slip ALTER COLUMN notified_at SET DEFAULT NULL;
UPDATE slip SET notified_at = NULL WHERE state IN ('TRANSFER', 'RECHARGE', 'RECHARGING');
