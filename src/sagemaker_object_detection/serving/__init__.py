"""What a trained model answers, and how a person sees it."""
