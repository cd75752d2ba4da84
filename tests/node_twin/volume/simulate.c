/* The model under a clock of its own, for tests on the host: no guest, no block device, no waiting.
 *
 *   ebs-simulate --volume serial=...,size_mib=...,NAME=VALUE... ... < script
 *
 * A line of the script is an instant in nanoseconds, not before the last one's, and either a request
 * ("read|write|flush VOLUME OFFSET BYTES", volumes counted from 0) or a command of control.c. Printed are
 * "due NUMBER NS ok|failed" for each request, in the order of completion, and commands' answers.
 */
#define _GNU_SOURCE
#include "server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t clock_ns;

uint64_t now_ns(void)
{
	return clock_ns;
}

bool complain(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return false;
}

/* Let time pass, stopping wherever something is due. */
static void advance(struct server *server, uint64_t until)
{
	for (uint64_t next; (next = model_next(&server->model)) <= until && next != NEVER;) {
		clock_ns = next > clock_ns ? next : clock_ns;
		for (struct request *request; (request = model_due(&server->model, clock_ns)) != NULL; free(request))
			printf("due %llu %llu %s\n", (unsigned long long)request->cookie, (unsigned long long)clock_ns,
			       request->failed ? "failed" : "ok");
	}
	if (until != NEVER)
		clock_ns = until;
}

static bool submit(struct server *server, const char *operation, const char *text, uint64_t number)
{
	static const char *const OPERATIONS[] = { "read", "write", "flush" };
	unsigned long long offset, bytes;
	unsigned volume;
	for (int op = 0; op < OP_COUNT; op++) {
		if (strcmp(operation, OPERATIONS[op]) != 0)
			continue;
		struct request *request = calloc(1, sizeof *request);
		if (request == NULL || sscanf(text, "%u %llu %llu", &volume, &offset, &bytes) != 3 || volume >= server->device_count)
			exit(complain("%s %s: expected VOLUME OFFSET BYTES", operation, text));
		*request = (struct request){ .op = (enum op)op, .volume = volume, .offset = offset, .bytes = bytes, .cookie = number };
		return model_submit(&server->model, request, clock_ns);
	}
	return false;
}

int main(int count, char **words)
{
	static struct server server;
	server.model.instance_burst_ms = INSTANCE_BURST_MS;
	for (int i = 1; i + 1 < count; i += 2)
		if (strcmp(words[i], "--volume") != 0 || !volume_add(&server, words[i + 1]))
			return complain("expected --volume SETTINGS ..."), EXIT_FAILURE;
	char line[1024], answer[4096], operation[16];
	for (uint64_t number = 0; fgets(line, sizeof line, stdin) != NULL; number++) {
		int used = 0;
		unsigned long long at;
		if (sscanf(line, "%llu %15s %n", &at, operation, &used) != 2)
			return complain("%s: expected NS and a request or a command", line), EXIT_FAILURE;
		advance(&server, at);
		if (submit(&server, operation, line + used, number))
			continue;
		control_answer(&server, strchr(line, ' ') + 1, answer, sizeof answer);
		fputs(answer, stdout);
	}
	advance(&server, NEVER);
	return EXIT_SUCCESS;
}
