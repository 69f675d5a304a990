"""Clip backbone, temporal fusion and the mask-prior refiner."""
