"""What a kept evaluation says: for its page, for a comparison, and as a download."""
