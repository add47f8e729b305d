"""Weights in and out.

`pretrained.py` is the way in: from a name or a path to a model. `names.py` is the table of names. `huggingface.py` and
`shards.py` read and write Hugging Face's folders, `tensorflow` Google's checkpoints. `catalog.py` lists the known
models, `hub.py` downloads them. `locate.py` says what a name or a path means on this machine, and `convert.py` writes a
checkpoint again in the other form, or looks it over.
"""
