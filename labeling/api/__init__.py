"""REST of labeling: keys, problems, questions, keywords."""
