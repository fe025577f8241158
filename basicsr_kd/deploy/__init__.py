"""Running and handing over finished networks."""
