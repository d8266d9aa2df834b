/* Stand-in for nvidia-smi: what NVIDIA's DRA driver, this lab and people ask of it.

   A static program, so that it runs in any image and under chroot. Compute mode and time slice are
   kept in STATE, where they can be read back, and every call is noted in STATE/nvidia-smi.log. */
#include "gpus.h"
#include <errno.h>
#include <strings.h>

enum { INVALID = 2, NO_PERMISSION = 4, NOT_FOUND = 6, NO_DRIVER = 9 }; /* its return values */

static const char *const MODES[] = {
	"DEFAULT", "EXCLUSIVE_THREAD", "PROHIBITED", "EXCLUSIVE_PROCESS", NULL,
};
static const char *const MODE_NAMES[] = {
	"Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process",
};
static const char *const SLICES[] = { "Default", "Short", "Medium", "Long", NULL };

static struct gpu gpus[MOST_GPUS];
static int count;
static char libraries[PATH_MAX];

/* In a pod there is no STATE: a call that sets nothing works without. */
static void note_call(char **arguments)
{
	char path[PATH_SIZE];
	FILE *log;

	path_to(path, libraries, STATE, "nvidia-smi.log");
	if (!(log = fopen(path, "a")))
		return;
	for (char **argument = arguments + 1; *argument; argument++)
		fprintf(log, "%s%s", argument == arguments + 1 ? "" : " ", *argument);
	fputc('\n', log);
	fclose(log);
}

/* Which of the names it is, -1: none of them. */
static int place(const char *const *names, const char *text)
{
	for (int i = 0; names[i]; i++)
		if (!strcasecmp(names[i], text))
			return i;
	return -1;
}

/* The same for who may give the number instead of the name. */
static int choice(const char *const *names, const char *text)
{
	for (int i = 0; names[i]; i++)
		if (text[0] == '0' + i && !text[1])
			return i;
	return place(names, text);
}

static void pci_id(const struct gpu *gpu, char *id, size_t size)
{
	snprintf(id, size, "0000%s", gpu->pci);
	for (char *c = id; *c; c++)
		if (*c >= 'a' && *c <= 'f')
			*c -= 'a' - 'A';
}

/* Whether -i means this GPU: by index, UUID or PCI address; NULL means each. */
static int chosen(const struct gpu *gpu, const char *id)
{
	char index[16], pci[64];

	snprintf(index, sizeof index, "%u", gpu->index);
	pci_id(gpu, pci, sizeof pci);
	return !id || !strcmp(id, index) || !strcmp(id, gpu->uuid) || !strcasecmp(id, pci)
		|| !strcasecmp(id, gpu->pci);
}

static int set_state(const struct gpu *gpu, const char *kind, const char *value)
{
	char path[PATH_SIZE];
	FILE *file;

	state_path(path, libraries, gpu, kind);
	if (!(file = fopen(path, "w")))
		return errno;
	fprintf(file, "%s\n", value);
	return fclose(file) ? errno : 0;
}

/* Put what --query-gpu answers for a field into `value`. Returns whether it is known here. */
static int field(const struct gpu *gpu, const char *name, char *value, size_t size,
		 const char **unit)
{
	static const char *const memory[] = { "memory.total", "memory.free", "memory.used", NULL };
	static const char *const not_mocked[] = {
		"utilization.gpu", "utilization.memory", "temperature.gpu", "power.draw",
		"clocks.sm", "clocks.current.sm", "clocks.mem", "clocks.max.sm", "mig.mode.current",
		"ecc.mode.current", "persistence_mode", NULL,
	};

	*unit = "";
	if (!strcmp(name, "index")) {
		snprintf(value, size, "%u", gpu->index);
	} else if (!strcmp(name, "count")) {
		snprintf(value, size, "%d", count);
	} else if (!strcmp(name, "name") || !strcmp(name, "gpu_name")) {
		snprintf(value, size, "%s", gpu->product);
	} else if (!strcmp(name, "uuid") || !strcmp(name, "gpu_uuid")) {
		snprintf(value, size, "%s", gpu->uuid);
	} else if (!strcmp(name, "driver_version")) {
		snprintf(value, size, DRIVER_VERSION);
	} else if (!strcmp(name, "compute_cap")) {
		snprintf(value, size, "%u.%u", gpu->major_capability, gpu->minor_capability);
	} else if (!strcmp(name, "pci.bus_id") || !strcmp(name, "gpu_bus_id")) {
		pci_id(gpu, value, size);
	} else if (!strcmp(name, "compute_mode")) {
		read_state(libraries, gpu, "compute-mode", MODE_NAMES[0], value, size);
	} else if (place(memory, name) >= 0) {
		int used = !strcmp(name, memory[2]);
		*unit = "MiB";
		snprintf(value, size, gpu->memory ? "%llu" : "[N/A]", used ? 0 : gpu->memory >> 20);
	} else if (place(not_mocked, name) >= 0) {
		snprintf(value, size, "[N/A]");
	} else {
		return 0;
	}
	return 1;
}

