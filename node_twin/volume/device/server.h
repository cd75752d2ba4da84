/* What the block device's parts know of each other: volumes with their memory, and a way to the kernel. */
#ifndef DRCIO_SERVER_H
#define DRCIO_SERVER_H

#include "model.h"

enum { SERIAL_LENGTH = 20 }; /* an NVMe serial's, and "vol" with 17 hexadecimal digits */

struct device {
	char serial[SERIAL_LENGTH + 1];
	char name[32];       /* of the block device, once there is one */
	unsigned char *data; /* the volume's bytes */
	uint64_t size_bytes;
	bool shared;         /* with the host, as a PCI device's memory */
};

struct server {
	struct model model;
	struct device devices[MAX_VOLUMES]; /* by the model's index */
	size_t device_count;
	unsigned queues, depth;
	int control; /* datagram socket */
};

/* One way of being a block device of the kernel's. */
struct transport {
	const char *name;
	/* Make the block devices. False after a message. */
	bool (*start)(struct server *server);
	/* Take in what comes until `until`, at most one batch. False after a message, when it is over. */
	bool (*wait)(struct server *server, uint64_t until);
	/* End a request: 0 or an error number. The request is the transport's again. */
	void (*complete)(struct server *server, struct request *request, int error);
};

extern const struct transport ublk_transport, nbd_transport;

uint64_t now_ns(void);
/* Called by a transport: a request has come, its data (if written) already taken. */
void server_submit(struct server *server, struct request *request);
/* Called by a transport: the control socket can be read. */
void server_control(struct server *server);

/* volumes.c: "serial=...,size_mib=...,NAME=VALUE..." becomes one more device. False after a message. */
bool volume_add(struct server *server, char *text);

/* control.c */
int control_open(const char *path);
void control_answer(struct server *server, const char *command, char *answer, size_t room);

/* "what: reason" on standard error; returns false, for `return complain(...)`. */
bool complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
