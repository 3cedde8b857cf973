"""Reads published checkpoints into {name: numpy array} without executing them."""
