"""What pages say of a project's labels: how far they are, how good, how right."""
