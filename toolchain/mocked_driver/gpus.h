/* What all parts of the mocked driver know: the GPUs of the text file, and where their state lies.

   Everything is found from the folder of the libraries, as the root of the driver is mounted in
   different places: LIBRARIES/mocked-gpus.so.VERSION lists the GPUs, LIBRARIES/../../mocked holds
   what changes, LIBRARIES/../../dev the device nodes. The list is named like a library because
   NVIDIA's CDI specifications carry every file of that name into a pod, so that nvidia-smi tells
   the same there. */
#ifndef MOCKED_GPUS_H
#define MOCKED_GPUS_H

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MOST_GPUS 16
#define LIST "mocked-gpus.so." DRIVER_VERSION
#define STATE "../../mocked"
#define DEVICES "../../dev"
#define PATH_SIZE (PATH_MAX + 256)

struct gpu {
	unsigned index, minor;
	unsigned major_capability, minor_capability;
	unsigned long long memory; /* bytes; 0: none of its own */
	char uuid[48], product[96], architecture[32], brand[32], pci[32], addressing[16];
};

/* The value of "key=value" in a line of those, separated by ", ". */
static inline int value_of(const char *line, const char *key, char *value, size_t size)
{
	size_t length = strlen(key);

	value[0] = 0;
	while (line) {
		line += strspn(line, ", ");
		if (!strncmp(line, key, length) && line[length] == '=') {
			line += length + 1;
			size_t end = strcspn(line, ",\n");
			if (end >= size)
				return 0;
			memcpy(value, line, end);
			value[end] = 0;
			return 1;
		}
		line = strchr(line, ',');
	}
	return 0;
}

/* A number at *text, which is moved behind it. Not strtoul: the one of a new libc is not in an
   older one, and these files may be used in an image that has that. */
static inline unsigned long long number(const char **text, unsigned base)
{
	const char *digits = "0123456789abcdef", *digit;
	unsigned long long value = 0;

	while (**text && (digit = strchr(digits, **text | 0x20)) && digit - digits < (long)base) {
		value = value * base + (unsigned)(digit - digits);
		++*text;
	}
	return value;
}

static inline unsigned long long number_of(const char *line, const char *key)
{
	char value[32];
	const char *text = value;

	value_of(line, key, value, sizeof value);
	return number(&text, 10);
}

/* Put FOLDER/NAME, seen from the folder of the libraries, into `path`. */
static inline void path_to(char *path, const char *libraries, const char *folder, const char *name)
{
	snprintf(path, PATH_SIZE, "%s/%s/%s", libraries, folder, name);
}

static inline int present(const char *libraries, const char *folder, const char *name)
{
	char path[PATH_SIZE];

	path_to(path, libraries, folder, name);
	return access(path, F_OK) == 0;
}

/* Read the GPUs that are visible: in a pod, those whose device node it was given. A root that was
   laid out without privilege has no nodes at all, and hides nothing. Returns their number, -1
   without a list. */
static inline int read_gpus(const char *libraries, struct gpu *gpus)
{
	char path[PATH_SIZE], line[512], node[32], value[32];
	int nodes = present(libraries, DEVICES, "nvidiactl"), count = 0;
	FILE *list;

	path_to(path, libraries, ".", LIST);
	if (!(list = fopen(path, "r")))
		return -1;
	while (count < MOST_GPUS && fgets(line, sizeof line, list)) {
		struct gpu *gpu = &gpus[count];
		const char *text = value;

		memset(gpu, 0, sizeof *gpu);
		if (line[0] == '#' || !value_of(line, "uuid", gpu->uuid, sizeof gpu->uuid))
			continue;
		value_of(line, "product", gpu->product, sizeof gpu->product);
		value_of(line, "architecture", gpu->architecture, sizeof gpu->architecture);
		value_of(line, "brand", gpu->brand, sizeof gpu->brand);
		value_of(line, "pci", gpu->pci, sizeof gpu->pci);
		value_of(line, "addressing", gpu->addressing, sizeof gpu->addressing);
		value_of(line, "compute_capability", value, sizeof value);
		gpu->major_capability = (unsigned)number(&text, 10);
		text += *text == '.';
		gpu->minor_capability = (unsigned)number(&text, 10);
		gpu->minor = (unsigned)number_of(line, "minor");
		gpu->memory = number_of(line, "memory_mib") << 20;
		snprintf(node, sizeof node, "nvidia%u", gpu->minor);
		if (nodes && !present(libraries, DEVICES, node))
			continue;
		gpu->index = (unsigned)count++;
	}
	fclose(list);
	return count;
}

/* The GPU with a UUID, NULL for none. */
static inline struct gpu *gpu_of_uuid(struct gpu *gpus, int count, const char *uuid)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(gpus[i].uuid, uuid))
			return &gpus[i];
	return NULL;
}

/* Put the path of a GPU's state of some kind, such as its compute mode, into `path`. */
static inline void state_path(char *path, const char *libraries, const struct gpu *gpu,
			      const char *kind)
{
	char name[96];

	snprintf(name, sizeof name, "%s.%s", gpu->uuid, kind);
	path_to(path, libraries, STATE, name);
}

/* What a GPU was last set to, else the given default. */
static inline void read_state(const char *libraries, const struct gpu *gpu, const char *kind,
			      const char *otherwise, char *value, size_t size)
{
	char path[PATH_SIZE];
	FILE *file;

	snprintf(value, size, "%s", otherwise);
	state_path(path, libraries, gpu, kind);
	if ((file = fopen(path, "r"))) {
		if (fgets(value, (int)size, file))
			value[strcspn(value, "\n")] = 0;
		fclose(file);
	}
}

/* Put the folder of the libraries into `libraries`, seen from a program in usr/bin. Where there is
   no /proc, as under chroot, the program was started in its root. */
static inline void libraries_of_program(char *libraries)
{
	char program[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);

	strcpy(program + (length > 0 ? length : 0), length > 0 ? "" : "/usr/bin/x");
	*strrchr(program, '/') = 0;
	snprintf(libraries, PATH_MAX, "%.*s/../lib64", PATH_MAX - 16, program);
}

#endif
