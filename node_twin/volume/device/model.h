/* How an EBS volume takes its time: token buckets, latency, snapshots, faults.
 *
 * Pure: every function takes the present instant, in nanoseconds, and none reads a clock. So the same
 * code runs behind a block device in a guest and, on a host, under a test's own clock.
 *
 * A request goes through its volume's two buckets (I/O operations and bytes) in order of arrival, then
 * through the instance's two where the instance has limits, and is due when all tokens were there and
 * the latency drawn for it has passed, whichever is later.
 */
#ifndef DRCIO_MODEL_H
#define DRCIO_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define NEVER UINT64_MAX

/* EBS counts an SSD I/O in units of up to 256 KiB, and merges small sequential ones up to that size
 * (EBS user guide, "Amazon EBS I/O characteristics and monitoring"). */
#define IO_UNIT_BYTES (256 * KIB)
/* EBS snapshots are kept in blocks of 512 KiB (EBS direct APIs). */
#define SNAPSHOT_BLOCK_BYTES (512 * KIB)

enum { MAX_VOLUMES = 8, LATENCY_STEPS = 4096, INSTANCE_BURST_MS = 50 };

enum op { OP_READ, OP_WRITE, OP_FLUSH, OP_COUNT };

/* What can be changed while a volume runs. A rate of 0 is no limit. */
struct settings {
	double iops, mib_s;
	double burst_ms;             /* what each bucket holds, as time at its rate */
	double read_us, read_p99_us; /* latency of a small request on an idle volume */
	double write_us, write_p99_us;
	double link_mib_s;           /* adds a request's size over this rate to its latency */
	double added_ms, added_pct;  /* injected latency, and the share of requests that get it */
	double error_pct;            /* share of reads and writes that fail */
	double errors_left;          /* at most so many more fail; negative: no bound */
	double snapshot_min_ms, snapshot_max_ms; /* a fetch's own latency, at any load */
	double snapshot_mib_s;       /* how fast blocks are fetched on demand */
	double hydrate_mib_s;        /* how fast the rest is fetched meanwhile, from the start on */
};

struct bucket {
	double per_s;    /* tokens a second; 0: no limit */
	double burst_ns;
	double spent_at; /* instant at which all tokens taken so far will have come in */
};

struct request {
	/* the transport's */
	enum op op;
	uint32_t volume;
	uint64_t offset, bytes;
	uint64_t cookie;
	/* the model's */
	uint64_t sequence;
	uint64_t arrived;
	uint64_t ready;    /* latency has passed */
	uint64_t admitted; /* the volume's buckets had the tokens */
	uint64_t granted;  /* the instance's had, once it was asked; 0 before */
	double operations; /* tokens it takes: fewer than its units where it was merged */
	bool failed;
};

struct volume {
	uint64_t size_bytes;
	struct settings set;
	struct bucket operations, bytes;
	uint64_t random;
	float latency_ns[2][LATENCY_STEPS]; /* quantiles, reads and writes */
	/* merging of sequential requests */
	enum op last_op;
	uint64_t last_end, last_due, unit_bytes;
	/* snapshot: NULL where the volume was not made of one */
	uint64_t *block_ready;
	struct bucket fetches;
	uint64_t hydrate_from;
	bool paused;
	uint64_t paused_at, resume_at;
	/* counters */
	uint64_t done[OP_COUNT], done_bytes[OP_COUNT], merged, fetched_blocks, failed;
};

struct model {
	struct volume volumes[MAX_VOLUMES];
	size_t volume_count;
	double instance_iops, instance_mib_s, instance_burst_ms;
	struct bucket instance_operations, instance_bytes;
	struct request **heap; /* by instant of the next step */
	size_t pending, room;
	uint64_t sequence;
};

/* Figures for a type of volume: "gp3" or "io2". False where the type is unknown. */
bool settings_of_type(const char *type, struct settings *settings);

/* Change one setting by its name. NULL, or what is wrong with it. */
const char *settings_change(struct settings *settings, const char *name, const char *value);

/* A new volume's index; -1 with errno where there is no room. */
int model_add(struct model *model, uint64_t size_bytes, const struct settings *settings, uint64_t seed);

/* Let the volume come from a snapshot: no block is here yet. False with errno without memory. */
bool model_from_snapshot(struct model *model, size_t volume, uint64_t now);

/* New settings act on what waits as well. */
void model_modify(struct model *model, size_t volume, const struct settings *settings, uint64_t now);
void model_limit_instance(struct model *model, double iops, double mib_s, uint64_t now);

/* Complete nothing until `until` (NEVER: until resumed); what waits then goes on at the volume's rate. */
void model_pause(struct model *model, size_t volume, uint64_t now, uint64_t until);
void model_resume(struct model *model, size_t volume, uint64_t now);

/* Take a request, which stays the caller's and in place until it is due. False without memory. */
bool model_submit(struct model *model, struct request *request, uint64_t now);

/* The instant of the next step, NEVER when none is to come by itself. */
uint64_t model_next(const struct model *model);

/* A request that is due, oldest first; NULL when there is none (yet). */
struct request *model_due(struct model *model, uint64_t now);

#endif
