/* A volume as its option describes it, and the memory that holds its bytes. */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The volume's bytes: shared with the host, or memory of our own. */
static bool map_memory(struct device *device, const char *path)
{
	int file = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	if (path != NULL) {
		flags = MAP_SHARED;
		device->shared = true;
		file = open(path, O_RDWR | O_CLOEXEC | O_SYNC);
		if (file < 0)
			return complain("%s: %s", path, strerror(errno));
	}
	device->data = mmap(NULL, device->size_bytes, PROT_READ | PROT_WRITE, flags, file, 0);
	if (file >= 0)
		close(file);
	if (device->data == MAP_FAILED)
		return complain("mapping %llu MiB of %s: %s", (unsigned long long)(device->size_bytes / MIB),
				path ? path : "memory", strerror(errno));
	if (path == NULL)
		madvise(device->data, device->size_bytes, MADV_HUGEPAGE);
	return true;
}

bool volume_add(struct server *server, char *text)
{
	if (server->device_count == MAX_VOLUMES)
		return complain("more than %d volumes", MAX_VOLUMES);
	struct device *device = &server->devices[server->device_count];
	struct settings settings;
	settings_of_type("gp3", &settings);
	const char *memory = NULL;
	uint64_t seed = 1;
	bool snapshot = false;
	char *rest;
	for (char *word = strtok_r(text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
		char *value = strchr(word, '=');
		if (value == NULL)
			return complain("--volume: %s: expected NAME=VALUE", word);
		*value++ = '\0';
		const char *wrong = NULL;
		if (strcmp(word, "serial") == 0)
			snprintf(device->serial, sizeof device->serial, "%s", value);
		else if (strcmp(word, "size_mib") == 0)
			device->size_bytes = strtoull(value, NULL, 10) * MIB;
		else if (strcmp(word, "memory") == 0)
			memory = value;
		else if (strcmp(word, "seed") == 0)
			seed = strtoull(value, NULL, 10);
		else if (strcmp(word, "snapshot") == 0)
			snapshot = strcmp(value, "0") != 0;
		else if (strcmp(word, "type") == 0)
			wrong = settings_of_type(value, &settings) ? NULL : "expected gp3 or io2 ";
		else
			wrong = settings_change(&settings, word, value);
		if (wrong != NULL)
			return complain("--volume: %s=%s: %s", word, value, wrong);
	}
	if (device->serial[0] == '\0' || device->size_bytes == 0)
		return complain("--volume: expected at least serial=... and size_mib=...");
	int index = model_add(&server->model, device->size_bytes, &settings, seed);
	if (index < 0 || (snapshot && !model_from_snapshot(&server->model, (size_t)index, now_ns())))
		return complain("%s: %s", device->serial, strerror(errno));
	server->device_count++;
	return map_memory(device, memory);
}
