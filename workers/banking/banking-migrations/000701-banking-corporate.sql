-- Which account of ours stands at a bank for the money of members, and accounts that a member only pays to. Works on MySQL 8.4 and
-- MariaDB 10.11; each statement may run again.
CREATE TABLE IF NOT EXISTS bank_corporate_account (
  bank       VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  account_id BINARY(16) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- PAYEE: somebody's, as its owner here names it as a receiver. Many may name the same number, and nothing is taken from it.
ALTER TABLE bank_account
  MODIFY state ENUM('OPEN', 'CLOSED', 'PAYEE') CHARACTER SET ascii NOT NULL;
