-- Members who have left, until their bank accounts are closed here. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again.
CREATE TABLE IF NOT EXISTS bank_leaver (
  -- The pseudonym of the member.
  owner    VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  close_at DATETIME(3) NOT NULL,
  KEY bank_leaver_close_at (close_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
