"""Predicting a whole video into files: what tools/predict.py does."""
