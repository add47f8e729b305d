"""The field's metrics that take more than a line, each held against its reference implementation by the tests."""
