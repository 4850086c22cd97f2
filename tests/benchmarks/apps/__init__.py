"""The same routes in several frameworks. What a path must answer: ``payload.expected``."""
