"""Rules: mine, preview, approve."""
