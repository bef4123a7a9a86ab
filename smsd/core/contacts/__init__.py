"""Contacts out of files. Rule: pure, bounded, and a bad row never costs a good one.

`read` in reader.py is the way in. The journey of an octet: decode.py, lines.py, then csv_rows.py or
json_rows.py, columns.py, and number_cell.py and value.py for each cell.
"""
