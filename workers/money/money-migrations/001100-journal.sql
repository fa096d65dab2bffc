-- What was booked on a day, in the order of booking: for the journal and the audit. One entry a row and at the right end.
CREATE INDEX ledger_transfer_booked_at ON ledger_transfer (booked_at) ALGORITHM = INPLACE LOCK = NONE;
