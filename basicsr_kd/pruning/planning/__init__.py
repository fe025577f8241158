"""Finding the way of pruning that suits a budget best: several are tried and measured."""
