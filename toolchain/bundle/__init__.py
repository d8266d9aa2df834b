"""What `make bundle` makes: the lab for a machine without any network.

`pack` writes a folder of parts, and `installer`, which goes along as the file `install`, makes a
lab of it on the other machine, with nothing but Python.
"""
