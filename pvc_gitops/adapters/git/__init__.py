"""Git through pygit2: the mirror of a node, a person's checkout, a commit's tree."""
