"""What the first start of a node writes, as pure functions of documents and founding secrets."""
