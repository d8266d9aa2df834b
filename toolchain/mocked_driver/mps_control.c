/* Stand-in for nvidia-cuda-mps-control: MPS's daemon, and the one who asks it, without any client.

   As with NVIDIA's, "-d" starts the daemon, which listens on the socket "control" of its pipe
   directory, and without "-d" each line of the standard input is a command to it. The limits that
   were set live as long as the daemon. There are no CUDA programs on a mocked GPU, so there are
   neither servers nor clients. A command that is refused makes the program fail. */
#include "gpus.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#define PID_FILE "nvidia-cuda-mps-control.pid"
#define REFUSED "!" /* the first character of an answer that refuses */

static struct gpu gpus[MOST_GPUS];
static int count;
static FILE *control_log;

static double percentage = 100;
static char limits[MOST_GPUS][32]; /* of pinned memory, per GPU; "": none */

static const char *from_environment(const char *name, const char *otherwise)
{
	const char *value = getenv(name);
	return value && *value ? value : otherwise;
}

static void note(const char *format, ...)
{
	char when[32];
	time_t now = time(NULL);
	va_list arguments;

	strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", gmtime(&now));
	fprintf(control_log, "[%s Control %d] ", when, (int)getpid());
	va_start(arguments, format);
	vfprintf(control_log, format, arguments);
	va_end(arguments);
	fputc('\n', control_log);
	fflush(control_log);
}

/* The GPU that a command names by UUID or index, -1: none. */
static int gpu_named(const char *name)
{
	const char *end = name;
	unsigned long long index = number(&end, 10);
	struct gpu *gpu = gpu_of_uuid(gpus, count, name);

	if (gpu)
		return (int)gpu->index;
	return *name && !*end && count > 0 && index < (unsigned)count ? (int)index : -1;
}

/* Whether it is a number with K, M, G or nothing behind it, as in "4096M". */
static int is_size(const char *text)
{
	const char *end = text;

	number(&end, 10);
	return end > text && (!*end || (strchr("KMG", *end) && !end[1]));
}

/* Do what a line says and put the answer, with its line end, into `answer`. */
static void obey(char *line, char *answer, size_t size)
{
	char *command = strtok(line, " \n"), *first = strtok(NULL, " \n"), *second = strtok(NULL, " \n");
	int gpu;

	answer[0] = 0;
	if (!command)
		return;
	if (!strcmp(command, "set_default_active_thread_percentage") && first) {
		double value = atof(first);
		if (value <= 0 || value > 100)
			snprintf(answer, size, REFUSED "%s is not a percentage\n", first);
		else
			snprintf(answer, size, "%.1f\n", percentage = value);
	} else if (!strcmp(command, "get_default_active_thread_percentage")) {
		snprintf(answer, size, "%.1f\n", percentage);
	} else if (!strcmp(command, "set_default_device_pinned_mem_limit") && second) {
		if ((gpu = gpu_named(first)) < 0)
			snprintf(answer, size, REFUSED "no GPU %s\n", first);
		else if (!is_size(second) || strlen(second) >= sizeof limits[0])
			snprintf(answer, size, REFUSED "%s is not a size, such as 4G\n", second);
		else
			strcpy(limits[gpu], second);
	} else if (!strcmp(command, "get_default_device_pinned_mem_limit") && first) {
		if ((gpu = gpu_named(first)) < 0)
			snprintf(answer, size, REFUSED "no GPU %s\n", first);
		else
			snprintf(answer, size, "%s\n", *limits[gpu] ? limits[gpu] : "none");
	} else if (!strcmp(command, "get_server_list") || !strcmp(command, "ps")) {
		return;
	} else if (first && (!strcmp(command, "get_client_list")
			     || !strcmp(command, "get_server_status"))) {
		snprintf(answer, size, REFUSED "Server %s not found\n", first);
	} else if (strcmp(command, "quit")) {
		snprintf(answer, size, REFUSED "this mocked daemon has no command %s\n", command);
	}
}

