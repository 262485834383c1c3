"""Ensembles of real processes, each member Apache's server or ours: started, wounded, compared.

ensemble.py   Ensemble and Member: processes, configuration, who leads
alike.py      all members serve the same tree, and none has found a wrong digest
    clients.py    kazoo clients that write, watch and lock while members come and go
"""
