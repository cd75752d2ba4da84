/* The kernel's nbd driver over socket pairs, for kernels without ublk (Debian's 6.1): dearer, for every
 * byte goes through a socket.
 */
#define _GNU_SOURCE
#include "server.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SOCKET_BYTES = 8 << 20, MAX_QUEUES = 8 };

/* The driver sends what is written page by page, and whoever waits for it, at real-time priority, would
 * take the CPU from it for each page. So a request's bytes are taken when all are there: looked for so often. */
enum { LOOK_FOR_BYTES_NS = 50000 };

struct call { /* a request and where its answer goes */
	struct request request;
	int socket;
	char handle[8];
};

struct connection {
	int socket;
	uint32_t volume;
	struct call *awaiting; /* its bytes, which are on their way */
};

static struct connection connections[MAX_VOLUMES * MAX_QUEUES];
static struct pollfd sockets[1 + MAX_VOLUMES * MAX_QUEUES]; /* the control socket is the first */
static nfds_t connection_count;

/* Move all of it, or say why not. */
static bool transfer(int file, struct iovec *parts, int count, bool out)
{
	while (count > 0) {
		ssize_t moved = out ? writev(file, parts, count) : readv(file, parts, count);
		if (moved <= 0 && !(moved < 0 && errno == EINTR))
			return complain("nbd: %s", moved < 0 ? strerror(errno) : "the kernel closed the socket");
		for (; count > 0 && moved >= (ssize_t)parts->iov_len; parts++, count--)
			moved -= (ssize_t)parts->iov_len;
		if (count > 0 && moved > 0) {
			parts->iov_base = (char *)parts->iov_base + moved;
			parts->iov_len -= (size_t)moved;
		}
	}
	return true;
}

static void complete_nbd(struct server *server, struct request *request, int error)
{
	struct call *call = (void *)request; /* its first member */
	struct nbd_reply reply = { .magic = htobe32(NBD_REPLY_MAGIC), .error = htobe32((uint32_t)error) };
	memcpy(reply.handle, call->handle, sizeof reply.handle);
	struct iovec parts[] = {
		{ &reply, sizeof reply },
		{ server->devices[request->volume].data + request->offset, request->bytes },
	};
	transfer(call->socket, parts, request->op == OP_READ && !error ? 2 : 1, true);
	free(call);
}

/* Take a request's head; null: it is not one that can be served. */
static struct call *take_call(struct server *server, const struct connection *from)
{
	struct device *device = &server->devices[from->volume];
	struct nbd_request asked;
	struct iovec head = { &asked, sizeof asked };
	if (!transfer(from->socket, &head, 1, false))
		return NULL;
	struct request request = {
		.volume = from->volume, .offset = be64toh(asked.from), .bytes = be32toh(asked.len),
	};
	switch (be32toh(asked.type) & 0xffff) {
	case NBD_CMD_READ:
		request.op = OP_READ;
		break;
	case NBD_CMD_WRITE:
		request.op = OP_WRITE;
		break;
	case NBD_CMD_FLUSH:
		request.op = OP_FLUSH;
		request.offset = request.bytes = 0;
		break;
	default:
		complain("nbd: a request of type %#x", be32toh(asked.type));
		return NULL;
	}
	if (request.offset > device->size_bytes || request.bytes > device->size_bytes - request.offset) {
		complain("%s: a request beyond its end", device->name);
		return NULL;
	}
	struct call *call = calloc(1, sizeof *call);
	if (call == NULL) {
		complain("nbd: no memory for a request");
		return NULL;
	}
	call->request = request;
	call->socket = from->socket;
	memcpy(call->handle, asked.handle, sizeof call->handle);
	return call;
}

