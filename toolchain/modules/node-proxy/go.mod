// node-proxy forwards the TCP connections of one address to another.
module dra-workshop/toolchain/node-proxy

go 1.26

require github.com/inetaf/tcpproxy v0.0.0-20260515195445-c159a6051109
