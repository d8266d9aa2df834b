// Package nvfm stands in for NVIDIA's bindings to Fabric Manager, which the Go module proxy does not
// serve. Only the gate FabricManagerPartitioning uses them, and it is off. Every call fails, and
// says why.
package nvfm

type Return int

const (
	SUCCESS    Return = 0
	notBuiltIn Return = -1
)

func (r Return) String() string {
	if r == SUCCESS {
		return "success"
	}
	return "built without Fabric Manager"
}

type (
	LibraryOption     func()
	ConnectOption     func()
	FabricPartitionId uint32
)

type GpuInfo struct {
	PhysicalId          uint32
	Uuid                [80]int8
	PciBusId            [80]int8
	NumNvLinksAvailable uint32
	MaxNumNvLinks       uint32
	NvlinkLineRateMBps  uint32
}

type PartitionInfo struct {
	PartitionId FabricPartitionId
	IsActive    uint32
	NumGpus     uint32
	GpuInfo     [16]GpuInfo
}

type FabricPartitionList struct {
	NumPartitions uint32
	PartitionInfo [64]PartitionInfo
}

type Handle interface {
	GetSupportedFabricPartitions() (FabricPartitionList, Return)
	ActivateFabricPartition(FabricPartitionId) Return
	DeactivateFabricPartition(FabricPartitionId) Return
	Disconnect() Return
}

type Interface interface {
	Init() Return
	Shutdown() Return
	Connect(...ConnectOption) (Handle, Return)
}

type absent struct{}

func (absent) Init() Return                              { return notBuiltIn }
func (absent) Shutdown() Return                          { return notBuiltIn }
func (absent) Connect(...ConnectOption) (Handle, Return) { return nil, notBuiltIn }

func New(...LibraryOption) Interface       { return absent{} }
func WithLibraryPath(string) LibraryOption { return func() {} }
func WithUnixSocket(string) ConnectOption  { return func() {} }
func WithAddress(string) ConnectOption     { return func() {} }
func WithTimeoutMs(uint32) ConnectOption   { return func() {} }
