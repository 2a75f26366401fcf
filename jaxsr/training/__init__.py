"""A run: from its settings to a trained model."""
