/* EBS volumes as block devices of the guest that runs this, in the guest's own time.
 *
 *   ebs-volume --control SOCKET [--transport ublk|nbd] [--queues N] [--depth N]
 *              --volume serial=vol...,size_mib=N,type=gp3|io2[,memory=FILE][,seed=N][,NAME=VALUE...] ...
 *
 * Prints "ready SERIAL=DEVICE ..." when the block devices are there, and serves until it is ended.
 * `memory` is what holds the bytes: a PCI device's resource file that is memory shared with the host, or any
 * file; without it they are kept in this program's own memory.
 */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct server server = { .queues = 2, .depth = 128 };
static const struct transport *transport = &ublk_transport;

bool complain(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fputs("ebs-volume: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	return false;
}

uint64_t now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

void server_submit(struct server *at, struct request *request)
{
	if (!model_submit(&at->model, request, now_ns()))
		transport->complete(at, request, ENOMEM);
}

void server_control(struct server *at)
{
	char command[1024], answer[4096];
	struct sockaddr_un from;
	for (;;) {
		socklen_t length = sizeof from;
		ssize_t count = recvfrom(at->control, command, sizeof command - 1, 0, (struct sockaddr *)&from, &length);
		if (count < 0)
			return;
		command[count] = '\0';
		control_answer(at, command, answer, sizeof answer);
		if (length > sizeof from.sun_family) /* a sender without a name wants no answer */
			sendto(at->control, answer, strlen(answer), MSG_DONTWAIT, (struct sockaddr *)&from, length);
	}
}

/* Be late for nobody: what is due is completed ahead of all that the guest computes, and never waits for
 * memory that could only be had by writing to the volume itself. */
static bool come_first(void)
{
	struct sched_param priority = { .sched_priority = 50 };
	if (sched_setscheduler(0, SCHED_FIFO, &priority) < 0)
		return complain("real-time priority: %s", strerror(errno));
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		return complain("locking memory: %s", strerror(errno));
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		return complain("PR_SET_IO_FLUSHER: %s", strerror(errno));
	prctl(PR_SET_TIMERSLACK, 1);
	return true;
}

static const struct transport *transport_named(const char *name)
{
	static const struct transport *const ALL[] = { &ublk_transport, &nbd_transport };
	for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
		if (strcmp(ALL[i]->name, name) == 0)
			return ALL[i];
	return NULL;
}

static bool serve(void)
{
	for (;;) {
		for (struct request *request; (request = model_due(&server.model, now_ns()));)
			transport->complete(&server, request, request->failed ? EIO : 0);
		if (!transport->wait(&server, model_next(&server.model)))
			return false;
	}
}

int main(int count, char **words)
{
	static const struct option OPTIONS[] = {
		{ "control", required_argument, NULL, 'c' }, { "queues", required_argument, NULL, 'q' },
		{ "depth", required_argument, NULL, 'd' }, { "transport", required_argument, NULL, 't' }, { "volume", required_argument, NULL, 'v' }, { 0 },
	};
	server.control = -1;
	server.model.instance_burst_ms = INSTANCE_BURST_MS;
	for (int option; (option = getopt_long(count, words, "", OPTIONS, NULL)) != -1;) {
		bool good = true;
		if (option == 'c')
			good = (server.control = control_open(optarg)) >= 0 || complain("%s: %s", optarg, strerror(errno));
		else if (option == 'q')
			good = (server.queues = (unsigned)atoi(optarg)) >= 1 && server.queues <= 8;
		else if (option == 'd')
			good = (server.depth = (unsigned)atoi(optarg)) >= 1 && server.depth <= 1024;
		else if (option == 't')
			good = (transport = transport_named(optarg)) != NULL || complain("--transport %s: expected ublk or nbd", optarg);
		else
			good = option == 'v' && volume_add(&server, optarg);
		if (!good)
			return EXIT_FAILURE;
	}
	if (server.control < 0 || server.device_count == 0)
		return complain("expected --control and at least one --volume"), EXIT_FAILURE;
	if (!come_first() || !transport->start(&server))
		return EXIT_FAILURE;
	printf("ready");
	for (size_t i = 0; i < server.device_count; i++)
		printf(" %s=%s", server.devices[i].serial, server.devices[i].name);
	printf("\n");
	fflush(stdout);
	return serve() ? EXIT_SUCCESS : EXIT_FAILURE;
}
