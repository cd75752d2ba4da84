/* The control socket: one datagram a command, one datagram an answer.
 *
 *   modify SERIAL|all NAME=VALUE...        settings of model.h
 *   instance [iops=N] [mib_s=N]            limits over all volumes; 0 is none
 *   pause SERIAL|all [MS]                  until resumed, or so long
 *   resume SERIAL|all
 *   snapshot SERIAL|all                    no block is here: each is fetched when first touched
 *   stats                                  counters, a line a volume
 *
 * The answer begins with "ok" or with "error: " and a reason.
 */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int control_open(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	unlink(path);
	int file = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (file >= 0 && bind(file, (struct sockaddr *)&address, sizeof address) < 0) {
		close(file);
		return -1;
	}
	return file;
}

static void say(char *answer, size_t room, const char *format, ...)
{
	size_t used = strlen(answer);
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(answer + used, room - used, format, arguments);
	va_end(arguments);
}

/* "NAME=VALUE" words to settings. False after saying what is wrong. */
static bool change(struct settings *settings, char **rest, char *answer, size_t room)
{
	for (char *word; (word = strtok_r(NULL, " ", rest)) != NULL;) {
		char *value = strchr(word, '=');
		if (value == NULL) {
			say(answer, room, "error: %s: expected NAME=VALUE\n", word);
			return false;
		}
		*value++ = '\0';
		const char *wrong = settings_change(settings, word, value);
		if (wrong != NULL) {
			say(answer, room, "error: %s=%s: %s\n", word, value, wrong);
			return false;
		}
	}
	return true;
}

static void stats(struct server *server, char *answer, size_t room)
{
	for (size_t i = 0; i < server->device_count; i++) {
		const struct volume *volume = &server->model.volumes[i];
		say(answer, room,
		    "serial=%s device=%s reads=%llu writes=%llu flushes=%llu read_bytes=%llu written_bytes=%llu merged=%llu "
		    "fetched_blocks=%llu failed=%llu iops=%g mib_s=%g\n",
		    server->devices[i].serial, server->devices[i].name, (unsigned long long)volume->done[OP_READ],
		    (unsigned long long)volume->done[OP_WRITE], (unsigned long long)volume->done[OP_FLUSH],
		    (unsigned long long)volume->done_bytes[OP_READ], (unsigned long long)volume->done_bytes[OP_WRITE],
		    (unsigned long long)volume->merged, (unsigned long long)volume->fetched_blocks,
		    (unsigned long long)volume->failed, volume->set.iops, volume->set.mib_s);
	}
}

/* A command on one volume. False after saying what is wrong. */
static bool on_volume(struct server *server, size_t index, const char *verb, char **rest, char *answer, size_t room)
{
	struct model *model = &server->model;
	uint64_t now = now_ns();
	if (strcmp(verb, "modify") == 0) {
		struct settings settings = model->volumes[index].set;
		if (!change(&settings, rest, answer, room))
			return false;
		model_modify(model, index, &settings, now);
	} else if (strcmp(verb, "pause") == 0) {
		char *word = strtok_r(NULL, " ", rest);
		double ms = word ? atof(word) : 0;
		if (word && ms <= 0) {
			say(answer, room, "error: pause for %s ms: expected a number above 0\n", word);
			return false;
		}
		model_pause(model, index, now, word ? now + (uint64_t)(ms * NS_PER_MS) : NEVER);
	} else if (strcmp(verb, "resume") == 0) {
		model_resume(model, index, now);
	} else if (strcmp(verb, "snapshot") == 0) {
		if (!model_from_snapshot(model, index, now)) {
			say(answer, room, "error: no memory for the snapshot's map\n");
			return false;
		}
	} else {
		say(answer, room, "error: no command %s\n", verb);
		return false;
	}
	return true;
}

static bool limit_instance(struct server *server, char **rest, char *answer, size_t room)
{
	struct settings limits = { .iops = server->model.instance_iops, .mib_s = server->model.instance_mib_s };
	if (!change(&limits, rest, answer, room))
		return false;
	model_limit_instance(&server->model, limits.iops, limits.mib_s, now_ns());
	return true;
}

void control_answer(struct server *server, const char *command, char *answer, size_t room)
{
	char text[1024], *rest;
	snprintf(text, sizeof text, "%s", command);
	text[strcspn(text, "\n")] = '\0';
	answer[0] = '\0';
	char *verb = strtok_r(text, " ", &rest);
	bool done = verb != NULL, known = false;
	if (!done) {
		say(answer, room, "error: an empty command\n");
	} else if (strcmp(verb, "stats") == 0) {
		stats(server, answer, room);
	} else if (strcmp(verb, "instance") == 0) {
		done = limit_instance(server, &rest, answer, room);
	} else {
		char *which = strtok_r(NULL, " ", &rest);
		for (size_t i = 0; which && done && i < server->device_count; i++) {
			if (strcmp(which, "all") != 0 && strcmp(which, server->devices[i].serial) != 0)
				continue;
			char words[1024], *own = words; /* each volume reads the words for itself */
			snprintf(words, sizeof words, "%s", rest ? rest : "");
			known = true;
			done = on_volume(server, i, verb, &own, answer, room);
		}
		if (done && !known) {
			say(answer, room, "error: no volume %s\n", which ? which : "named");
			done = false;
		}
	}
	if (done)
		say(answer, room, "ok\n");
}
