"""weakseg on Ray: the stages, the ledger, the rounds and everything that talks to a service."""
