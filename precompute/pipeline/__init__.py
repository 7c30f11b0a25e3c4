"""A run over a data set: survey, plan, execute, write."""
