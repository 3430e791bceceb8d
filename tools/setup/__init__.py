"""``make setup``: everything that a fresh machine lacks, fetched or built once.

Standard library only: it runs before anything is installed.
"""
