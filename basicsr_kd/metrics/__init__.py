"""What a network costs and how well it does. `__all__` lists what goes into BasicSR's METRIC_REGISTRY."""
__all__: list[str] = []
