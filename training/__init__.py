"""Questions in, a release out: train an adapter, merge it, prove it, evaluate it."""
