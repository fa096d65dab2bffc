-- The photo of the latest refund that was asked for.
ALTER TABLE delivery_order ADD COLUMN photo_id BINARY(16) NULL, ALGORITHM = INSTANT;
