"""Published figures checked against the ledger, and the conventions they were counted by."""
