"""Which way of pruning a network suits a budget best: several tried and measured."""
