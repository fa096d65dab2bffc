-- What was ever put into stock, at creation and by hand: what is left, and what was sold, must add up to it. NULL: a product of
-- before, or of a process of before that runs beside this one.
ALTER TABLE shop_product ADD COLUMN stocked BIGINT NULL, ALGORITHM = INSTANT;
