"""Measurements: what the engine costs beside plain code (`engine`), and what the methods are worth (`studies`)."""
