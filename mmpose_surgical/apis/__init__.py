"""What runs on pictures outside of any data set."""
