/* A node's block layer in front of a remote volume, one event at a time.
 *
 * What Linux 6.12 does with a bio, as far as it decides who waits for whom:
 *
 *   job's thread -> io.max (blk-throttle) -> frozen queue? -> split at 256 KiB -> iocost -> volume
 *
 * - io.max holds a group's bios in slices of 100 ms, each direction by itself; a slice's whole allowance
 *   may go at its beginning. What it releases is submitted by one kernel thread for the whole device.
 * - iocost lets a bio pass when its group's virtual time allows it; who must wait sleeps, and a thread
 *   that sleeps submits nothing else. A price is fixed when the bio arrives.
 * - A write of io.cost.* freezes the queue (since 6.2): what is in it, waiters for iocost among it, must
 *   leave first, and nobody enters.
 * - The volume has two buckets with a burst, and a base latency that no queue causes.
 *
 * Time is in nanoseconds; virtual time too, as a double, at a rate of 1 (io.cost.qos min=max=100).
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int64_t ns_t;

#define MS 1000000LL
#define SECOND 1000000000LL
#define JIFFY (4 * MS)   /* CONFIG_HZ=250 */
#define SLICE_JIFFIES 25 /* blk-throttle: HZ / 10 */
#define NEVER INT64_MAX
#define MAX_GROUPS 16
#define MAX_JOBS 16
#define MAX_LEVEL 4
#define UNIT_BYTES (256 << 10) /* a request's largest size, and EBS's unit */
#define PAGE_BYTES 4096

enum { READ, WRITE };

typedef struct {
	ns_t at;
	uint64_t order;
	int32_t what, arg;
} event_t;

enum { COMPLETE, THINK, PERIOD, BUDGET, RELEASE, TOGGLE };

typedef struct {
	int32_t job, thread, left; /* pieces in flight, plus one while some are not submitted yet */
	ns_t issued, held; /* held: until its last piece entered the device */
	int32_t size, dir;
} io_t;

typedef struct {
	int32_t io, size, dir, next;
	int16_t group;
	bool bytes_charged; /* by io.max, for the whole bio */
	bool counted;       /* in the group's bytes */
	double abs_cost, cost;
	ns_t entered;       /* the device */
	int32_t submitter;
} bio_t;

typedef struct {
	int32_t head, tail, count;
} list_t;

typedef struct {
	list_t todo;
	bool blocked;
} submitter_t;

typedef struct {
	int32_t parent, level, ancestors[MAX_LEVEL + 1];
	/* iocost */
	double weight, active, inuse, last_inuse, child_active, child_inuse;
	bool is_active, has_child_active;
	double vtime, done_vtime, saved_margin, usage, usage_flushed, usage_delta;
	uint64_t active_period;
	ns_t activated_at, budget_due;
	list_t waiting;
	double donating, after, adjusted_sum, hwa, hwi;
	bool walked;
	/* io.max; a negative limit is none */
	double bps[2], iops[2], bytes_disp[2], ios_disp[2], carry_bytes[2], carry_ios[2];
	int64_t slice_start[2], slice_end[2]; /* jiffies */
	list_t queued[2];
	ns_t release_due;
	/* io.stat */
	int64_t stat_ios[2], stat_bytes[2], usage_ns;
	/* io.pressure: how long somebody waited for iocost */
	ns_t stalled, stalled_since;
} group_t;

typedef struct {
	int32_t group, threads, burst, depth, size, read_percent, measured, first_thread, even;
	ns_t think, start, on, off;
} job_t;

typedef struct {
	int32_t job, submitter, outstanding, reading;
	bool thinking;
} thread_t;

typedef struct {
	double units_per_s, bytes_per_s;
	ns_t burst;
} limit_t;

typedef struct {
	ns_t at, took, held;
	int32_t job, size;
} sample_t;

typedef struct {
	ns_t now;
	uint64_t order, random;
	event_t *heap;
	int32_t heap_n, heap_cap;
	io_t *ios;
	int32_t ios_n, ios_cap, ios_free;
	bio_t *bios;
	int32_t bios_n, bios_cap, bios_free;
	group_t groups[MAX_GROUPS];
	int32_t groups_n;
	job_t jobs[MAX_JOBS];
	int32_t jobs_n;
	bool job_on[MAX_JOBS];
	int64_t job_ios[MAX_JOBS], job_bytes[MAX_JOBS];
	thread_t *threads;
	submitter_t *submitters;
	int32_t threads_n, submitters_n;
	/* volume */
	limit_t limit[2]; /* the volume's, the instance's */
	double units_free[2], bytes_free[2];
	ns_t base[2], extra;
	double spread, extra_share, link_ns_per_byte;
	int32_t in_device, in_queue, tags;
	list_t tag_waiting;
	int64_t dev_ios[2], dev_bytes[2];
	double dev_ticks_ns[2];
	/* iocost */
	bool enabled, running;
	double per_io[2], per_page[2], vrate, verr, period_vtime, margin_min, margin_low, margin_target;
	ns_t period, period_at, period_due;
	bool period_ends; /* whoever is woken now is not there yet, so what it has in credit is taken away */
	list_t woken;
	uint64_t cur_period;
	/* frozen by a write of io.cost.* */
	bool frozen, pending_enable;
	double pending_per_io[2], pending_per_page[2];
	ns_t pending_period, frozen_since, frozen_total;
	int32_t freezes;
	list_t frozen_waiting;
	sample_t *samples;
	int64_t samples_n, samples_cap;
} node_t;

