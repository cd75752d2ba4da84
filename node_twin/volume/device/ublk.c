/* The kernel's ublk driver: block requests come as completions of an io_uring, one command a tag.
 *
 * With UBLK_F_USER_COPY the data is copied once, by pread and pwrite on the character device, straight
 * between the request's pages and the volume's memory. By system calls of its own, without liburing:
 * the guest runs this program against the host's libraries, and one less is one less to miss.
 */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/ublk_cmd.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Younger than Debian 12's headers (Linux 6.1): include/uapi/linux/ublk_cmd.h of Linux 6.5. */
#ifndef UBLK_F_USER_COPY
#define UBLK_F_USER_COPY (1UL << 7)
#endif
#ifndef UBLK_F_CMD_IOCTL_ENCODE
#define UBLK_F_CMD_IOCTL_ENCODE (1UL << 6)
#define UBLK_U_CMD_ADD_DEV _IOWR('u', UBLK_CMD_ADD_DEV, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_START_DEV _IOWR('u', UBLK_CMD_START_DEV, struct ublksrv_ctrl_cmd)
#define UBLK_U_CMD_SET_PARAMS _IOWR('u', UBLK_CMD_SET_PARAMS, struct ublksrv_ctrl_cmd)
#define UBLK_U_IO_FETCH_REQ _IOWR('u', UBLK_IO_FETCH_REQ, struct ublksrv_io_cmd)
#define UBLK_U_IO_COMMIT_AND_FETCH_REQ _IOWR('u', UBLK_IO_COMMIT_AND_FETCH_REQ, struct ublksrv_io_cmd)
#endif
#ifndef UBLK_TAG_OFF
#define UBLK_TAG_OFF 25
#define UBLK_QID_OFF 41
#endif

enum { SECTOR_SHIFT = 9, SQE_BYTES = 128 };
enum kind { KIND_IO, KIND_CONTROL, KIND_ADMIN };

struct slot { /* one tag of one queue */
	struct request request;
	struct slot *next; /* of those without a submission entry yet */
	int32_t result;
	uint16_t queue, tag;
	bool fetched; /* the first command asks, those after it answer and ask */
};

struct unit { /* one volume's device */
	int file;
	struct ublksrv_io_desc *descriptors[8]; /* by queue, then tag */
	struct slot *slots;
};

static struct {
	int ring;
	_Atomic unsigned *sq_head, *sq_tail, *cq_head, *cq_tail;
	unsigned sq_mask, cq_mask, sq_entries, unsubmitted;
	unsigned char *sqes;
	struct io_uring_cqe *cqes;
	int admin; /* /dev/ublk-control */
	int admin_result;
	bool admin_done;
	struct unit units[MAX_VOLUMES];
	unsigned char between[IO_UNIT_BYTES] __attribute__((aligned(4096)));
} ublk;

/* --- the ring -------------------------------------------------------------------------------------- */

static bool make_ring(unsigned entries)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
			| IORING_SETUP_CLAMP,
	};
	ublk.ring = (int)syscall(SYS_io_uring_setup, entries, &params);
	if (ublk.ring < 0)
		return complain("io_uring with 128-byte entries (Linux 6.1): %s", strerror(errno));
	size_t sq_bytes = params.sq_off.array + params.sq_entries * sizeof(unsigned);
	size_t cq_bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
	size_t bytes = sq_bytes > cq_bytes ? sq_bytes : cq_bytes;
	unsigned char *rings = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ublk.ring, IORING_OFF_SQ_RING);
	ublk.sqes = mmap(NULL, (size_t)params.sq_entries * SQE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ublk.ring,
			 IORING_OFF_SQES);
	if (rings == MAP_FAILED || ublk.sqes == MAP_FAILED)
		return complain("mapping the io_uring: %s", strerror(errno));
	ublk.sq_head = (void *)(rings + params.sq_off.head);
	ublk.sq_tail = (void *)(rings + params.sq_off.tail);
	ublk.cq_head = (void *)(rings + params.cq_off.head);
	ublk.cq_tail = (void *)(rings + params.cq_off.tail);
	ublk.cqes = (void *)(rings + params.cq_off.cqes);
	ublk.sq_entries = params.sq_entries;
	ublk.sq_mask = params.sq_entries - 1;
	ublk.cq_mask = params.cq_entries - 1;
	unsigned *order = (void *)(rings + params.sq_off.array);
	for (unsigned i = 0; i < params.sq_entries; i++)
		order[i] = i; /* entries are used in the ring's own order */
	return true;
}

