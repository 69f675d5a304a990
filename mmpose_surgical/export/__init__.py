"""Trained models for other runtimes than PyTorch."""
