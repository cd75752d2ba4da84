#include "model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- settings -------------------------------------------------------------------------------- */

/* Latencies. io2 Block Express: "average latency of under 500 microseconds for 16KiB I/O", and ten times
 * fewer I/Os above 800 us than General Purpose volumes (EBS user guide, "Amazon EBS optimization").
 * gp3: "single-digit millisecond latency" (same guide); medians and 99th percentiles between those two
 * statements are an assumption, as are a bucket's 50 ms and a snapshot's rates: EBS publishes none.
 * The link is a 4xlarge-and-below instance's burst of 4750 Mbit/s. */
static const struct settings GP3 = {
	.iops = 3000, .mib_s = 125, .burst_ms = 50,
	.read_us = 600, .read_p99_us = 1600, .write_us = 750, .write_p99_us = 2000, .link_mib_s = 566,
	.added_pct = 100, .errors_left = -1,
	.snapshot_min_ms = 8, .snapshot_max_ms = 17, .snapshot_mib_s = 50,
};

bool settings_of_type(const char *type, struct settings *settings)
{
	*settings = GP3;
	if (strcmp(type, "gp3") == 0)
		return true;
	if (strcmp(type, "io2") != 0)
		return false;
	settings->read_us = 300;
	settings->read_p99_us = 550;
	settings->write_us = 350;
	settings->write_p99_us = 600;
	return true;
}

struct field {
	const char *name;
	size_t offset;
	double least, most;
};

#define FIELD(name, least, most) { #name, offsetof(struct settings, name), least, most }
static const struct field FIELDS[] = {
	FIELD(iops, 0, 1e7), FIELD(mib_s, 0, 1e6), FIELD(burst_ms, 0, 1e6),
	FIELD(read_us, 0, 1e8), FIELD(read_p99_us, 0, 1e8), FIELD(write_us, 0, 1e8), FIELD(write_p99_us, 0, 1e8),
	FIELD(link_mib_s, 0, 1e6), FIELD(added_ms, 0, 1e6), FIELD(added_pct, 0, 100),
	FIELD(error_pct, 0, 100), FIELD(errors_left, -1, 1e15),
	FIELD(snapshot_min_ms, 0, 1e6), FIELD(snapshot_max_ms, 0, 1e6),
	FIELD(snapshot_mib_s, 0, 1e6), FIELD(hydrate_mib_s, 0, 1e6),
};
#undef FIELD

const char *settings_change(struct settings *settings, const char *name, const char *value)
{
	char *end;
	double number = strtod(value, &end);
	if (end == value || *end != '\0' || !isfinite(number))
		return "expected a number";
	for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++) {
		if (strcmp(FIELDS[i].name, name) != 0)
			continue;
		if (number < FIELDS[i].least || number > FIELDS[i].most)
			return "out of range";
		*(double *)((char *)settings + FIELDS[i].offset) = number;
		return NULL;
	}
	return "no such setting";
}

/* --- buckets --------------------------------------------------------------------------------- */

/* Take tokens and return the instant at which all of them are there. */
static uint64_t take(struct bucket *bucket, uint64_t now, double tokens)
{
	if (bucket->per_s <= 0)
		return now;
	double full = (double)now - bucket->burst_ns; /* a bucket does not fill beyond its burst */
	if (bucket->spent_at < full)
		bucket->spent_at = full;
	bucket->spent_at += tokens * NS_PER_S / bucket->per_s;
	return bucket->spent_at > (double)now ? (uint64_t)ceil(bucket->spent_at) : now;
}

static void give_back(struct bucket *bucket, double tokens)
{
	if (bucket->per_s > 0)
		bucket->spent_at -= tokens * NS_PER_S / bucket->per_s;
}

/* A new rate keeps what the bucket holds or owes, in tokens. */
static void set_rate(struct bucket *bucket, double per_s, double burst_ms, uint64_t now)
{
	double owed_ns = bucket->spent_at - (double)now;
	if (owed_ns < -bucket->burst_ns)
		owed_ns = -bucket->burst_ns;
	double owed = bucket->per_s > 0 ? owed_ns * bucket->per_s : 0;
	bucket->per_s = per_s;
	bucket->burst_ns = burst_ms * NS_PER_MS;
	bucket->spent_at = (double)now + (per_s > 0 ? owed / per_s : 0);
}