/* Hand over what was prepared and, until `until`, wait for something to come back. */
static bool enter(uint64_t until)
{
	uint64_t now = now_ns();
	struct __kernel_timespec time = { 0 };
	struct io_uring_getevents_arg argument = { .ts = until == NEVER ? 0 : (uint64_t)(uintptr_t)&time };
	bool must_wait = until > now;
	if (must_wait && until != NEVER) {
		time.tv_sec = (long long)((until - now) / NS_PER_S);
		time.tv_nsec = (long long)((until - now) % NS_PER_S);
	}
	long taken = syscall(SYS_io_uring_enter, ublk.ring, ublk.unsubmitted, must_wait, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
			     &argument, sizeof argument);
	ublk.unsubmitted = atomic_load_explicit(ublk.sq_tail, memory_order_relaxed)
		- atomic_load_explicit(ublk.sq_head, memory_order_acquire);
	if (taken < 0 && errno != ETIME && errno != EINTR && errno != EAGAIN && errno != EBUSY)
		return complain("io_uring_enter: %s", strerror(errno));
	return true;
}

/* The next free entry, cleared. The ring has room for every tag and the few others at once. */
static struct io_uring_sqe *entry(uint8_t operation, int file, uint64_t cookie)
{
	unsigned tail = atomic_load_explicit(ublk.sq_tail, memory_order_relaxed);
	if (tail - atomic_load_explicit(ublk.sq_head, memory_order_acquire) == ublk.sq_entries && !enter(0))
		exit(EXIT_FAILURE);
	struct io_uring_sqe *sqe = (void *)(ublk.sqes + (size_t)(tail & ublk.sq_mask) * SQE_BYTES);
	memset(sqe, 0, SQE_BYTES);
	sqe->opcode = operation;
	sqe->fd = file;
	sqe->user_data = cookie;
	atomic_store_explicit(ublk.sq_tail, tail + 1, memory_order_release);
	ublk.unsubmitted++;
	return sqe;
}

static uint64_t cookie(enum kind kind, const void *pointer)
{
	return (uint64_t)(uintptr_t)pointer | kind; /* slots are aligned: the low bits are free */
}

static void watch_control(const struct server *server)
{
	entry(IORING_OP_POLL_ADD, server->control, cookie(KIND_CONTROL, NULL))->poll32_events = POLLIN;
}

/* --- requests ---------------------------------------------------------------------------------------- */

static void ask(struct unit *unit, struct slot *slot)
{
	struct io_uring_sqe *sqe = entry(IORING_OP_URING_CMD, unit->file, cookie(KIND_IO, slot));
	sqe->cmd_op = slot->fetched ? UBLK_U_IO_COMMIT_AND_FETCH_REQ : UBLK_U_IO_FETCH_REQ;
	struct ublksrv_io_cmd *command = (void *)sqe->cmd;
	*command = (struct ublksrv_io_cmd){ .q_id = slot->queue, .tag = slot->tag, .result = slot->result };
	slot->fetched = true;
}

static void complete(struct server *server, struct request *request, int error)
{
	(void)server;
	struct slot *slot = (void *)request; /* its first member */
	slot->result = error ? -error : (int32_t)request->bytes;
	ask(&ublk.units[request->volume], slot);
}

/* Move the data between the request's pages and the volume. */
static bool move(struct device *device, struct unit *unit, const struct slot *slot)
{
	const struct request *request = &slot->request;
	off_t at = (off_t)(UBLKSRV_IO_BUF_OFFSET + ((uint64_t)slot->queue << UBLK_QID_OFF) + ((uint64_t)slot->tag << UBLK_TAG_OFF));
	/* The driver pins the pages that it copies to or from, which a PCI device's memory does not allow. */
	unsigned char *data = device->shared ? ublk.between : device->data + request->offset;
	if (device->shared && request->op == OP_READ)
		memcpy(ublk.between, device->data + request->offset, request->bytes);
	for (uint64_t moved = 0; moved < request->bytes;) {
		ssize_t count = request->op == OP_READ
			? pwrite(unit->file, data + moved, request->bytes - moved, at + (off_t)moved)
			: pread(unit->file, data + moved, request->bytes - moved, at + (off_t)moved);
		if (count <= 0)
			return complain("%s: moving %llu bytes of a request: %s", device->name, (unsigned long long)request->bytes,
					count < 0 ? strerror(errno) : "no room");
		moved += (uint64_t)count;
	}
	if (device->shared && request->op == OP_WRITE)
		memcpy(device->data + request->offset, ublk.between, request->bytes);
	return true;
}

