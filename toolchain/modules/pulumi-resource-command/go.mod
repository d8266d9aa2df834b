// Pulumi's command provider: v0.9.2 and 18 commits, the only version that the module proxy serves.
module dra-workshop/toolchain/pulumi-resource-command

go 1.26

require (
	github.com/pulumi/pulumi-command/provider v0.0.0-20240112221901-2fe00b62fa4d
	github.com/pulumi/pulumi-go-provider v0.16.0
)