/* Submit what is being waited for, if all of its bytes are there. */
static bool take_bytes(struct server *server, struct connection *from)
{
	struct request *request = &from->awaiting->request;
	int there = 0;
	if (ioctl(from->socket, FIONREAD, &there) < 0)
		return complain("nbd: what is there: %s", strerror(errno));
	if ((uint64_t)there < request->bytes)
		return true;
	struct iovec data = { server->devices[from->volume].data + request->offset, request->bytes };
	if (!transfer(from->socket, &data, 1, false))
		return false;
	from->awaiting = NULL;
	server_submit(server, request);
	return true;
}

static bool receive(struct server *server, struct connection *from)
{
	struct call *call = take_call(server, from);
	if (call == NULL)
		return false;
	if (call->request.op == OP_WRITE) {
		from->awaiting = call;
		return take_bytes(server, from);
	}
	server_submit(server, &call->request);
	return true;
}

static bool wait_nbd(struct server *server, uint64_t until)
{
	uint64_t now = now_ns();
	for (nfds_t i = 0; i < connection_count; i++) {
		bool awaiting = connections[i].awaiting != NULL;
		sockets[1 + i].fd = awaiting ? -1 : connections[i].socket; /* poll passes over a negative one */
		if (awaiting && until > now + LOOK_FOR_BYTES_NS)
			until = now + LOOK_FOR_BYTES_NS;
	}
	uint64_t left = until > now ? until - now : 0;
	struct timespec time = { (time_t)(left / NS_PER_S), (long)(left % NS_PER_S) };
	if (ppoll(sockets, 1 + connection_count, until == NEVER ? NULL : &time, NULL) < 0) {
		if (errno != EINTR)
			return complain("nbd: waiting: %s", strerror(errno));
		return true;
	}
	if (sockets[0].revents)
		server_control(server);
	for (nfds_t i = 0; i < connection_count; i++) {
		struct connection *from = &connections[i];
		if (from->awaiting != NULL ? !take_bytes(server, from) : sockets[1 + i].revents && !receive(server, from))
			return false;
	}
	return true;
}

static void *drive(void *file) /* blocks for as long as there is the device */
{
	ioctl((int)(intptr_t)file, NBD_DO_IT);
	return NULL;
}

static bool start_device(struct server *server, uint32_t volume)
{
	struct device *device = &server->devices[volume];
	snprintf(device->name, sizeof device->name, "nbd%u", volume);
	char path[64];
	snprintf(path, sizeof path, "/dev/%s", device->name);
	int file = open(path, O_RDWR | O_CLOEXEC), size = SOCKET_BYTES;
	if (file < 0)
		return complain("%s: %s (is the module nbd loaded?)", path, strerror(errno));
	bool good = ioctl(file, NBD_SET_BLKSIZE, 512ul) >= 0 && ioctl(file, NBD_SET_SIZE_BLOCKS, device->size_bytes / 512) >= 0
		&& ioctl(file, NBD_SET_FLAGS, (unsigned long)(NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH)) >= 0;
	for (unsigned queue = 0; good && queue < server->queues && queue < MAX_QUEUES; queue++) {
		int pair[2];
		good = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) >= 0
			&& setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) >= 0
			&& setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) >= 0
			&& ioctl(file, NBD_SET_SOCK, (unsigned long)pair[0]) >= 0;
		connections[connection_count++] = (struct connection){ .socket = pair[1], .volume = volume };
		sockets[connection_count].events = POLLIN; /* the first is the control socket's */
	}
	if (!good)
		return complain("%s: setting it up: %s", path, strerror(errno));
	pthread_t thread;
	if (pthread_create(&thread, NULL, drive, (void *)(intptr_t)file) != 0)
		return complain("%s: no thread for it", path);
	pthread_detach(thread);
	return true;
}

static bool start_nbd(struct server *server)
{
	sockets[0] = (struct pollfd){ .fd = server->control, .events = POLLIN };
	for (uint32_t volume = 0; volume < server->device_count; volume++)
		if (!start_device(server, volume))
			return false;
	return true;
}

const struct transport nbd_transport = {
	.name = "nbd", .start = start_nbd, .wait = wait_nbd, .complete = complete_nbd,
};
