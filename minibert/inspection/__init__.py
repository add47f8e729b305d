"""What is wrong with a data set before anything is learnt from it: the parts behind `python -m minibert.inspect`."""
