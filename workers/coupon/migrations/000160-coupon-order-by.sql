-- What is handled in order for a coupon: the requests of each user, or all of that coupon. Chosen when it is created.
ALTER TABLE coupon ADD COLUMN order_by ENUM('user', 'coupon') CHARACTER SET ascii NOT NULL DEFAULT 'user',
  ALGORITHM = INSTANT;