static int query(char *names, const char *format, const char *id)
{
	char *fields[32], value[128];
	const char *unit;
	int wanted = 0, units = !strstr(format, "nounits");

	for (char *name = strtok(names, ","); name && wanted < 32; name = strtok(NULL, ","))
		fields[wanted++] = name + strspn(name, " ");
	for (int i = 0; i < wanted; i++)
		if (!field(&gpus[0], fields[i], value, sizeof value, &unit)) {
			printf("Field \"%s\" is not a valid field to query.\n", fields[i]);
			return INVALID;
		}
	for (int i = 0; i < wanted && !strstr(format, "noheader"); i++) {
		field(&gpus[0], fields[i], value, sizeof value, &unit);
		printf("%s%s%s%s%s", i ? ", " : "", fields[i], units && *unit ? " [" : "",
		       units ? unit : "", units && *unit ? "]" : "");
		if (i == wanted - 1)
			putchar('\n');
	}
	for (struct gpu *gpu = gpus; gpu < gpus + count; gpu++) {
		for (int i = 0; chosen(gpu, id) && i < wanted; i++) {
			field(gpu, fields[i], value, sizeof value, &unit);
			int plain = !units || !*unit || value[0] == '[';
			printf("%s%s%s%s%s", i ? ", " : "", value, plain ? "" : " ",
			       plain ? "" : unit, i == wanted - 1 ? "\n" : "");
		}
	}
	return 0;
}

/* Set every chosen GPU: its compute mode, or its time slice. */
static int set(const char *kind, const char *what, const char *value, const char *id)
{
	char pci[64];

	for (struct gpu *gpu = gpus; gpu < gpus + count; gpu++) {
		if (!chosen(gpu, id))
			continue;
		pci_id(gpu, pci, sizeof pci);
		int error = set_state(gpu, kind, value);
		if (error) {
			printf("Unable to set the %s for GPU %s: %s\n", what, pci, strerror(error));
			return NO_PERMISSION;
		}
		printf("Set %s to %s for GPU %s.\n", what, value, pci);
	}
	printf("All done.\n");
	return 0;
}

static void list(const char *id)
{
	for (struct gpu *gpu = gpus; gpu < gpus + count; gpu++)
		if (chosen(gpu, id))
			printf("GPU %u: %s (UUID: %s)\n", gpu->index, gpu->product, gpu->uuid);
}

static void summary(const char *id)
{
	char mode[32], slice[32], memory[32];

	printf("NVIDIA-SMI %s, CUDA %d.%d: mocked GPUs, there is no silicon behind them\n",
	       DRIVER_VERSION, CUDA_VERSION / 1000, CUDA_VERSION % 1000 / 10);
	for (struct gpu *gpu = gpus; gpu < gpus + count; gpu++) {
		if (!chosen(gpu, id))
			continue;
		read_state(libraries, gpu, "compute-mode", MODE_NAMES[0], mode, sizeof mode);
		read_state(libraries, gpu, "time-slice", SLICES[0], slice, sizeof slice);
		snprintf(memory, sizeof memory, gpu->memory ? "%llu MiB" : "no memory of its own",
			 gpu->memory >> 20);
		printf("GPU %u: %s, %s, %s, %s, compute mode %s, time slice %s\n", gpu->index,
		       gpu->product, gpu->uuid, gpu->pci, memory, mode, slice);
	}
}

static int invalid(const char *argument)
{
	printf("Invalid combination of input arguments: \"%s\" is not known to this mocked "
	       "nvidia-smi.\n", argument);
	return INVALID;
}

/* The value of an option, "--option=value" or the argument after it. */
static char *option(char ***argument, const char *name)
{
	size_t length = strlen(name);

	if (strncmp(**argument, name, length))
		return NULL;
	if ((**argument)[length] == '=')
		return **argument + length + 1;
	return (**argument)[length] || !(*argument)[1] ? NULL : *++*argument;
}

int main(int argc, char **argv)
{
	char *id = NULL, *fields = NULL, *format = "csv", *mode = NULL, *slice = NULL, *value;
	int listed = 0, policy = 0;

	(void)argc;
	libraries_of_program(libraries);
	count = read_gpus(libraries, gpus);
	note_call(argv);
	for (char **argument = argv + 1; *argument; argument++) {
		if (!strcmp(*argument, "--version")) {
			printf("NVIDIA-SMI version  : %s (mocked)\nDRIVER version      : %s\n"
			       "CUDA Version        : %d.%d\n", DRIVER_VERSION, DRIVER_VERSION,
			       CUDA_VERSION / 1000, CUDA_VERSION % 1000 / 10);
			return 0;
		}
		if (argument == argv + 1 && !strcmp(*argument, "compute-policy"))
			policy = 1;
		else if (!strcmp(*argument, "-L") || !strcmp(*argument, "--list-gpus"))
			listed = 1;
		else if (policy && (!strcmp(*argument, "-l") || !strcmp(*argument, "--list")))
			continue;
		else if ((value = option(&argument, "-i")) || (value = option(&argument, "--id")))
			id = value;
		else if ((value = option(&argument, "--query-gpu")))
			fields = value;
		else if ((value = option(&argument, "--format")))
			format = value;
		else if (!policy && ((value = option(&argument, "-c"))
				     || (value = option(&argument, "--compute-mode"))))
			mode = value;
		else if (policy && (value = option(&argument, "--set-timeslice")))
			slice = value;
		else
			return invalid(*argument);
	}
	if (count < 0) {
		printf("NVIDIA-SMI has failed: there is no list of mocked GPUs (%s).\n", LIST);
		return NO_DRIVER;
	}
	int met = 0;
	for (int i = 0; i < count; i++)
		met += chosen(&gpus[i], id);
	if (!met) {
		printf(id ? "No devices were found: %s\n" : "No devices were found\n", id);
		return NOT_FOUND;
	}
	if (mode) {
		int number = choice(MODES, mode);
		if (number < 0 || number == 1) /* exclusive thread is no longer supported */
			return invalid(mode);
		return set("compute-mode", "compute mode", MODE_NAMES[number], id);
	}
	if (slice) {
		int number = choice(SLICES, slice);
		return number < 0 ? invalid(slice) : set("time-slice", "time slice", SLICES[number], id);
	}
	if (fields)
		return query(fields, format, id);
	if (listed)
		list(id);
	else
		summary(id);
	return 0;
}
