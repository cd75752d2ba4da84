"""Open-loop HTTP load generator: requests leave on a schedule, whatever the service does."""
