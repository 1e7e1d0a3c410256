"""How good captions are: datasets, metrics, baselines and reports."""
