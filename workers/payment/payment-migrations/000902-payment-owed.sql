-- What each merchant is still owed: paid to it, less what was given back or is about to be, less what settlement has taken out of it.
-- Below zero: staff has given back more. Kept by triggers: while a version takes the place of another, both write slips.
CREATE TABLE IF NOT EXISTS payment_owed (
  merchant   VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  currency   CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  owed_minor BIGINT NOT NULL,
  PRIMARY KEY (merchant, currency)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A refund counts from its acceptance on.
CREATE TRIGGER IF NOT EXISTS slip_owed_less AFTER INSERT ON slip FOR EACH ROW
  INSERT INTO payment_owed (merchant, currency, owed_minor)
  SELECT NEW.merchant, NEW.currency, -NEW.amount_minor FROM DUAL WHERE NEW.kind = 'REFUND'
  ON DUPLICATE KEY UPDATE owed_minor = payment_owed.owed_minor - NEW.amount_minor;

-- A payment counts when it is booked, a refund does not any more when it has failed.
CREATE TRIGGER IF NOT EXISTS slip_owed_more AFTER UPDATE ON slip FOR EACH ROW
  INSERT INTO payment_owed (merchant, currency, owed_minor)
  SELECT NEW.merchant, NEW.currency, NEW.amount_minor FROM DUAL
  WHERE NEW.state <> OLD.state AND NEW.state = IF(NEW.kind = 'PAYMENT', 'DONE', 'FAILED')
  ON DUPLICATE KEY UPDATE owed_minor = payment_owed.owed_minor + NEW.amount_minor;

-- Nobody here knows what was settled before there was this table; the schedule settles each day, so what is older was. A week bears a
-- settlement that was late: too much is owed then once, and never too little. It locks the slips that it reads: none is missed or
-- counted twice.
INSERT INTO payment_owed (merchant, currency, owed_minor)
  SELECT merchant, currency, SUM(IF(kind = 'PAYMENT', amount_minor, -amount_minor)) AS minor FROM slip
  WHERE (state = 'DONE' AND decided_at > UTC_TIMESTAMP(3) - INTERVAL 7 DAY) OR (state = 'TRANSFER' AND kind = 'REFUND')
  GROUP BY merchant, currency
  ON DUPLICATE KEY UPDATE owed_minor = VALUES(owed_minor);
