"""Turn landmarks into training targets and heatmaps into landmarks."""
