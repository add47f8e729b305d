"""What `python -m minibert.bench` measures, one file a subject; how it measures is in `measure.py`."""
