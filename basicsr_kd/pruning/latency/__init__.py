"""Budgets in measured time, `of: latency`."""
