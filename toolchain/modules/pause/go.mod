// pause holds the namespaces of a pod.
module dra-workshop/toolchain/pause

go 1.26.0

require github.com/hashicorp/go-reap v0.0.0-20230117204525-bf69c61a7b71

require golang.org/x/sys v0.49.0 // indirect
