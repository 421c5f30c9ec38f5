"""A world in memory that implements every port."""
