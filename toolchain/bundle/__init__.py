"""What `make bundle` makes: the lab for a machine without any network.

`pack` writes a folder of parts. `installer` and `unpacking`, which go along as the one file
`install`, make a lab of it on the other machine, with nothing but Python.
"""
