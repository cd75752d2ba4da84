"""Open-loop HTTP load generator."""