static void arrived(struct server *server, struct slot *slot)
{
	struct request *request = &slot->request;
	struct unit *unit = &ublk.units[request->volume];
	struct device *device = &server->devices[request->volume];
	const struct ublksrv_io_desc *descriptor = &unit->descriptors[slot->queue][slot->tag];
	request->offset = descriptor->start_sector << SECTOR_SHIFT;
	request->bytes = (uint64_t)descriptor->nr_sectors << SECTOR_SHIFT;
	switch (ublksrv_get_op(descriptor)) {
	case UBLK_IO_OP_READ:
		request->op = OP_READ;
		break;
	case UBLK_IO_OP_WRITE:
		request->op = OP_WRITE;
		break;
	case UBLK_IO_OP_FLUSH:
		request->op = OP_FLUSH;
		request->offset = request->bytes = 0; /* a flush's position means nothing */
		break;
	default:
		complete(server, request, EOPNOTSUPP);
		return;
	}
	if (request->offset + request->bytes > device->size_bytes || (request->op <= OP_WRITE && !move(device, unit, slot))) {
		complete(server, request, EIO);
		return;
	}
	server_submit(server, request);
}

static bool wait_ublk(struct server *server, uint64_t until)
{
	if (!enter(until))
		return false;
	unsigned head = atomic_load_explicit(ublk.cq_head, memory_order_relaxed);
	while (head != atomic_load_explicit(ublk.cq_tail, memory_order_acquire)) {
		struct io_uring_cqe cqe = ublk.cqes[head & ublk.cq_mask];
		atomic_store_explicit(ublk.cq_head, ++head, memory_order_release);
		struct slot *slot = (void *)(uintptr_t)(cqe.user_data & ~UINT64_C(7));
		switch (cqe.user_data & 7) {
		case KIND_CONTROL:
			server_control(server);
			watch_control(server);
			break;
		case KIND_ADMIN:
			ublk.admin_result = cqe.res;
			ublk.admin_done = true;
			break;
		default:
			if (cqe.res < 0)
				return complain("%s: queue %u, tag %u: %s", server->devices[slot->request.volume].name, slot->queue,
						slot->tag, strerror(-cqe.res));
			arrived(server, slot);
		}
	}
	return true;
}

/* --- devices ------------------------------------------------------------------------------------------- */

/* One command on /dev/ublk-control; requests are served meanwhile, for START_DEV reads the new disk. */
static int administer(struct server *server, uint32_t operation, struct ublksrv_ctrl_cmd command)
{
	struct io_uring_sqe *sqe = entry(IORING_OP_URING_CMD, ublk.admin, cookie(KIND_ADMIN, NULL));
	sqe->cmd_op = operation;
	memcpy(sqe->cmd, &command, sizeof command);
	ublk.admin_done = false;
	while (!ublk.admin_done) {
		if (!wait_ublk(server, model_next(&server->model)))
			return -EIO;
		for (struct request *request; (request = model_due(&server->model, now_ns()));)
			complete(server, request, request->failed ? EIO : 0);
	}
	return ublk.admin_result;
}