static void run_submitter(node_t *n, int32_t s);

/* ---- small things ---- */

static double uniform(node_t *n)
{
	uint64_t x = n->random;
	x ^= x << 13; x ^= x >> 7; x ^= x << 17;
	n->random = x;
	return (double)(x >> 11) / 9007199254740992.0;
}

static double normal(node_t *n)
{
	double u = uniform(n) + 1e-12, v = uniform(n);
	return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static bool before(const event_t *a, const event_t *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void schedule(node_t *n, ns_t at, int32_t what, int32_t arg)
{
	if (n->heap_n == n->heap_cap)
		n->heap = realloc(n->heap, sizeof(event_t) * (size_t)(n->heap_cap = 2 * n->heap_cap + 64));
	event_t e = {at < n->now ? n->now : at, n->order++, what, arg};
	int32_t i = n->heap_n++;
	while (i && before(&e, &n->heap[(i - 1) / 2])) {
		n->heap[i] = n->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	n->heap[i] = e;
}

static event_t next_event(node_t *n)
{
	event_t top = n->heap[0], last = n->heap[--n->heap_n];
	int32_t i = 0;
	for (;;) {
		int32_t c = 2 * i + 1;
		if (c >= n->heap_n)
			break;
		if (c + 1 < n->heap_n && before(&n->heap[c + 1], &n->heap[c]))
			c++;
		if (before(&last, &n->heap[c]))
			break;
		n->heap[i] = n->heap[c];
		i = c;
	}
	n->heap[i] = last;
	return top;
}

static int32_t new_bio(node_t *n)
{
	int32_t b = n->bios_free;
	if (b >= 0) {
		n->bios_free = n->bios[b].next;
	} else {
		if (n->bios_n == n->bios_cap)
			n->bios = realloc(n->bios, sizeof(bio_t) * (size_t)(n->bios_cap = 2 * n->bios_cap + 64));
		b = n->bios_n++;
	}
	memset(&n->bios[b], 0, sizeof(bio_t));
	n->bios[b].next = -1;
	return b;
}

static void free_bio(node_t *n, int32_t b)
{
	n->bios[b].next = n->bios_free;
	n->bios_free = b;
}

static int32_t new_io(node_t *n)
{
	int32_t i = n->ios_free;
	if (i >= 0) {
		n->ios_free = n->ios[i].left;
		return i;
	}
	if (n->ios_n == n->ios_cap)
		n->ios = realloc(n->ios, sizeof(io_t) * (size_t)(n->ios_cap = 2 * n->ios_cap + 64));
	return n->ios_n++;
}

static void push(node_t *n, list_t *l, int32_t b)
{
	n->bios[b].next = -1;
	if (l->count++)
		n->bios[l->tail].next = b;
	else
		l->head = b;
	l->tail = b;
}

static void push_front(node_t *n, list_t *l, int32_t b)
{
	n->bios[b].next = l->count ? l->head : -1;
	l->head = b;
	if (!l->count++)
		l->tail = b;
}

static int32_t pop(node_t *n, list_t *l)
{
	int32_t b = l->head;
	l->head = n->bios[b].next;
	l->count--;
	return b;
}

static int64_t jiffies(const node_t *n)
{
	return n->now / JIFFY;
}

/* ---- io.max ---- */

static int64_t up_to_slice(int64_t j)
{
	return (j + SLICE_JIFFIES - 1) / SLICE_JIFFIES * SLICE_JIFFIES;
}

static double allowed(double per_s, int64_t elapsed)
{
	return floor(per_s * (double)elapsed * (JIFFY / 1e9));
}

static void new_slice(node_t *n, group_t *g, int d, bool forget)
{
	g->bytes_disp[d] = g->ios_disp[d] = 0;
	g->slice_start[d] = jiffies(n);
	g->slice_end[d] = jiffies(n) + SLICE_JIFFIES;
	if (forget)
		g->carry_bytes[d] = g->carry_ios[d] = 0;
}

static bool slice_used(const node_t *n, const group_t *g, int d)
{
	return jiffies(n) < g->slice_start[d] || jiffies(n) > g->slice_end[d];
}

/* Return for how many jiffies a bio has to wait; 0 if it may go. */
static int64_t must_wait(node_t *n, group_t *g, const bio_t *b)
{
	int d = b->dir;
	int64_t now = jiffies(n), bytes_wait = 0, ios_wait = 0;
	if (g->bps[d] < 0 && g->iops[d] < 0)
		return 0;
	if (slice_used(n, g, d) && !g->queued[d].count)
		new_slice(n, g, d, true);
	else if (g->slice_end[d] < now + SLICE_JIFFIES)
		g->slice_end[d] = up_to_slice(now + SLICE_JIFFIES);
	int64_t elapsed = now - g->slice_start[d];
	if (g->bps[d] >= 0 && !b->bytes_charged) {
		int64_t rounded = up_to_slice(elapsed ? elapsed : 1);
		double may = allowed(g->bps[d], rounded) + g->carry_bytes[d];
		double over = g->bytes_disp[d] + b->size - may;
		if (!(may > 0 && over <= 0)) {
			bytes_wait = (int64_t)(over * (1e9 / JIFFY) / g->bps[d]);
			bytes_wait = (bytes_wait < 1 ? 1 : bytes_wait) + rounded - elapsed;
		}
	}
	if (g->iops[d] >= 0) {
		int64_t rounded = up_to_slice(elapsed + 1);
		double may = allowed(g->iops[d], rounded) + g->carry_ios[d];
		if (!(may > 0 && g->ios_disp[d] + 1 <= may)) {
			ios_wait = rounded - elapsed;
			int64_t least = (int64_t)(1e9 / JIFFY / g->iops[d]) + 1;
			ios_wait = ios_wait < least ? least : ios_wait;
		}
	}
	int64_t wait = bytes_wait > ios_wait ? bytes_wait : ios_wait;
	if (wait && g->slice_end[d] < now + wait)
		g->slice_end[d] = up_to_slice(now + wait);
	return wait;
}

static void trim_slice(node_t *n, group_t *g, int d)
{
	if (slice_used(n, g, d))
		return;
	g->slice_end[d] = up_to_slice(jiffies(n) + SLICE_JIFFIES);
	int64_t elapsed = (jiffies(n) - g->slice_start[d]) / SLICE_JIFFIES * SLICE_JIFFIES;
	if (!elapsed)
		return;
	double bytes = g->bps[d] < 0 ? INFINITY : allowed(g->bps[d], elapsed) + g->carry_bytes[d];
	double ios = g->iops[d] < 0 ? INFINITY : allowed(g->iops[d], elapsed) + g->carry_ios[d];
	if (bytes <= 0 && ios <= 0)
		return;
	g->carry_bytes[d] = g->carry_ios[d] = 0;
	g->bytes_disp[d] = g->bytes_disp[d] > bytes ? g->bytes_disp[d] - bytes : 0;
	g->ios_disp[d] = g->ios_disp[d] > ios ? g->ios_disp[d] - ios : 0;
	g->slice_start[d] += elapsed;
}

static void charge_limit(node_t *n, group_t *g, bio_t *b)
{
	if (!b->bytes_charged)
		g->bytes_disp[b->dir] += b->size;
	g->ios_disp[b->dir]++;
	b->bytes_charged = true;
	trim_slice(n, g, b->dir);
}

static void arm_release(node_t *n, int32_t group)
{
	group_t *g = &n->groups[group];
	int64_t least = INT64_MAX;
	for (int d = READ; d <= WRITE; d++)
		if (g->queued[d].count) {
			int64_t wait = must_wait(n, g, &n->bios[g->queued[d].head]);
			least = wait < least ? wait : least;
		}
	if (least == INT64_MAX)
		return;
	if (least < 1)
		least = 1;
	if (least > 8 * SLICE_JIFFIES)
		least = 8 * SLICE_JIFFIES;
	ns_t due = (jiffies(n) + least) * JIFFY;
	if (g->release_due != due) {
		g->release_due = due;
		schedule(n, due, RELEASE, group);
	}
}

static void release(node_t *n, int32_t group)
{
	group_t *g = &n->groups[group];
	list_t *todo = &n->submitters[0].todo;
	static const int quantum[2] = {6, 2};
	for (bool any = true; any;) {
		any = false;
		for (int d = READ; d <= WRITE; d++)
			for (int i = 0; i < quantum[d] && g->queued[d].count; i++) {
				int32_t b = g->queued[d].head;
				if (must_wait(n, g, &n->bios[b]))
					break;
				pop(n, &g->queued[d]);
				charge_limit(n, g, &n->bios[b]);
				n->bios[b].submitter = 0;
				push(n, todo, b);
				any = true;
			}
	}
	arm_release(n, group);
	if (!n->submitters[0].blocked)
		run_submitter(n, 0);
}

/* ---- iocost: weights ---- */

static double vnow(const node_t *n)
{
	return n->period_vtime + (double)(n->now - n->period_at) * n->vrate;
}

static void propagate(node_t *n, int32_t group, double active, double inuse, bool save)
{
	group_t *g = &n->groups[group];
	if (!g->is_active && g->child_active > 0)
		inuse = active * g->child_inuse / g->child_active;
	else
		inuse = inuse > active ? active : inuse;
	if (inuse <= 0 && active > 0)
		inuse = 1.0 / 65536;
	g->last_inuse = g->inuse;
	if (save)
		g->saved_margin = vnow(n) - g->vtime;
	if (active == g->active && inuse == g->inuse)
		return;
	for (int level = g->level - 1; level >= 0; level--) {
		group_t *parent = &n->groups[g->ancestors[level]], *child = &n->groups[g->ancestors[level + 1]];
		parent->child_active += active - child->active;
		parent->child_inuse += inuse - child->inuse;
		if (parent->child_active < 1e-9)
			parent->child_active = parent->child_inuse = 0;
		child->active = active;
		child->inuse = inuse;
		active = inuse = 0;
		if (parent->child_active > 0) {
			active = parent->weight;
			inuse = active * parent->child_inuse / parent->child_active;
		}
	}
}

static double share(node_t *n, int32_t group, bool inuse)
{
	group_t *g = &n->groups[group];
	double h = 1;
	for (int level = 0; level < g->level; level++) {
		group_t *parent = &n->groups[g->ancestors[level]], *child = &n->groups[g->ancestors[level + 1]];
		double sum = inuse ? parent->child_inuse : parent->child_active;
		double own = inuse ? child->inuse : child->active;
		if (sum <= 0 || parent->child_active <= 0)
			continue;
		h *= own >= sum ? 1 : own / sum;
	}
	return h < 1.0 / 65536 ? 1.0 / 65536 : h;
}

/* Return the share that a group would have if it kept everything for itself. */
static double share_max(node_t *n, int32_t group)
{
	group_t *g = &n->groups[group];
	double h = 1, inuse = g->active;
	for (int level = g->level - 1; level >= 0; level--) {
		group_t *parent = &n->groups[g->ancestors[level]], *child = &n->groups[g->ancestors[level + 1]];
		double sum = parent->child_inuse + inuse - child->inuse;
		h *= inuse / sum;
		inuse = parent->active * sum / parent->child_active;
	}
	return h < 1.0 / 65536 ? 1.0 / 65536 : h;
}

static void start_period(node_t *n, double v)
{
	n->period_vtime = v;
	n->period_at = n->now;
	/* a timer of the wheel is never early, and so always a jiffy late (calc_index) */
	n->period_due = (jiffies(n) + (n->period + JIFFY - 1) / JIFFY + 1) * JIFFY;
	schedule(n, n->period_due, PERIOD, 0);
}

static void activate(node_t *n, int32_t group)
{
	group_t *g = &n->groups[group];
	g->active_period = n->cur_period;
	if (g->is_active)
		return;
	double start = vnow(n) - n->margin_target;
	g->done_vtime += start - g->vtime;
	g->vtime = start;
	g->is_active = true;
	propagate(n, group, g->weight, g->last_inuse > 0 ? g->last_inuse : g->weight, true);
	g->activated_at = n->now;
	if (!n->running) {
		n->running = true;
		start_period(n, vnow(n));
	}
}

static double price(node_t *n, int32_t group, double abs_cost)
{
	group_t *g = &n->groups[group];
	double cost = abs_cost / share(n, group, true), margin = vnow(n) - g->vtime - cost;
	if (margin >= g->saved_margin || margin >= n->margin_low || g->inuse >= g->active)
		return cost;
	double inuse = g->inuse, step = g->active * 0.25;
	do {
		inuse += step;
		propagate(n, group, g->active, inuse, true);
		cost = abs_cost / share(n, group, true);
	} while (g->vtime + cost > vnow(n) && g->inuse < g->active);
	return cost;
}

static void commit(node_t *n, int32_t b, double cost)
{
	group_t *g = &n->groups[n->bios[b].group];
	n->bios[b].cost = cost;
	g->vtime += cost;
	g->usage += n->bios[b].abs_cost;
}

static void enter_device(node_t *n, int32_t b);

static void resume(node_t *n, int32_t s)
{
	n->submitters[s].blocked = false;
	run_submitter(n, s);
}

static void run_woken(node_t *n);

static void kick(node_t *n, int32_t group)
{
	group_t *g = &n->groups[group];
	double now = vnow(n), budget = now - g->vtime, hwi = share(n, group, true);
	list_t passed = {-1, -1, 0};
	while (g->waiting.count) {
		int32_t b = g->waiting.head;
		double cost = n->bios[b].abs_cost / hwi;
		budget -= cost;
		if (budget < 0)
			break;
		pop(n, &g->waiting);
		if (!g->waiting.count)
			g->stalled += n->now - g->stalled_since;
		commit(n, b, cost);
		push(n, &passed, b);
	}
	if (g->waiting.count) {
		ns_t due = n->now + (ns_t)ceil(-budget) + n->period / 100, was = g->budget_due;
		if (was == NEVER || llabs(was - due) > n->period / 100) {
			g->budget_due = due;
			schedule(n, due, BUDGET, group);
		}
	}
	while (passed.count)
		push(n, &n->woken, pop(n, &passed));
	if (!n->period_ends)
		run_woken(n);
}

/* Let the submitters run whose bio passed: not before the timer that woke them is done. */
static void run_woken(node_t *n)
{
	while (n->woken.count) {
		int32_t b = pop(n, &n->woken), s = n->bios[b].submitter;
		enter_device(n, b);
		resume(n, s);
	}
}

/* ---- iocost: the period's end ---- */

static double after_donation(node_t *n, int32_t group, double hwi, double most, double usage)
{
	group_t *g = &n->groups[group];
	double now = vnow(n);
	if (g->waiting.count || g->vtime > now - n->margin_min)
		return most;
	double excess = now - g->vtime - n->margin_target;
	if (excess > 0) {
		g->vtime += excess;
		g->done_vtime += excess;
		n->verr -= excess * hwi;
	}
	double delta = (now - g->vtime) / (now - n->period_vtime);
	double h = usage / (1 - 0.5 + delta);
	if (h < 1.0 / 65536)
		h = 1.0 / 65536;
	return h > most ? most : h;
}

/* Lower the donors' weights so that each has the share that it needs, and the rest gains alike. */
static void transfer(node_t *n, const int32_t *donors, int count)
{
	int32_t inner[MAX_GROUPS];
	int inner_n = 0;
	double after_sum = 0, over_sum = 0;
	for (int i = 0; i < count; i++) {
		group_t *g = &n->groups[donors[i]];
		after_sum += g->after;
		if (g->after > g->hwa)
			over_sum += g->after;
	}
	if (after_sum >= 1 && over_sum > 0) {
		double scale = fmax(0, over_sum - (after_sum - 0.99998)) / over_sum;
		for (int i = 0; i < count; i++) {
			group_t *g = &n->groups[donors[i]];
			if (g->after > g->hwa)
				g->after *= scale;
		}
	}
	for (int i = 0; i < count; i++) {
		group_t *g = &n->groups[donors[i]];
		for (int level = 0; level < g->level; level++) {
			group_t *a = &n->groups[g->ancestors[level]];
			if (!a->walked) {
				a->walked = true;
				a->donating = a->after = a->adjusted_sum = 0;
				inner[inner_n++] = g->ancestors[level];
			}
		}
	}
	for (int i = 0; i < count; i++) {
		group_t *g = &n->groups[donors[i]];
		for (int level = 0; level < g->level; level++) {
			n->groups[g->ancestors[level]].donating += g->donating;
			n->groups[g->ancestors[level]].after += g->after;
		}
	}
	group_t *root = &n->groups[0];
	double gamma = (1 - root->after) / (1 - fmin(root->donating, 0.99998));
	for (int level = 0; level < MAX_LEVEL; level++)
		for (int i = 0; i < inner_n; i++) {
			group_t *g = &n->groups[inner[i]];
			if (g->level != level)
				continue;
			if (level == 0) {
				g->adjusted_sum = g->child_active * (1 - fmin(g->donating, 0.99998)) / (1 - g->after);
				g->hwa = g->hwi = 1;
				continue;
			}
			group_t *parent = &n->groups[g->parent];
			g->hwa = parent->hwa * g->active / parent->child_active;
			g->donating = fmin(g->donating, g->hwa);
			g->after = fmin(g->after, g->donating);
			g->hwi = gamma * (g->hwa - g->donating) + g->after;
			double inuse = parent->adjusted_sum * g->hwi / parent->hwi;
			double st = g->child_active * g->donating / g->hwa, sf = g->child_active - st;
			double wpt = g->active * g->donating / g->hwa, wptp = inuse * g->after / g->hwi;
			g->adjusted_sum = sf + (wpt > 0 ? st * wptp / wpt : 0);
		}
	for (int i = 0; i < count; i++) {
		group_t *g = &n->groups[donors[i]], *parent = &n->groups[g->parent];
		propagate(n, donors[i], g->active, parent->adjusted_sum * g->after / parent->hwi, true);
	}
	for (int i = 0; i < inner_n; i++)
		n->groups[inner[i]].walked = false;
}

static bool idle(const node_t *n, const group_t *g)
{
	return g->active_period != n->cur_period && fabs(g->done_vtime - g->vtime) < 1;
}

static void end_period(node_t *n)
{
	int32_t donors[MAX_GROUPS];
	int donors_n = 0, short_n = 0, active_n = 0;
	for (int32_t i = 1; i < n->groups_n; i++) {
		group_t *g = &n->groups[i];
		if (!g->is_active)
			continue;
		if (g->waiting.count) {
			kick(n, i);
		} else if (idle(n, g)) {
			double excess = vnow(n) - g->vtime - n->margin_target;
			if (excess > 0)
				n->verr -= excess * share(n, i, true);
			propagate(n, i, 0, 0, false);
			g->is_active = false;
		}
	}
	double now = vnow(n);
	for (int32_t i = 1; i < n->groups_n; i++) {
		group_t *g = &n->groups[i];
		if (!g->is_active)
			continue;
		active_n++;
		g->usage_delta = g->usage - g->usage_flushed;
		g->usage_flushed = g->usage;
		g->usage_ns += (int64_t)g->usage_delta;
		double hwa = share(n, i, false), hwi = share(n, i, true);
		if (!(hwi < hwa - 1e-9 || (!g->waiting.count && g->vtime < now - n->margin_low))) {
			short_n++;
			continue;
		}
		double usage = g->usage_delta;
		if (g->vtime - g->done_vtime > 1)
			usage = fmax(usage, (g->vtime - g->done_vtime) * hwi);
		ns_t since = g->activated_at > n->period_at ? g->activated_at : n->period_at;
		double span = (double)(n->now - since);
		usage = fmin(1, fmax(1.0 / 65536, usage / (span < 1000 ? 1000 : span)));
		double most = share_max(n, i), h = after_donation(n, i, hwi, most, usage);
		if (h < most - 1e-9) {
			g->donating = g->hwa = hwa;
			g->after = h;
			donors[donors_n++] = i;
		} else {
			propagate(n, i, g->active, g->active, true);
			short_n++;
		}
	}
	if (donors_n && short_n)
		transfer(n, donors, donors_n);
	n->cur_period++;
	double v = vnow(n);
	if (!active_n) {
		n->verr = 0;
		n->running = false;
		n->period_due = NEVER;
		/* the device's virtual time goes on at its own rate */
		n->period_vtime = v;
		n->period_at = n->now;
		n->vrate = 1;
		return;
	}
	start_period(n, v);
	double left = (double)n->period, comp = fmin(1, fmax(-0.5, -n->verr / left));
	n->verr += comp * left;
	n->vrate = 1 + comp;
	n->verr = fmin(left, fmax(-left, n->verr));
}

/* ---- the volume ---- */

static void start_request(node_t *n, int32_t b)
{
	bio_t *bio = &n->bios[b];
	n->in_device++;
	bio->entered = n->now;
	n->ios[bio->io].held = n->now - n->ios[bio->io].issued;
	double base = (double)n->base[bio->dir] * exp(n->spread * normal(n)) + bio->size * n->link_ns_per_byte;
	if (n->extra && bio->dir == READ && uniform(n) < n->extra_share)
		base += (double)n->extra * exp(0.3 * normal(n));
	double due = (double)n->now + base;
	for (int i = 0; i < 2; i++) {
		limit_t *l = &n->limit[i];
		if (l->bytes_per_s <= 0)
			continue;
		double oldest = (double)(n->now - l->burst);
		n->units_free[i] = fmax(n->units_free[i], oldest) + 1e9 / l->units_per_s;
		n->bytes_free[i] = fmax(n->bytes_free[i], oldest) + bio->size * 1e9 / l->bytes_per_s;
		due = fmax(due, fmax(n->units_free[i], n->bytes_free[i]));
	}
	schedule(n, (ns_t)due, COMPLETE, b);
}

static void enter_device(node_t *n, int32_t b)
{
	if (n->in_device >= n->tags)
		push(n, &n->tag_waiting, b);
	else
		start_request(n, b);
}

static void thaw(node_t *n);

static void issue(node_t *n, int32_t thread);

static void finish_io(node_t *n, int32_t i)
{
	io_t *io = &n->ios[i];
	job_t *job = &n->jobs[io->job];
	thread_t *t = &n->threads[io->thread];
	n->job_ios[io->job]++;
	n->job_bytes[io->job] += io->size;
	if (job->measured) {
		if (n->samples_n == n->samples_cap)
			n->samples = realloc(n->samples,
					     sizeof(sample_t) * (size_t)(n->samples_cap = 2 * n->samples_cap + 1024));
		n->samples[n->samples_n++] = (sample_t){io->issued, n->now - io->issued, io->held,
						       io->job, io->size};
	}
	int32_t thread = io->thread;
	t->outstanding--;
	if (job->measured && job->threads == 1 && !t->outstanding)
		/* the program takes a burst's I/Os back together, when the last is done */
		for (int32_t k = 1; k <= job->burst && k <= n->samples_n; k++) {
			sample_t *sample = &n->samples[n->samples_n - k];
			sample->took = n->now - sample->at;
		}
	io->left = n->ios_free;
	n->ios_free = i;
	if (job->depth) {
		issue(n, thread);
	} else if (!t->outstanding && !t->thinking) {
		t->thinking = true;
		/* else exponential around the mean, at least a fifth of it */
		double part = job->even ? 1 : 0.2 - 0.8 * log(1 - uniform(n));
		schedule(n, n->now + (ns_t)((double)job->think * part), THINK, thread);
	}
}

static void complete(node_t *n, int32_t b)
{
	bio_t *bio = &n->bios[b];
	group_t *g = &n->groups[bio->group];
	n->in_device--;
	n->in_queue--;
	n->dev_ios[bio->dir]++;
	n->dev_bytes[bio->dir] += bio->size;
	n->dev_ticks_ns[bio->dir] += (double)(n->now - bio->entered);
	g->done_vtime += bio->cost;
	int32_t io = bio->io;
	free_bio(n, b);
	if (n->tag_waiting.count)
		start_request(n, pop(n, &n->tag_waiting));
	if (!--n->ios[io].left)
		finish_io(n, io);
	if (n->frozen && !n->in_queue)
		thaw(n);
}

/* ---- who submits ---- */

/* Try to bring one bio into the device; false if its submitter has to sleep. */
static bool submit(node_t *n, int32_t s, int32_t b)
{
	bio_t *bio = &n->bios[b];
	group_t *g = &n->groups[bio->group];
	bool limited = g->bps[bio->dir] >= 0 || g->iops[bio->dir] >= 0;
	/* what io.max releases was charged there; only what a split leaves over comes by again */
	if (limited && bio->submitter != 0) {
		if (g->queued[bio->dir].count || must_wait(n, g, bio)) {
			push(n, &g->queued[bio->dir], b);
			if (g->queued[bio->dir].count == 1)
				arm_release(n, bio->group);
			return true;
		}
		charge_limit(n, g, bio);
	}
	bio->bytes_charged = true;
	if (n->frozen) {
		bio->submitter = s;
		push(n, &n->frozen_waiting, b);
		return false;
	}
	n->in_queue++;
	g->stat_ios[bio->dir]++;
	if (!bio->counted)
		g->stat_bytes[bio->dir] += bio->size;
	bio->counted = true;
	if (bio->size > UNIT_BYTES) {
		int32_t rest = new_bio(n);
		bio = &n->bios[b];
		n->bios[rest] = *bio;
		n->bios[rest].size -= UNIT_BYTES;
		n->bios[rest].submitter = -1;
		bio->size = UNIT_BYTES;
		n->ios[bio->io].left++;
		push_front(n, &n->submitters[s].todo, rest);
	}
	bio->submitter = s;
	if (!n->enabled) {
		enter_device(n, b);
		return true;
	}
	int pages = bio->size / PAGE_BYTES;
	bio->abs_cost = n->per_io[bio->dir] + (pages ? pages : 1) * n->per_page[bio->dir];
	int32_t group = bio->group;
	activate(n, group);
	double cost = price(n, group, bio->abs_cost);
	if (!g->waiting.count && g->vtime + cost <= vnow(n)) {
		commit(n, b, cost);
		enter_device(n, b);
		return true;
	}
	if (g->inuse != g->active)
		propagate(n, group, g->active, g->active, true);
	n->submitters[s].blocked = true;
	push(n, &g->waiting, b);
	if (g->waiting.count == 1) {
		g->stalled_since = n->now;
		g->budget_due = NEVER;
	}
	kick(n, group);
	return false;
}

static void run_submitter(node_t *n, int32_t s)
{
	while (!n->submitters[s].blocked && n->submitters[s].todo.count) {
		int32_t b = pop(n, &n->submitters[s].todo);
		n->submitters[s].blocked = true; /* kick() may resume this very submitter */
		if (submit(n, s, b))
			n->submitters[s].blocked = false;
		else
			return;
	}
}

static void make_io(node_t *n, int32_t thread, int dir)
{
	thread_t *t = &n->threads[thread];
	job_t *job = &n->jobs[t->job];
	int32_t i = new_io(n), b = new_bio(n);
	n->ios[i] = (io_t){t->job, thread, 1, n->now, 0, job->size, dir};
	bio_t *bio = &n->bios[b];
	bio->io = i;
	bio->size = job->size;
	bio->dir = dir;
	bio->group = (int16_t)job->group;
	bio->submitter = -1;
	t->outstanding++;
	push(n, &n->submitters[t->submitter].todo, b);
}

static void issue(node_t *n, int32_t thread)
{
	thread_t *t = &n->threads[thread];
	job_t *job = &n->jobs[t->job];
	if (!n->job_on[t->job] || t->thinking)
		return;
	int want = job->depth ? job->depth - t->outstanding : (t->outstanding ? 0 : job->burst);
	for (int k = 0; k < want; k++)
		make_io(n, thread, 100 * uniform(n) < job->read_percent ? READ : WRITE);
	if (!n->submitters[t->submitter].blocked)
		run_submitter(n, t->submitter);
}

static void toggle(node_t *n, int32_t j)
{
	job_t *job = &n->jobs[j];
	n->job_on[j] = !n->job_on[j];
	ns_t next = n->job_on[j] ? job->on : job->off;
	if (next > 0)
		schedule(n, n->now + next, TOGGLE, j);
	if (!n->job_on[j])
		return;
	for (int k = 0; k < job->threads; k++)
		if (job->depth || !n->threads[job->first_thread + k].outstanding)
			issue(n, job->first_thread + k);
}

/* ---- what is written by whoever controls ---- */

static void refresh_margins(node_t *n)
{
	n->margin_min = 0.1 * (double)n->period;
	n->margin_low = 0.2 * (double)n->period;
	n->margin_target = 0.5 * (double)n->period;
}

static void thaw(node_t *n)
{
	n->frozen = false;
	n->frozen_total += n->now - n->frozen_since;
	n->enabled = n->pending_enable;
	n->period = n->pending_period;
	memcpy(n->per_io, n->pending_per_io, sizeof(n->per_io));
	memcpy(n->per_page, n->pending_per_page, sizeof(n->per_page));
	refresh_margins(n);
	int32_t count = n->frozen_waiting.count;
	for (int32_t i = 0; i < count; i++) {
		int32_t b = pop(n, &n->frozen_waiting), s = n->bios[b].submitter;
		/* it passed io.max already */
		n->bios[b].submitter = 0;
		push_front(n, &n->submitters[s].todo, b);
		resume(n, s);
	}
}

node_t *node_new(uint64_t seed)
{
	node_t *n = calloc(1, sizeof(node_t));
	n->random = seed * 0x9E3779B97F4A7C15ULL + 0x1234567;
	n->bios_free = n->ios_free = -1;
	n->vrate = 1;
	n->period = n->pending_period = 10 * MS;
	n->period_due = NEVER;
	n->tags = 1023;
	n->submitters = calloc(1, sizeof(submitter_t)); /* 0: kthrotld */
	n->submitters_n = 1;
	refresh_margins(n);
	return n;
}

void node_free(node_t *n)
{
	free(n->heap); free(n->ios); free(n->bios); free(n->threads); free(n->submitters); free(n->samples);
	free(n);
}

int32_t node_add_group(node_t *n, int32_t parent)
{
	if (n->groups_n == MAX_GROUPS)
		return -1;
	group_t *g = &n->groups[n->groups_n];
	memset(g, 0, sizeof(*g));
	g->parent = parent;
	if (parent >= 0) {
		*g = (group_t){.parent = parent, .level = n->groups[parent].level + 1};
		memcpy(g->ancestors, n->groups[parent].ancestors, sizeof(g->ancestors));
	}
	if (g->level > MAX_LEVEL)
		return -1;
	g->ancestors[g->level] = n->groups_n;
	g->weight = 100;
	g->budget_due = NEVER;
	g->release_due = NEVER;
	for (int d = 0; d < 2; d++) {
		g->bps[d] = g->iops[d] = -1;
		g->slice_end[d] = -1;
	}
	return n->groups_n++;
}

int32_t node_add_job(node_t *n, const job_t *job)
{
	if (n->jobs_n == MAX_JOBS)
		return -1;
	int32_t j = n->jobs_n++;
	n->jobs[j] = *job;
	n->jobs[j].first_thread = n->threads_n;
	n->threads = realloc(n->threads, sizeof(thread_t) * (size_t)(n->threads_n + job->threads));
	n->submitters = realloc(n->submitters, sizeof(submitter_t) * (size_t)(n->submitters_n + job->threads));
	for (int k = 0; k < job->threads; k++) {
		n->submitters[n->submitters_n] = (submitter_t){{-1, -1, 0}, false};
		n->threads[n->threads_n++] = (thread_t){j, n->submitters_n++, 0, 0, false};
	}
	schedule(n, job->start, TOGGLE, j);
	return j;
}

void node_set_volume(node_t *n, int32_t which, double iops, double bytes_per_s, ns_t burst)
{
	n->limit[which] = (limit_t){iops, bytes_per_s, burst};
}

void node_set_base(node_t *n, ns_t read, ns_t write, double spread, double link_bytes_per_s, ns_t extra,
		   double extra_share)
{
	n->link_ns_per_byte = link_bytes_per_s > 0 ? 1e9 / link_bytes_per_s : 0;
	n->base[READ] = read;
	n->base[WRITE] = write;
	n->spread = spread;
	n->extra = extra;
	n->extra_share = extra_share;
}

void node_set_weight(node_t *n, int32_t group, double weight)
{
	group_t *g = &n->groups[group];
	if (g->is_active && weight != g->weight)
		propagate(n, group, weight, g->inuse, true);
	g->weight = weight;
	if (!g->is_active && g->child_active > 0)
		propagate(n, group, weight, weight, false);
}

void node_set_limits(node_t *n, int32_t group, const double *bps, const double *iops)
{
	group_t *g = &n->groups[group];
	for (int d = 0; d < 2; d++) {
		if (g->queued[d].count) {
			int64_t elapsed = jiffies(n) - g->slice_start[d];
			if (g->bps[d] >= 0)
				g->carry_bytes[d] += allowed(g->bps[d], elapsed) - g->bytes_disp[d];
			if (g->iops[d] >= 0)
				g->carry_ios[d] += allowed(g->iops[d], elapsed) - g->ios_disp[d];
		}
	}
	for (int d = 0; d < 2; d++) {
		g->bps[d] = bps[d];
		g->iops[d] = iops[d];
		new_slice(n, g, d, false);
	}
	g->release_due = NEVER;
	arm_release(n, group);
}

/* Start a write of io.cost.qos and io.cost.model; it is done when node_frozen() is 0. */
void node_set_iocost(node_t *n, int32_t enable, ns_t period, const double *per_io, const double *per_page)
{
	n->pending_enable = enable != 0;
	n->pending_period = period;
	memcpy(n->pending_per_io, per_io, sizeof(n->per_io));
	memcpy(n->pending_per_page, per_page, sizeof(n->per_page));
	if (!n->frozen) {
		n->frozen = true;
		n->freezes++;
		n->frozen_since = n->now;
	}
	if (!n->in_queue)
		thaw(n);
}

int32_t node_frozen(const node_t *n)
{
	return n->frozen;
}

void node_run(node_t *n, ns_t until)
{
	while (n->heap_n && n->heap[0].at <= until) {
		event_t e = next_event(n);
		n->now = e.at;
		switch (e.what) {
		case COMPLETE:
			complete(n, e.arg);
			break;
		case THINK:
			n->threads[e.arg].thinking = false;
			issue(n, e.arg);
			break;
		case PERIOD:
			if (e.at == n->period_due) {
				n->period_ends = true;
				end_period(n);
				n->period_ends = false;
				run_woken(n);
			}
			break;
		case BUDGET:
			if (e.at == n->groups[e.arg].budget_due) {
				n->groups[e.arg].budget_due = NEVER;
				kick(n, e.arg);
			}
			break;
		case RELEASE:
			if (e.at == n->groups[e.arg].release_due) {
				n->groups[e.arg].release_due = NEVER;
				release(n, e.arg);
			}
			break;
		case TOGGLE:
			toggle(n, e.arg);
			break;
		}
	}
	n->now = until;
}

typedef struct {
	int64_t ios[2], bytes[2], ticks_ms[2], in_flight, waiting, usage_us, freezes, frozen_ns;
} device_counters_t;

typedef struct {
	int64_t ios[2], bytes[2], usage_us, held, waiting, stalled_us;
} group_counters_t;

void node_device(const node_t *n, device_counters_t *c)
{
	memset(c, 0, sizeof(*c));
	for (int d = 0; d < 2; d++) {
		c->ios[d] = n->dev_ios[d];
		c->bytes[d] = n->dev_bytes[d];
		c->ticks_ms[d] = (int64_t)(n->dev_ticks_ns[d] / 1e6);
	}
	c->in_flight = n->in_device;
	for (int i = 1; i < n->groups_n; i++) {
		c->usage_us += n->groups[i].usage_ns / 1000;
		c->waiting += n->groups[i].waiting.count;
	}
	c->freezes = n->freezes;
	c->frozen_ns = n->frozen_total;
}

void node_group(const node_t *n, int32_t group, group_counters_t *c)
{
	const group_t *g = &n->groups[group];
	for (int d = 0; d < 2; d++) {
		c->ios[d] = g->stat_ios[d];
		c->bytes[d] = g->stat_bytes[d];
	}
	c->usage_us = g->usage_ns / 1000;
	c->held = g->queued[READ].count + g->queued[WRITE].count;
	c->waiting = g->waiting.count;
	c->stalled_us = (g->stalled + (g->waiting.count ? n->now - g->stalled_since : 0)) / 1000;
}

void node_job(const node_t *n, int32_t job, int64_t *ios, int64_t *bytes)
{
	*ios = n->job_ios[job];
	*bytes = n->job_bytes[job];
}

int64_t node_samples(const node_t *n, const sample_t **samples)
{
	*samples = n->samples;
	return n->samples_n;
}