/* The socket in the working directory: a path of its own may be too long for its address. */
static int open_socket(struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX, .sun_path = "control" };
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int connected(void)
{
	struct sockaddr_un address;
	int fd = open_socket(&address);

	if (fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof address))
		return fd;
	close(fd);
	return -1;
}

/* Send all, then end the sending side, so that the other knows where it ends. */
static int send_all(int fd, const char *text)
{
	size_t length = strlen(text);

	while (length) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);
		if (sent < 0)
			return -1;
		text += sent;
		length -= (size_t)sent;
	}
	return shutdown(fd, SHUT_WR);
}

static void receive_all(int fd, char *text, size_t size)
{
	size_t length = 0;
	ssize_t received;

	while (length < size - 1 && (received = recv(fd, text + length, size - 1 - length, 0)) > 0)
		length += (size_t)received;
	text[length] = 0;
}

static void serve(int listening)
{
	char line[512], words[512], answer[512];

	for (int quit = 0; !quit;) {
		int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		receive_all(fd, line, sizeof line);
		line[strcspn(line, "\n")] = 0;
		quit = !strncmp(line, "quit", 4);
		snprintf(words, sizeof words, "%s", line);
		obey(words, answer, sizeof answer);
		if (*line) /* not one who only looks whether the daemon is there */
			note("%s -> %.*s", line, (int)strcspn(answer, "\n"), answer);
		send_all(fd, answer);
		close(fd);
	}
}

static int start(const char *pipes, const char *logs, int detached)
{
	struct sockaddr_un address;
	char path[PATH_SIZE];
	FILE *file;
	int fd = connected();

	if (fd >= 0) {
		close(fd);
		fprintf(stderr, "An instance of this daemon is already running\n");
		return 1;
	}
	snprintf(path, sizeof path, "%s/control.log", logs);
	if (!(control_log = fopen(path, "ae"))) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	unlink("control"); /* of a daemon that was killed */
	fd = open_socket(&address);
	mode_t mask = umask(0); /* whoever reaches the directory may ask, as with NVIDIA's */
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 8)) {
		fprintf(stderr, "%s/control: %s\n", pipes, strerror(errno));
		return 1;
	}
	umask(mask);
	/* The socket listens before the parent ends: the next command finds the daemon. */
	if (detached) {
		pid_t child = fork();
		if (child)
			return child < 0;
		setsid();
		int null = open("/dev/null", O_RDWR);
		for (int standard = 0; null >= 0 && standard < 3; standard++)
			dup2(null, standard);
	}
	if ((file = fopen(PID_FILE, "w"))) {
		fprintf(file, "%d\n", (int)getpid());
		fclose(file);
	}
	note("Starting control daemon using socket %s/control (mocked: %d GPUs, no silicon)", pipes,
	     count);
	serve(fd);
	unlink("control");
	unlink(PID_FILE);
	note("Exit");
	return 0;
}

static int ask(void)
{
	char line[512], answer[512];
	int refused = 0;

	while (fgets(line, sizeof line, stdin)) {
		int fd = connected();
		if (fd < 0) {
			fprintf(stderr, "Cannot find MPS control daemon process\n");
			return 1;
		}
		if (!send_all(fd, line))
			receive_all(fd, answer, sizeof answer);
		close(fd);
		refused |= *answer == *REFUSED;
		fputs(*answer == *REFUSED ? answer + 1 : answer, stdout);
	}
	return refused;
}

int main(int argc, char **argv)
{
	const char *pipes = from_environment("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps");
	const char *logs = from_environment("CUDA_MPS_LOG_DIRECTORY", "/var/log/nvidia-mps");
	char libraries[PATH_MAX];
	int daemon = 0, detached = 0;

	for (int option; (option = getopt(argc, argv, "dfM")) != -1;) {
		if (option == '?')
			return 1;
		daemon |= option != 'M'; /* several users share the daemon anyway */
		detached |= option == 'd';
	}
	libraries_of_program(libraries);
	count = read_gpus(libraries, gpus);
	if (chdir(pipes)) {
		fprintf(stderr, "%s: %s\n", pipes, strerror(errno));
		return 1;
	}
	return daemon ? start(pipes, logs, detached) : ask();
}
