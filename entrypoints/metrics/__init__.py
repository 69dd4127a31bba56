"""Metrics of the service, for Prometheus. `table` has each one; the numbers are counted here, or read at a scrape."""
