-- A row that is written every few seconds to know that writes are taken (workers/platform/promises.ts).
CREATE TABLE IF NOT EXISTS muster_write_probe (
  id         TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  written_at DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
