/* Stand-in for libnvidia-ml.so.1: the calls that NVIDIA's DRA driver and this lab make, no GPU.

   Names, structures and codes are those of NVIDIA's nvml.h. What needs silicon (clocks, power,
   MIG) is "not supported"; nothing is made up. */
#define _GNU_SOURCE /* dladdr */
#include "gpus.h"
#include <dlfcn.h>

enum {
	SUCCESS = 0,
	INVALID_ARGUMENT = 2,
	NOT_SUPPORTED = 3,
	NOT_FOUND = 6,
	INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9,
	TIMEOUT = 10,
};
enum { XID_CRITICAL_ERROR = 8 }; /* of nvmlEventType… */
#define NO_INSTANCE 0xffffffffu
#define UNKNOWN 0xffffffffu
#define FIRST_ARCHITECTURE 2 /* Kepler's number */
#define EVENTS "events"
#define POLL_MS 200

typedef struct gpu *device;
typedef struct { unsigned long long total, free, used; } memory_info;
typedef struct { unsigned version, value; } addressing_mode;
typedef struct {
	char legacy_id[16];
	unsigned domain, bus, device, device_id, subsystem_id;
	char id[32];
} pci_info;
typedef struct {
	device device;
	unsigned long long type, data;
	unsigned gpu_instance, compute_instance;
} event_data;

static struct gpu gpus[MOST_GPUS];
static int count;
static char libraries[PATH_MAX];

/* Read once, before anybody can call, so that no call needs a lock. */
__attribute__((constructor)) static void read_list(void)
{
	Dl_info self;

	count = -1;
	if (!dladdr(gpus, &self))
		return;
	snprintf(libraries, sizeof libraries, "%s", self.dli_fname);
	char *name = strrchr(libraries, '/');
	if (!name)
		return;
	*name = 0;
	count = read_gpus(libraries, gpus);
}

static int known(device gpu)
{
	for (int i = 0; i < count; i++)
		if (gpu == &gpus[i])
			return 1;
	return 0;
}

static int put_text(const char *text, char *buffer, unsigned size)
{
	if (!buffer)
		return INVALID_ARGUMENT;
	if (strlen(text) >= size)
		return INSUFFICIENT_SIZE;
	strcpy(buffer, text);
	return SUCCESS;
}

/* Where a table has the text; the table ends with NULL. */
static unsigned place(const char *const *table, const char *text, unsigned otherwise)
{
	for (unsigned i = 0; table[i]; i++)
		if (!strcmp(table[i], text))
			return i;
	return otherwise;
}

#define REQUIRE(condition) do { if (!(condition)) return INVALID_ARGUMENT; } while (0)

/* The library */

int nvmlInit_v2(void) { return count < 0 ? DRIVER_NOT_LOADED : SUCCESS; }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code)
{
	switch (code) {
	case SUCCESS: return "Success";
	case INVALID_ARGUMENT: return "Invalid Argument";
	case NOT_SUPPORTED: return "Not Supported";
	case NOT_FOUND: return "Not Found";
	case INSUFFICIENT_SIZE: return "Insufficient Size";
	case DRIVER_NOT_LOADED: return "Driver Not Loaded";
	case TIMEOUT: return "Timeout";
	default: return "Unknown Error";
	}
}

int nvmlSystemGetDriverVersion(char *buffer, unsigned size)
{
	return put_text(DRIVER_VERSION, buffer, size);
}

int nvmlSystemGetNVMLVersion(char *buffer, unsigned size)
{
	return put_text(CUDA_MAJOR "." DRIVER_VERSION, buffer, size);
}

int nvmlSystemGetCudaDriverVersion(int *version)
{
	REQUIRE(version);
	*version = CUDA_VERSION;
	return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
	return nvmlSystemGetCudaDriverVersion(version);
}

/* Handles */

