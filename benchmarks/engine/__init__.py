"""What Ray and the ledger cost beside plain code that does the same work."""
