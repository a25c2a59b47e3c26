"""True values with which `scripts.check_estimators` compares the estimators, by kind of measure."""
