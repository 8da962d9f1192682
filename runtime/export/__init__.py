"""Recordings as data sets, tables and shorter recordings."""
