"""Networks and baselines behind one contract."""