static bool open_unit(struct server *server, uint32_t volume, uint32_t id)
{
	struct device *device = &server->devices[volume];
	struct unit *unit = &ublk.units[volume];
	char path[64];
	snprintf(path, sizeof path, "/dev/ublkc%u", id);
	unit->file = -1;
	for (int tries = 0; tries < 100 && unit->file < 0; tries++) { /* devtmpfs may be a moment late */
		unit->file = open(path, O_RDWR | O_CLOEXEC);
		if (unit->file < 0)
			usleep(10000);
	}
	if (unit->file < 0)
		return complain("%s: %s", path, strerror(errno));
	long page = sysconf(_SC_PAGESIZE);
	size_t stride = (UBLK_MAX_QUEUE_DEPTH * sizeof(struct ublksrv_io_desc) + page - 1) / page * page;
	size_t bytes = (server->depth * sizeof(struct ublksrv_io_desc) + page - 1) / page * page;
	unit->slots = calloc((size_t)server->queues * server->depth, sizeof *unit->slots);
	if (unit->slots == NULL)
		return complain("no memory for %s's requests", device->name);
	for (unsigned queue = 0; queue < server->queues; queue++) {
		unit->descriptors[queue] = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, unit->file,
						UBLKSRV_CMD_BUF_OFFSET + (off_t)(queue * stride));
		if (unit->descriptors[queue] == MAP_FAILED)
			return complain("%s: mapping queue %u: %s", path, queue, strerror(errno));
		for (unsigned tag = 0; tag < server->depth; tag++) {
			struct slot *slot = &unit->slots[queue * server->depth + tag];
			*slot = (struct slot){ .queue = (uint16_t)queue, .tag = (uint16_t)tag, .request = { .volume = volume } };
			ask(unit, slot);
		}
	}
	return true;
}

static bool start_device(struct server *server, uint32_t volume)
{
	struct device *device = &server->devices[volume];
	struct ublksrv_ctrl_dev_info info = {
		.nr_hw_queues = (uint16_t)server->queues,
		.queue_depth = (uint16_t)server->depth,
		.max_io_buf_bytes = (uint32_t)IO_UNIT_BYTES,
		.dev_id = volume,
		.ublksrv_pid = getpid(),
		.flags = UBLK_F_USER_COPY | UBLK_F_CMD_IOCTL_ENCODE,
	};
	struct ublk_params parameters = {
		.len = sizeof parameters,
		.types = UBLK_PARAM_TYPE_BASIC,
		.basic = {
			.attrs = UBLK_ATTR_VOLATILE_CACHE, /* so that flushes come, as they do on EBS */
			.logical_bs_shift = SECTOR_SHIFT,
			.physical_bs_shift = SECTOR_SHIFT,
			.io_min_shift = SECTOR_SHIFT,
			.io_opt_shift = SECTOR_SHIFT,
			.max_sectors = (uint32_t)(IO_UNIT_BYTES >> SECTOR_SHIFT),
			.dev_sectors = device->size_bytes >> SECTOR_SHIFT,
		},
	};
	struct ublksrv_ctrl_cmd command = { .dev_id = volume, .queue_id = UINT16_MAX };
	command.addr = (uint64_t)(uintptr_t)&info;
	command.len = sizeof info;
	int error = administer(server, UBLK_U_CMD_ADD_DEV, command);
	if (error < 0)
		return complain("ublk: adding a device: %s", strerror(-error));
	if (!(info.flags & UBLK_F_USER_COPY))
		return complain("this kernel's ublk lets no server copy by itself (Linux 6.5 does)");
	snprintf(device->name, sizeof device->name, "ublkb%u", info.dev_id);
	command.dev_id = info.dev_id;
	command.addr = (uint64_t)(uintptr_t)&parameters;
	command.len = sizeof parameters;
	error = administer(server, UBLK_U_CMD_SET_PARAMS, command);
	if (error < 0)
		return complain("%s: setting parameters: %s", device->name, strerror(-error));
	if (!open_unit(server, volume, info.dev_id))
		return false;
	command.addr = command.len = 0;
	command.data[0] = (uint64_t)getpid();
	error = administer(server, UBLK_U_CMD_START_DEV, command);
	if (error < 0)
		return complain("%s: starting: %s", device->name, strerror(-error));
	return true;
}

static bool start_ublk(struct server *server)
{
	if (!make_ring((unsigned)server->device_count * server->queues * server->depth + 16))
		return false;
	ublk.admin = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
	if (ublk.admin < 0)
		return complain("/dev/ublk-control: %s (is the module ublk_drv loaded?)", strerror(errno));
	for (uint32_t volume = 0; volume < server->device_count; volume++)
		if (!start_device(server, volume))
			return false;
	watch_control(server);
	return true;
}

const struct transport ublk_transport = {
	.name = "ublk", .start = start_ublk, .wait = wait_ublk, .complete = complete,
};