/* --- latency --------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* The normal distribution's quantile by bisection: only at start and on a change. */
static double normal_quantile(double p)
{
	double low = -8, high = 8;
	for (int i = 0; i < 50; i++) {
		double middle = (low + high) / 2;
		if (erfc(-middle / sqrt(2)) / 2 < p)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}

/* A log-normal spread through the median and the 99th percentile, as equally likely steps. */
static void spread(float quantiles[LATENCY_STEPS], double median_us, double p99_us)
{
	static double normal[LATENCY_STEPS];
	if (normal[0] == 0)
		for (int i = 0; i < LATENCY_STEPS; i++)
			normal[i] = normal_quantile((i + 0.5) / LATENCY_STEPS);
	double sigma = median_us > 0 && p99_us > median_us ? log(p99_us / median_us) / normal_quantile(0.99) : 0;
	for (int i = 0; i < LATENCY_STEPS; i++)
		quantiles[i] = (float)(median_us * exp(sigma * normal[i]) * NS_PER_US);
}

static void apply_settings(struct volume *volume, const struct settings *settings, uint64_t now)
{
	const struct settings *old = &volume->set;
	if (old->read_us != settings->read_us || old->read_p99_us != settings->read_p99_us)
		spread(volume->latency_ns[OP_READ], settings->read_us, settings->read_p99_us);
	if (old->write_us != settings->write_us || old->write_p99_us != settings->write_p99_us)
		spread(volume->latency_ns[OP_WRITE], settings->write_us, settings->write_p99_us);
	if (volume->block_ready != NULL && old->hydrate_mib_s != settings->hydrate_mib_s) {
		double there = old->hydrate_mib_s * ((double)now - (double)volume->hydrate_from); /* MiB ns/s */
		double ago = settings->hydrate_mib_s > 0 ? there / settings->hydrate_mib_s : 0;
		volume->hydrate_from = ago < (double)now ? now - (uint64_t)ago : 0;
	}
	set_rate(&volume->operations, settings->iops, settings->burst_ms, now);
	set_rate(&volume->bytes, settings->mib_s * MIB, settings->burst_ms, now);
	set_rate(&volume->fetches, settings->snapshot_mib_s * MIB, 100, now);
	volume->set = *settings;
}

/* --- the requests that wait, a heap by their next step ------------------------------------------- */

static uint64_t latest(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static bool asks_instance(const struct model *model, const struct request *request)
{
	bool limited = model->instance_operations.per_s > 0 || model->instance_bytes.per_s > 0;
	return limited && request->op <= OP_WRITE && request->granted == 0;
}

static uint64_t step_at(const struct model *model, const struct request *request)
{
	if (model->volumes[request->volume].paused)
		return NEVER;
	if (asks_instance(model, request))
		return request->admitted;
	return latest(latest(request->ready, request->admitted), request->granted);
}

static bool before(const struct model *model, const struct request *a, const struct request *b)
{
	uint64_t first = step_at(model, a), second = step_at(model, b);
	return first != second ? first < second : a->sequence < b->sequence;
}

static void sift_up(struct model *model, size_t at)
{
	struct request *request = model->heap[at];
	for (; at > 0 && before(model, request, model->heap[(at - 1) / 2]); at = (at - 1) / 2)
		model->heap[at] = model->heap[(at - 1) / 2];
	model->heap[at] = request;
}

static void sift_down(struct model *model, size_t at)
{
	struct request *request = model->heap[at];
	for (size_t child; (child = 2 * at + 1) < model->pending; at = child) {
		if (child + 1 < model->pending && before(model, model->heap[child + 1], model->heap[child]))
			child++;
		if (!before(model, model->heap[child], request))
			break;
		model->heap[at] = model->heap[child];
	}
	model->heap[at] = request;
}

static void heapify(struct model *model)
{
	for (size_t at = model->pending / 2; at-- > 0;)
		sift_down(model, at);
}

static int by_sequence(const void *a, const void *b)
{
	const struct request *first = *(struct request *const *)a, *second = *(struct request *const *)b;
	return (first->sequence > second->sequence) - (first->sequence < second->sequence);
}

static int by_admission(const void *a, const void *b)
{
	const struct request *first = *(struct request *const *)a, *second = *(struct request *const *)b;
	if (first->admitted != second->admitted)
		return first->admitted < second->admitted ? -1 : 1;
	return by_sequence(a, b);
}

/* --- buckets and requests ------------------------------------------------------------------------- */

static void admit(struct volume *volume, struct request *request, uint64_t now)
{
	request->admitted = latest(take(&volume->operations, now, request->operations),
				   take(&volume->bytes, now, (double)request->bytes));
}

static void grant(struct model *model, struct request *request, uint64_t now)
{
	request->granted = latest(take(&model->instance_operations, now, request->operations),
				  take(&model->instance_bytes, now, (double)request->bytes));
}

/* Take back the volume's tokens of all that were to get theirs after `since`. */
static void unqueue(struct model *model, size_t index, uint64_t since)
{
	struct volume *volume = &model->volumes[index];
	for (size_t i = 0; i < model->pending; i++) {
		struct request *request = model->heap[i];
		if (request->volume != index || request->op > OP_WRITE || request->admitted <= since)
			continue;
		give_back(&volume->operations, request->operations);
		give_back(&volume->bytes, (double)request->bytes);
		request->admitted = NEVER;
	}
}

/* Let them take tokens anew from `now` on, in their order. */
static void requeue(struct model *model, size_t index, uint64_t now)
{
	qsort(model->heap, model->pending, sizeof *model->heap, by_sequence);
	for (size_t i = 0; i < model->pending; i++)
		if (model->heap[i]->volume == index && model->heap[i]->admitted == NEVER)
			admit(&model->volumes[index], model->heap[i], now);
	heapify(model);
}

/* --- the interface ---------------------------------------------------------------------------------- */

int model_add(struct model *model, uint64_t size_bytes, const struct settings *settings, uint64_t seed)
{
	if (model->volume_count == MAX_VOLUMES) {
		errno = ENOSPC;
		return -1;
	}
	struct volume *volume = &model->volumes[model->volume_count];
	*volume = (struct volume){ .size_bytes = size_bytes, .random = seed, .last_end = NEVER };
	volume->random = next_random(&volume->random) + model->volume_count;
	volume->set.read_us = volume->set.write_us = -1; /* nothing's: the quantiles are made */
	apply_settings(volume, settings, 0);
	volume->operations.spent_at = volume->bytes.spent_at = volume->fetches.spent_at = -1e18; /* full */
	return (int)model->volume_count++;
}

bool model_from_snapshot(struct model *model, size_t index, uint64_t now)
{
	struct volume *volume = &model->volumes[index];
	size_t blocks = (volume->size_bytes + SNAPSHOT_BLOCK_BYTES - 1) / SNAPSHOT_BLOCK_BYTES;
	free(volume->block_ready);
	volume->block_ready = calloc(blocks, sizeof *volume->block_ready);
	volume->hydrate_from = now;
	return volume->block_ready != NULL;
}

void model_modify(struct model *model, size_t index, const struct settings *settings, uint64_t now)
{
	unqueue(model, index, now);
	apply_settings(&model->volumes[index], settings, now);
	requeue(model, index, now);
}

void model_limit_instance(struct model *model, double iops, double mib_s, uint64_t now)
{
	for (size_t i = 0; i < model->pending; i++) {
		struct request *request = model->heap[i];
		if (request->granted <= now)
			continue;
		give_back(&model->instance_operations, request->operations);
		give_back(&model->instance_bytes, (double)request->bytes);
		request->granted = NEVER;
	}
	set_rate(&model->instance_operations, iops, model->instance_burst_ms, now);
	set_rate(&model->instance_bytes, mib_s * MIB, model->instance_burst_ms, now);
	model->instance_iops = iops;
	model->instance_mib_s = mib_s;
	qsort(model->heap, model->pending, sizeof *model->heap, by_admission);
	for (size_t i = 0; i < model->pending; i++)
		if (model->heap[i]->granted == NEVER)
			grant(model, model->heap[i], now);
	heapify(model);
}

void model_pause(struct model *model, size_t index, uint64_t now, uint64_t until)
{
	struct volume *volume = &model->volumes[index];
	if (!volume->paused)
		volume->paused_at = now;
	volume->paused = true;
	volume->resume_at = until;
	heapify(model);
}

void model_resume(struct model *model, size_t index, uint64_t now)
{
	struct volume *volume = &model->volumes[index];
	if (!volume->paused)
		return;
	volume->paused = false;
	for (size_t i = 0; i < model->pending; i++) {
		struct request *request = model->heap[i];
		if (request->volume == index && request->ready > volume->paused_at)
			request->ready += now - latest(request->arrived, volume->paused_at);
	}
	unqueue(model, index, volume->paused_at);
	requeue(model, index, now);
}

/* When all blocks that the request touches are here; `now` where they are. */
static uint64_t fetch(struct volume *volume, const struct request *request, uint64_t now)
{
	uint64_t here = now, end = request->offset + request->bytes;
	double hydrated = volume->set.hydrate_mib_s * MIB * (double)(now - volume->hydrate_from) / NS_PER_S;
	for (uint64_t block = request->offset / SNAPSHOT_BLOCK_BYTES; block * SNAPSHOT_BLOCK_BYTES < end; block++) {
		uint64_t start = block * SNAPSHOT_BLOCK_BYTES, *ready = &volume->block_ready[block];
		bool whole = request->offset <= start && end >= start + SNAPSHOT_BLOCK_BYTES;
		if (*ready == 0 && ((whole && request->op == OP_WRITE) || hydrated >= (double)(start + SNAPSHOT_BLOCK_BYTES)))
			*ready = now;
		if (*ready == 0) {
			double share = (double)(next_random(&volume->random) >> 11) * 0x1p-53;
			double own_ms = volume->set.snapshot_min_ms
				+ share * (volume->set.snapshot_max_ms - volume->set.snapshot_min_ms);
			*ready = take(&volume->fetches, now, SNAPSHOT_BLOCK_BYTES) + (uint64_t)(own_ms * NS_PER_MS);
			volume->fetched_blocks++;
		}
		here = latest(here, *ready);
	}
	return here;
}

/* One draw a request, cut into parts: what is switched on does not change what comes later. */
static void draw(struct volume *volume, struct request *request, uint64_t now)
{
	struct settings *set = &volume->set;
	uint64_t random = next_random(&volume->random);
	double for_error = (double)(random >> 12 & 0xfffff) * 0x1p-20, for_added = (double)(random >> 32 & 0xfffff) * 0x1p-20;
	bool reads = request->op == OP_READ, moves = request->op <= OP_WRITE;
	double latency = volume->latency_ns[reads ? OP_READ : OP_WRITE][random % LATENCY_STEPS];
	if (moves && set->link_mib_s > 0)
		latency += (double)request->bytes * NS_PER_S / (set->link_mib_s * MIB);
	if (for_added * 100 < set->added_pct)
		latency += set->added_ms * NS_PER_MS;
	request->failed = moves && set->errors_left != 0 && for_error * 100 < set->error_pct;
	if (request->failed && set->errors_left > 0)
		set->errors_left--;
	request->ready = now + (uint64_t)latency;
}

static void count_operations(struct volume *volume, struct request *request, uint64_t now)
{
	bool follows = request->op == volume->last_op && request->offset == volume->last_end
		&& volume->last_due > now && volume->unit_bytes + request->bytes <= IO_UNIT_BYTES;
	volume->unit_bytes = follows ? volume->unit_bytes + request->bytes : request->bytes % IO_UNIT_BYTES;
	request->operations = follows ? 0 : (double)((request->bytes + IO_UNIT_BYTES - 1) / IO_UNIT_BYTES);
	volume->merged += follows;
	volume->last_op = request->op;
	volume->last_end = request->offset + request->bytes;
}

bool model_submit(struct model *model, struct request *request, uint64_t now)
{
	if (model->pending == model->room) {
		size_t room = model->room ? 2 * model->room : 64;
		struct request **heap = realloc(model->heap, room * sizeof *heap);
		if (heap == NULL)
			return false;
		model->heap = heap;
		model->room = room;
	}
	struct volume *volume = &model->volumes[request->volume];
	request->sequence = model->sequence++;
	request->arrived = request->admitted = now;
	request->granted = 0;
	request->operations = 0;
	draw(volume, request, now);
	if (request->op <= OP_WRITE) {
		count_operations(volume, request, now);
		admit(volume, request, now);
		if (volume->block_ready != NULL)
			request->ready += fetch(volume, request, now) - now;
		volume->last_due = latest(request->ready, request->admitted);
	}
	model->heap[model->pending++] = request;
	sift_up(model, model->pending - 1);
	return true;
}

uint64_t model_next(const struct model *model)
{
	uint64_t next = model->pending ? step_at(model, model->heap[0]) : NEVER;
	for (size_t i = 0; i < model->volume_count; i++)
		if (model->volumes[i].paused && model->volumes[i].resume_at < next)
			next = model->volumes[i].resume_at;
	return next;
}

struct request *model_due(struct model *model, uint64_t now)
{
	for (size_t i = 0; i < model->volume_count; i++)
		if (model->volumes[i].paused && model->volumes[i].resume_at <= now)
			model_resume(model, i, model->volumes[i].resume_at);
	while (model->pending && step_at(model, model->heap[0]) <= now) {
		struct request *request = model->heap[0];
		if (asks_instance(model, request)) {
			grant(model, request, request->admitted);
			sift_down(model, 0);
			continue;
		}
		model->heap[0] = model->heap[--model->pending];
		if (model->pending)
			sift_down(model, 0);
		struct volume *volume = &model->volumes[request->volume];
		volume->done[request->op]++;
		volume->done_bytes[request->op] += request->bytes;
		volume->failed += request->failed;
		return request;
	}
	return NULL;
}
