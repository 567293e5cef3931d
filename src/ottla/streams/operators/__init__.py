"""What happens to records: one family of operators per file. They work on batches."""
