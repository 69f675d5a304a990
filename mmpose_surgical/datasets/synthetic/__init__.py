"""The embedded data set: ray-cast laparoscopic clips with exact landmarks, masks and activity (no torch in here)."""
