"""Builds the image of kind's nodes from package registries, without an image registry.

kind itself has Docker get the image of its nodes from a registry, and the nodes the images of the
control plane are part of it. Here the same is put together of Debian's packages, which are the base
of kind's image too, and of programs built from Go modules:

- `parts`: the programs, and which of them go where; `image`: what the image is called and decides
- `base`: Debian's packages, as one tar that is kept in the cache
- `root`: kind's files, our programs and settings, laid over the base
- `preload`: the images of the control plane, put into the store of the node's containerd
- `build`: all of it, one step after another; `make kind-node-image`
- `files`: what is ours in the image

kind's own files (its entrypoint, its units) are taken from its Go module when an image is built.
"""
