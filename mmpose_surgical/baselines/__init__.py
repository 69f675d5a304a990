"""What methods from elsewhere need to be compared on the same data by the same evaluator."""
