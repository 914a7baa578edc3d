"""Songs on disk and the training sequences made of them. Knows no model and no optimiser."""
