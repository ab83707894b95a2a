"""What pages say of a project: how far labelling is, how good it is, how right it was."""
