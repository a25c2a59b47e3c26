"""What `scripts.check_estimators` compares the estimators with, a file for each kind of measure."""
