"""The report of a cache: one HTML file with tables, histograms and a viewer of frames."""
