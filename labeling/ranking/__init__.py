"""What comes first: which question to label next, and which intents to offer for it."""