int nvmlDeviceGetCount_v2(unsigned *number_of_gpus)
{
	REQUIRE(number_of_gpus);
	*number_of_gpus = count > 0 ? (unsigned)count : 0;
	return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *gpu)
{
	REQUIRE(gpu && count > 0 && index < (unsigned)count);
	*gpu = &gpus[index];
	return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device *gpu)
{
	REQUIRE(uuid && gpu);
	device found = gpu_of_uuid(gpus, count, uuid);
	if (!found)
		return NOT_FOUND;
	*gpu = found;
	return SUCCESS;
}

/* What a GPU is */

int nvmlDeviceGetName(device gpu, char *buffer, unsigned size)
{
	REQUIRE(known(gpu));
	return put_text(gpu->product, buffer, size);
}

int nvmlDeviceGetUUID(device gpu, char *buffer, unsigned size)
{
	REQUIRE(known(gpu));
	return put_text(gpu->uuid, buffer, size);
}

int nvmlDeviceGetIndex(device gpu, unsigned *index)
{
	REQUIRE(known(gpu) && index);
	*index = gpu->index;
	return SUCCESS;
}

int nvmlDeviceGetMinorNumber(device gpu, unsigned *minor)
{
	REQUIRE(known(gpu) && minor);
	*minor = gpu->minor;
	return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(device gpu, memory_info *memory)
{
	REQUIRE(known(gpu) && memory);
	if (!gpu->memory)
		return NOT_SUPPORTED;
	*memory = (memory_info){ .total = gpu->memory, .free = gpu->memory };
	return SUCCESS;
}

int nvmlDeviceGetArchitecture(device gpu, unsigned *architecture)
{
	static const char *const names[] = {
		"Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada Lovelace",
		"Hopper", "Blackwell", NULL,
	};

	REQUIRE(known(gpu) && architecture);
	unsigned found = place(names, gpu->architecture, UNKNOWN);
	*architecture = found == UNKNOWN ? UNKNOWN : found + FIRST_ARCHITECTURE;
	return SUCCESS;
}

int nvmlDeviceGetBrand(device gpu, unsigned *brand)
{
	/* The names that NVIDIA's go-nvlib gives them, and so the driver publishes. */
	static const char *const names[] = {
		"Unknown", "Quadro", "Tesla", "NVS", "Grid", "GeForce", "Titan", "NvidiaVApps",
		"NvidiaVPC", "NvidiaVCS", "NvidiaVWS", "NvidiaCloudGaming", "QuadroRTX",
		"NvidiaRTX", "Nvidia", "GeForceRTX", "TitanRTX", NULL,
	};

	REQUIRE(known(gpu) && brand);
	*brand = place(names, gpu->brand, 0);
	return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(device gpu, int *major, int *minor)
{
	REQUIRE(known(gpu) && major && minor);
	*major = (int)gpu->major_capability;
	*minor = (int)gpu->minor_capability;
	return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(device gpu, pci_info *pci)
{
	REQUIRE(known(gpu) && pci);
	const char *text = gpu->pci;
	memset(pci, 0, sizeof *pci);
	pci->domain = (unsigned)number(&text, 16);
	text += *text == ':';
	pci->bus = (unsigned)number(&text, 16) & 0xff;
	text += *text == ':';
	pci->device = (unsigned)number(&text, 16) & 0x1f;
	pci->device_id = 0x10de; /* NVIDIA, no product */
	snprintf(pci->legacy_id, sizeof pci->legacy_id, "%04X:%02X:%02X.0", pci->domain & 0xffff,
		 pci->bus, pci->device);
	snprintf(pci->id, sizeof pci->id, "%08X:%02X:%02X.0", pci->domain, pci->bus, pci->device);
	return SUCCESS;
}

int nvmlDeviceGetAddressingMode(device gpu, addressing_mode *mode)
{
	static const char *const names[] = { "None", "HMM", "ATS", NULL };

	REQUIRE(known(gpu) && mode);
	mode->value = place(names, gpu->addressing, UNKNOWN);
	return mode->value == UNKNOWN ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetComputeMode(device gpu, unsigned *mode)
{
	static const char *const names[] = {
		"Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process", NULL,
	};
	char value[32];

	REQUIRE(known(gpu) && mode);
	read_state(libraries, gpu, "compute-mode", names[0], value, sizeof value);
	*mode = place(names, value, 0);
	return SUCCESS;
}

/* What no mocked GPU has: parts (MIG), and all that would be measured */

int nvmlDeviceGetMigMode(device gpu, unsigned *current, unsigned *pending)
{
	REQUIRE(known(gpu) && current && pending);
	return NOT_SUPPORTED;
}

int nvmlDeviceIsMigDeviceHandle(device gpu, unsigned *is_mig)
{
	REQUIRE(known(gpu) && is_mig);
	*is_mig = 0;
	return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(device gpu, unsigned *most)
{
	REQUIRE(known(gpu) && most);
	*most = 0;
	return SUCCESS;
}

int nvmlDeviceGetGpuInstanceProfileInfo(device gpu, unsigned profile, void *info)
{
	(void)profile;
	REQUIRE(known(gpu) && info);
	return NOT_SUPPORTED;
}

int nvmlDeviceGetClockInfo(device gpu, unsigned clock, unsigned *mhz)
{
	(void)clock;
	REQUIRE(known(gpu) && mhz);
	return NOT_SUPPORTED;
}

int nvmlDeviceGetMaxClockInfo(device gpu, unsigned clock, unsigned *mhz)
{
	return nvmlDeviceGetClockInfo(gpu, clock, mhz);
}

int nvmlDeviceGetPowerUsage(device gpu, unsigned *milliwatts)
{
	REQUIRE(known(gpu) && milliwatts);
	return NOT_SUPPORTED;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(device gpu, unsigned long long *reasons)
{
	REQUIRE(known(gpu) && reasons);
	return NOT_SUPPORTED;
}

/* Health: each line "GPU XID" of the file STATE/events, the GPU by its index, is an event, told
   once. There is one set of events, as the one who waits for them is NVIDIA's plugin. */

int nvmlEventSetCreate(void **set)
{
	REQUIRE(set);
	*set = gpus;
	return SUCCESS;
}

int nvmlEventSetFree(void *set)
{
	REQUIRE(set == gpus);
	return SUCCESS;
}

int nvmlDeviceGetSupportedEventTypes(device gpu, unsigned long long *types)
{
	REQUIRE(known(gpu) && types);
	*types = XID_CRITICAL_ERROR;
	return SUCCESS;
}

int nvmlDeviceRegisterEvents(device gpu, unsigned long long types, void *set)
{
	REQUIRE(known(gpu) && set == gpus);
	return types & ~(unsigned long long)XID_CRITICAL_ERROR ? NOT_SUPPORTED : SUCCESS;
}

/* The next event of the file that has been taken, which is read to its end before another is
   looked for. Taken by a rename: who appends to the file meanwhile makes a new one. */
static int next_event(event_data *event)
{
	static FILE *taken;
	char path[PATH_SIZE], mine[PATH_SIZE], line[64];

	if (!taken) {
		path_to(path, libraries, STATE, EVENTS);
		path_to(mine, libraries, STATE, EVENTS ".taken");
		if (rename(path, mine) || !(taken = fopen(mine, "r")))
			return 0;
		unlink(mine);
	}
	while (fgets(line, sizeof line, taken)) {
		const char *text = line;
		unsigned long long index = number(&text, 10);
		if (*text != ' ' || count < 0 || index >= (unsigned)count)
			continue;
		text++;
		*event = (event_data){ &gpus[index], XID_CRITICAL_ERROR, number(&text, 10),
				       NO_INSTANCE, NO_INSTANCE };
		return 1;
	}
	fclose(taken);
	taken = NULL;
	return 0;
}

int nvmlEventSetWait_v2(void *set, event_data *event, unsigned timeout_ms)
{
	REQUIRE(set == gpus && event);
	for (unsigned waited = 0;; waited += POLL_MS) {
		if (next_event(event))
			return SUCCESS;
		if (waited >= timeout_ms)
			return TIMEOUT;
		usleep(POLL_MS * 1000);
	}
}
