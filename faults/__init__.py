"""What is broken on purpose in a lab that is up: faults as data, and one engine that runs them.

`make break` runs them from the terminal. A fault has clients, pods that work with the GPU, an
injection, and what is to be seen afterwards: what a user notices, what brings it back, what stays
unharmed. The engine times each from the moment of the injection (faults/engine.py).
"""
