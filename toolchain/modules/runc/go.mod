// runc, which makes a container out of an OCI bundle.
module dra-workshop/toolchain/runc

go 1.26

require github.com/opencontainers/runc v1.4.3
