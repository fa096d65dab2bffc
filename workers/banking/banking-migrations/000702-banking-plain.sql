-- A bank reads a number with hyphens or without, with zeros before it or without: however it is spelled, an account has one owner at a
-- time. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again.

-- Of before: registered although somebody had the same number in another spelling. Staff looks at these (see docs/my-pay.md).
ALTER TABLE bank_account ADD COLUMN spelled_twice BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE bank_account AS it
JOIN (
  SELECT bank, TRIM(LEADING '0' FROM UPPER(REPLACE(account_number, '-', ''))) AS plain, MIN(account_id) AS first_id
  FROM bank_account WHERE state = 'OPEN' GROUP BY bank, plain HAVING COUNT(*) > 1
) AS twice ON twice.bank = it.bank AND twice.plain = TRIM(LEADING '0' FROM UPPER(REPLACE(it.account_number, '-', '')))
SET it.spelled_twice = TRUE
WHERE it.state = 'OPEN' AND it.account_id <> twice.first_id;

-- As account-number.ts says it: what all spellings of a number have in common.
ALTER TABLE bank_account
  ADD COLUMN open_plain VARCHAR(34) CHARACTER SET ascii COLLATE ascii_bin
    AS (IF(state = 'OPEN' AND spelled_twice = FALSE, TRIM(LEADING '0' FROM UPPER(REPLACE(account_number, '-', ''))), NULL)) STORED,
  ADD UNIQUE KEY bank_account_plain (bank, open_plain);
