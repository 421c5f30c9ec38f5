"""One library a folder behind one port each. They decide nothing."""
